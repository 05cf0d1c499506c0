"""Record and replay: a function is called once, and then computed again and again in C, with the same bits.

python examples/record_and_replay.py [STEPS]

Goes down Rosenbrock's valley, a steep one with a flat bottom, by its gradient: once with the function called anew in
every step, and once with a program that was recorded from it. Prints where both arrive, that the two places are the
same to the last bit, and how much longer the first took.
"""

import sys
import time
from collections.abc import Callable

from microgpt import Value, record


def valley(x: Value, y: Value) -> Value:
    """Rosenbrock's function; its lowest place is (1, 1)."""
    return (1 - x) ** 2 + 100 * (y - x**2) ** 2


def descend(gradient: Callable[[float, float], tuple[float, float]], steps: int) -> tuple[float, float]:
    x, y = -1.0, 1.5
    for _ in range(steps):
        dx, dy = gradient(x, y)
        x, y = x - 0.002 * dx, y - 0.002 * dy
    return x, y


def anew(x: float, y: float) -> tuple[float, float]:
    a, b = Value(x), Value(y)
    valley(a, b).backward()
    return a.grad, b.grad


program = record(valley, -1.0, 1.5)
first, second = program.inputs


def replayed(x: float, y: float) -> tuple[float, float]:
    program(x, y)
    program.backward()
    return first.grad, second.grad


def main(steps: int) -> bool:
    started = time.perf_counter()
    slow = descend(anew, steps)
    between = time.perf_counter()
    fast = descend(replayed, steps)
    ratio = (between - started) / (time.perf_counter() - between)
    print(f"called anew  {slow}\nreplayed     {fast}\nthe same: {slow == fast}; calling took {ratio:.1f} times as long")
    return slow == fast


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
