"""Prints, after pytest-benchmark's table, what each case means: its speed in its own unit, and how it compares.

The reference of a ratio is the oracle, the pure-Python `Value` of tests/; for the model in C by hand it is microgpt. It
is timed in turn with the case: only ratios of one run compare.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .machine import description

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # for tests.oracle and tests.program

_rows: list[tuple[str, float, str, float | None]] = []


def seconds(function: Callable[[], Any]) -> float:
    """The time of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


class Case:
    """One benchmark: times a function, and notes how many units of work a call does and how it compares to a reference.

    The ratio is the median over pairs of calls, the function's and the reference's in turn, so that a machine whose
    speed drifts slows both.
    """

    def __init__(self, benchmark: Any) -> None:
        self._benchmark = benchmark

    def __call__(
        self,
        function: Callable[[], Any],
        count: float,
        unit: str,
        reference: Callable[[], Any] | None = None,
        reference_count: float | None = None,
        rounds: int = 9,
        iterations: int = 1,
        pairs: int = 5,
    ) -> None:
        self._benchmark.pedantic(function, rounds=rounds, iterations=iterations, warmup_rounds=1)
        speed = count / self._benchmark.stats.stats.median
        ratio = None
        if reference is not None:
            share = count / (reference_count or count)  # the reference may do fewer units in a call
            ratio = share * statistics.median(1 / (seconds(function) / seconds(reference)) for _ in range(pairs))
        self.note(speed, unit, ratio)

    def once(self, function: Callable[[], Any], count: float, unit: str, rounds: int = 1) -> None:
        """For what is slow, or cannot be done twice: timed without a first call that does not count."""
        self._benchmark.pedantic(function, rounds=rounds, iterations=1)
        self.note(count / self._benchmark.stats.stats.median, unit)

    def note(self, speed: float, unit: str, ratio: float | None = None) -> None:
        """A row of the table."""
        self._benchmark.extra_info.update({f"{unit} a second": speed, "ratio to the reference": ratio})
        _rows.append((self._benchmark.name, speed, unit, ratio))

    def timed(self, function: Callable[[], Any]) -> None:
        """Times one call, and leaves it to `note` to say what it means."""
        self._benchmark.pedantic(function, rounds=1, iterations=1)


@pytest.fixture
def case(benchmark: Any) -> Case:
    return Case(benchmark)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if not _rows:
        return
    write = terminalreporter.write_line
    write("")
    for name, text in description().items():
        write(f"{name + ':':12}{text}")
    width = max(44, *(len(name) for name, *_ in _rows))
    write(f"{'case':{width}} {'speed':>14} {'':30} {'times the reference':>19}")
    for name, speed, unit, ratio in _rows:
        digits = 0 if speed >= 100 else 1 if speed >= 1 else 3
        write(
            f"{name:{width}} {speed:14,.{digits}f} {unit + ' a second':30} {'' if ratio is None else f'{ratio:19,.2f}'}"
        )


def pytest_benchmark_update_machine_info(config: Any, machine_info: dict[str, Any]) -> None:
    """What pytest-benchmark writes into its files."""
    machine_info["microgpt"] = description()
