"""Training equals, bit for bit, a program in C whose gradients were worked out by hand.

At sizes, and for as many steps, as are too slow for the pure-Python program.
"""

from __future__ import annotations

import random

import pytest

from microgpt import GPT, Config, Tape, Tokenizer, embedded_names, initial_parameters, train

from .bits import all_bits
from .by_hand import TUNED, Exact

CASES = [
    (Config(n_embd=16, block_size=8, steps=2000), []),
    (Config(n_embd=16, block_size=8, steps=2000), [*TUNED, "-DFEW_POWERS"]),
    (Config(n_embd=64, block_size=16, steps=500), TUNED),
    (Config(n_embd=64, block_size=16, steps=500), ["-DFEW_POWERS"]),
]


@pytest.mark.parametrize(("config", "options"), CASES, ids=range(len(CASES)))
def test_by_hand(config, options, tmp_path):
    """All losses, and the parameters after the last step."""
    rng = random.Random(config.seed)
    names = embedded_names()
    rng.shuffle(names)
    tokenizer = Tokenizer(names)
    documents = [tokenizer.encode(name) for name in names[:1000]]
    model = GPT(config, initial_parameters(config, tokenizer.vocab_size, rng, Tape()))

    def numbers():
        return [number for matrix in model.parameters for row in matrix for number in row.data]

    size, schedule = (config.n_embd, config.block_size), (config.steps, config.learning_rate)
    by_hand = Exact(tmp_path, *size, numbers(), documents, *schedule, options)
    losses = [step.loss for step in train(model, documents, steps_per_call=config.steps)]
    assert all_bits(losses) == all_bits(by_hand.take(config.steps))
    assert all_bits(numbers()) == all_bits(by_hand.parameters())
