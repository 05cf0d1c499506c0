"""What a step costs on several ranks: computing, waiting for the slowest, and the exchange, with its bytes.

    mpiexec -n 2 python benchmarks/ranks.py [n_embd ...]
    python benchmarks/ranks.py model

Each rank asks all others to meet before an exchange begins, so that waiting is not counted as exchange; computing is
counted in the processor's time. All are the least of 100 steps, each by itself, which is what a machine shared with
others gives best. The bytes that were sent are compared with the formula of docs/design.md, "Past one machine". `make
ranks` runs it with 1 to 4 ranks. With `model` it prints what that section's formula gives for more ranks.
"""

from __future__ import annotations

import math
import random
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from mpi4py import MPI

from microgpt import GPT, PRESETS, Tokenizer, Training, embedded_names, initial_parameters

BATCH, STEPS = 64, 100
SIZES = {"d": 8, "f": 4}


class Measured:
    """A communicator that counts what is sent, and how long that takes; the first rank's numbers are printed."""

    def __init__(self, comm: Any) -> None:
        self.comm, self.waiting, self.exchange, self.processor, self.sent = comm, 0.0, 0.0, 0.0, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.comm, name)

    def _timed(self, exchange: Callable[[], None]) -> None:
        began, spent = time.perf_counter(), time.thread_time()
        self.comm.Barrier()
        met = time.perf_counter()
        exchange()
        self.waiting += met - began
        self.exchange += time.perf_counter() - met
        self.processor += time.thread_time() - spent

    def Alltoallv(self, sent: Any, received: Any) -> None:
        self._timed(lambda: self.comm.Alltoallv(sent, received))
        self.sent += (sum(sent[1]) - sent[1][self.comm.rank]) * SIZES[sent[3]]

    def Allgatherv(self, sent: Any, received: Any) -> None:
        self._timed(lambda: self.comm.Allgatherv(sent, received))
        self.sent += sent[1] * (self.comm.size - 1) * SIZES[sent[2]]

    def Iallgatherv(self, sent: Any, received: Any) -> Any:
        self.sent += sent[1] * (self.comm.size - 1) * 8
        return self.comm.Iallgatherv(sent, received)


def expected(parameters: int, number: int, ranks: int, mine: int) -> int:
    """The bytes that a rank sends in a step: rows to their owners, its sums to all, and so its losses."""
    own = -(-parameters // ranks)
    return mine * (parameters - own) * number + own * (ranks - 1) * number + (mine + 2) * 8 * (ranks - 1)


def measure(n_embd: int, fast: bool) -> None:
    """Print a row."""
    world = MPI.COMM_WORLD
    config = replace(PRESETS["course"], n_embd=n_embd, block_size=16, batch_size=BATCH, steps=1000)
    names = embedded_names()[:4096]
    tokenizer = Tokenizer(names)
    model = GPT(config, initial_parameters(config, tokenizer.vocab_size, random.Random(1)))
    comm = Measured(world)
    training = Training(
        model, [tokenizer.encode(name) for name in names], fast=fast, comm=comm if world.size > 1 else None
    )
    rows = []
    for step in range(1, STEPS + 1):
        before = comm.waiting, comm.exchange, comm.processor, comm.sent
        world.Barrier()
        started, spent = time.perf_counter(), time.thread_time()
        list(training.steps(stop=step))
        whole, processor = time.perf_counter() - started, time.thread_time() - spent
        now = comm.waiting, comm.exchange, comm.processor, comm.sent
        waiting, exchange, processor_there, sent = (after - then for after, then in zip(now, before))
        rows.append((whole, processor - processor_there, waiting, exchange, sent))
    if world.rank == 0:
        whole, compute, waiting, exchange = (1e6 * min(row[i] for row in rows) for i in range(4))
        parameters = sum(w.rows * w.columns for w in model.state_dict.values())
        sent = rows[-1][4]
        possible = [expected(parameters, 4 if fast else 8, world.size, mine) for mine in range(BATCH + 1)]
        assert world.size == 1 or sent in possible, (sent, parameters)
        mode = "fast" if fast else "exact"
        times = f"{whole:9.0f} | {compute:7.0f} | {waiting:7.0f} | {exchange:8.0f}"
        print(
            f"{world.size:5d} | {n_embd:6d} | {mode:5s} | {parameters:10,d} | {times} | {sent / 1e6:7.3f}", flush=True
        )


# Parameters, bytes of one, seconds a document, and seconds of the optimizer: n_embd 64 as measured (see the docs), and
# n_embd 256 with 4 layers and documents of 64 tokens, at the same speed an operation.
MODELS = {
    "53,632 parameters, 8 tokens": (53_632, 8, 98e-6, 0.19e-3),
    "3,175,936 parameters, 64 tokens": (3_175_936, 8, 50e-3, 11e-3),
}
NETWORKS = {"10 Gbit/s, 30 us": (1.2e9, 30e-6), "100 Gbit/s, 2 us": (12e9, 2e-6)}  # bytes a second; latency
WRITTEN, ADDED = 7e9, 14e9  # bytes of rows a second that a rank writes, and adds up


def predicted(ranks: int, batch: int, model: tuple[int, int, float, float], network: tuple[float, float]) -> float:
    """The seconds of a step, by the formula of the docs."""
    parameters, number, document, optimizer = model
    speed, latency = network
    row, mine = parameters * number, -(-batch // ranks)
    if ranks == 1:
        return batch * document + optimizer
    computing = mine * (document + row / WRITTEN) + batch * row / ranks / ADDED + optimizer
    messages = (ranks - 1) + 2 * math.ceil(math.log2(ranks))
    return computing + (1 - 1 / ranks) * row * (mine + 1) / speed + messages * latency


def tabulate(batch: int = 1024) -> None:
    """How many times as fast as one rank."""
    counts = [2, 4, 16, 64, 256, 1024]
    print("model, network | " + " | ".join(map(str, counts)))
    for name, model in MODELS.items():
        alone = predicted(1, batch, model, (1, 0))
        for network, numbers in NETWORKS.items():
            times = [f"{alone / predicted(ranks, batch, model, numbers):.1f}" for ranks in counts]
            print(f"{name}, {network} | " + " | ".join(times))


def main() -> None:
    """A row for each size, exact and fast."""
    if sys.argv[1:] == ["model"]:
        tabulate()
        return
    if MPI.COMM_WORLD.rank == 0 and MPI.COMM_WORLD.size == 1:
        print("ranks | n_embd | mode  | parameters | us a step | compute | waiting | exchange | MB sent")
    for n_embd in [int(word) for word in sys.argv[1:]] or [16, 64]:
        for fast in (False, True):
            measure(n_embd, fast)


if __name__ == "__main__":
    main()
