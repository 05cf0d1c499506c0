"""Which programs have a plan, where inputs select lanes: one that is lost is no error that numbers would show."""

from __future__ import annotations

import random

import pytest

from microgpt import Index, Matrix, Tape, record
from microgpt.core import lib
from microgpt.vector import View

from .mirror import VECTORS, Weights, check_replays
from .test_selections import COMPUTED, IN_TURN, LOSSES, NEW_ORDER

OF_ONE = {"one linear", "halves"}
PLANNED = {
    "all, then selected": set(COMPUTED),
    "selected, then all": OF_ONE,
    "selected, then a product of all": OF_ONE,
    "a probability": OF_ONE,
    "one, all, the other": OF_ONE,
    "of two probabilities": OF_ONE,
}
PLANNED_OF_TWO_LANES = {**PLANNED, "two and all": OF_ONE, "of two maps and all": OF_ONE}


def why_not_planned(model, inputs):
    with Tape():
        weights = Weights(Matrix)
        model(VECTORS, weights, [0] * inputs)
        return record(
            lambda *tokens: model(VECTORS, weights, tokens), *(Index(0) for _ in range(inputs))
        ).why_not_planned


@pytest.mark.parametrize("lanes", [2, 3, 5])
@pytest.mark.parametrize("computed", COMPUTED)
@pytest.mark.parametrize("name", LOSSES)
def test_by_what_is_selected(name, computed, lanes):
    """Three positions with two inputs each."""

    def model(f, w, tokens):
        pairs = zip(tokens[::2], tokens[1::2], strict=True)
        return f.mean([LOSSES[name](f, COMPUTED[computed](f, w, lanes, b), a, b) for a, b in pairs])

    known = PLANNED_OF_TWO_LANES if lanes == 2 else PLANNED
    assert why_not_planned(model, 6) == (None if computed in known.get(name, ()) else NEW_ORDER)


# ---- what else adds to what is of one lane: first or last, as that lane is selected or not


def one_lane_read(f, w, ids, t, lane):
    """Of a statement whose lanes vary with those of the one that is selected."""
    x = w("row", LANES, LANES)[ids[0]].tanh()
    e = x * 0.5
    return e[ids[0]] * 0.3, x[lane].exp(), e.sum()


def one_leaf_read(f, w, ids, t, lane):
    """Of the same row at every position."""
    e = w("fixed", 2, LANES)[1] * 1.5
    return e[ids[0]] * 0.3, w("fixed", 2, LANES)[1][lane].exp(), e.sum()


def two_lanes_read(f, w, ids, t, lane):
    """Two inputs select, of two statements."""
    x = w("row", LANES, LANES)[ids[0]].tanh()
    e, d = x * 0.5, w("other", LANES, LANES)[ids[1]].exp()
    return d[ids[1]] * 0.7 + e[ids[0]] * 0.3, x[lane].exp(), e.sum() + d.sum()


def one_weight_read(f, w, ids, t, lane):
    """Of a linear, of which inputs select a lane."""
    y = f.linear(w("row", LANES, 2)[ids[0]].tanh(), w("head", LANES, 2))
    return y[ids[0]] * 0.3, w("head", LANES, 2)[lane][1].exp(), y.sum()


ONE_LANE = {model.__name__: model for model in (one_lane_read, one_leaf_read, two_lanes_read, one_weight_read)}
LANES = 6


def beside_one_lane(name, lane, positions, inputs):
    """At every position."""

    def model(f, w, tokens):
        at = [[tokens[n] for n in inputs(t)] for t in range(positions)]
        return f.mean([a + b + c for a, b, c in (ONE_LANE[name](f, w, ids, t, lane) for t, ids in enumerate(at))])

    return model


@pytest.mark.parametrize("inputs", [lambda t: (2 * t, 2 * t + 1), lambda t: (t, t + 1), lambda t: (0, 1 + t)])
@pytest.mark.parametrize("positions", [1, 2, 3, 7])
@pytest.mark.parametrize("lane", range(LANES))
@pytest.mark.parametrize("name", ONE_LANE)
def test_one_lane(name, lane, positions, inputs):
    model = beside_one_lane(name, lane, positions, inputs)
    assert why_not_planned(model, 1 + max(max(inputs(t)) for t in range(positions))) in (NEW_ORDER, IN_TURN)


@pytest.mark.parametrize("lane", range(LANES))
@pytest.mark.parametrize("name", [*ONE_LANE, "one_row"])
def test_one_lane_before_all(name, lane):
    """What adds to it comes last in the reverse, whichever lane is selected."""
    model = ONE_LANE.get(name, one_row)
    rng = random.Random(f"{name}, {lane}")

    def before(f, w, tokens):
        found = (model(f, w, tokens[2 * t : 2 * t + 2], t, lane) for t in range(2))
        return f.mean([one + selected + rest for selected, one, rest in found])

    assert_numbers(before, None, [[rng.randrange(LANES) for _ in range(4)] for _ in range(6)])


def one_row(f, w, ids, t, lane, row=1):
    """Of another row at every position."""
    e = w("position", 9, LANES)[t] * 1.5
    return e[ids[0]] * 0.3, w("position", 9, LANES)[row][lane].exp(), e.sum()


@pytest.mark.parametrize("positions", [1, 2, 3])
@pytest.mark.parametrize("lane", range(LANES))
@pytest.mark.parametrize("row", range(4))
def test_one_leaf_of_one_position(row, lane, positions):
    def model(f, w, tokens):
        return f.mean([a + b + c for a, b, c in (one_row(f, w, tokens[t:], t, lane, row) for t in range(positions))])

    assert why_not_planned(model, positions) == (NEW_ORDER if row < positions else None)


# ---- what lanes have in common: all that they read, or nothing

TOO_MANY = "there are too many lanes that an input may select"
IN_COMMON = "an input selects one of some lanes that have a part of what they read in common"
SUMS = {
    (1, 1): IN_COMMON,
    (1, 2): IN_COMMON,
    (1, 4): IN_COMMON,
    (1, 5): None,
    (2, 1): IN_COMMON,
    (3, 1): None,
    (1, 0): None,
}
MAPS = {(3, 1): None, (1, 2): None, (2, 1): IN_COMMON, (4, 2): IN_COMMON, (1, 1): IN_COMMON, (1, 0): NEW_ORDER}


@pytest.mark.parametrize("strides", SUMS)
def test_lanes_of_sums(strides):
    """Five lanes of three terms each, of a row of weights."""

    def loss(f, w, a, b):
        weights = View(w("band", 1, 19)[0], lane=strides[0], term=strides[1])
        y = f.sums(1, 5, 3, weights, View(w("row", 5, 3)[b].tanh(), term=1))
        return y[a] * 0.3 + y.sum()

    assert_plan(loss, 5, SUMS[strides])


@pytest.mark.parametrize("strides", MAPS)
def test_lanes_of_groups(strides):
    """Two groups of three lanes each."""

    def loss(f, w, a, b):
        x = w("row", 6, 9)[b].tanh()
        y = f.maps(lib.MG_MUL, 2, 3, View(x, group=strides[0], lane=strides[1]), constant=0.5)
        return y[a] * 0.3 + y.sum()

    assert_plan(loss, 6, MAPS[strides])


def assert_plan(loss, lanes, why_not):
    """Of two positions; the numbers, whatever is selected, are those of plain scalars."""

    def model(f, w, tokens):
        return f.mean([loss(f, w, a, b) for a, b in zip(tokens[::2], tokens[1::2], strict=True)])

    assert_numbers(model, why_not, [(a, (a + 1) % lanes, (2 * a) % lanes, a) for a in range(lanes)])


def assert_numbers(model, why_not, texts):
    """Of four inputs."""
    assert check_replays(model, 4, texts) == why_not


def test_nothing_is_selected():
    """But rows of leaves."""

    def model(f, w, tokens):
        return f.mean([f.linear(w("row", 5, 3)[token].tanh(), w("head", 4, 3)).exp().sum() for token in tokens])

    assert why_not_planned(model, 3) is None


@pytest.mark.parametrize("lanes", range(2, 8))
def test_as_many_rows_as_lanes(lanes):
    """What two positions select differs while a plan is made."""

    def loss(f, w, token):
        e = f.linear(w("row", lanes, 4)[token].tanh(), w("head", lanes, 4)).exp()
        return e[token] * 0.3 + e.sum()

    assert why_not_planned(lambda f, w, tokens: f.mean([loss(f, w, token) for token in tokens]), 2) is None


@pytest.mark.parametrize(("rows", "positions", "enough"), [(1, 1, 15800), (1, 2, 15800), (2, 1, 15800), (2, 2, 11170)])
def test_how_many_lanes_are_selected_in_turn(rows, positions, enough):
    """Words of the sweep's list, four a lane, by so many rounds: as many as there are lanes, or fewer, where positions
    are alike, as each of them takes others. Of leaves of the same row at every position, or of others."""

    def reason(lanes):
        def loss(f, w, token, t):
            e = w("leaves", 2, lanes)[t % rows] * 1.5
            return e[token] * 0.3 + w("leaves", 2, lanes)[0][3].exp() + e.sum()

        return why_not_planned(
            lambda f, w, tokens: f.mean([loss(f, w, *at) for at in zip(tokens, range(9))]), positions
        )

    assert reason(enough) == NEW_ORDER
    assert reason(enough + 20) == TOO_MANY


def test_positions_of_which_one_is_unlike():
    """Of the second, a statement on the positions so far has more lanes: every position takes all lanes."""

    def reason(lanes):
        def model(f, w, tokens):
            keys, losses = [], []
            for token in tokens:
                keys.append(w("row", 1, lanes)[0] * 1.5)
                e, weights = keys[-1] * 0.5, f.attention_weights(w("query", 1, lanes)[0] * 1.1, keys, 1)
                losses.append(e[token] * 0.3 + keys[-1][3].exp() + e.sum() + weights.sum())
            return f.mean(losses)

        return why_not_planned(model, 2)

    assert reason(7400) == NEW_ORDER
    assert reason(7500) == TOO_MANY


def test_many_lanes():
    """Nothing else adds to what is of one alone: any position's order shows all."""

    def loss(f, w, token):
        e = w("leaves", 1, 16000)[0] * 1.5
        return e[token] * 0.3 + e.sum()

    assert why_not_planned(lambda f, w, tokens: f.mean([loss(f, w, token) for token in tokens]), 2) is None


@pytest.mark.parametrize(
    ("inputs", "why_not"), [([(0, 1), (2, 2)], TOO_MANY), ([(2, 2), (0, 1)], TOO_MANY), ([(0, 0), (1, 1)], NEW_ORDER)]
)
def test_positions_with_two_inputs(inputs, why_not):
    """Which may select two lanes: such positions are not alike."""

    def loss(f, w, a, b):
        e, d = w("leaves", 1, 8500)[0] * 1.5, w("others", 1, 8500)[0] * 1.5
        return e[a] * 0.3 + w("leaves", 1, 8500)[0][7].exp() + e.sum() + d[b] * 0.7 + d.sum()

    def model(f, w, tokens):
        return f.mean([loss(f, w, tokens[a], tokens[b]) for a, b in inputs])

    assert why_not_planned(model, 3) == why_not
