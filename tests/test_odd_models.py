"""Models that are in no course: recorded, replayed and trained, with the bits of the same model in plain scalars."""

from __future__ import annotations

import hashlib
import random

import pytest

from microgpt import Config, Index, Model, Tape, Training, record, train

from .bits import all_bits
from .mirror import VECTORS, both_weights, loss_and_gradients, trained
from .odd_inputs import INPUTS
from .odd_losses import LOSSES
from .odd_models import LONGEST, MODELS, VOCAB
from .odd_positions import POSITIONS
from .odd_weights import WEIGHTS
from .rows import in_every_row, printed_in_row

ALL = {**MODELS, **POSITIONS, **WEIGHTS, **LOSSES, **INPUTS}


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("length", [2, 3, 8])
def test_replays_are_plain_scalars(name, length):
    model, why_not = ALL[name]
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


@pytest.mark.parametrize(("batch_size", "optimizer", "threads"), [(1, "sgd", 2), (9, "adamw", 2)])
@pytest.mark.parametrize("name", ALL)
def test_training_is_plain_scalars(name, batch_size, optimizer, threads):
    """Documents of all lengths, some of which are cut."""
    model, _ = ALL[name]
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


@pytest.mark.parametrize("name", ALL)
def test_trainings_in_parts(name):
    """Several steps a call, and a training that is taken up again by the other engine, with documents held out."""
    model, _ = ALL[name]
    rng, found = random.Random(name), []
    documents = [[rng.randrange(VOCAB) for _ in range(rng.randrange(2, LONGEST + 2))] for _ in range(5)]
    held_out = [[rng.randrange(VOCAB) for _ in range(rng.randrange(2, LONGEST + 2))] for _ in range(3)]
    config = Config(steps=3, batch_size=rng.choice([1, 4]), block_size=LONGEST - 1)
    for replay in (True, False):
        with Tape():
            vectors, _ = both_weights(model, [0] * LONGEST)
            learned = Model(lambda t, w=vectors: model(VECTORS, w, t), list(vectors.matrices.values()), config)
            training = Training(learned, documents, replay, held_out=held_out)
            losses = [step.loss for step in training.steps(4, stop=2)]
            training = Training(learned, documents, not replay, held_out=held_out, state=training.state)
            losses += [step.loss for step in training.steps()]
            found.append(all_bits([*losses, training.held_out_loss(), *vectors.data]))
    assert found[0] == found[1]


# ---- in every row of kernels


def one_of_each(name):
    """A text, and documents and settings of a training, for a model."""
    rng = random.Random(name)
    config = Config(steps=2, batch_size=5, learning_rate=0.05, block_size=LONGEST - 1)
    documents = [[rng.randrange(VOCAB) for _ in range(rng.randrange(2, LONGEST + 1))] for _ in range(7)]
    return [rng.randrange(VOCAB) for _ in range(LONGEST)], documents, config


def digest(*numbers):
    return hashlib.sha256("".join(x for some in numbers for x in all_bits(some)).encode()).hexdigest()[:12]


def print_digests() -> None:
    """Of all numbers of the core, for the test below, in a process of its own."""
    digests = {}
    for name, (model, _) in ALL.items():
        text, documents, config = one_of_each(name)
        with Tape():
            vectors, _ = both_weights(model, text)
            program = record(lambda *tokens, m=model, w=vectors: m(VECTORS, w, tokens), *(Index(0) for _ in text))
            replayed = [program(*text)]
            program.backward()
            replayed += vectors.grad
            trainable = Model(lambda t, m=model, w=vectors: m(VECTORS, w, t), list(vectors.matrices.values()), config)
            losses = [step.loss for step in train(trainable, documents)]
            digests[name] = digest(replayed, losses, vectors.data)
    print(digests)


@pytest.fixture(scope="module")
def of_plain_scalars():
    digests = {}
    for name, (model, _) in ALL.items():
        text, documents, config = one_of_each(name)
        with Tape():
            _, scalars = both_weights(model, text)
        expected = loss_and_gradients(model, scalars, text)
        losses = trained(model, scalars, documents, config)
        digests[name] = digest(expected, losses, [value.data for value in scalars.lanes])
    return digests


@in_every_row
def test_in_every_row(row, of_plain_scalars):
    assert printed_in_row(row, print_digests) == f"{of_plain_scalars}\n"
