"""Inputs that select lanes: the order of additions under every selection there is, two inputs a position or more."""

from __future__ import annotations

import itertools
import random

import pytest

from microgpt import Index, Tape, record
from microgpt.vector import View

from .mirror import VECTORS, both_weights, check_replays

WIDTH = 5
NEW_ORDER = "the gradients would be added in another order than the sweep's"
IN_TURN = "the sweep takes the lanes of two statements in turn, and they are not sums over the same"


def two_linears(f, w, lanes, row):
    """The lanes of both, of one x, are taken in turn."""
    x = f.linear(w("row", lanes, WIDTH)[row], w("wide", 6, WIDTH)).tanh()
    return (f.linear(x, w("head", lanes, 6)) + f.linear(x, w("other", lanes, 6))).exp()


def one_linear(f, w, lanes, row):
    x = f.linear(w("row", lanes, WIDTH)[row], w("wide", 6, WIDTH)).tanh()
    return f.linear(x, w("head", lanes, 6)).sigmoid()


def halves(f, w, lanes, row):
    """All lanes of one statement are lanes of another, twice."""
    return one_linear(f, w, lanes, row).tanh() * 0.5 + one_linear(f, w, lanes, row)


def beside_one_lane(f, w, lanes, row):
    """A linear of one lane is read beside lanes of which inputs select some."""
    x = f.linear(w("row", lanes, WIDTH)[row], w("wide", lanes + 1, WIDTH)).tanh()
    return f.softmax(x)[:lanes] * (f.linear(x[:2] * x[1:3], w("one", 1, 2)) * 2.0)[0]


# What is made of the lanes that two inputs select.
LOSSES = {
    "first alone": lambda f, e, a, b: e[a] * 0.3,
    "the other alone": lambda f, e, a, b: e[b] * 0.3,
    "selected, then all": lambda f, e, a, b: e[a] * 0.3 + e.sum(),
    "all, then selected": lambda f, e, a, b: e.sum() + e[a] * 0.3,
    "selected, then a product of all": lambda f, e, a, b: e[a] * (e * e).sum(),
    "a probability": lambda f, e, a, b: -f.softmax(e)[a].log(),
    "two": lambda f, e, a, b: e[a] * 0.3 - e[b],
    "two and all": lambda f, e, a, b: e[a] * 0.3 - e[b] * 0.7 + e.sum(),
    "of two maps and all": lambda f, e, a, b: (e * 0.5)[a] * 0.3 + e.tanh()[b] + e.sum(),
    "one, all, the other": lambda f, e, a, b: e[a] * 0.3 + e.sum() - e[b] * 0.7,
    "a product of two": lambda f, e, a, b: e[b] * e[a],
    "of two maps": lambda f, e, a, b: e.exp()[a] * e.tanh()[b],
    "of a map and of what it is of": lambda f, e, a, b: e.exp()[a] + e[b] * e[a],
    "of two probabilities": lambda f, e, a, b: f.softmax(e)[a] + f.softmax(e * 0.5)[b],
    "a slice, then selected": lambda f, e, a, b: e[1:].sum() + e[a] * e[b],
    "selected twice, and a lane": lambda f, e, a, b: e[a] * e[a] + e[0] * e[b],
}
COMPUTED = {"two linears": two_linears, "one linear": one_linear, "halves": halves, "beside one lane": beside_one_lane}


@pytest.mark.parametrize("lanes", [2, 3, 4])
@pytest.mark.parametrize("computed", COMPUTED)
@pytest.mark.parametrize("name", LOSSES)
def test_every_selection(name, computed, lanes):
    """Two positions with two inputs each, of all values: replays are plain scalars, planned or not."""

    def model(f, w, tokens):
        pairs = zip(tokens[::2], tokens[1::2], strict=True)
        return f.mean([LOSSES[name](f, COMPUTED[computed](f, w, lanes, b), a, b) for a, b in pairs])

    rng = random.Random(f"{name}, {computed}, {lanes}")
    every = list(itertools.product(range(lanes), repeat=4))
    check_replays(model, 4, rng.sample(every, min(len(every), 81)))


@pytest.mark.parametrize("computed", ["one linear", "halves"])
@pytest.mark.parametrize("name", LOSSES)
def test_inputs_that_are_as_many_apart_as_there_are_lanes(name, computed):
    """The first and the last of six select one of five lanes each."""

    def model(f, w, tokens):
        return f.mean([LOSSES[name](f, COMPUTED[computed](f, w, 5, tokens[1]), tokens[0], tokens[5])])

    check_replays(model, 6, [(a, 1, 0, 0, 0, b) for a, b in itertools.product(range(5), repeat=2)])


def planned(name, computed, inputs):
    """Why there is no plan, of three lanes at four positions, where inputs(t) says which two a position has."""

    def model(f, w, tokens):
        pairs = [(tokens[a], tokens[b]) for a, b in map(inputs, range(4))]
        return f.mean([LOSSES[name](f, COMPUTED[computed](f, w, 3, b), a, b) for a, b in pairs])

    with Tape():
        count = 1 + max(n for t in range(4) for n in inputs(t))
        vectors, _ = both_weights(model, [0] * count)
        return record(
            lambda *tokens: model(VECTORS, vectors, tokens), *(Index(0) for _ in range(count))
        ).why_not_planned


@pytest.mark.parametrize(
    "inputs", [lambda t: (2 * t, 2 * t + 1), lambda t: (t, t + 1), lambda t: (t + 1, t), lambda t: (7, t)]
)
def test_which_selections_are_planned(inputs):
    """However the inputs are numbered, and whether positions share them."""
    assert planned("selected, then all", "one linear", inputs) is None
    assert planned("a probability", "one linear", inputs) is None
    assert planned("selected, then all", "two linears", inputs) == NEW_ORDER
    assert planned("two and all", "one linear", inputs) == NEW_ORDER


@pytest.mark.parametrize("first", [0, 1, 2])
def test_leaves_of_a_position_that_are_weights(first):
    """A position adds its row to x, and a linear has all rows as weights, turned round: whether the row or the weight
    gets its addition first depends on the lane, and on the position. Some lanes have weights that no position adds."""
    n = 6

    def model(f, w, tokens):
        losses = []
        for t, (token, target) in enumerate(itertools.pairwise(tokens)):
            x = w("wte", n, n)[token] + w("wpe", n + 2, n)[t]
            y = f.sums(1, n, n, View(w("wpe", n + 2, n), start=first, lane=1, term=n), View(x, term=1))
            losses.append(y[target] ** 2 + y.sum())
        return f.mean(losses)

    rng = random.Random(first)
    check_replays(model, n, [[rng.randrange(n) for _ in range(n)] for _ in range(20)])


@pytest.mark.parametrize("far", [1, 2, 3])
def test_lanes_that_have_some_weights_in_common(far):
    """Of lane i of the linear, term c, the weight is lane i + far * c of a row: two selected lanes may add to one."""
    lanes, terms = 5, 3

    def model(f, w, tokens):
        losses = []
        for a, b in zip(tokens[::2], tokens[1::2], strict=True):
            x = w("wte", lanes, terms)[b] * 1.5
            y = f.sums(1, lanes, terms, View(w("band", 1, 12)[0], lane=1, term=far), View(x, term=1))
            losses.append(y[a] * 0.3 + y.tanh()[b])
        return f.mean(losses)

    rng = random.Random(far)
    check_replays(model, 4, [[rng.randrange(lanes) for _ in range(4)] for _ in range(40)])
