"""The course's block 6, training: an optimizer on the loss of one document a step, or of a batch of documents."""

from __future__ import annotations

import math
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

from .config import Config
from .errors import ConfigError, DataError, DivergedError, MicrogptError
from .model import GPT, SPANS
from .optimizers import Optimizer, learning_rate_at, settings_of
from .program import record
from .tape import check, ffi, lib
from .value import Value
from .vector import Index, Lanes


class Step(NamedTuple):
    """What a training step reports: its number, from 1, and the loss before the parameters changed."""

    number: int
    loss: float


class Trainable(Protocol):
    """What can be trained: a GPT, or a Model of one's own."""

    @property
    def config(self) -> Config:
        """Steps, batches and the optimizer; documents are cut to block_size + 1 tokens."""

    @property
    def parameters(self) -> Sequence[Lanes]:
        """What is learned, all on one tape."""

    def loss(self, tokens: Sequence[Any]) -> Value:
        """The loss of a document: the mean, or the sum, of a loss at each position, of which those of the first n
        positions are the losses of a shorter document. The tokens are integers, or the integer inputs (Index) of a
        function that is being recorded."""


@dataclass(frozen=True, slots=True)
class Model:
    """A function of tokens, and what it learns, for `train`."""

    loss: Callable[[Sequence[Any]], Value]
    parameters: Sequence[Lanes]
    config: Config = field(default_factory=Config)


class _NotPrefixesError(Exception):
    """The loss of a short document is not the beginning of that of a long one."""


class _Core:
    """Training in the core: the loss recorded once, for the longest document, and the steps taken in C."""

    __slots__ = ("_config", "_done", "_model", "_pointer", "_program", "_starts", "_tokens")

    def __init__(self, model: Trainable, documents: Sequence[Sequence[int]], fast: bool = False) -> None:
        config = self._config = model.config
        self._model = model
        self._done = ffi.new("size_t *")
        tokens, starts = array("i"), array("Q", [0])
        for document in documents:
            tokens.extend(document[: config.block_size + 1])
            starts.append(len(tokens))
        self._tokens, self._starts = ffi.from_buffer("int32_t[]", tokens), ffi.from_buffer("size_t[]", starts)
        parameters = model.parameters
        tape = parameters[0]._tape
        # The tokens mean nothing, and so do the numbers of this recording.
        indices = [Index(0) for _ in range(max(end - start for start, end in pairwise(starts)))]
        self._program = record(lambda *tokens: model.loss(tokens), *indices, tape=tape, quiet=True)
        if not self._serves(min(end - start for start, end in pairwise(starts)), len(indices)):
            raise _NotPrefixesError
        first, sizes = [w._node for w in parameters], [w._size for w in parameters]
        settings = settings_of(config)
        pointer = lib.mg_trainer_new(self._program._pointer, first, sizes, len(first), settings, fast)
        if pointer == ffi.NULL:
            if fast and (why := self._program.why_not_planned) is not None:
                lib.mg_tape_take_status(tape.pointer)
                raise ConfigError(f"the fast mode needs a program that can be computed by position: {why}")
            tape.raise_status()
        self._pointer = ffi.gc(pointer, lib.mg_trainer_free)

    def _serves(self, shortest: int, longest: int) -> bool:
        """Is the loss of a shorter document the beginning of that of the longest? Looks at the shortest."""
        program, model = self._program, self._model
        if isinstance(model, GPT) or shortest == longest:
            return bool(lib.mg_program_losses(program._pointer, longest))
        tape = model.parameters[0]._tape
        indices = [Index(0) for _ in range(shortest)]
        short = record(lambda *tokens: model.loss(tokens), *indices, tape=tape, quiet=True)
        losses = lib.mg_program_losses(short._pointer, shortest)
        return bool(losses) and losses == lib.mg_program_losses(program._pointer, shortest)

    def run(self, step: int, steps: int) -> tuple[list[float], int]:
        """Take steps, the first of which is number `step` from 0. Their losses, with that of the step that failed, if
        one did, and the status of that one; no parameter changed in it."""
        rates = [learning_rate_at(self._config, i) for i in range(step, step + steps)]
        losses = ffi.new("double[]", steps)
        documents = self._tokens, self._starts, len(self._starts) - 1, self._config.batch_size
        status = lib.mg_trainer_run(self._pointer, *documents, rates, steps, losses, self._done)
        return ffi.unpack(losses, self._done[0] + (status != lib.MG_OK)), status


BLOCK_SECONDS = 0.02  # a call of the core cannot be interrupted


def _in_core(model: Trainable, documents: Sequence[Sequence[int]], block: int | None, fast: bool) -> Iterator[float]:
    """The losses of all steps."""
    try:
        core = _Core(model, documents, fast)
    except _NotPrefixesError:
        if fast:
            raise ConfigError("the fast mode needs a loss that is the mean or the sum of a loss a position") from None
        yield from _recorded_anew(model, documents)
        return
    step, count = 0, block or 1
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


def _recorded_anew(model: Trainable, documents: Sequence[Sequence[int]]) -> Iterator[float]:
    """The losses of all steps, each of which records the graph again."""
    config = model.config
    optimizer = Optimizer(config, model.parameters)
    for step in range(config.steps):
        first = step * config.batch_size
        batch = [documents[i % len(documents)] for i in range(first, first + config.batch_size)]
        loss = _gradients(model, optimizer, batch)
        if math.isfinite(loss):
            optimizer.update(learning_rate_at(config, step))
        yield loss


def train(
    model: Trainable,
    documents: Sequence[Sequence[int]],
    replay: bool = True,
    block: int | None = 1,
    fast: bool = False,
) -> Iterator[Step]:
    """Train on the encoded documents, in turn; yields a record of each step when it is done.

    A step takes config.batch_size documents; its loss is the mean of theirs, and its gradients are the mean of theirs,
    added in the order of the documents. With `replay` the loss is recorded once, for the longest document, and the
    steps are taken in C; without, or when the model computes with scalar Values, every step records it anew. The
    numbers are the same. A loss of another form, whose first terms are not the loss of a shorter document, is
    recorded anew in every step.

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
    if isinstance(model, GPT):
        model.check_tokens(documents)
    if block is not None and block < 1:
        raise ConfigError(f"block must be at least 1, or None, not {block}")
    core = replay and getattr(model, "operations", SPANS) is SPANS
    if fast and not core:
        raise ConfigError(
            "the fast mode is part of the program engine: leave replay on, and the model's operations SPANS"
        )
    for w in model.parameters:
        w.zero_grad()
    losses = _in_core(model, documents, block, fast) if core else _recorded_anew(model, documents)
    for number in range(1, config.steps + 1):
        try:
            loss = next(losses)
        except MicrogptError:
            raise
        except (OverflowError, ZeroDivisionError, ValueError) as error:
            what = (
                "a token got probability 0" if isinstance(error, ValueError) else "a number grew too large for a float"
            )
            raise DivergedError(f"step {number}: {what}; try a lower learning rate", number) from error
        if not math.isfinite(loss):
            raise DivergedError(f"step {number}: the loss is {loss}; try a lower learning rate", number)
        yield Step(number, loss)


def _gradients(model: Trainable, optimizer: Optimizer, batch: Sequence[Sequence[int]]) -> float:
    """Leave the mean of the documents' gradients in the parameters, and return the mean of their losses."""
    tape = model.parameters[0]._tape
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
