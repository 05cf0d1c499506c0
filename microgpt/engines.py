"""What takes the steps of a training: the core, with one recording, or Python, which records every loss anew."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, Protocol

from .arguments import require
from .config import Config
from .core import check, error_of, ffi, lib
from .distributed import Recorded
from .errors import ConfigError, DataError, TapeError
from .index import Index
from .model import GPT
from .optimizers import Optimizer, Remembering, TrainerOptimizer, learning_rate_at, settings_of
from .program import Program, record_with
from .value import Value
from .vector import Lanes

DOCUMENTS_PER_CALL = 1024  # whose losses are asked for
NEEDED = "a loss that is the mean or the sum of a loss a position, each the same whatever the document's length"


class Trainable(Protocol):
    """What can be trained: a GPT, or a Model of one's own."""

    @property
    def config(self) -> Config:
        """Steps, batches and the optimizer; documents are cut to block_size + 1 tokens."""

    @property
    def parameters(self) -> Sequence[Lanes]:
        """What is learned, all on one tape."""

    def loss(self, tokens: Sequence[Any], /) -> Value:
        """The loss of a document: the mean, or the sum, of a loss at each position, of which those of the first n
        positions are the losses of a shorter document. The tokens are integers, or the integer inputs (Index) of a
        function that is being recorded."""


MOST_TOKENS_ASKED = 256  # in documents for which a function is recorded beside the longest


class _NotPrefixesError(Exception):
    """The loss of a short document is not the beginning of that of a long one, or reads no token."""


class Engine(Protocol):
    """What takes the steps."""

    @property
    def optimizer(self) -> Remembering:
        """What the steps leave something in to remember."""

    def run(self, step: int, steps: int) -> tuple[list[float], BaseException | None]:
        """Take steps, the first of which is number `step` from 0. Their losses, the last of which may be no finite
        number, and the error of the one that failed; in neither case a parameter changed in that step."""

    def held_out_losses(self) -> Iterable[float]:
        """The loss of each document that is held out."""

    def interrupt(self) -> None:
        """End the steps that are being taken, or the next ones, with a KeyboardInterrupt as their error."""


def _loss(model: Trainable, tokens: Sequence[Any]) -> Value:
    loss = model.loss(tokens)
    require("what a model's loss returns", loss, Value)
    return loss


def _check_tokens(program: Program[Any, Any], tokens: Sequence[int], starts: Sequence[int]) -> None:
    """DataError for a token that selects nothing, by number of its document; TapeError for an Index that is none."""
    least: dict[int, int] = {}  # by place in a document
    places = {id(index): place for place, index in enumerate(program.inputs)}
    for *_, selector in program._selections:
        if id(selector.index) not in places:
            raise TapeError(
                "the loss selects by an Index of its own, which no document has an integer for: select by the tokens "
                "that it is called with, or by an integer"
            )
        place = places[id(selector.index)]
        least[place] = min(selector.count, least.get(place, selector.count))
    if not least or 0 <= min(tokens) <= max(tokens) < min(least.values()):
        return
    for number, (start, end) in enumerate(pairwise(starts), 1):
        for place, token in enumerate(tokens[start:end]):
            count = least.get(place, token + 1)
            if not 0 <= token < count:
                raise DataError(
                    f"document {number} has a token of {token}, and the model has tokens of 0 to {count - 1}"
                )


class CoreEngine:
    """Training in the core: the loss recorded once, for the longest document, and the steps taken in C."""

    __slots__ = (
        "_config",
        "_count",
        "_done",
        "_fast",
        "_model",
        "_pointer",
        "_program",
        "_size",
        "_starts",
        "_tokens",
        "optimizer",
    )

    def __init__(
        self,
        model: Trainable,
        documents: Sequence[Sequence[int]],
        fast: bool = False,
        held_out: Sequence[Sequence[int]] = (),
        threads: int = 1,
    ) -> None:
        config = self._config = model.config
        self._model, self._fast = model, fast
        self._done = ffi.new("size_t *")
        tokens, starts = array("i"), array("Q", [0])
        self._count = len(documents)
        for number, document in enumerate([*documents, *held_out], 1):
            try:
                tokens.extend(document[: config.block_size + 1])
            except (TypeError, OverflowError) as error:
                raise DataError(f"document {number}: tokens are integers below 2 ** 31: {error}") from None
            starts.append(len(tokens))
        self._tokens, self._starts = ffi.from_buffer("int32_t[]", tokens), ffi.from_buffer("size_t[]", starts)
        parameters = model.parameters
        tape = parameters[0]._tape
        mark = tape.mark()
        lengths = {end - start for start, end in pairwise(starts)}
        self._program = self._recorded(max(lengths), plan=True)
        if not isinstance(model, GPT):  # whose tokens were checked
            _check_tokens(self._program, tokens, starts)
        if not self._program._indices or not self._serves(lengths, mark):
            raise _NotPrefixesError
        first, sizes = [w._node for w in parameters], [w._size for w in parameters]
        self._size = sum(sizes)
        settings = settings_of(config)
        pointer = lib.mg_trainer_new(self._program._pointer, first, sizes, len(first), settings, fast)
        if pointer == ffi.NULL:
            status = lib.mg_tape_take_status(tape._pointer)
            if fast and (why := self._program.why_not_planned) is not None:
                raise ConfigError(f"the fast mode needs a program that can be computed by position: {why}")
            if fast and status == lib.MG_SHAPE:
                raise ConfigError(
                    "the fast mode has numbers of parameters only: the loss reads a Vector, a Matrix or a Value that "
                    "is not one of the model's parameters"
                )
            check(status)
        self._pointer = ffi.gc(pointer, lib.mg_trainer_free)
        check(lib.mg_trainer_use_threads(pointer, threads))
        self.optimizer = TrainerOptimizer(self._pointer, self._size)

    def _recorded(self, length: int, plan: bool) -> Program:
        """The loss of a document, whose tokens mean nothing, and so do the numbers of the recording."""
        model, indices = self._model, [Index(0) for _ in range(length)]
        tape = model.parameters[0]._tape
        return record_with(lambda *tokens: _loss(model, tokens), indices, tape, quiet=True, plan=plan)

    def _serves(self, lengths: set[int], mark: int) -> bool:
        """Is the loss of a shorter document the beginning of that of the longest? A function of the user's own is
        asked for every length that there is, or for some, from the shortest on, where these are more tokens than a
        recording should take. What it makes by itself was recorded since the mark."""
        program, longest, begins = self._program, max(lengths), ffi.new("bool *")
        serves = bool(lib.mg_program_losses(program._pointer, longest))
        shorter = sorted(lengths - {longest})
        for length in shorter[:: sum(shorter) // MOST_TOKENS_ASKED + 1]:
            if not serves or isinstance(self._model, GPT):
                break
            short = self._recorded(length, plan=False)
            check(lib.mg_program_begins(program._pointer, short._pointer, mark, begins))
            losses = lib.mg_program_losses(short._pointer, length)
            serves = bool(begins[0]) and losses == lib.mg_program_losses(program._pointer, length)
        return serves

    def run(self, step: int, steps: int) -> tuple[list[float], BaseException | None]:
        rates = [learning_rate_at(self._config, i) for i in range(step, step + steps)]
        losses = ffi.new("double[]", steps)
        documents = self._tokens, self._starts, self._count, self._config.batch_size
        status = lib.mg_trainer_run(self._pointer, *documents, rates, steps, losses, self._done)
        error = KeyboardInterrupt() if status == lib.MG_INTERRUPTED else error_of(status)
        return ffi.unpack(losses, self._done[0] + (status == lib.MG_NOT_FINITE)), error

    def held_out_losses(self) -> Iterator[float]:
        first, last = self._count, len(self._starts) - 1
        while first < last:  # a call cannot be interrupted
            count = min(DOCUMENTS_PER_CALL, last - first)
            losses = ffi.new("double[]", count)
            check(lib.mg_trainer_losses(self._pointer, self._tokens, self._starts, first, first + count, losses))
            yield from ffi.unpack(losses, count)
            first += count

    def interrupt(self) -> None:
        lib.mg_trainer_interrupt(self._pointer)

    @property
    def recorded(self) -> Recorded:
        """What ranks share."""
        return Recorded(self._pointer, self._tokens, self._starts, self._count, self._size, self._fast)


class AnewEngine:
    """Training that records the graph again in every step."""

    __slots__ = ("_documents", "_held_out", "_interrupted", "_longest", "_model", "optimizer")

    def __init__(self, model: Trainable, documents: Sequence[Sequence[int]], held_out: Sequence[Sequence[int]]) -> None:
        self._model, self._documents, self._held_out = model, documents, held_out
        self._longest = model.config.block_size + 1
        self.optimizer = Optimizer(model.config, model.parameters)
        self._interrupted = False

    def run(self, step: int, steps: int) -> tuple[list[float], BaseException | None]:
        config, losses = self._model.config, []
        self._forget()  # what others have left since the last call
        for number in range(step, step + steps):
            first = number * config.batch_size
            batch = [self._documents[i % len(self._documents)] for i in range(first, first + config.batch_size)]
            try:
                losses.append(self._gradients(batch))
                if not math.isfinite(losses[-1]):
                    break
                self.optimizer.update(learning_rate_at(config, number))
            except (ArithmeticError, ValueError, KeyboardInterrupt) as error:
                del losses[number - step :]
                self._forget()
                return losses, error
        return losses, None

    def interrupt(self) -> None:
        self._interrupted = True

    def _gradients(self, batch: Sequence[Sequence[int]]) -> float:
        """Leave the mean of the documents' gradients in the parameters, and return the mean of their losses."""
        tape = self._model.parameters[0]._tape
        total = 0.0
        for tokens in batch:
            if self._interrupted:
                self._interrupted = False
                raise KeyboardInterrupt
            mark = tape.mark()
            loss = _loss(self._model, tokens[: self._longest])
            total += loss.data
            loss.backward()
            del loss
            tape.rewind(mark)
            if len(batch) > 1:
                self.optimizer.add()
        if len(batch) > 1:
            self.optimizer.average()
        return total * (1 / len(batch))

    def _forget(self) -> None:
        """The gradients of a step that was not taken, or of others."""
        if self.optimizer._added:
            self.optimizer.average()
        for w in self._model.parameters:
            w.zero_grad()

    def held_out_losses(self) -> Iterator[float]:
        tape = self._model.parameters[0]._tape
        for tokens in self._held_out:
            mark = tape.mark()
            loss = _loss(self._model, tokens[: self._longest]).data
            tape.rewind(mark)
            yield loss


def engine_for(
    model: Trainable,
    documents: Sequence[Sequence[int]],
    held_out: Sequence[Sequence[int]],
    core: bool,
    fast: bool,
    threads: int,
) -> Engine:
    """That of a training whose arguments were checked: with `core` the core's, where the model's loss has the form."""
    if not core:
        return AnewEngine(model, documents, held_out)
    try:
        return CoreEngine(model, documents, fast, held_out, threads)
    except _NotPrefixesError:
        if fast:
            raise ConfigError(f"the fast mode needs {NEEDED}") from None
        return AnewEngine(model, documents, held_out)


def in_core(engine: Engine) -> CoreEngine:
    """The engine, where it is the core's; else ConfigError."""
    if not isinstance(engine, CoreEngine):
        raise ConfigError(
            f"several ranks train in the core only: leave replay on, the model's operations SPANS; it needs {NEEDED}"
        )
    return engine
