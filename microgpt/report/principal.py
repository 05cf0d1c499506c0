"""A table of vectors in two dimensions: its principal components, by orthogonal iteration, in plain Python."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import mul

ROUNDS, SMALL, HUGE = 500, 1e-12, 1e300
Numbers = list[float]


@dataclass(frozen=True, slots=True)
class Plane:
    """Where each row lies, and the share of the rows' variance along either axis."""

    points: list[tuple[float, float]]
    shares: tuple[float, float]


def principal_plane(rows: Sequence[Sequence[float]]) -> Plane:
    """The rows, seen on the plane in which they differ most. The same rows give the same plane: the iteration starts
    from fixed vectors, and the largest part of each axis is positive."""
    count, width = len(rows), len(rows[0])
    scale = max(abs(x) for row in rows for x in row) or 1.0  # neither large nor tiny numbers trouble the squares below
    rows = [[x / scale for x in row] for row in rows]
    means = [math.fsum(row[j] for row in rows) / count for j in range(width)]
    centred = [[x - mean for x, mean in zip(row, means)] for row in rows]
    total = math.fsum(x * x for row in centred for x in row)
    if total == 0:
        return Plane([(0.0, 0.0)] * count, (0.0, 0.0))
    times_covariance = _covariance(centred)
    axes = [_unit([((i + 1) * step % 101 - 50) / 50 for i in range(width)]) for step in (37, 61)]
    for _ in range(ROUNDS):
        before, axes = axes, _turned(axes, times_covariance)
        if all(abs(x - y) < SMALL for a, b in zip(before, axes) for x, y in zip(a, b)):
            break
    axes = [[-x for x in axis] if max(axis, key=abs, default=0.0) < 0 else axis for axis in axes]
    places = [(_dot(row, axes[0]), _dot(row, axes[1])) for row in centred]
    shares = math.fsum(x * x for x, _ in places) / total, math.fsum(y * y for _, y in places) / total
    scale = scale if scale < HUGE else 1.0  # where a point would not fit into a float
    return Plane([(x * scale, y * scale) for x, y in places], shares)


def _covariance(rows: Sequence[Numbers]) -> Callable[[Numbers], Numbers]:
    """How a vector is multiplied by the covariance of the rows: through the matrix, or where that is larger than the
    rows, through them."""
    columns = [list(column) for column in zip(*rows)]
    if len(columns) > len(rows):

        def through_rows(axis: Numbers) -> Numbers:
            along = [_dot(row, axis) for row in rows]
            return [_dot(column, along) for column in columns]

        return through_rows
    square = [[_dot(a, b) for b in columns] for a in columns]
    return lambda axis: [_dot(row, axis) for row in square]


def _turned(axes: Sequence[Numbers], times_covariance: Callable[[Numbers], Numbers]) -> list[Numbers]:
    """Each axis times the covariance, at right angles to the ones before."""
    found: list[Numbers] = []
    for axis in axes:
        turned = times_covariance(axis)
        for other in found:
            along = _dot(turned, other)
            turned = [t - along * x for t, x in zip(turned, other)]
        found.append(_unit(turned))
    return found


def _dot(a: Sequence[float], b: Sequence[float]) -> float:
    total: float = sum(map(mul, a, b))
    return total


def _unit(vector: Numbers) -> Numbers:
    """Of length 1; a vector that is nothing but rounding is 0."""
    length = math.sqrt(_dot(vector, vector))
    return [x / length for x in vector] if length > 1e-14 else [0.0] * len(vector)
