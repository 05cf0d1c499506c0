"""The course's block 6, training: Adam on the loss of one document a step, or of a batch of documents."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

from .config import Config
from .errors import DataError, DivergedError, MicrogptError
from .model import GPT, SPANS
from .program import Program, record
from .tape import Tape, check, ffi, lib
from .value import Value
from .vector import Index, Matrix


@dataclass(frozen=True, slots=True)
class Step:
    """What a training step reports: its number, from 1, and the loss before the parameters changed."""

    number: int
    loss: float


class Adam:
    """The optimizer, with bias correction."""

    __slots__ = ("_config", "_first", "_m", "_sizes", "_sum", "_tape", "_updates", "_v")

    def __init__(self, config: Config, matrices: Sequence[Matrix]) -> None:
        self._config = config
        self._tape: Tape = matrices[0]._tape
        self._first = [w._node for w in matrices]
        self._sizes = [w._size for w in matrices]
        self._m, self._v = ffi.new("double[]", sum(self._sizes)), ffi.new("double[]", sum(self._sizes))
        self._sum = ffi.new("double[]", sum(self._sizes) if config.batch_size > 1 else 1)
        self._updates = 0

    def add(self) -> None:
        """Take note of the gradients of one document of a batch, and set them to 0."""
        check(lib.mg_gradients_add(self._tape.pointer, self._first, self._sizes, len(self._first), self._sum))

    def average(self) -> None:
        """Set the gradients to the mean of those that were added."""
        share = 1 / self._config.batch_size
        check(lib.mg_gradients_mean(self._tape.pointer, self._first, self._sizes, len(self._first), self._sum, share))

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


class _Losses:
    """The model's loss as recorded programs, one for each number of predictions, made when it is first needed."""

    __slots__ = ("_model", "_programs")

    def __init__(self, model: GPT) -> None:
        self._model = model
        self._programs: dict[int, Program] = {}

    def __call__(self, tokens: Sequence[int]) -> Program:
        """The program of the document's length, run forward."""
        tokens = tokens[: self._model.config.block_size + 1]
        program = self._programs.get(len(tokens))
        if program is None:
            tape = self._model.state_dict["wte"]._tape
            program = record(lambda *indices: self._model.loss(indices), *map(Index, tokens), tape=tape)
            self._programs[len(tokens)] = program
        else:
            program(*tokens)
        return program


def train(model: GPT, documents: Sequence[Sequence[int]], replay: bool = True) -> Iterator[Step]:
    """Train on the encoded documents, in turn; yields a record of each step when it is done.

    A step takes config.batch_size documents; its loss is the mean of theirs, and its gradients are the mean of theirs,
    added in the order of the documents. With `replay` the loss is recorded once for each length of document and
    replayed in C; without, or when the model computes with scalar Values, every step records it anew. The numbers are
    the same.

    Raises DivergedError, naming the step, when the loss is not a finite number, or Python's arithmetic would have
    raised on the way to it; the parameters are then those before that step.
    """
    config = model.config
    if config.steps and (not documents or any(len(tokens) < 2 for tokens in documents)):
        raise DataError("training needs documents, each with at least two tokens")
    matrices = list(model.state_dict.values())
    optimizer = Adam(config, matrices)
    losses = _Losses(model) if replay and model.operations is SPANS else None
    for w in matrices:
        w.zero_grad()
    for step in range(config.steps):
        first = step * config.batch_size
        batch = [documents[i % len(documents)] for i in range(first, first + config.batch_size)]
        try:
            loss = _gradients(model, optimizer, batch, losses)
            if not math.isfinite(loss):
                raise DivergedError(f"step {step + 1}: the loss is {loss}; try a lower learning rate", step + 1)
            optimizer.update(learning_rate_at(config, step))
        except MicrogptError:
            raise
        except (OverflowError, ZeroDivisionError, ValueError) as error:
            raise DivergedError(f"step {step + 1}: {error}; try a lower learning rate", step + 1) from error
        yield Step(step + 1, loss)


def _gradients(model: GPT, optimizer: Adam, batch: Sequence[Sequence[int]], losses: _Losses | None) -> float:
    """Leave the mean of the documents' gradients in the parameters, and return the mean of their losses."""
    tape = model.state_dict["wte"]._tape
    total = 0.0
    for tokens in batch:
        if losses is None:
            mark = tape.mark()
            loss = model.loss(tokens)
            total += loss.data
            loss.backward()
            del loss
            tape.rewind(mark)
        else:
            program = losses(tokens)
            total += cast(Value, program.result).data
            program.backward()
        if len(batch) > 1:
            optimizer.add()
    if len(batch) > 1:
        optimizer.average()
    return total * (1 / len(batch))
