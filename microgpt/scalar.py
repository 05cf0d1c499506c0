"""The model's functions on lists of scalar Values, as the course writes them: slow, plain, and the same bits.

`--engine eager` runs on these, to verify functions.py, whose functions have the same names.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .value import Value

Lanes = Sequence[Value]


def matrix(w: Iterable[Iterable[Value]]) -> list[list[Value]]:
    return [list(row) for row in w]


def data(x: Lanes) -> list[float]:
    return [xi.data for xi in x]


def add(a: Lanes, b: Lanes) -> list[Value]:
    return [ai + bi for ai, bi in zip(a, b)]


def divide(x: Lanes, k: float) -> list[Value]:
    return [xi / k for xi in x]


def linear(x: Lanes, w: Sequence[Lanes]) -> list[Value]:
    return [_sum([wi * xi for wi, xi in zip(row, x)]) for row in w]


def softmax(logits: Lanes) -> list[Value]:
    max_val = max(val.data for val in logits)
    exps = [(val - max_val).exp() for val in logits]
    total = _sum(exps)
    return [e / total for e in exps]


def rmsnorm(x: Lanes) -> list[Value]:
    ms = _sum([xi * xi for xi in x]) / len(x)
    scale = (ms + 1e-5) ** -0.5
    return [xi * scale for xi in x]


def relu(x: Lanes) -> list[Value]:
    return [xi.relu() for xi in x]


def relu_squared(x: Lanes) -> list[Value]:
    return [xi.relu() ** 2 for xi in x]


def attention(q: Lanes, keys: Sequence[Lanes], values: Sequence[Lanes], n_head: int) -> list[Value]:
    head_dim = len(q) // n_head
    x_attn: list[Value] = []
    for hs in range(0, len(q), head_dim):
        q_h = q[hs : hs + head_dim]
        k_h = [k[hs : hs + head_dim] for k in keys]
        v_h = [v[hs : hs + head_dim] for v in values]
        attn_logits = [_sum([q_h[j] * k[j] for j in range(head_dim)]) / head_dim**0.5 for k in k_h]
        attn_weights = softmax(attn_logits)
        x_attn += [_sum([w * v[j] for w, v in zip(attn_weights, v_h)]) for j in range(head_dim)]
    return x_attn


def surprisal(p: Value) -> Value:
    return -p.log()


def mean(losses: Sequence[Value]) -> Value:
    return (1 / len(losses)) * _sum(losses)


def _sum(values: Sequence[Value]) -> Value:
    """Python's sum, typed: starts from 0, and is never empty here."""
    total = sum(values)
    assert isinstance(total, Value)
    return total
