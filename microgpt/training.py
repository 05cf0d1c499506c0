"""The course's block 6, training: Adam on the loss of one document a step, or of a batch of documents."""

from __future__ import annotations

import math
import time
from array import array
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from .config import Config
from .errors import ConfigError, DataError, DivergedError, MicrogptError, ShapeError
from .model import GPT, SPANS
from .program import Program, record
from .tape import Tape, check, ffi, lib
from .vector import Index, Matrix


class Step(NamedTuple):
    """What a training step reports: its number, from 1, and the loss before the parameters changed."""

    number: int
    loss: float


class Adam:
    """The optimizer, with bias correction."""

    __slots__ = ("_added", "_config", "_first", "_m", "_sizes", "_sum", "_tape", "_updates", "_v")

    def __init__(self, config: Config, matrices: Sequence[Matrix]) -> None:
        self._config = config
        self._tape: Tape = matrices[0]._tape
        self._first = [w._node for w in matrices]
        self._sizes = [w._size for w in matrices]
        self._m, self._v, self._sum = (ffi.new("double[]", sum(self._sizes)) for _ in range(3))
        self._added = 0
        self._updates = 0

    def add(self) -> None:
        """Take note of the gradients of one document of a batch, and set them to 0."""
        runs = self._first, self._sizes, len(self._first)
        check(lib.mg_gradients_add(self._tape.pointer, *runs, self._sum, len(self._sum)))
        self._added += 1

    def average(self) -> None:
        """Set the gradients to the mean of those that were added, which are then forgotten."""
        if self._added == 0:
            raise ShapeError("average() is the mean of the gradients that add() took note of, and there are none")
        runs = self._first, self._sizes, len(self._first)
        check(lib.mg_gradients_mean(self._tape.pointer, *runs, self._sum, len(self._sum), 1 / self._added))
        self._added = 0

    def update(self, learning_rate: float) -> None:
        """Change all parameters by their gradients, and set the gradients to 0.

        OverflowError, with nothing changed, when the square of a gradient is too large for a float.
        """
        config, updates = self._config, self._updates + 1
        check(
            lib.mg_adam(
                self._tape.pointer,
                self._first,
                self._sizes,
                len(self._first),
                self._m,
                self._v,
                len(self._m),
                learning_rate,
                config.beta1,
                config.beta2,
                1 - config.beta1**updates,
                1 - config.beta2**updates,
                config.epsilon,
            )
        )
        self._updates = updates


def learning_rate_at(config: Config, step: int) -> float:
    """The learning rate of a step, counted from 0: it falls from config.learning_rate towards 0."""
    if config.decay == "cosine":
        return config.learning_rate * 0.5 * (1 + math.cos(math.pi * step / config.steps))
    return config.learning_rate * (1 - step / config.steps)


class _Core:
    """Training in the core: the loss recorded as programs, one for each number of tokens, and the steps taken in C."""

    __slots__ = ("_config", "_done", "_kinds", "_lengths", "_model", "_pointer", "_programs", "_starts", "_tokens")

    def __init__(self, model: GPT, documents: Sequence[Sequence[int]], fast: bool = False) -> None:
        config = self._config = model.config
        matrices = list(model.state_dict.values())
        tape = matrices[0]._tape
        first, sizes = [w._node for w in matrices], [w._size for w in matrices]
        moments = config.beta1, config.beta2, config.epsilon
        pointer = lib.mg_trainer_new(tape.pointer, first, sizes, len(first), *moments, fast)
        if pointer == ffi.NULL:
            tape.raise_status()
        # The destructor holds the tape and the programs, which so outlive the trainer.
        self._programs: dict[int, Program] = {}
        kept = tape, self._programs
        self._pointer = ffi.gc(pointer, lambda trainer, kept=kept, free=lib.mg_trainer_free: free(trainer))
        self._model = model
        self._done = ffi.new("size_t *")
        tokens, starts = array("i"), array("Q", [0])
        for document in documents:
            tokens.extend(document[: config.block_size + 1])
            starts.append(len(tokens))
        self._tokens, self._starts = ffi.from_buffer("int32_t[]", tokens), ffi.from_buffer("size_t[]", starts)
        self._lengths = [end - start for start, end in pairwise(starts)]
        self._kinds = len(set(self._lengths))

    def _record(self, step: int, steps: int) -> None:
        """Make the programs that the documents of these steps need and that there are not yet."""
        if len(self._programs) == self._kinds:
            return
        count, batch_size = len(self._lengths), self._config.batch_size
        documents = range(step * batch_size, (step + min(steps, count)) * batch_size)
        for length in {self._lengths[i % count] for i in documents} - self._programs.keys():
            tape = self._model.state_dict["wte"]._tape
            program = record(lambda *indices: self._model.loss(indices), *[Index(0)] * length, tape=tape)
            check(lib.mg_trainer_add(self._pointer, length, program._pointer))
            self._programs[length] = program

    def run(self, step: int, steps: int) -> tuple[list[float], int]:
        """Take steps, the first of which is number `step` from 0. Their losses, with that of the step that failed, if
        one did, and the status of that one; no parameter changed in it."""
        self._record(step, steps)
        rates = [learning_rate_at(self._config, i) for i in range(step, step + steps)]
        losses = ffi.new("double[]", steps)
        documents = self._tokens, self._starts, len(self._lengths), self._config.batch_size
        status = lib.mg_trainer_run(self._pointer, *documents, rates, steps, losses, self._done)
        return ffi.unpack(losses, self._done[0] + (status != lib.MG_OK)), status


BLOCK_SECONDS = 0.02  # a call of the core cannot be interrupted


def _in_core(model: GPT, documents: Sequence[Sequence[int]], block: int | None, fast: bool) -> Iterator[float]:
    """The losses of all steps."""
    core, step, count = _Core(model, documents, fast), 0, block or 1
    while step < model.config.steps:
        count = min(count, model.config.steps - step)
        started = time.perf_counter()
        losses, status = core.run(step, count)
        seconds = time.perf_counter() - started
        yield from losses[: count if status == lib.MG_OK else -1]
        if status == lib.MG_NOT_FINITE:
            yield losses[-1]
        check(status)
        step += count
        if block is None:
            count = max(1, min(4 * count, int(count * BLOCK_SECONDS / max(seconds, 1e-6))))


def _recorded_anew(model: GPT, documents: Sequence[Sequence[int]]) -> Iterator[float]:
    """The losses of all steps, each of which records the graph again."""
    config = model.config
    matrices = list(model.state_dict.values())
    optimizer = Adam(config, matrices)
    for step in range(config.steps):
        first = step * config.batch_size
        batch = [documents[i % len(documents)] for i in range(first, first + config.batch_size)]
        loss = _gradients(model, optimizer, batch)
        if math.isfinite(loss):
            optimizer.update(learning_rate_at(config, step))
        yield loss


def train(
    model: GPT,
    documents: Sequence[Sequence[int]],
    replay: bool = True,
    block: int | None = 1,
    fast: bool = False,
) -> Iterator[Step]:
    """Train on the encoded documents, in turn; yields a record of each step when it is done.

    A step takes config.batch_size documents; its loss is the mean of theirs, and its gradients are the mean of theirs,
    added in the order of the documents. With `replay` the loss is recorded once for each length of document, and the
    steps are taken in C; without, or when the model computes with scalar Values, every step records it anew. The
    numbers are the same.

    `block` is how many steps one call of the core takes, with replay, before their records are yielded: with 1 the
    parameters are those after the step that was yielded; with more they may be up to block - 1 steps ahead, and a step
    costs less. None is as many as take some 20 milliseconds, after which an interrupt is noticed.

    `fast`, with replay only, computes in float32 with fused multiply-add and an exponential of its own. The numbers are
    then not the course's: a first step's loss is within 1e-5 of the exact one and its gradients within 1e-3 of their
    largest, later steps drift apart as rounding errors grow, and losses are the same on average.

    Raises DivergedError, naming the step, when the loss is not a finite number, or Python's arithmetic would have
    raised on the way to it; the parameters are then those before that step.
    """
    config = model.config
    if config.steps and (not documents or any(len(tokens) < 2 for tokens in documents)):
        raise DataError("training needs documents, each with at least two tokens")
    vocab_size = model.state_dict["wte"].rows
    if any(min(tokens) < 0 or max(tokens) >= vocab_size for tokens in documents):
        raise DataError(f"a document has a token that is not from 0 to {vocab_size - 1}, as the model's are")
    if block is not None and block < 1:
        raise ConfigError(f"block must be at least 1, or None, not {block}")
    core = replay and model.operations is SPANS
    if fast and not core:
        raise ConfigError(
            "the fast mode is part of the program engine: leave replay on, and the model's operations SPANS"
        )
    for w in model.state_dict.values():
        w.zero_grad()
    losses = _in_core(model, documents, block, fast) if core else _recorded_anew(model, documents)
    for number in range(1, config.steps + 1):
        try:
            loss = next(losses)
        except MicrogptError:
            raise
        except (OverflowError, ZeroDivisionError, ValueError) as error:
            raise DivergedError(f"step {number}: {error}; try a lower learning rate", number) from error
        if not math.isfinite(loss):
            raise DivergedError(f"step {number}: the loss is {loss}; try a lower learning rate", number)
        yield Step(number, loss)


def _gradients(model: GPT, optimizer: Adam, batch: Sequence[Sequence[int]]) -> float:
    """Leave the mean of the documents' gradients in the parameters, and return the mean of their losses."""
    tape = model.state_dict["wte"]._tape
    total = 0.0
    for tokens in batch:
        mark = tape.mark()
        loss = model.loss(tokens)
        total += loss.data
        loss.backward()
        del loss
        tape.rewind(mark)
        if len(batch) > 1:
            optimizer.add()
    if len(batch) > 1:
        optimizer.average()
    return total * (1 / len(batch))
