"""How fast the model trains and samples, measured where and when the report is made.

The directory of a run holds no times: everything in it is the same bytes whenever, and wherever, a run was stopped.
"""

from __future__ import annotations

import platform
import random
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from ..errors import MicrogptError
from ..model import GPT
from ..sampling import sample
from ..saving import load
from ..tape import Tape
from ..training import Training

SECONDS, ROUNDS = 0.15, 3  # each of which is measured so many times; the median counts


@dataclass(frozen=True, slots=True)
class Speed:
    """What this machine does in a second."""

    training_steps: float
    trained_tokens: float
    sampled_tokens: float
    machine: str


def measure(path: str, texts: Sequence[str]) -> Speed | None:
    """The speed of a saved model, on a copy of it: training on these texts, at a learning rate of 0, and sampling.
    None where that is not possible."""
    with Tape() as tape:
        saved = load(path, tape)
        config = replace(saved.model.config, steps=1 << 40, learning_rate=0.0, warmup=0, val_fraction=0.0)
        tokenizer, model = saved.tokenizer, GPT(config, saved.model.state_dict)
        documents = [tokenizer.encode(text) for text in texts]
        trained, sampled = list[float](), list[float]()
        length = sum(min(config.block_size, len(tokens) - 1) for tokens in documents) / max(1, len(documents))
        try:
            training = Training(model, documents, fast=saved.fast)
            for _ in range(ROUNDS):
                before, started = training.taken, time.perf_counter()
                for _ in training.steps(steps_per_call=None):
                    if time.perf_counter() - started > SECONDS:
                        break
                trained.append((training.taken - before) / (time.perf_counter() - started))
            drawn = sample(model, tokenizer, random.Random(1), count=1 << 40, samples_per_call=None)
            next(drawn)  # records the programs
            for _ in range(ROUNDS):
                tokens, started = 0, time.perf_counter()
                while time.perf_counter() - started < SECONDS:
                    tokens += min(len(next(drawn)) + 1, config.block_size)
                sampled.append(tokens / (time.perf_counter() - started))
        except (MicrogptError, ArithmeticError):
            return None
    steps = sorted(trained)[ROUNDS // 2]
    return Speed(steps, steps * length * config.batch_size, sorted(sampled)[ROUNDS // 2], _machine())


def _machine() -> str:
    """The processor, as far as it can be known, and the Python."""
    name = platform.processor() or platform.machine()
    with suppress(OSError), open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
        names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
        name = names[0] if names else name
    return f"{name}, {platform.system()}, Python {platform.python_version()}"
