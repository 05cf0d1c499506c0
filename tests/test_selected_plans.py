"""Which programs have a plan, where inputs select lanes: one that is lost is no error that numbers would show."""

from __future__ import annotations

import pytest

from microgpt import Index, Matrix, Tape, record

from .mirror import VECTORS, Weights
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
    return e[ids[0]] * 0.3 + x[lane].exp() + e.sum()


def one_leaf_read(f, w, ids, t, lane):
    """Of the same row at every position."""
    e = w("fixed", 2, LANES)[1] * 1.5
    return e[ids[0]] * 0.3 + w("fixed", 2, LANES)[1][lane].exp() + e.sum()


def two_lanes_read(f, w, ids, t, lane):
    """Two inputs select, of two statements."""
    x = w("row", LANES, LANES)[ids[0]].tanh()
    e, d = x * 0.5, w("other", LANES, LANES)[ids[1]].exp()
    return d[ids[1]] * 0.7 + e[ids[0]] * 0.3 + x[lane].exp() + e.sum() + d.sum()


def one_weight_read(f, w, ids, t, lane):
    """Of a linear, of which inputs select a lane."""
    y = f.linear(w("row", LANES, 2)[ids[0]].tanh(), w("head", LANES, 2))
    return y[ids[0]] * 0.3 + w("head", LANES, 2)[lane][1].exp() + y.sum()


ONE_LANE = {model.__name__: model for model in (one_lane_read, one_leaf_read, two_lanes_read, one_weight_read)}
LANES = 6


def beside_one_lane(name, lane, positions, inputs):
    """At every position."""

    def model(f, w, tokens):
        at = [[tokens[n] for n in inputs(t)] for t in range(positions)]
        return f.mean([ONE_LANE[name](f, w, ids, t, lane) for t, ids in enumerate(at)])

    return model


@pytest.mark.parametrize("inputs", [lambda t: (2 * t, 2 * t + 1), lambda t: (t, t + 1), lambda t: (0, 1 + t)])
@pytest.mark.parametrize("positions", [1, 2, 3, 7])
@pytest.mark.parametrize("lane", range(LANES))
@pytest.mark.parametrize("name", ONE_LANE)
def test_one_lane(name, lane, positions, inputs):
    model = beside_one_lane(name, lane, positions, inputs)
    assert why_not_planned(model, 1 + max(max(inputs(t)) for t in range(positions))) in (NEW_ORDER, IN_TURN)


def one_row(f, w, ids, t, row, lane):
    """Of another row at every position."""
    e = w("position", 9, LANES)[t] * 1.5
    return e[ids[0]] * 0.3 + w("position", 9, LANES)[row][lane].exp() + e.sum()


@pytest.mark.parametrize("positions", [1, 2, 3])
@pytest.mark.parametrize("lane", range(LANES))
@pytest.mark.parametrize("row", range(4))
def test_one_leaf_of_one_position(row, lane, positions):
    def model(f, w, tokens):
        return f.mean([one_row(f, w, tokens[t:], t, row, lane) for t in range(positions)])

    assert why_not_planned(model, positions) == (NEW_ORDER if row < positions else None)
