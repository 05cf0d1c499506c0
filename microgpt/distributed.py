"""Training on several processes, the ranks of an MPI communicator, with the bits of one.

The documents of a step are dealt to the ranks in runs, in their order. Every rank computes the gradients of its own,
one row a document; each rank owns a slice of the parameters, is sent that slice of every row, and adds the rows up in
the order of the documents, as a single process does; the sums are gathered, and every rank takes the same step with
them. So parameters and optimizer are the same bits on all ranks, and for every number of ranks:

    gradients   of my documents                      [mine][parameters]
    all-to-all  my slice of all documents' rows      [documents][parameters / ranks]
    add         in document order                    [parameters / ranks]
    all-gather  all slices, and all losses           [parameters], [documents]
    apply       the optimizer's step, everywhere
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Any, NamedTuple, Protocol

from .communicator import END, HELD_OUT, STEPS, Communicator, Request, hear, tell, together
from .config import Config
from .core import check, error_of, ffi, lib
from .errors import DistributedError
from .optimizers import OptimizerState, Remembering, learning_rate_at
from .vector import Lanes

MOST_BYTES = 1 << 26  # of gradients that a rank holds at a time, and of what it is sent; a larger batch goes in rounds
FAILED: int = lib.MG_STATUS_COUNT  # a status besides those of the core: an exception


class Recorded(NamedTuple):
    """A training in the core, of which the ranks take a part each."""

    trainer: Any
    """The core's trainer."""
    tokens: Any
    """Of all documents, int32."""
    starts: Any
    """Where each begins, size_t, and where the last one ends."""
    documents: int
    """How many there are to train on; those after them are held out."""
    parameters: int
    """How many numbers are learned."""
    fast: bool
    """Whether these are float32, otherwise float64."""


class Core(Protocol):
    """A training in the core of one process."""

    @property
    def optimizer(self) -> Remembering:
        """The optimizer's state, which is on every rank the same."""

    @property
    def recorded(self) -> Recorded:
        """What the ranks share."""


def distribute(
    comm: Communicator,
    config: Config,
    parameters: Sequence[Lanes],
    state: OptimizerState | None,
    make: Callable[[], Core],
) -> Distributed:
    """The training that `make` gives on each rank, for all of them together. DistributedError where one cannot make it,
    or they differ in what has to be the same."""
    engine = together(comm, lambda: Distributed(comm, config, make()))
    ranks = comm.allgather(together(comm, lambda: _identity(engine._of, config, parameters, state)))
    for rank, others in enumerate(ranks):
        for name, what in others.items():
            if what != ranks[0][name]:
                raise DistributedError(f"rank {rank} differs from rank 0 in its {name}")
    return engine


def _identity(
    of: Recorded, config: Config, parameters: Sequence[Lanes], state: OptimizerState | None
) -> dict[str, str]:
    """What has to be the same on all ranks, or a digest of it, under the name that an error calls it."""
    import hashlib  # here, as whoever trains alone needs none of it

    from . import __version__

    def digest(*parts: Any) -> str:
        sha = hashlib.sha256()
        for part in parts:
            sha.update(part)
        return sha.hexdigest()

    moments = () if state is None else (array("d", state.m), array("d", state.v))
    return {
        "version of microgpt": __version__,
        "arithmetic, which is the C library's exp, log and pow": digest(array("d", _results())),
        "kernels": ffi.string(lib.mg_kernels_name()).decode() if of.fast else "exact",
        "configuration": repr(config),
        "documents": digest(str(of.documents).encode(), ffi.buffer(of.starts), ffi.buffer(of.tokens)),
        "parameters": digest(*(array("d", w.data) for w in parameters)),
        "optimizer's state": digest(repr(state and state.steps).encode(), *moments),
    }


def _results() -> Iterator[float]:
    """What exp, log and ** give here. Variants of a C library differ in one of some 1,500 results."""
    x = 1.0
    for _ in range(10_000):
        x = x * 1.37 if x < 8 else x / 11.9
        yield from (math.exp(x), math.log(x), x**2.0, x**0.5)


def deal(work: Sequence[int], first: int, count: int, ranks: int, most: int) -> list[int]:
    """Which of the documents first, first + 1, ..., `count` of them, each rank takes: from bounds[rank] to
    bounds[rank + 1] - 1, at most `most`, so that all have nearly the same work. `work` are the sums of what the
    documents cost, from 0 up to all of them; behind the last one comes the first again."""
    lap = len(work) - 1

    def before(document: int) -> int:
        return document // lap * work[-1] + work[document % lap]

    start, end = before(first), before(first + count)
    bounds = [first]
    for rank in range(1, ranks):
        laps, rest = divmod(start + (end - start) * rank // ranks, work[-1])
        place = bisect_left(work, rest)
        if place > 0 and rest - work[place - 1] < work[place] - rest:
            place -= 1
        place = max(place + laps * lap, bounds[-1], first + count - (ranks - rank) * most)
        bounds.append(min(place, bounds[-1] + most, first + count))
    return [*bounds, first + count]


def loss_of(words: Sequence[float], counts: Sequence[int], total: float) -> tuple[int, float]:
    """The sum of losses, added to `total` in the order of the documents up to the first that failed, and its status.
    Of each rank: a status, how many losses it has, and room for as many as it has documents."""
    place = 0
    for count in counts:
        status, done = int(words[place]), int(words[place + 1])
        for loss in words[place + 2 : place + 2 + done + (status == lib.MG_NOT_FINITE)]:
            total += loss
        if status != lib.MG_OK:
            return status, total
        place += 2 + count
    return lib.MG_OK, total


class _Buffer:
    """Memory that both the core and MPI read and write."""

    __slots__ = ("at", "memory", "size")

    def __init__(self, size: int) -> None:
        self.size, self.memory = size, bytearray(size)
        self.at = ffi.from_buffer("char[]", self.memory)


class Distributed:
    """The steps of a training, taken with the other ranks of a communicator.

    All ranks make one, with the same configuration, documents and parameters. Rank 0 calls what it needs; the others
    call the same, or `follow`.
    """

    __slots__ = (
        "_comm",
        "_config",
        "_done",
        "_gradient",
        "_kind",
        "_losses",
        "_most",
        "_number",
        "_of",
        "_rank",
        "_received",
        "_round",
        "_sent",
        "_slices",
        "_starts",
        "_sum",
        "_width",
        "_work",
        "broken",
        "optimizer",
    )

    broken: bool
    """Whether this rank has left the others in the middle of something: they wait for it, and can only be ended."""

    def __init__(self, comm: Communicator, config: Config, core: Core) -> None:
        of = self._of = core.recorded
        self._comm, self._config, self.optimizer = comm, config, core.optimizer
        ranks, rank, batch = comm.Get_size(), comm.Get_rank(), config.batch_size
        self._rank = rank
        self._kind, self._number = ("f", 4) if of.fast else ("d", 8)
        self._width = -(-of.parameters // ranks)
        self._starts = [min(r * self._width, of.parameters) for r in range(ranks + 1)]
        self._slices = [last - first for first, last in pairwise(self._starts)]
        row = of.parameters * self._number
        self._most = min(batch, max(1, MOST_BYTES // row))
        self._round = batch if self._most == batch else max(ranks, ranks * self._most // 2)
        # A document costs as much as it has tokens.
        lengths = (last - first for first, last in pairwise(of.starts[0 : of.documents + 1]))
        self._work = list(accumulate(lengths, initial=0))
        own = self._slices[rank] * self._number
        self._sent, self._gradient = _Buffer(self._most * row), _Buffer(row)
        self._received, self._sum = _Buffer(min(self._round, batch) * own), _Buffer(own)
        self._losses, self._done = array("d", bytes(8 * (2 + self._most))), ffi.new("size_t *")
        self.broken = False

    def follow(self) -> None:
        """Do what rank 0 asks for, until it ends that."""
        while True:
            command, first, count = hear(self._comm)
            if command == STEPS:
                self._take(first, count)
            elif command == HELD_OUT:
                self._held_out()
            else:
                return

    def dismiss(self) -> None:
        """Rank 0 asks no more of those that follow."""
        tell(self._comm, END)

    def run(self, step: int, steps: int) -> tuple[list[float], BaseException | None]:
        """Take steps, the first of which is number `step` from 0, as many as rank 0 asks for. Their losses, the last of
        which may be no finite number, and the error of the one that failed; in neither case a parameter changed in that
        step."""
        return self._take(step, self._agree(STEPS, step, steps))

    def interrupt(self) -> None:
        """On rank 0: end the steps that all are taking, or the next ones, before their next documents."""
        lib.mg_trainer_interrupt(self._of.trainer)

    def held_out_losses(self) -> list[float]:
        """The loss of each document that is held out."""
        self._agree(HELD_OUT, 0, 0)
        losses: list[float] = []
        for words in self._held_out():
            check(int(words[0]))
            losses.extend(words[1:])
        return losses

    def _agree(self, command: int, first: int, count: int) -> int:
        self.broken = True  # until all is done
        if self._rank == 0:
            tell(self._comm, command, first, count)
            return count
        asked, begin, count = hear(self._comm)
        if (asked, begin) != (command, first):
            raise DistributedError(f"rank {self._rank} does not do what rank 0 does: all ranks take the same steps")
        return count

    def _take(self, first: int, count: int) -> tuple[list[float], BaseException | None]:
        losses: list[float] = []
        error: BaseException | None = None
        while error is None and len(losses) < count:
            loss, error = self._step(first + len(losses))
            losses += [] if loss is None else [loss]
        self.broken = False
        return losses, error

    def _step(self, number: int) -> tuple[float | None, BaseException | None]:
        """One step: its loss, if it has one, and the error if it failed."""
        of, batch, own = self._of, self._config.batch_size, self._slices[self._rank]
        first, total = number * batch, 0.0
        self._sum.memory[:] = bytes(self._sum.size)
        for begin in range(first, first + batch, self._round):
            bounds = deal(self._work, begin, min(self._round, first + batch - begin), len(self._slices), self._most)
            counts = [last - start for start, last in pairwise(bounds)]
            mine = counts[self._rank]
            text = self._gradients(bounds[self._rank] % of.documents, mine)
            words = array("d", bytes(8 * (2 * len(counts) + sum(counts))))
            gathering = self._gather(self._losses, words, [2 + count for count in counts])
            columns, rows = [mine * n for n in self._slices], [count * own for count in counts]
            self._comm.Alltoallv(
                [self._sent.memory, columns, [mine * start for start in self._starts[:-1]], self._kind],
                [self._received.memory, rows, list(accumulate(rows[:-1], initial=0)), self._kind],
            )
            gathering.Wait()
            status, total = loss_of(words, counts, total)
            if status != lib.MG_OK:
                return self._failed(status, total * (1 / batch), text)
            if batch > 1:
                size = sum(rows) * self._number
                check(lib.mg_trainer_add_rows(of.trainer, self._received.at, size, self._sum.at, self._sum.size))
        loss = total * (1 / batch)
        if not math.isfinite(loss):
            return self._failed(lib.MG_NOT_FINITE, loss)
        summed = self._sum if batch > 1 else self._received  # one document's gradient is not added to anything
        self._comm.Allgatherv(
            [summed.memory, own, self._kind],
            [self._gradient.memory, self._slices, self._starts[:-1], self._kind],
        )
        gradient, rate = self._gradient, learning_rate_at(self._config, number)
        status = lib.mg_trainer_apply(of.trainer, gradient.at, gradient.size, batch, rate)
        return (loss, None) if status == lib.MG_OK else self._failed(status)

    def _gradients(self, first: int, count: int) -> str | None:
        """Those of my documents, and how that went: a status, the number of losses, the losses. What went wrong that no
        status stands for, in words."""
        of, losses = self._of, self._losses
        try:
            documents = of.tokens, of.starts, of.documents, first, count
            room = count * of.parameters * self._number
            at = ffi.from_buffer("double[]", losses)
            losses[0] = lib.mg_trainer_gradients(
                of.trainer, *documents, self._width, self._sent.at, room, at + 2, self._done
            )
            losses[1] = self._done[0]
        except Exception as error:  # the others would wait for this rank
            losses[0], losses[1] = FAILED, 0
            return str(error) or type(error).__name__
        return None

    def _gather(self, mine: array[float], all_: array[float], counts: Sequence[int]) -> Request:
        starts = list(accumulate(counts[:-1], initial=0))
        return self._comm.Iallgatherv([mine, counts[self._rank], "d"], [all_, counts, starts, "d"])

    def _failed(
        self, status: int, loss: float | None = None, text: str | None = None
    ) -> tuple[float | None, BaseException | None]:
        """What a step that could not be taken returns, on all ranks."""
        if status == FAILED:
            rank, what = next((r, t) for r, t in enumerate(self._comm.allgather(text)) if t is not None)
            return None, DistributedError(f"rank {rank}: {what}")
        if status == lib.MG_INTERRUPTED:
            return None, KeyboardInterrupt()
        return loss if status == lib.MG_NOT_FINITE else None, error_of(status)

    def _held_out(self) -> list[array[float]]:
        """Of each rank a status, and the losses of its part of the documents that are held out."""
        of, ranks = self._of, len(self._slices)
        number = len(of.starts) - 1 - of.documents
        bounds = [number * rank // ranks for rank in range(ranks + 1)]
        counts = [1 + last - first for first, last in pairwise(bounds)]
        mine = array("d", bytes(8 * counts[self._rank]))
        first, last = of.documents + bounds[self._rank], of.documents + bounds[self._rank + 1]
        losses = ffi.from_buffer("double[]", mine) + 1
        mine[0] = lib.mg_trainer_losses(of.trainer, of.tokens, of.starts, first, last, losses)
        words = array("d", bytes(8 * sum(counts)))
        self._gather(mine, words, counts).Wait()
        self.broken = False
        return [words[start : start + count] for start, count in zip(accumulate(counts, initial=0), counts)]
