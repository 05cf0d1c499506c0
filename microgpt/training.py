"""The course's block 6, training: an optimizer on the loss of one document a step, or of a batch of documents."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from .arguments import described, integer, require
from .communicator import Communicator
from .config import Config
from .core import lib
from .distributed import Distributed, distribute
from .engines import Engine, Trainable, engine_for, in_core
from .errors import ConfigError, DataError, DivergedError, MicrogptError
from .model import GPT, SPANS
from .optimizers import OptimizerState, check_parameters, fitting_learning_rate
from .value import Value
from .vector import Lanes


class Step(NamedTuple):
    """What a training step reports; the loss is that before the parameters changed."""

    number: int
    """Of the step, from 1."""
    loss: float
    """The mean loss of the step's documents, in nats a token where that is what the model's loss is."""


@dataclass(frozen=True, slots=True)
class Model:
    """A function of tokens, and what it learns, for `train`."""

    loss: Callable[[Sequence[Any]], Value]
    """The loss of a document: tokens, integers or Index, to a Value. Trained fastest where it is the mean, or the sum,
    of a loss at each position."""
    parameters: Sequence[Lanes]
    """Matrices and vectors, all of one tape; what stands for several things, as tied embeddings do, once."""
    config: Config = field(default_factory=Config)
    """Steps, batches, the optimizer; documents are cut to block_size + 1 tokens."""


MOST_THREADS: int = lib.MG_MOST_THREADS
CALL_SECONDS = 0.02  # of several steps


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
        self._engine: Engine | None = None
        self.taken = 0 if state is None else state.steps
        if documents or held_out:
            make = partial(engine_for, model, documents, held_out, core, fast, threads)
            if comm is not None and comm.Get_size() > 1:
                self._engine = distribute(comm, config, model.parameters, state, lambda: in_core(make()))
            else:
                self._engine = make()
            if state is not None:
                self._engine.optimizer.state = state

    @property
    def state(self) -> OptimizerState | None:
        """What the optimizer remembers after `taken` steps; None where there was nothing to train on."""
        return None if self._engine is None else self._engine.optimizer.state

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
    """TypeError and ShapeError for what cannot be trained."""
    if not all(hasattr(model, name) for name in ("config", "parameters", "loss")):
        raise TypeError(f"a GPT or a Model can be trained, not {described(model)}")
    require("the model's configuration", model.config, Config)
    check_parameters(model.parameters)


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
    recorded anew in every step; it is asked for every length that there is, up to 256 tokens, and for some of more.
    What it reads that was computed before the training, from parameters, is computed anew in each step with `replay`,
    and stays as it was without: compute it inside.

    `steps_per_call` is how many steps are taken, in one call of the core, before their records are yielded: with 1 the
    parameters are those after the step that was yielded; with more they may be up to steps_per_call - 1 steps ahead,
    and a step costs less. None is as many as take some 20 milliseconds, after which an interrupt is noticed.

    `fast`, with replay only, computes in float32 with fused multiply-add and an exponential of its own. The numbers are
    then not the course's: a first step's loss is within 1e-5 of the exact one and its gradients within 1e-3 of their
    largest, later steps drift apart as rounding errors grow, and losses are the same on average. A probability below
    e ** -87, which no float32 holds, counts as that: the loss of a token is at most 87.

    `threads` share the documents of a batch, and the parameters of a large model; the numbers are the same for any
    number of them. Without `replay` there is one.

    With a communicator of mpi4py, `comm`, each of its ranks calls this, with the same model and documents, and takes a
    part of every step's documents; the steps, the losses and the parameters are on all of them those of one process,
    bit for bit. DistributedError where they cannot go on together.

    Raises DivergedError, naming the step, when the loss is not a finite number, or Python's arithmetic would have
    raised on the way to it; the parameters are then those before that step.
    """
    yield from Training(model, documents, replay, fast, threads=threads, comm=comm).steps(steps_per_call)
