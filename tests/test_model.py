"""Whole runs: losses, gradients, trained parameters and samples have the oracle's bits."""

from __future__ import annotations

import random

import pytest

from microgpt import (
    GPT,
    PRESETS,
    SCALARS,
    SPANS,
    Config,
    Tokenizer,
    Value,
    embedded_names,
    initial_parameters,
    sample,
    train,
)

from . import program
from .bits import all_bits

WORDS = ["emma", "olivia", "ava", "isabella", "mia", "zoë", "anne-marie", "o", "maximilian"]
CONFIGS = {
    "course": Config(steps=3, samples=2),
    "gist": PRESETS["gist"].__class__(
        **{name: getattr(PRESETS["gist"], name) for name in Config.__slots__} | {"steps": 2, "samples": 2}
    ),
    "two layers, one head": Config(n_layer=2, n_head=1, n_embd=6, steps=4, samples=2, seed=1),
    "odd sizes": Config(n_embd=15, n_head=3, block_size=5, steps=3, samples=3, temperature=1.0, seed=2),
    "head size one": Config(n_embd=4, n_head=4, n_layer=2, block_size=3, steps=5, activation="relu", seed=3),
    "batches": Config(n_embd=8, n_head=2, steps=5, batch_size=3, samples=2, zero_output=False, std=0.3),
    "one lane": Config(n_embd=1, n_head=1, block_size=1, steps=4, samples=3, seed=4),
    "linear decay, no zeros": Config(n_embd=8, n_head=2, zero_output=False, decay="linear", steps=6, seed=5, std=0.2),
}


def run(config, docs, operations):
    """The same as program.run, with the package."""
    rng, docs, result = random.Random(config.seed), list(docs), program.Run()
    rng.shuffle(docs)
    tokenizer = Tokenizer(docs)
    result.vocab_size = tokenizer.vocab_size
    state_dict = initial_parameters(config, tokenizer.vocab_size, rng)
    model = GPT(config, state_dict, operations)
    result.losses = [step.loss for step in train(model, [tokenizer.encode(doc) for doc in docs])]
    result.parameters = [x for w in state_dict.values() for x in w.data]
    result.samples = list(sample(model, tokenizer, rng))
    return result


def same(found, expected):
    assert found.vocab_size == expected.vocab_size
    assert all_bits(found.losses) == all_bits(expected.losses)
    assert all_bits(found.parameters) == all_bits(expected.parameters)
    assert found.samples == expected.samples


@pytest.mark.parametrize("name", CONFIGS)
def test_runs_equal_the_oracle(name):
    """Training and sampling over vectors and over scalar Values, in both presets and other sizes."""
    expected = program.expected(CONFIGS[name], *WORDS)
    same(run(CONFIGS[name], WORDS, SPANS), expected)
    same(run(CONFIGS[name], WORDS, SCALARS), expected)


def test_the_course_program_runs_on_value():
    """The plain program with only its Value class replaced computes the same bits."""
    config = Config(n_embd=8, n_head=2, steps=5, samples=3)
    same(program.run(config, WORDS, Value), program.expected(config, *WORDS))


@pytest.mark.parametrize("docs", [["a"], ["aaaa", "aa"], ["abc" * 20], ["漢字かな", "かな"], ["x y", "y  x"]])
def test_unusual_documents(docs):
    """One document, one letter, documents longer than the block, alphabets beyond ASCII, spaces inside."""
    config = Config(n_embd=4, n_head=2, block_size=4, steps=4, samples=2)
    same(run(config, docs, SPANS), program.expected(config, *docs))


def test_gradients_equal_the_oracle():
    """Every gradient of one loss, before the optimizer uses it."""
    config = Config(n_embd=8, n_head=2, n_layer=2, zero_output=False, std=0.3)
    tokens = [3, 0, 1, 2, 1, 3]
    model = GPT(config, initial_parameters(config, 4, random.Random(0)))
    model.loss(tokens).backward()
    expected = program.Model(config, 4, random.Random(0), program.oracle.Value)
    expected.loss(tokens).backward()
    assert all_bits(g for w in model.state_dict.values() for row in w for g in row.grad) == all_bits(
        p.grad for p in expected.parameters
    )


def test_the_documented_first_steps():
    """The default run on the embedded names begins with these losses: a change of any bit shows here first."""
    config = Config(steps=3, samples=0)
    found = run(config, embedded_names(), SPANS)
    assert found.vocab_size == 27
    assert len(found.parameters) == 4064
    same(found, program.expected(config, *embedded_names()))
