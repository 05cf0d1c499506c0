"""The model's functions on vectors, each a few maps and sums; scalar.py has the same on lists of Values.

Each docstring is the Python that a function stands for, operation by operation: its numbers and gradients are those,
bit for bit. A function of your own is written in the same way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from .arguments import require
from .core import lib
from .errors import ShapeError
from .value import Value
from .vector import Matrix, Vector, View, expect, record_largest, record_map, record_sum


def matrix(w: Matrix) -> Matrix:
    """A parameter as `linear` takes it."""
    return w


def data(x: Vector) -> list[float]:
    """The numbers of all lanes."""
    return x.data


def add(a: Vector, b: Vector) -> Vector:
    """[ai + bi for ai, bi in zip(a, b)]."""
    return a + b


def divide(x: Vector, k: float) -> Vector:
    """[xi / k for xi in x]."""
    return x / k


def linear(x: Vector | Sequence[Vector], w: Matrix) -> Vector:
    """[sum(wi * xi for wi, xi in zip(row, x)) for row in w]: x of w.columns lanes to w.rows lanes.

    A list of vectors of one length is read one after the other, as if it were one vector. ShapeError where there
    are not as many lanes as columns.
    """
    parts = [x] if isinstance(x, Vector) else list(x)
    expect("linear", Vector, *parts)
    expect("linear", Matrix, w)
    if not parts or any(len(part) != len(parts[0]) for part in parts):
        raise ShapeError("linear: one vector, or a list of vectors of one length")
    if sum(map(len, parts)) != w.columns:
        raise ShapeError(f"linear: the matrix is {w.rows} by {w.columns}, but x has {sum(map(len, parts))} lanes")
    read = View(parts[0], term=1) if len(parts) == 1 else View(parts, term=1, by_term=True, block=len(parts[0]))
    return record_sum(1, w.rows, w.columns, View(w, lane=w.columns, term=1), read)


def _softmax(logits: Vector, groups: int, width: int) -> Vector:
    """softmax of each group of lanes."""
    largest = record_largest(groups, width, View(logits, group=width, term=1))
    less = record_map(lib.MG_ADD, groups, width, View(logits, group=width, lane=1), View(-largest, group=1))
    exps = less.exp()
    total = record_sum(groups, 1, width, View(exps, group=width, term=1))
    inverse = record_map(lib.MG_POW, groups, width, View(total, group=1), constant=-1.0)
    return exps * inverse


def softmax(logits: Vector) -> Vector:
    """Probabilities, as many as logits, with sum 1; no logit is too large for it.

    max_val = max(val.data for val in logits); exps = [(val - max_val).exp() for val in logits]; total = sum(exps);
    [e / total for e in exps].
    """
    expect("softmax", Vector, logits)
    return _softmax(logits, 1, len(logits))


def rmsnorm(x: Vector) -> Vector:
    """x as long as the root of its number of lanes: their squares have the mean 1 (Zhang and Sennrich, 2019).

    scale = (sum(xi * xi for xi in x) / len(x) + 1e-5) ** -0.5; [xi * scale for xi in x].
    """
    expect("rmsnorm", Vector, x)
    total = record_sum(1, 1, len(x), View(x, term=1), View(x, term=1))
    return x * ((total / len(x) + 1e-5) ** -0.5)[0]


def layernorm(x: Vector, gain: Vector, bias: Vector) -> Vector:
    """Mean 0 and variance 1, then a gain and a bias for each lane (Ba, Kiros and Hinton, 2016): three vectors of one
    length, otherwise ShapeError.

    mean = sum(x) / len(x); centred = [xi - mean for xi in x]; variance = sum(ci * ci for ci in centred) / len(x);
    scale = (variance + 1e-5) ** -0.5; [ci * scale * gi + bi for ci, gi, bi in zip(centred, gain, bias)].
    """
    expect("layernorm", Vector, x, gain, bias)
    mean = record_sum(1, 1, len(x), View(x, term=1)) / len(x)
    negative = record_map(lib.MG_MUL, 1, len(x), View(mean), constant=-1.0)
    centred = x + negative
    variance = record_sum(1, 1, len(x), View(centred, term=1), View(centred, term=1)) / len(x)
    return centred * ((variance + 1e-5) ** -0.5)[0] * gain + bias


def relu(x: Vector) -> Vector:
    """[xi.relu() for xi in x]."""
    expect("relu", Vector, x)
    return x.relu()


def relu_squared(x: Vector) -> Vector:
    """[xi.relu() ** 2 for xi in x] (So et al., 2021)."""
    expect("relu_squared", Vector, x)
    return x.relu() ** 2


def gelu(x: Vector) -> Vector:
    """[xi * 0.5 * (((xi + xi ** 3 * 0.044715) * math.sqrt(2 / math.pi)).tanh() + 1) for xi in x]: the form with tanh,
    as GPT-2 has it (Hendrycks and Gimpel, 2016)."""
    expect("gelu", Vector, x)
    return x * 0.5 * (((x + x**3 * 0.044715) * math.sqrt(2 / math.pi)).tanh() + 1)


def silu(x: Vector) -> Vector:
    """[xi * xi.sigmoid() for xi in x] (Elfwing et al., 2017)."""
    expect("silu", Vector, x)
    return x * x.sigmoid()


def attention(q: Vector, keys: Sequence[Vector], values: Sequence[Vector], n_head: int) -> Vector:
    """Multi-head attention of the query q to all keys, weighing all values; all have len(q) lanes, split into heads
    (Vaswani et al., 2017).

    For each head, with its slices of q, keys and values:
    logits = [sum(q[j] * k[j] for j in range(head_dim)) / head_dim ** 0.5 for k in keys]; weights = softmax(logits);
    [sum(weights[u] * values[u][j] for u in range(len(values))) for j in range(head_dim)].
    ShapeError where n_head does not divide len(q), or keys and values are not as many.
    """
    return weighed(attention_weights(q, keys, n_head), values, n_head)


def attention_weights(q: Vector, keys: Sequence[Vector], n_head: int) -> Vector:
    """The first half of attention: how much each head attends to each key, head after head, n_head * len(keys) lanes.

    For each head, with its slices of q and keys:
    softmax([sum(q[j] * k[j] for j in range(head_dim)) / head_dim ** 0.5 for k in keys]).
    """
    expect("attention", Vector, q, *keys)
    if n_head < 1 or len(q) % n_head:
        raise ShapeError(f"attention: {len(q)} lanes do not split into {n_head} heads")
    if not keys or any(len(k) != len(q) for k in keys):
        raise ShapeError("attention: at least one key, each as long as the query")
    size, n = len(q) // n_head, len(keys)
    logits = record_sum(n_head, n, size, View(q, group=size, term=1), View(keys, group=size, term=1)) / size**0.5
    return _softmax(logits, n_head, n)


def weighed(weights: Vector, values: Sequence[Vector], n_head: int) -> Vector:
    """The second half of attention: the values, each head's slice of them by its weights.

    For each head, with its weights and its slices of the values:
    [sum(weights[u] * values[u][j] for u in range(len(values))) for j in range(head_dim)].
    """
    expect("attention", Vector, weights, *values)
    n = len(values)
    if n_head < 1 or len(weights) != n_head * n or any(len(v) != len(values[0]) or len(v) % n_head for v in values):
        raise ShapeError("attention: a weight for each head and value, and values of one length that the heads split")
    size = len(values[0]) // n_head
    return record_sum(n_head, size, n, View(weights, group=n, term=1), View(values, group=size, lane=1, by_term=True))


def surprisal(p: Value) -> Value:
    """-p.log(), in nats; ValueError for a probability of 0."""
    require("the probability", p, Value)
    return -p.log()


def mean(losses: Sequence[Value]) -> Value:
    """(1 / n) * sum(losses), n their number; ShapeError for none."""
    if not losses:
        raise ShapeError("mean: of at least one value")
    for loss in losses:
        require("each of what mean() takes", loss, Value)
    return (1 / len(losses)) * record_sum(1, 1, len(losses), View(losses, by_term=True))[0]
