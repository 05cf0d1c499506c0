"""What shows only in time, or in size: long runs by tenths, large models from a cold start, batches, threads."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from microgpt import Config, Tape, train
from tests.by_hand import TUNED, compiled, flattened

from .test_model import LARGE, WIDE, prepared, steps_of

NARROW = Config(block_size=8)
SLOWER = 1.15  # the most that a step of the last tenth may take, in steps of the second
SHORT = {"n_embd 16, exact": 20_000, "n_embd 16, fast": 50_000, "n_embd 64, fast": 3_000}
LONG = {"n_embd 16, exact": 100_000, "n_embd 16, fast": 200_000, "n_embd 64, fast": 10_000}


def tenths(config: Config, fast: bool) -> list[float]:
    """Seconds a step in each tenth of a run: the least of its pieces, which a machine's other work disturbs little."""
    piece = config.steps // 200
    model, _, documents, _ = prepared(config)
    training = train(model, documents, steps_per_call=piece, fast=fast)
    times = []
    for _ in range(200):
        start = time.perf_counter()
        for _ in range(piece):
            next(training)
        times.append((time.perf_counter() - start) / piece)
    return [min(times[i : i + 20]) for i in range(0, 200, 20)]


def by_tenths(case: Any, name: str, steps: int) -> None:
    found: list[float] = []
    config = replace(WIDE if "64" in name else NARROW, steps=steps)
    with Tape():
        case.timed(lambda: found.extend(tenths(config, "fast" in name)))
    case.note(1 / found[-1], "training steps", found[1] / found[-1])
    assert found[-1] <= SLOWER * found[1], f"seconds a step, by tenths of the run: {found}"


@pytest.mark.parametrize("name", SHORT)
def test_last_tenth(case: Any, name: str) -> None:
    """The last tenth of a run, and its speed in that of the second."""
    by_tenths(case, name, SHORT[name])


@pytest.mark.long
@pytest.mark.parametrize("name", LONG)
def test_last_tenth_of_a_long_run(case: Any, name: str) -> None:
    """The same, of runs in which whatever fades has faded."""
    by_tenths(case, name, LONG[name])


@pytest.mark.long
@pytest.mark.parametrize("fast", [False, True], ids=["exact", "fast"])
def test_cold_start(case: Any, fast: bool) -> None:
    """A large model from its parameters to its 300th step: recording, planning, proof and steps."""

    def run() -> None:
        with Tape():
            model, _, documents, _ = prepared(LARGE)
            for _ in train(model, documents, steps_per_call=None, fast=fast):
                pass

    case.once(run, 1, "runs", rounds=3)


@pytest.mark.parametrize("batch_size", [16, 32])
@pytest.mark.parametrize("fast", [False, True], ids=["exact", "fast"])
@pytest.mark.parametrize("config", [replace(NARROW, block_size=16), WIDE], ids=["n_embd 16", "n_embd 64"])
def test_batches(case: Any, tmp_path: Path, config: Config, fast: bool, batch_size: int) -> None:
    """Documents of batches; the reference is by_hand.c on float, tuned, one document a step."""
    library = compiled("by_hand", tmp_path, config.n_embd, config.block_size, ["-DREAL=float", *TUNED, "-ffast-math"])
    steps = 4_000 // config.n_embd
    with Tape():
        ours = steps_of(replace(config, batch_size=batch_size), steps, fast=fast)
        _, _, documents, _ = prepared(config)
        tokens, starts = flattened(documents)
        by_hand = partial(library.train, tokens, starts, len(documents), steps)
        case(ours, steps * batch_size, "documents", by_hand, steps, rounds=5, pairs=9)


@pytest.mark.parametrize("fast", [False, True], ids=["exact", "fast"])
@pytest.mark.parametrize("config", [NARROW, WIDE], ids=["n_embd 16", "n_embd 64"])
def test_two_threads(case: Any, config: Config, fast: bool) -> None:
    """Batches of 32 on two threads; the reference is one thread."""
    config, steps = replace(config, batch_size=32), 1_600 // config.n_embd

    def on(threads: int) -> Callable[[], None]:
        return steps_of(config, steps, fast=fast, threads=threads)

    with Tape():
        two = on(2)
        with Tape():
            case(two, steps * 32, "documents", on(1), rounds=5, pairs=9)
