"""The course's optimizer, Adam, and others; and how the learning rate changes over the steps of a run."""

import math
from array import array
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

from .arguments import integer, require
from .config import CHOICES, Config
from .core import check, ffi, lib
from .errors import ConfigError, ShapeError
from .tape import Tape
from .vector import Lanes

KINDS: dict[str, int] = {name: getattr(lib, "MG_" + name.upper()) for name in CHOICES["optimizer"]}


def settings_of(config: Config) -> Any:
    """The configuration's optimizer as the core takes it: its numbers have the names of settings."""
    settings = ffi.new("mg_optimizer *", {"kind": KINDS[config.optimizer]})
    for name in dir(settings):
        if name != "kind":
            setattr(settings, name, getattr(config, name))
    return settings


# Annotations are not postponed in this file: pdoc cannot evaluate those of a NamedTuple later.
class OptimizerState(NamedTuple):
    """What an optimizer remembers."""

    steps: int
    """The number of updates."""
    m: Sequence[float]
    """The first moments, one number a parameter, matrix after matrix; of sgd, what momentum has gathered."""
    v: Sequence[float]
    """The second moments, likewise; of sgd, 0."""


class Remembering(Protocol):
    """An optimizer, of whichever engine."""

    state: OptimizerState
    """What it remembers; may be set."""


def check_parameters(parameters: Sequence[Lanes]) -> None:
    """TypeError for what are no vectors and matrices; ShapeError unless there are some, of numbers that depend on
    nothing, all on one tape, and each once."""
    for w in parameters:
        require("each of the parameters", w, Lanes)
    if not parameters or any(w._tape is not parameters[0]._tape for w in parameters):
        raise ShapeError("an optimizer needs parameters, all of one tape")
    for number, w in enumerate(parameters):
        operation = lib.mg_lane_operation(w._tape._pointer, w._node)
        if operation < 0:
            w._tape._raise_status()
        if operation != lib.MG_LEAF:
            raise ShapeError(
                f"parameters[{number}] was computed, and only what depends on nothing can be learned, such as a Matrix"
            )
    order = sorted(range(len(parameters)), key=lambda number: parameters[number]._node)
    for a, b in pairwise(order):
        if parameters[a]._node + parameters[a]._size > parameters[b]._node:
            raise ShapeError(
                f"parameters[{min(a, b)}] and parameters[{max(a, b)}] have numbers in common: list them once"
            )


class Optimizer:
    """The optimizer that a configuration names, on parameters of one tape.

    config.optimizer is `adam`, with bias correction (Kingma and Ba, 2014); `adamw`, which first takes learning_rate *
    weight_decay of each parameter away (Loshchilov and Hutter, 2017); or `sgd`, with momentum (Polyak, 1964).
    csrc/microgpt.h has them operation by operation. The state may be read and
    written. ShapeError for no parameters, for those of two tapes, and for what was computed or is listed twice.
    """

    __slots__ = ("_added", "_config", "_first", "_m", "_settings", "_sizes", "_sum", "_tape", "_v", "steps")

    steps: int
    """The number of updates so far."""

    def __init__(self, config: Config, parameters: Sequence[Lanes]) -> None:
        require("the configuration", config, Config)
        check_parameters(parameters)
        self._config = config
        self._tape: Tape = parameters[0]._tape
        self._first = [w._node for w in parameters]
        self._sizes = [w._size for w in parameters]
        self._settings = settings_of(config)
        self._m, self._v, self._sum = (ffi.new("double[]", sum(self._sizes)) for _ in range(3))
        self._added = 0
        self.steps = 0

    @property
    def m(self) -> list[float]:
        """The first moments, one number a parameter, matrix after matrix; of sgd, what momentum has gathered. May be
        set, to as many numbers; otherwise ShapeError."""
        return list(self._m)

    @m.setter
    def m(self, numbers: Sequence[float]) -> None:
        self._m = self._moments(numbers)

    @property
    def v(self) -> list[float]:
        """The second moments, likewise. May be set, to as many numbers; otherwise ShapeError."""
        return list(self._v)

    @v.setter
    def v(self, numbers: Sequence[float]) -> None:
        self._v = self._moments(numbers)

    @property
    def state(self) -> OptimizerState:
        """All of it. May be set."""
        return OptimizerState(self.steps, self.m, self.v)

    @state.setter
    def state(self, state: OptimizerState) -> None:
        require("the state", state, OptimizerState)
        m, v = self._moments(state.m), self._moments(state.v)
        self.steps, self._m, self._v = state.steps, m, v

    def _moments(self, numbers: Sequence[float]) -> Any:
        moments = ffi.new("double[]", list(numbers))
        if len(moments) != len(self._sum):
            raise ShapeError(f"{len(moments)} moments for {len(self._sum)} parameters")
        return moments

    def add(self) -> None:
        """Take note of the gradients of one document of a batch, and set them to 0."""
        runs = self._first, self._sizes, len(self._first)
        check(lib.mg_gradients_add(self._tape._pointer, *runs, self._sum, len(self._sum)))
        self._added += 1

    def average(self) -> None:
        """Set the gradients to the mean of those that were added, which are then forgotten. ShapeError for none."""
        if self._added == 0:
            raise ShapeError("average() is the mean of the gradients that add() took note of, and there are none")
        runs = self._first, self._sizes, len(self._first)
        check(lib.mg_gradients_mean(self._tape._pointer, *runs, self._sum, len(self._sum), 1 / self._added))
        self._added = 0

    def update(self, learning_rate: float) -> None:
        """Change all parameters by their gradients, and set the gradients to 0.

        OverflowError, with nothing changed, when the square of a gradient is too large for a float.
        """
        if integer("steps, the number of updates,", self.steps) < 0:
            raise ConfigError(f"steps, the number of updates, must not be negative, as {self.steps} is")
        runs = self._first, self._sizes, len(self._first), self._m, self._v, len(self._m)
        check(lib.mg_optimizer_step(self._tape._pointer, *runs, self._settings, self.steps + 1, learning_rate))
        self.steps += 1


class TrainerOptimizer:
    """The optimizer of a trainer of the core, which has so many parameters."""

    __slots__ = ("_parameters", "_trainer")

    def __init__(self, trainer: Any, parameters: int) -> None:
        self._trainer, self._parameters = trainer, parameters

    @property
    def state(self) -> OptimizerState:
        """What it remembers. May be set."""
        m, v = ffi.new("double[]", self._parameters), ffi.new("double[]", self._parameters)
        steps = ffi.new("uint64_t *")
        check(lib.mg_trainer_read_state(self._trainer, m, v, self._parameters, steps))
        return OptimizerState(steps[0], array("d", m), array("d", v))

    @state.setter
    def state(self, state: OptimizerState) -> None:
        check(lib.mg_trainer_write_state(self._trainer, list(state.m), list(state.v), len(state.m), state.steps))


class Adam(Optimizer):
    """The course's optimizer, whichever the configuration names."""

    __slots__ = ()

    def __init__(self, config: Config, parameters: Sequence[Lanes]) -> None:
        super().__init__(replace(config, optimizer="adam"), parameters)


def fitting_learning_rate(config: Config) -> float:
    """A learning rate at which Adam's steps on a model of this size do not run away: 0.5 / n_embd, at most 0.01.

    docs/design.md has the measurement, at n_embd 64 to 512.
    """
    return min(0.01, 0.5 / config.n_embd)


def lower_learning_rate(config: Config) -> float | None:
    """A learning rate to try where that of the configuration is more than twice what fits; otherwise None."""
    fitting = fitting_learning_rate(config)
    return fitting if config.optimizer != "sgd" and config.learning_rate > 2 * fitting else None


# ---- learning rates: of step `step` from 0, as a part of config.learning_rate


def _cosine(config: Config, step: int) -> float:
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * step / config.steps))


def _linear(config: Config, step: int) -> float:
    return config.learning_rate * (1 - step / config.steps)


def _constant(config: Config, step: int) -> float:
    return config.learning_rate


SCHEDULES: dict[str, Callable[[Config, int], float]] = {"cosine": _cosine, "linear": _linear, "constant": _constant}


def learning_rate_at(config: Config, step: int) -> float:
    """The learning rate of a step, counted from 0 to config.steps - 1: config.decay says how it falls from
    config.learning_rate, and over the first config.warmup steps it rises to that."""
    require("the configuration", config, Config)
    rate = SCHEDULES[config.decay](config, integer("the step", step))
    return rate if step >= config.warmup else rate * ((step + 1) / (config.warmup + 1))
