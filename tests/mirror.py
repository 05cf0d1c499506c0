"""Vectors, matrices and the functions on them, in plain scalars of the oracle: a model that is written once, for
either, is compared with itself.

A model is `model(f, w, tokens)`: `f` is VECTORS or SCALARS, `w(name, rows, columns)` a matrix, made when first asked
for, and `tokens` integers, or Indices while it is recorded.
"""

from __future__ import annotations

import math
import random
from types import SimpleNamespace

from microgpt import Index, Matrix, Tape, Vector, functions, record
from microgpt.core import lib
from microgpt.vector import record_largest, record_map, record_sum

from . import oracle
from . import program as plainly
from .bits import all_bits


class Row(list):
    """As a Vector: operators work lane by lane."""

    def _with(self, other, operation):
        return Row(map(operation, self, other) if isinstance(other, Row) else (operation(a, other) for a in self))

    def __getitem__(self, index):
        return Row(super().__getitem__(index)) if isinstance(index, slice) else super().__getitem__(index)

    def __add__(self, other):
        return self._with(other, lambda a, b: a + b)

    def __mul__(self, other):
        return self._with(other, lambda a, b: a * b)

    __radd__, __rmul__ = __add__, __mul__

    def __neg__(self):
        return self * -1

    def __sub__(self, other):
        return self + -other

    def __rsub__(self, k):
        return k + -self

    def __truediv__(self, other):
        return self * other**-1

    def __rtruediv__(self, k):
        return k * self**-1

    def __pow__(self, k):
        return Row(a**k for a in self)

    def __getattr__(self, name):
        if name not in oracle.UNARY:
            raise AttributeError(name)
        return lambda: Row(getattr(a, name)() for a in self)

    def sum(self):
        return sum(self)

    def mean(self):
        return sum(self) / len(self)

    def largest(self):
        return oracle.Value(max(a.data for a in self))

    def detach(self):
        return Row(oracle.Value(a.data) for a in self)


class Rows:
    """As a Matrix."""

    def __init__(self, rows, columns, numbers):
        self.lanes = [oracle.Value(x) for x in numbers]
        self._rows = [Row(self.lanes[i * columns : (i + 1) * columns]) for i in range(rows)]

    def __getitem__(self, i):
        return self._rows[i]

    def __len__(self):
        return len(self._rows)


def lane(of, g, i, c):
    """What a View says in its docstring."""
    x, at = of.x, g * of.group
    if isinstance(x, (Row, Rows, oracle.Value)):
        at += i * of.lane + c * of.term
    elif of.by_term:
        x, at = x[c // of.block], at + i * of.lane + c % of.block * of.term
    else:
        x, at = x[i // of.block], at + i % of.block * of.lane + c * of.term
    return x if isinstance(x, oracle.Value) else (x.lanes if isinstance(x, Rows) else x)[at + of.start]


def sums(groups, width, terms, a, b=None):
    def term(g, i, c):
        return lane(a, g, i, c) if b is None else lane(a, g, i, c) * lane(b, g, i, c)

    return Row(sum(term(g, i, c) for c in range(terms)) for g in range(groups) for i in range(width))


BINARY = {
    lib.MG_ADD: lambda a, b: a + b,
    lib.MG_MUL: lambda a, b: a * b,
    lib.MG_POW: lambda a, b: a**b,
    lib.MG_POWER: lambda a, b: a**b,
    lib.MG_MAX: lambda a, b: a.max(b),
    lib.MG_MIN: lambda a, b: a.min(b),
}


def maps(operation, groups, width, a, b=None, constant=0.0):
    places = [(g, i, 0) for g in range(groups) for i in range(width)]
    return Row(BINARY[operation](lane(a, *p), constant if b is None else lane(b, *p)) for p in places)


def attention_weights(q, keys, n_head):
    size, out = len(q) // n_head, Row()
    for first in range(0, len(q), size):
        head = range(first, first + size)
        out += plainly.softmax([sum(q[j] * k[j] for j in head) / size**0.5 for k in keys])
    return out


def weighed(weights, values, n_head):
    n, size = len(values), len(values[0]) // n_head
    return Row(
        sum(weights[h * n + u] * values[u][h * size + j] for u in range(n)) for h in range(n_head) for j in range(size)
    )


def layernorm(x, gain, bias):
    centred = x - sum(x) / len(x)
    scale = (sum(ci * ci for ci in centred) / len(x) + 1e-5) ** -0.5
    return centred * scale * gain + bias


SCALARS = SimpleNamespace(
    linear=lambda x, w: Row(plainly.linear(x if isinstance(x, Row) else [xi for part in x for xi in part], w)),
    softmax=lambda x: Row(plainly.softmax(x)),
    rmsnorm=lambda x: Row(plainly.rmsnorm(x)),
    layernorm=layernorm,
    gelu=lambda x: x * 0.5 * (((x + x**3 * 0.044715) * math.sqrt(2 / math.pi)).tanh() + 1),
    silu=lambda x: x * x.sigmoid(),
    attention=lambda q, keys, values, n_head: Row(plainly.attention(q, keys, values, n_head)),
    attention_weights=attention_weights,
    weighed=weighed,
    surprisal=lambda p: -p.log(),
    mean=lambda losses: (1 / len(losses)) * sum(losses),
    map=lambda name, x: getattr(x, name)(),
    maps=maps,
    sums=sums,
    largest=lambda groups, terms, a: Row(
        oracle.Value(max(lane(a, g, 0, c).data for c in range(terms))) for g in range(groups)
    ),
    vector=lambda numbers: Row(map(oracle.Value, numbers)),
)
VECTORS = SimpleNamespace(  # functions of these names, and besides them
    **{name: getattr(functions, name) for name in vars(SCALARS) if hasattr(functions, name)},
    map=lambda name, x: x.map(getattr(lib, "MG_" + name.upper())),
    maps=record_map,
    sums=record_sum,
    largest=record_largest,
    vector=Vector,
)


def ordinary(rng):
    return rng.gauss(0, 0.5)


class Weights:
    """The matrices of a model by name, with the same numbers of either kind."""

    def __init__(self, kind, seed=1, draw=ordinary):
        self.kind, self.seed, self.draw, self.matrices = kind, seed, draw, {}

    def __call__(self, name, rows, columns):
        if name not in self.matrices:
            rng = random.Random(f"{self.seed}{name}")
            self.matrices[name] = self.kind(rows, columns, [self.draw(rng) for _ in range(rows * columns)])
        return self.matrices[name]

    def zero_grad(self):
        for matrix in self.matrices.values():
            matrix.zero_grad()

    @property
    def data(self):
        return [x for matrix in self.matrices.values() for x in matrix.data]

    @property
    def grad(self):
        return [x for matrix in self.matrices.values() for x in matrix.grad]

    @property
    def lanes(self):
        return [value for matrix in self.matrices.values() for value in matrix.lanes]


def both_weights(model, tokens, seed=1, draw=ordinary):
    """On the tape, and plain; all matrices that the model has."""
    vectors, scalars = Weights(Matrix, seed, draw), Weights(Rows, seed, draw)
    model(VECTORS, vectors, tokens)
    model(SCALARS, scalars, tokens)
    return vectors, scalars


def loss_and_gradients(model, scalars, tokens):
    """In plain scalars."""
    for value in scalars.lanes:
        value.grad = 0.0
    with plainly.uncollected():
        loss = model(SCALARS, scalars, tokens)
        loss.backward()
    return [loss.data, *(value.grad for value in scalars.lanes)]


def check_replays(model, inputs, draws):
    """Are replays of the model, of so many inputs, plain scalars for every list of values? Why it has no plan."""
    with Tape():
        vectors, scalars = both_weights(model, [0] * inputs)
        program = record(lambda *tokens: model(VECTORS, vectors, tokens), *(Index(0) for _ in range(inputs)))
        for tokens in draws:
            expected = all_bits(loss_and_gradients(model, scalars, tokens))
            vectors.zero_grad()
            loss = program(*tokens)
            program.backward()
            assert all_bits([loss, *vectors.grad]) == expected, (tokens, program.why_not_planned)
        return program.why_not_planned


def trained(model, scalars, documents, config):
    """The losses of a training in plain scalars, which changes them."""
    lanes, losses = scalars.lanes, []
    m, v = [0.0] * len(lanes), [0.0] * len(lanes)
    for step in range(config.steps):
        total, sums = 0.0, [0.0] * len(lanes)
        for n in range(step * config.batch_size, (step + 1) * config.batch_size):
            document = documents[n % len(documents)][: config.block_size + 1]
            loss, *gradients = loss_and_gradients(model, scalars, document)
            total += loss
            sums = gradients if config.batch_size == 1 else [a + b for a, b in zip(sums, gradients)]
        for value, gradient in zip(lanes, sums):
            value.grad = gradient if config.batch_size == 1 else gradient * (1 / config.batch_size)
        losses.append(total * (1 / config.batch_size))
        plainly.update(config, lanes, m, v, step)
    return losses
