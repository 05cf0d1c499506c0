"""The log of a run, read for the report: curves made thin, and the samples of some steps.

A log is a file that anything may have been written to. What is not of the form that a run writes is left out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any, TypeVar

from ..files import read_file

Item = TypeVar("Item")
BAND, LINE, MARKS = 300, 60, 12  # parts of the curve: for its band, for its line; steps whose samples are shown
TEXTS = 20  # of a step
HUGE = 1e100  # a loss is less, or cannot be drawn
RUN = {"preset": str, "engine": str, "mode": str, "docs": int, "vocab": int, "params": int, "cut": int}


@dataclass(frozen=True, slots=True)
class Part:
    """Some steps of a curve, one after the other."""

    first: int
    last: int
    low: float
    mean: float
    high: float


@dataclass(frozen=True, slots=True)
class Glance:
    """Samples that were drawn after a step."""

    step: int
    texts: list[str]


@dataclass(slots=True)
class RunLog:
    """What a log says of a run up to some step."""

    run: dict[str, Any] = field(default_factory=dict)  # docs, cut, preset, engine
    steps: int = 0  # the last one
    band: list[Part] = field(default_factory=list)
    line: list[Part] = field(default_factory=list)
    validation: list[tuple[int, float]] = field(default_factory=list)
    glances: list[Glance] = field(default_factory=list)
    samples: list[str] = field(default_factory=list)  # those of the end
    complete: bool = False  # whether the run came to its end
    unread: int = 0  # lines that are not a log's


def read_log(path: str, until: int) -> RunLog:
    """The log in a file, up to a step. OSError when it cannot be read."""
    log, numbers, losses = RunLog(), list[int](), list[float]()
    texts: dict[int, list[str]] = {}
    for raw in BytesIO(read_file(path)):
        event = _event(raw)
        kind = event.get("event")
        loss: Any = event.get("loss")
        step = event["step"] if type(event.get("step")) is int else -1
        if step > until:
            break
        if kind == "run":
            log.run = {name: event[name] for name, type_ in RUN.items() if type(event.get(name)) is type_}
        elif kind == "step" and step > 0 and _is_loss(loss):
            if not numbers or step > numbers[-1]:
                numbers.append(step)
                losses.append(loss)
        elif kind == "validation" and step > 0 and _is_loss(loss):
            log.validation.append((step, loss))
        elif kind == "sample" and isinstance(event.get("text"), str):
            where = log.samples if "step" not in event else texts.setdefault(step, [])
            if where is log.samples or len(where) < TEXTS:
                where.append(event["text"])
        elif kind == "done":
            log.complete = True
        elif kind != "diverged":
            log.unread += 1
    log.steps = numbers[-1] if numbers else 0
    log.band, log.line = thin(numbers, losses, BAND), thin(numbers, losses, LINE)
    log.validation = spread(sorted(dict(log.validation).items()), BAND)
    log.glances = [Glance(step, texts[step]) for step in spread(sorted(texts), MARKS)]
    return log


def _event(raw: bytes) -> dict[str, Any]:
    try:
        event = json.loads(raw)
    except (ValueError, RecursionError):
        return {}
    return event if isinstance(event, dict) else {}


def _is_loss(loss: Any) -> bool:
    return isinstance(loss, float) and abs(loss) < HUGE


def thin(numbers: Sequence[int], losses: Sequence[float], parts: int) -> list[Part]:
    """A curve of at most so many parts, of equal numbers of steps but for the last: lowest, mean and highest loss."""
    size = max(1, math.ceil(len(losses) / parts))
    found = []
    for start in range(0, len(losses), size):
        some, steps = losses[start : start + size], numbers[start : start + size]
        found.append(Part(steps[0], steps[-1], min(some), sum(some) / len(some), max(some)))
    return found


def spread(items: Sequence[Item], count: int) -> list[Item]:
    """At most `count` of them, spread evenly, the first and the last among them."""
    if len(items) <= count:
        return list(items)
    return [items[round(i * (len(items) - 1) / (count - 1))] for i in range(count)]
