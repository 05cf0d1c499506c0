"""Models that are in no course: recorded, replayed and trained, with the bits of the same model in plain scalars."""

from __future__ import annotations

import random

import pytest

from microgpt import Config, Index, Model, Tape, record, train

from .bits import all_bits
from .mirror import VECTORS, both_weights, loss_and_gradients, trained
from .odd_models import LONGEST, MODELS, VOCAB


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("length", [2, 3, 8])
def test_replays_are_plain_scalars(name, length):
    model, why_not = MODELS[name]
    rng = random.Random(length)
    with Tape():
        vectors, scalars = both_weights(model, [0] * length)
        program = record(lambda *tokens: model(VECTORS, vectors, tokens), *(Index(0) for _ in range(length)))
        if length > 3:
            reason = program.why_not_planned
            assert reason is None if why_not is None else reason is not None and why_not in reason, reason
        for _ in range(3):
            tokens = [rng.randrange(VOCAB) for _ in range(length)]
            expected = all_bits(loss_and_gradients(model, scalars, tokens))
            vectors.zero_grad()
            loss = program(*tokens)
            program.backward()
            assert all_bits([loss, *vectors.grad]) == expected
        vectors.zero_grad()
        eager = model(VECTORS, vectors, tokens)
        eager.backward()
        assert all_bits([eager.data, *vectors.grad]) == expected


@pytest.mark.parametrize(("batch_size", "optimizer", "threads"), [(1, "sgd", 1), (9, "adamw", 2)])
@pytest.mark.parametrize("name", MODELS)
def test_training_is_plain_scalars(name, batch_size, optimizer, threads):
    """Documents of all lengths, some of which are cut."""
    model, _ = MODELS[name]
    rng = random.Random(8)
    documents = [[rng.randrange(VOCAB) for _ in range(rng.randrange(2, LONGEST + 3))] for _ in range(11)]
    config = Config(steps=2, batch_size=batch_size, optimizer=optimizer, learning_rate=0.02, block_size=LONGEST - 1)
    with Tape():
        vectors, scalars = both_weights(model, [0, 1, 2])
        steps = train(
            Model(lambda tokens: model(VECTORS, vectors, tokens), list(vectors.matrices.values()), config),
            documents,
            threads=threads,
        )
        assert all_bits([step.loss for step in steps]) == all_bits(trained(model, scalars, documents, config))
        assert all_bits(vectors.data) == all_bits(value.data for value in scalars.lanes)
