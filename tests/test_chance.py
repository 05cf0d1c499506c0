"""Orders of additions that are the sweep's by chance, for what was selected when a plan was made, and forms that look
like those that kernels have: planned or not, the numbers are those of plain scalars."""

from __future__ import annotations

import random
from math import isfinite

import pytest

from microgpt import Config, Index, Model, Tape, record, train
from microgpt.vector import View

from .bits import all_bits
from .mirror import VECTORS, both_weights, loss_and_gradients, trained

LANES = 5


def pairs(tokens):
    """Two inputs a position."""
    return zip(tokens[::2], tokens[1::2], strict=False)


def one_lane(f, w, tokens):
    """What is selected may be lane 0 at all positions, and comes last, as the lane of a sum of one."""
    losses = []
    for token, target in pairs(tokens):
        x = w("row", 2, LANES)[token].tanh()
        y = f.linear(x, w("one", 1, LANES)) * 2.0
        w("other", 1, 9)
        losses.append(y[0] * 1.5 - x[:2][target].exp())
    return f.mean(losses)


def as_many_lanes(f, w, tokens):
    """Lane 0 comes last, as the lanes go down, of a linear that nothing is selected from."""
    losses = []
    for token, target in pairs(tokens):
        x = w("row", 2, LANES)[token].relu()
        y = x.sigmoid()
        all_of = f.linear(y, w("head", LANES, LANES)).sum() + (y * 2.0).exp().sum()
        losses.append(all_of + x[:2][target] * -1.0)
    return f.mean(losses)


def always_together(f, w, tokens, lanes, wide):
    """Two inputs as far apart as there are lanes to select."""
    losses = []
    for t in range(len(tokens) - lanes):
        y = f.linear(w("row", lanes, LANES)[tokens[t]].tanh(), w("head", wide, LANES))
        e = (y - y.largest()).exp()
        away = e[:lanes][tokens[t + lanes]] * -1.0
        p = e * e.sum() ** -1
        losses.append(-p[:lanes][tokens[t]].log() + away)
    return f.mean(losses)


def two_of_two(f, w, tokens):
    return always_together(f, w, tokens, 2, 4)


def two_of_four(f, w, tokens):
    return always_together(f, w, tokens, 4, 17)


def squares_of_two(f, w, tokens):
    """Of two lanes, which come first of all others one after the other."""
    losses = []
    for t in range(len(tokens) - 3):
        e = f.linear(w("row", 3, LANES)[tokens[t]].tanh(), w("head", 7, LANES)).exp()
        losses.append((e[:3][tokens[t + 3]] ** 2 + (-(e * e.sum() ** -1)[:3][tokens[t]].log())) + e.sum())
    return f.mean(losses)


def row_and_matrix(f, w, tokens):
    """A row is multiplied with all rows, itself among them: what is the same number now may be another."""
    losses = []
    for token, _ in pairs(tokens):
        wte = w("row", 2, LANES)
        losses.append(f.linear(wte[token], wte).sum() + (wte[token] + w("all", 1, LANES)[0]).tanh().sum())
    return f.mean(losses)


def numbers_beside(f, w, tokens):
    """A concatenation of what has no derivative."""
    losses = []
    for token, target in pairs(tokens):
        x = w("row", 2, LANES)[token].tanh()
        fixed = x.detach() * 0.5
        losses.append(f.surprisal(f.softmax(f.linear([fixed, x.detach()], w("head", 2, 2 * LANES)))[target]))
    return f.mean(losses)


def one_value_for_all_lanes(f, w, tokens):
    """Every lane of a sum over positions weighs the same lane of each."""
    values, losses = [], []
    for token, target in pairs(tokens):
        x = w("row", 2, LANES)[token].tanh()
        values.append(x)
        weights = f.attention_weights(x * 1.5, [v.sigmoid() for v in values], 1)
        y = f.sums(1, 3, len(values), View(weights, term=1), View(values, by_term=True))
        losses.append(f.surprisal(f.softmax(f.linear(y, w("head", 2, 3)))[target]))
    return f.mean(losses)


def one_lane_for_all_terms(f, w, tokens):
    """Every term of a sum multiplies the same lane of a position."""
    keys, losses = [], []
    for token, target in pairs(tokens):
        x = w("row", 2, LANES)[token].tanh()
        keys.append(w("key", 2, LANES)[target].tanh())
        losses.append(f.sums(1, len(keys), LANES, View(x, term=1), View(keys)).sum())
    return f.mean(losses)


MODELS = {
    one_lane: 2,
    as_many_lanes: 2,
    two_of_two: 2,
    two_of_four: 4,
    squares_of_two: 3,
    row_and_matrix: 2,
    numbers_beside: 2,
    one_value_for_all_lanes: 2,
    one_lane_for_all_terms: 2,
}
PLANNED = {one_lane, as_many_lanes, numbers_beside}


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_replays(model):
    rng = random.Random(model.__name__)
    vocab, length = MODELS[model], 8 if MODELS[model] == 2 else 7
    with Tape():
        vectors, scalars = both_weights(model, [0] * length)
        program = record(lambda *tokens: model(VECTORS, vectors, tokens), *(Index(0) for _ in range(length)))
        assert (program.why_not_planned is None) == (model in PLANNED)
        for _ in range(24):
            tokens = [rng.randrange(vocab) for _ in range(length)]
            expected = all_bits(loss_and_gradients(model, scalars, tokens))
            vectors.zero_grad()
            loss = program(*tokens)
            program.backward()
            assert all_bits([loss, *vectors.grad]) == expected, tokens


def beside_an_infinity(f, w, tokens):
    """The lanes that are not selected get no gradient, and are not to be multiplied with one of 0."""
    losses = []
    for token, target in pairs(tokens):
        x = w("row", 2, LANES)[token] * w("huge", 1, LANES)[0]
        losses.append(
            (x * (f.sums(1, 1, LANES, View(x, term=1), View(x, term=1)) + 1e-5)[0] ** -0.5)[:2][target] * -1.0
        )
    return f.mean(losses)


@pytest.mark.parametrize("batch_size", [1, 2, 9])
def test_a_number_that_is_not_finite(batch_size):
    """A document alone and several side by side: what is infinite touches what it touches in plain scalars."""
    config = Config(steps=1, block_size=5, batch_size=batch_size)
    documents = [[1, 0, 1, 1], [0, 0, 1, 0], [1, 1]]
    with Tape():
        vectors, scalars = both_weights(beside_an_infinity, documents[0])
        for w in (vectors, scalars):
            for row in (w("huge", 1, LANES)[0], *(w("row", 2, LANES)[token] for token in (0, 1))):
                lane = row[2]
                lane.data = 1e160
        fit = Model(
            lambda tokens: beside_an_infinity(VECTORS, vectors, tokens), list(vectors.matrices.values()), config
        )
        losses = [step.loss for step in train(fit, documents)]
        assert all_bits(losses) == all_bits(trained(beside_an_infinity, scalars, documents, config))
        assert 0 < [isfinite(x) for x in vectors.data].count(False) < 4
        assert all_bits(vectors.data) == all_bits([value.data for value in scalars.lanes])


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_trainings(model):
    """Of documents of two lengths, alone and side by side."""
    rng = random.Random(model.__name__)
    vocab, lengths = MODELS[model], (8, 6) if MODELS[model] == 2 else (7, 5)
    documents = [[rng.randrange(vocab) for _ in range(length)] for length in lengths * 2]
    for batch_size in (1, 3):
        config = Config(steps=4, block_size=lengths[0] - 1, batch_size=batch_size)
        with Tape():
            vectors, scalars = both_weights(model, documents[0])
            fit = Model(lambda tokens, w=vectors: model(VECTORS, w, tokens), list(vectors.matrices.values()), config)
            losses = [step.loss for step in train(fit, documents)]
            assert all_bits(losses) == all_bits(trained(model, scalars, documents, config))
            assert all_bits(vectors.data) == all_bits([value.data for value in scalars.lanes])
