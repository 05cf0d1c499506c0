"""The course's block 6, training: an optimizer on the loss of one document a step, or of a batch of documents."""

from __future__ import annotations

import math
import time
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

from .arguments import described, integer, require
from .config import Config
from .core import check, error_of, ffi, lib
from .distributed import Communicator, Distributed, Recorded, distribute
from .errors import ConfigError, DataError, DivergedError, MicrogptError, ShapeError
from .index import Index
from .model import GPT, SPANS
from .optimizers import Optimizer, OptimizerState, fitting_learning_rate, learning_rate_at, settings_of
from .program import record
from .value import Value
from .vector import Lanes


class Step(NamedTuple):
    """What a training step reports; the loss is that before the parameters changed."""

    number: int
    """Of the step, from 1."""
    loss: float
    """The mean loss of the step's documents, in nats a token where that is what the model's loss is."""


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


@dataclass(frozen=True, slots=True)
class Model:
    """A function of tokens, and what it learns, for `train`."""

    loss: Callable[[Sequence[Any]], Value]
    """The loss of a document: tokens, integers or Index, to a Value. Trained fastest where it is the mean, or the sum,
    of a loss at each position."""
    parameters: Sequence[Lanes]
    """Matrices and vectors, all of one tape."""
    config: Config = field(default_factory=Config)
    """Steps, batches, the optimizer; documents are cut to block_size + 1 tokens."""


class _NotPrefixesError(Exception):
    """The loss of a short document is not the beginning of that of a long one."""


MOST_THREADS: int = lib.MG_MOST_THREADS
CALL_SECONDS = 0.02  # of several steps
DOCUMENTS_PER_CALL = 1024  # whose losses are asked for


class _Engine(Protocol):
    """What takes the steps."""

    state: OptimizerState

    def run(self, step: int, steps: int) -> tuple[list[float], BaseException | None]:
        """Take steps, the first of which is number `step` from 0. Their losses, the last of which may be no finite
        number, and the error of the one that failed; in neither case a parameter changed in that step."""

    def held_out_losses(self) -> Iterable[float]:
        """The loss of each document that is held out."""

    def interrupt(self) -> None:
        """End the steps that are being taken, or the next ones, with a KeyboardInterrupt as their error."""


class _Core:
    """Training in the core: the loss recorded once, for the longest document, and the steps taken in C."""

    __slots__ = ("_config", "_count", "_done", "_fast", "_model", "_pointer", "_program", "_size", "_starts", "_tokens")

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
        for document in [*documents, *held_out]:
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
        self._size = sum(sizes)
        settings = settings_of(config)
        pointer = lib.mg_trainer_new(self._program._pointer, first, sizes, len(first), settings, fast)
        if pointer == ffi.NULL:
            if fast and (why := self._program.why_not_planned) is not None:
                lib.mg_tape_take_status(tape._pointer)
                raise ConfigError(f"the fast mode needs a program that can be computed by position: {why}")
            tape._raise_status()
        self._pointer = ffi.gc(pointer, lib.mg_trainer_free)
        check(lib.mg_trainer_use_threads(pointer, threads))

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

    @property
    def state(self) -> OptimizerState:
        m, v, steps = ffi.new("double[]", self._size), ffi.new("double[]", self._size), ffi.new("uint64_t *")
        check(lib.mg_trainer_read_state(self._pointer, m, v, self._size, steps))
        return OptimizerState(steps[0], array("d", m), array("d", v))

    @state.setter
    def state(self, state: OptimizerState) -> None:
        check(lib.mg_trainer_write_state(self._pointer, list(state.m), list(state.v), len(state.m), state.steps))


class _Anew:
    """Training that records the graph again in every step."""

    __slots__ = ("_documents", "_held_out", "_interrupted", "_model", "_optimizer")

    def __init__(self, model: Trainable, documents: Sequence[Sequence[int]], held_out: Sequence[Sequence[int]]) -> None:
        self._model, self._documents, self._held_out = model, documents, held_out
        self._optimizer = Optimizer(model.config, model.parameters)
        self._interrupted = False

    def run(self, step: int, steps: int) -> tuple[list[float], BaseException | None]:
        config, losses = self._model.config, []
        for number in range(step, step + steps):
            first = number * config.batch_size
            batch = [self._documents[i % len(self._documents)] for i in range(first, first + config.batch_size)]
            try:
                losses.append(self._gradients(batch))
                if not math.isfinite(losses[-1]):
                    break
                self._optimizer.update(learning_rate_at(config, number))
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
            loss = self._model.loss(tokens)
            total += loss.data
            loss.backward()
            del loss
            tape.rewind(mark)
            if len(batch) > 1:
                self._optimizer.add()
        if len(batch) > 1:
            self._optimizer.average()
        return total * (1 / len(batch))

    def _forget(self) -> None:
        """The gradients of a step that was not taken."""
        if self._optimizer._added:
            self._optimizer.average()
        for w in self._model.parameters:
            w.zero_grad()

    def held_out_losses(self) -> Iterator[float]:
        tape = self._model.parameters[0]._tape
        for tokens in self._held_out:
            mark = tape.mark()
            loss = self._model.loss(tokens).data
            tape.rewind(mark)
            yield loss

    @property
    def state(self) -> OptimizerState:
        return self._optimizer.state

    @state.setter
    def state(self, state: OptimizerState) -> None:
        self._optimizer.state = state


class Training:
    """A training that can be stopped after any step, kept, and taken up again, with the numbers of one that was not.

    The arguments are those of `train`; `held_out` are documents whose loss may be asked for, and `state` is what the
    optimizer of an earlier training remembered, whose parameters the model has. With a communicator all ranks do the
    same, or the others follow rank 0. DataError for documents that cannot be trained on, ConfigError where `fast`, or a
    communicator, is not possible.
    """

    taken: int
    """The number of steps that the parameters have behind them, from the first of the run."""

    def __init__(
        self,
        model: Trainable,
        documents: Sequence[Sequence[int]],
        replay: bool = True,
        fast: bool = False,
        held_out: Sequence[Sequence[int]] = (),
        state: OptimizerState | None = None,
        threads: int = 1,
        comm: Communicator | None = None,
    ) -> None:
        _check_model(model)
        config = model.config
        if state is not None:
            require("the optimizer's state", state, OptimizerState)
        if (config.steps and not documents) or any(len(tokens) < 2 for tokens in [*documents, *held_out]):
            raise DataError("training needs documents, each with at least two tokens")
        if isinstance(model, GPT):
            model.check_tokens([*documents, *held_out])
        core = replay and getattr(model, "operations", SPANS) is SPANS
        if fast and not core:
            raise ConfigError(
                "the fast mode is part of the program engine: leave replay on, and the model's operations SPANS"
            )
        if not (comm is None or hasattr(comm, "Get_size")):
            raise TypeError(f"comm must be a communicator of mpi4py, not {described(comm)}")
        if not 1 <= threads <= MOST_THREADS:
            raise ConfigError(f"threads must be from 1 to {MOST_THREADS}, not {threads}")
        for w in model.parameters:
            w.zero_grad()
        self._config = config
        self._engine: _Engine | None = None
        self.taken = 0 if state is None else state.steps
        if documents or held_out:
            if comm is not None and comm.Get_size() > 1:
                make = partial(_core_for, model, documents, held_out, core, fast, threads)
                self._engine = distribute(comm, config, model.parameters, state, make)
            else:
                self._engine = _engine_for(model, documents, held_out, core, fast, threads)
            if state is not None:
                self._engine.state = state

    @property
    def state(self) -> OptimizerState | None:
        """What the optimizer remembers after `taken` steps; None where there was nothing to train on."""
        return None if self._engine is None else self._engine.state

    def held_out_loss(self, between: Callable[[], None] = lambda: None) -> float:
        """The mean of the losses of the documents that are held out. DataError when there are none. `between` is called
        again and again on the way, and may raise."""
        losses = []
        for loss in [] if self._engine is None else self._engine.held_out_losses():
            losses.append(loss)
            between()
        if not losses:
            raise DataError("no documents are held out")
        return sum(losses) / len(losses)

    def follow(self) -> None:
        """With a communicator, on a rank other than 0: take part in whatever rank 0 asks of its training, until it
        dismisses the others."""
        if isinstance(self._engine, Distributed):
            self._engine.follow()

    def dismiss(self) -> bool:
        """With a communicator, on rank 0: let the others go that follow. False where an exception has left them in the
        middle of something: they wait for it, and can only be ended."""
        if not isinstance(self._engine, Distributed):
            return True
        if not self._engine.broken:
            self._engine.dismiss()
        return not self._engine.broken

    def interrupt(self) -> None:
        """End the steps that are being taken, or the next ones, between two documents: `steps` raises
        KeyboardInterrupt, and the parameters are those after the last whole step. For signal handlers and other
        threads."""
        if self._engine is not None:
            self._engine.interrupt()

    def steps(self, steps_per_call: int | None = 1, stop: int | None = None) -> Iterator[Step]:
        """Take steps up to number `stop`, or to the end of the run, and yield a record of each; `steps_per_call`
        is as for `train`.

        What is left of a call when nobody asks on is lost to the caller, and not to the parameters."""
        if steps_per_call is not None and integer("steps_per_call", steps_per_call) < 1:
            raise ConfigError(f"steps_per_call must be at least 1, or None, not {steps_per_call}")
        end = self._config.steps if stop is None else min(integer("stop", stop), self._config.steps)
        count = steps_per_call or 1
        while self.taken < end and self._engine is not None:
            count = min(count, end - self.taken)
            first, started = self.taken, time.perf_counter()
            losses, error = self._engine.run(first, count)
            seconds = time.perf_counter() - started
            finite = math.isfinite(losses[-1]) if losses else True
            self.taken += len(losses) - (not finite)
            for number, loss in enumerate(losses if finite else losses[:-1], first + 1):
                yield Step(number, loss)
            if error is not None or not finite:
                if isinstance(error, (MicrogptError, MemoryError, KeyboardInterrupt)):
                    raise error
                raise _diverged(self._config, self.taken + 1, None if finite else losses[-1], error) from error
            if steps_per_call is None:
                count = max(1, min(4 * count, int(count * CALL_SECONDS / max(seconds, 1e-6))))


def _check_model(model: Trainable) -> None:
    """TypeError for what cannot be trained."""
    if not all(hasattr(model, name) for name in ("config", "parameters", "loss")):
        raise TypeError(f"a GPT or a Model can be trained, not {described(model)}")
    require("the model's configuration", model.config, Config)
    for w in model.parameters:
        require("each of the model's parameters", w, Lanes)
    if not model.parameters:
        raise ShapeError("a model has parameters to be trained, at least one Vector or Matrix")


def _engine_for(
    model: Trainable,
    documents: Sequence[Sequence[int]],
    held_out: Sequence[Sequence[int]],
    core: bool,
    fast: bool,
    threads: int,
) -> _Engine:
    if not core:
        return _Anew(model, documents, held_out)
    try:
        return _Core(model, documents, fast, held_out, threads)
    except _NotPrefixesError:
        if fast:
            raise ConfigError("the fast mode needs a loss that is the mean or the sum of a loss a position") from None
        return _Anew(model, documents, held_out)


def _core_for(
    model: Trainable,
    documents: Sequence[Sequence[int]],
    held_out: Sequence[Sequence[int]],
    core: bool,
    fast: bool,
    threads: int,
) -> _Core:
    engine = _engine_for(model, documents, held_out, core, fast, threads)
    if not isinstance(engine, _Core):
        raise ConfigError(
            "several ranks train in the core only: leave replay on, the model's operations SPANS, and let its loss be "
            "the mean or the sum of a loss a position"
        )
    return engine


def _diverged(config: Config, step: int, loss: float | None, error: BaseException | None) -> DivergedError:
    if loss is not None:
        what = f"the loss is {loss}"
    elif isinstance(error, ValueError):
        what = "a token got probability 0"
    else:
        what = "a number grew too large for a float"
    rate = config.learning_rate
    lower = min(rate / 3, fitting_learning_rate(config))
    return DivergedError(f"step {step}: {what}; the learning_rate of {rate:g} may be too high: try {lower:.1g}", step)


def train(
    model: Trainable,
    documents: Sequence[Sequence[int]],
    replay: bool = True,
    steps_per_call: int | None = 1,
    fast: bool = False,
    threads: int = 1,
    comm: Communicator | None = None,
) -> Iterator[Step]:
    """Train on the encoded documents, in turn; yields a record of each step when it is done.

    A step takes config.batch_size documents; its loss is the mean of theirs, and its gradients are the mean of theirs,
    added in the order of the documents. With `replay` the loss is recorded once, for the longest document, and the
    steps are taken in C; without, or when the model computes with scalar Values, every step records it anew. The
    numbers are the same. A loss of another form, whose first terms are not the loss of a shorter document, is
    recorded anew in every step.

    `steps_per_call` is how many steps are taken, in one call of the core, before their records are yielded: with 1 the
    parameters are those after the step that was yielded; with more they may be up to steps_per_call - 1 steps ahead,
    and a step costs less. None is as many as take some 20 milliseconds, after which an interrupt is noticed.

    `fast`, with replay only, computes in float32 with fused multiply-add and an exponential of its own. The numbers are
    then not the course's: a first step's loss is within 1e-5 of the exact one and its gradients within 1e-3 of their
    largest, later steps drift apart as rounding errors grow, and losses are the same on average.

    `threads` share the documents of a batch, and the parameters of a large model; the numbers are the same for any
    number of them. Without `replay` there is one.

    With a communicator of mpi4py, `comm`, each of its ranks calls this, with the same model and documents, and takes a
    part of every step's documents; the steps, the losses and the parameters are on all of them those of one process,
    bit for bit. DistributedError where they cannot go on together.

    Raises DivergedError, naming the step, when the loss is not a finite number, or Python's arithmetic would have
    raised on the way to it; the parameters are then those before that step.
    """
    yield from Training(model, documents, replay, fast, threads=threads, comm=comm).steps(steps_per_call)
