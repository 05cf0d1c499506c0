"""The model over span operations: training, sampling, and the whole command."""

from __future__ import annotations

import random
import subprocess
import sys
from typing import Any

import pytest

from microgpt import GPT, PRESETS, Config, Tape, Tokenizer, embedded_names, initial_parameters, sample, train
from tests import oracle, program

from .test_eager import STEPS, WORDS, program_on_oracle

SAMPLES = Config(steps=0, samples=3)


def prepared(config: Config) -> tuple[GPT, Tokenizer, list[list[int]], random.Random]:
    rng = random.Random(config.seed)
    docs = embedded_names()[:2000]
    rng.shuffle(docs)
    tokenizer = Tokenizer(docs)
    model = GPT(config, initial_parameters(config, tokenizer.vocab_size, rng))
    return model, tokenizer, [tokenizer.encode(doc) for doc in docs], rng


@pytest.mark.parametrize("preset", PRESETS)
def test_train(case: Any, preset: str) -> None:
    """Whole training steps: forward, backward, Adam."""
    with Tape():
        config = Config(**{name: getattr(PRESETS[preset], name) for name in Config.__slots__} | {"steps": 100})
        model, _, documents, _ = prepared(config)
        oracle_run = program_on_oracle if preset == "course" else None
        case(
            lambda: list(train(model, documents)),
            config.steps,
            "training steps",
            oracle_run,
            STEPS.steps,
            rounds=5,
            pairs=3,
        )


@pytest.mark.parametrize("n_embd", [64, 256])
def test_train_wide(case: Any, n_embd: int) -> None:
    """Training steps of wider models, block 16."""
    with Tape():
        config = Config(n_embd=n_embd, block_size=16, steps=640 // n_embd)
        model, _, documents, _ = prepared(config)
        case(lambda: list(train(model, documents)), config.steps, "training steps", rounds=5, pairs=3)


def sample_on_oracle() -> None:
    program.run(SAMPLES, WORDS, oracle.Value)


def test_sample(case: Any) -> None:
    """Samples from an untrained model, at most block_size tokens each."""
    with Tape():
        model, tokenizer, _, rng = prepared(Config(samples=100))
        case(
            lambda: list(sample(model, tokenizer, rng)),
            100,
            "samples",
            sample_on_oracle,
            SAMPLES.samples,
            rounds=5,
            pairs=3,
        )


def test_the_whole_command(case: Any) -> None:
    """`python -m microgpt`: 500 steps and 20 samples, from the start of the process to its end."""
    command = [sys.executable, "-m", "microgpt"]
    case(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL), 1, "runs", rounds=5, pairs=3)


def test_import_and_first_value(case: Any) -> None:
    """A process that imports microgpt and makes one Value."""
    command = [sys.executable, "-c", "import microgpt; microgpt.Value(1.0)"]
    case(lambda: subprocess.run(command, check=True), 1, "processes", rounds=5)


def test_an_empty_process(case: Any) -> None:
    """What of the two cases above is Python itself."""
    case(lambda: subprocess.run([sys.executable, "-c", ""], check=True), 1, "processes", rounds=5)
