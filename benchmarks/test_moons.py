"""A training step on two moons, as micrograd's demonstration takes it: 100 points, a network of 2, 16, 16 and 1 neurons
with relu, a loss of margins and of the size of the parameters; on the pure-Python class, on Value, and recorded once.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import pytest

from microgpt import Tape, Value, record
from tests import oracle
from tests.bits import all_bits


def moons() -> list[tuple[float, float, int]]:
    """50 points of a half circle, and 50 of another that hangs between its ends: x, y, and 1 or -1."""
    rng, points = random.Random(1), []
    for i in range(100):
        angle, label = math.pi * rng.random(), 1 if i % 2 else -1
        x, y = math.cos(angle), math.sin(angle)
        x, y = (x, y) if label > 0 else (1 - x, 0.5 - y)
        points.append((x + rng.gauss(0, 0.1), y + rng.gauss(0, 0.1), label))
    return points


class Moons:
    """The network on a class, its parameters drawn as micrograd draws them."""

    def __init__(self, value: Any) -> None:
        rng, sizes = random.Random(1337), [2, 16, 16, 1]
        self.layers = [
            [([value(rng.uniform(-1, 1)) for _ in range(n_in)], value(0.0)) for _ in range(n_out)]
            for n_in, n_out in zip(sizes, sizes[1:])  # noqa: RUF007 - as the program is written
        ]
        self.parameters = [p for layer in self.layers for w, b in layer for p in (*w, b)]
        self.points = moons()

    def score(self, x: Any) -> Any:
        for layer in self.layers:
            x = [sum((wi * xi for wi, xi in zip(w, x)), b) for w, b in layer]
            x = [n.relu() for n in x] if len(x) > 1 else x
        return x[0]

    def loss(self) -> Any:
        losses = [(1 + -label * self.score([x, y])).relu() for x, y, label in self.points]
        return sum(losses) * (1.0 / len(losses)) + 1e-4 * sum(p * p for p in self.parameters)

    def update(self) -> None:
        for p in self.parameters:
            p.data -= 0.1 * p.grad
            p.grad = 0.0

    def step(self) -> float:
        loss = self.loss()
        loss.backward()
        data: float = loss.data
        self.update()
        return data

    def recorded(self) -> Callable[[], float]:
        program = record(self.loss)

        def step() -> float:
            data: float = program()
            program.backward()
            self.update()
            return data

        return step


def test_moons_on_value(case: Any) -> None:
    with Tape():
        case(Moons(Value).step, 1, "training steps", Moons(oracle.Value).step, rounds=5, pairs=3)


def test_moons_recorded(case: Any) -> None:
    with Tape():
        case(Moons(Value).recorded(), 1, "training steps", Moons(oracle.Value).step, rounds=50, pairs=3)


@pytest.mark.parametrize("recorded", [False, True])
def test_moons_are_the_same(recorded: bool) -> None:
    """What is timed computes the same losses, bit for bit."""
    expected, found = Moons(oracle.Value), Moons(Value)
    step = found.recorded() if recorded else found.step
    assert all_bits(step() for _ in range(3)) == all_bits(expected.step() for _ in range(3))
