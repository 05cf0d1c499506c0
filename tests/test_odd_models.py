"""Models that are in no course: recorded, replayed and trained, with the bits of the same model in plain scalars."""

from __future__ import annotations

import random
from itertools import pairwise
from types import SimpleNamespace

import pytest

from microgpt import Config, Index, Matrix, Model, Tape, Vector, functions, record, train

from . import oracle
from . import program as plainly
from .bits import all_bits

VOCAB, EMBD, LONGEST = 5, 4, 9

# The same functions on Vectors and on lists of the oracle's Values.
VECTORS = SimpleNamespace(
    linear=functions.linear,
    softmax=functions.softmax,
    rmsnorm=functions.rmsnorm,
    relu=functions.relu,
    attention=functions.attention,
    surprisal=functions.surprisal,
    mean=functions.mean,
    add=lambda a, b: a + b,
    mul=lambda a, b: a * b,
    times=lambda a, lane: a * lane,
    sigmoid=Vector.sigmoid,
    tanh=Vector.tanh,
    joined=lambda *parts: list(parts),  # which linear takes as one vector
)
SCALARS = SimpleNamespace(
    linear=plainly.linear,
    softmax=plainly.softmax,
    rmsnorm=plainly.rmsnorm,
    relu=lambda x: [xi.relu() for xi in x],
    attention=plainly.attention,
    surprisal=lambda p: -p.log(),
    mean=lambda losses: (1 / len(losses)) * sum(losses),
    add=lambda a, b: [x + y for x, y in zip(a, b)],
    mul=lambda a, b: [x * y for x, y in zip(a, b)],
    times=lambda a, lane: [x * lane for x in a],
    sigmoid=lambda x: [xi.sigmoid() for xi in x],
    tanh=lambda x: [xi.tanh() for xi in x],
    joined=lambda *parts: [xi for part in parts for xi in part],
)
SHAPES = {
    "wte": (VOCAB, EMBD),
    "wpe": (LONGEST, EMBD),
    "head": (VOCAB, EMBD),
    "q1": (EMBD, EMBD),
    "k1": (EMBD, EMBD),
    "v1": (EMBD, EMBD),
    "q2": (EMBD, EMBD),
    "k2": (EMBD, EMBD),
    "v2": (EMBD, EMBD),
    "wo": (EMBD, 8),
    "square": (EMBD, EMBD),
    "other": (EMBD, EMBD),
    "third": (EMBD, EMBD),
    "wide": (7, EMBD),
    "gate": (7, EMBD),
    "narrow": (EMBD, 7),
    "pair": (EMBD, 2 * EMBD),
    "pad": (1, EMBD),
    "half": (EMBD, 2),
}


def loss_of(f, logits, target):
    return f.surprisal(f.softmax(logits)[target])


def heads_of_two_sizes(f, w, tokens):
    """One head of four lanes, beside two of two."""
    keys, values, losses = ([], []), ([], []), []
    for t, (token, target) in enumerate(pairwise(tokens)):
        x = f.add(w["wte"][token], w["wpe"][t])
        parts = []
        for n, (name, count) in enumerate((("1", 1), ("2", 2))):
            keys[n].append(f.linear(x, w["k" + name]))
            values[n].append(f.linear(x, w["v" + name]))
            parts.append(f.attention(f.linear(x, w["q" + name]), keys[n], values[n], count))
        x = f.add(f.linear(f.joined(*parts), w["wo"]), x)
        losses.append(loss_of(f, f.linear(x, w["head"]), target))
    return f.mean(losses)


def gated(f, w, tokens):
    """An MLP of which one half opens the other, lane by lane."""
    losses = []
    for token, target in pairwise(tokens):
        x = w["wte"][token]
        hidden = f.mul(f.sigmoid(f.linear(x, w["gate"])), f.linear(x, w["wide"]))
        x = f.add(x, f.linear(f.mul(hidden, hidden), w["narrow"]))
        losses.append(loss_of(f, f.linear(f.rmsnorm(x), w["head"]), target))
    return f.mean(losses)


def convolution(f, w, tokens):
    """Each position reads its token and the one before it, with weights of their own, in two layers."""
    losses, before, below = [], w["pad"][0], None
    for token, target in pairwise(tokens):
        now = w["wte"][token]
        x = f.tanh(f.add(f.linear(now, w["square"]), f.linear(before, w["other"])))
        x = f.tanh(f.linear(f.joined(x, x if below is None else below), w["pair"]))
        losses.append(loss_of(f, f.linear(x, w["head"]), target))
        before, below = now, x
    return f.mean(losses)


def two_tokens(f, w, tokens):
    """As a convolution of one layer: the token before is an input of its own, and the first comes twice."""
    losses = []
    for before, (token, target) in zip([tokens[0], *tokens], pairwise(tokens)):
        x = f.tanh(f.add(f.linear(w["wte"][token], w["square"]), f.linear(w["wte"][before], w["other"])))
        losses.append(loss_of(f, f.linear(x, w["head"]), target))
    return f.mean(losses)


def one_layer_twice(f, w, tokens):
    """Both layers have the same weights, so that these get their gradients from two depths."""
    keys, values, losses = ([], []), ([], []), []
    for t, (token, target) in enumerate(pairwise(tokens)):
        x = f.add(w["wte"][token], w["wpe"][t])
        for depth in range(2):
            before = x
            x = f.rmsnorm(x)
            keys[depth].append(f.linear(x, w["square"]))
            values[depth].append(f.linear(x, w["other"]))
            x = f.add(f.attention(f.linear(x, w["third"]), keys[depth], values[depth], 2), before)
            x = f.add(f.linear(f.relu(f.linear(f.rmsnorm(x), w["wide"])), w["narrow"]), x)
        losses.append(loss_of(f, f.linear(x, w["head"]), target))
    return f.mean(losses)


def one_matrix(f, w, tokens):
    """Queries, keys, values and what follows them all have one matrix, and the embedding is the output's too."""
    keys, values, losses = [], [], []
    for token, target in pairwise(tokens):
        x = f.linear(w["wte"][token], w["square"])
        keys.append(f.linear(x, w["square"]))
        values.append(f.linear(keys[-1], w["square"]))
        x = f.linear(f.attention(f.linear(x, w["square"]), keys, values, 1), w["square"])
        losses.append(loss_of(f, f.linear(x, w["wte"]), target))
    return f.mean(losses)


def parts_of_a_row(f, w, tokens):
    """The halves of a token's row, and one lane of it, each by itself."""
    losses = []
    for token, target in pairwise(tokens):
        x = f.tanh(f.linear(f.add(w["wte"][token][:2], w["wte"][token][2:]), w["half"]))
        losses.append(loss_of(f, f.linear(f.times(x, w["wte"][token][1]), w["head"]), target))
    return f.mean(losses)


def lanes_one_by_one(f, w, tokens):
    """What is looped over in Python is recorded lane by lane."""
    losses = []
    for token, target in pairwise(tokens):
        row = w["wte"][token]
        dots = [sum(a * b for a, b in zip(row, other)) for other in w["square"]]
        losses.append(loss_of(f, f.linear(f.times(w["wpe"][0], dots[0] * dots[1] + dots[2]), w["head"]), target))
    return f.mean(losses)


# Each with the reason why its statements are replayed one by one, where they are.
MODELS = {
    heads_of_two_sizes: None,
    gated: "added in another order than the sweep's",
    convolution: "reads what another position computed",
    two_tokens: "added in another order than the sweep's",
    one_layer_twice: None,
    parts_of_a_row: None,
    lanes_one_by_one: None,
    one_matrix: "takes the lanes of two statements in turn",
}


class Plain:
    """The parameters of a model, with the same numbers as matrices on a tape and as the oracle's scalars."""

    def __init__(self, seed):
        rng = random.Random(seed)
        self.matrices, self.scalars = {}, {}
        for name, (rows, columns) in SHAPES.items():
            numbers = [rng.gauss(0, 0.5) for _ in range(rows * columns)]
            self.matrices[name] = Matrix(rows, columns, numbers)
            values = [oracle.Value(x) for x in numbers]
            self.scalars[name] = [values[i : i + columns] for i in range(0, len(values), columns)]

    def used(self, model):
        """Names of the matrices that the model reads."""
        names = set()

        class Noting(dict):
            def __getitem__(self, name):
                names.add(name)
                return super().__getitem__(name)

        model(VECTORS, Noting(self.matrices), [0, 1, 2])
        return [name for name in SHAPES if name in names]

    def lanes(self, names):
        return [value for name in names for row in self.scalars[name] for value in row]


def expected_of(model, plain, names, tokens):
    """The loss and all gradients, in plain scalars."""
    for value in plain.lanes(names):
        value.grad = 0.0
    loss = model(SCALARS, plain.scalars, tokens)
    loss.backward()
    return [loss.data, *(value.grad for value in plain.lanes(names))]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
@pytest.mark.parametrize("length", [2, 3, 7, 10])
def test_replays_are_plain_scalars(model, length):
    rng = random.Random(length)
    with Tape():
        plain = Plain(3)
        names = plain.used(model)
        program = record(lambda *tokens: model(VECTORS, plain.matrices, tokens), *(Index(0) for _ in range(length)))
        if length > 3:
            reason = program.why_not_planned
            assert reason is None if MODELS[model] is None else reason is not None and MODELS[model] in reason, reason
        for _ in range(3):
            tokens = [rng.randrange(VOCAB) for _ in range(length)]
            for name in names:
                plain.matrices[name].zero_grad()
            loss = program(*tokens)
            program.backward()
            found = [loss, *(g for name in names for g in plain.matrices[name].grad)]
            assert all_bits(found) == all_bits(expected_of(model, plain, names, tokens))


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_training_is_plain_scalars(model, batch_size):
    rng = random.Random(8)
    documents = [[rng.randrange(VOCAB) for _ in range(rng.randrange(2, LONGEST))] for _ in range(7)]
    config = Config(steps=8, batch_size=batch_size)
    with Tape():
        plain = Plain(4)
        names = plain.used(model)
        trained = Model(lambda t: model(VECTORS, plain.matrices, t), [plain.matrices[n] for n in names], config)
        losses = [step.loss for step in train(trained, documents)]
        found = [x for name in names for x in plain.matrices[name].data]
    lanes, expected = plain.lanes(names), []
    m, v = [0.0] * len(lanes), [0.0] * len(lanes)
    for step in range(config.steps):
        total, gradients = 0, [0.0] * len(lanes)
        for n in range(batch_size):
            document = documents[(step * batch_size + n) % len(documents)]
            loss, *grads = expected_of(model, plain, names, document)
            total += loss
            gradients = grads if batch_size == 1 else [a + b for a, b in zip(gradients, grads)]
        for value, gradient in zip(lanes, gradients):
            value.grad = gradient if batch_size == 1 else gradient * (1 / batch_size)
        expected.append(total * (1 / batch_size))
        plainly.adam(config, lanes, m, v, step)
    assert all_bits(losses) == all_bits(expected)
    assert all_bits(found) == all_bits(value.data for value in lanes)
