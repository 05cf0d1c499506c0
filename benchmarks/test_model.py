"""The model over vectors: training, sampling, and the whole command."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from microgpt import GPT, PRESETS, Config, Tape, Tokenizer, embedded_names, initial_parameters, sample, train
from tests import oracle, program

from .test_eager import STEPS, WORDS, program_on_oracle

TOTAL = 1_000_000  # steps of a run, of which a benchmark takes some: the learning rate hardly falls
SAMPLES = Config(steps=0, samples=3)


def prepared(config: Config) -> tuple[GPT, Tokenizer, list[list[int]], random.Random]:
    rng = random.Random(config.seed)
    docs = embedded_names()
    rng.shuffle(docs)
    tokenizer = Tokenizer(docs)
    model = GPT(config, initial_parameters(config, tokenizer.vocab_size, rng))
    return model, tokenizer, [tokenizer.encode(doc) for doc in docs[:2000]], rng


def steps_of(config: Config, steps: int, **options: Any) -> Callable[[], None]:
    """A function that takes so many more steps of one training, whose programs have been recorded."""
    config = replace(config, steps=TOTAL)
    model, _, documents, _ = prepared(config)
    training = train(model, documents, steps_per_call=steps, **options)
    for _ in range(200):
        next(training)

    def take() -> None:
        for _ in range(steps):
            next(training)

    return take


WIDE = Config(n_embd=64, block_size=16)
WIDER = Config(n_embd=256, block_size=16, learning_rate=0.001)
LARGE = Config(n_embd=128, n_layer=4, block_size=64, steps=300)  # for a cold start


@pytest.mark.parametrize("fast", [False, True], ids=["exact", "fast"])
@pytest.mark.parametrize("preset", PRESETS)
def test_train(case: Any, preset: str, fast: bool) -> None:
    """Whole training steps: forward, backward, Adam."""
    with Tape():
        oracle_run = program_on_oracle if preset == "course" else None
        take = steps_of(PRESETS[preset], 1000, fast=fast)
        case(take, 1000, "training steps", oracle_run, STEPS.steps, rounds=9, pairs=3)


@pytest.mark.parametrize("fast", [False, True], ids=["exact", "fast"])
@pytest.mark.parametrize("config", [WIDE, WIDER], ids=["n_embd 64", "n_embd 256"])
def test_train_wide(case: Any, config: Config, fast: bool) -> None:
    """Training steps of wider models, block 16."""
    with Tape():
        steps = 12_800 // config.n_embd
        case(steps_of(config, steps, fast=fast), steps, "training steps", rounds=9)


def test_train_recording_anew(case: Any) -> None:
    """The model's Python layers over vectors, with no program."""
    with Tape():
        model, _, documents, _ = prepared(Config(steps=50))
        case(
            lambda: list(train(model, documents, replay=False)),
            50,
            "training steps",
            program_on_oracle,
            STEPS.steps,
            rounds=5,
            pairs=3,
        )


def sample_on_oracle() -> None:
    program.run(SAMPLES, WORDS, oracle.Value)


def test_sample(case: Any) -> None:
    """Tokens drawn from an untrained model."""
    with Tape():
        model, tokenizer, _, _ = prepared(Config(samples=300))

        def draw() -> int:
            return sum(len(text) + 1 for text in sample(model, tokenizer, random.Random(1)))

        oracle_tokens = sum(len(text) + 1 for text in program.run(SAMPLES, WORDS, oracle.Value).samples)
        case(draw, draw(), "tokens", sample_on_oracle, oracle_tokens, rounds=5, pairs=3)


def test_sample_many(case: Any) -> None:
    """Tokens drawn from a trained model, as many samples in a call of the core as take 20 milliseconds."""
    with Tape():
        model, tokenizer, documents, _ = prepared(Config(samples=20_000))
        for _ in train(model, documents, steps_per_call=None):
            pass

        def draw() -> int:
            texts = sample(model, tokenizer, random.Random(1), samples_per_call=None)
            return sum(min(len(text) + 1, model.config.block_size) for text in texts)

        oracle_tokens = sum(len(text) + 1 for text in program.run(SAMPLES, WORDS, oracle.Value).samples)
        case(draw, draw(), "tokens", sample_on_oracle, oracle_tokens, rounds=5, pairs=3)


# Where Python is told not to keep compiled modules, it would compile the package in every process, which an installed
# one is spared. The first round compiles it.
KEEPING = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def process(*words: str) -> None:
    subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL, env=KEEPING)


def test_the_whole_command(case: Any) -> None:
    """`python -m microgpt`: 500 steps and 20 samples, from the start of the process to its end."""
    case(lambda: process("-m", "microgpt"), 1, "runs", rounds=5, pairs=3)


def test_import_and_first_value(case: Any) -> None:
    """A process that imports microgpt and makes one Value."""
    case(lambda: process("-c", "import microgpt; microgpt.Value(1.0)"), 1, "processes", rounds=5)


def test_an_empty_process(case: Any) -> None:
    """What of the two cases above is Python itself."""
    case(lambda: process("-c", ""), 1, "processes", rounds=5)
