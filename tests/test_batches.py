"""Documents side by side: the numbers are those of one document after the other, in every row of kernels."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from math import isfinite

import pytest

from microgpt import (
    GPT,
    Config,
    ConfigError,
    Index,
    Matrix,
    Model,
    Tape,
    Vector,
    attention,
    initial_parameters,
    linear,
    mean,
    parameters_sha256,
    record,
    softmax,
    surprisal,
    train,
)

from .bits import all_bits
from .rows import in_every_row, printed_in_row
from .test_models import PLANNED, trained_function

WIDE = Config(n_embd=6, n_head=2, block_size=9, zero_output=False, std=0.5, steps=3, learning_rate=0.05)
# Chunks that are full, begun and of one document; documents apart, as they differ much in length; waves that are full.
CASES = [
    replace(WIDE, batch_size=2),
    replace(WIDE, batch_size=8, activation="relu"),
    replace(WIDE, batch_size=9, n_head=3, n_layer=2),
    replace(WIDE, batch_size=16, n_embd=16, n_head=4),
    replace(WIDE, batch_size=7, block_size=1),
    replace(WIDE, batch_size=24, block_size=2, n_embd=3, n_head=1),
    replace(WIDE, batch_size=140, n_embd=2, n_head=1, steps=2),
    replace(WIDE, batch_size=12, block_size=20, n_embd=13, n_head=1),
    replace(WIDE, batch_size=11, optimizer="sgd", zero_output=True),
]


def documents_for(config, seed, vocab=5):
    """Of all lengths, in no order; fewer than some batches, so that some come twice in a step."""
    rng = random.Random(seed)
    return [[rng.randrange(vocab) for _ in range(rng.randrange(2, config.block_size + 4))] for _ in range(30)]


def trained(config, number, **options):
    model = GPT(config, initial_parameters(config, 5, random.Random(number), Tape()))
    steps = train(model, documents_for(config, number), **options)
    return all_bits([step.loss for step in steps]), parameters_sha256(model.state_dict)


def print_trained() -> None:
    """For the test below, in a process of its own."""
    print([trained(config, n) for n, config in enumerate(CASES)])


@pytest.fixture(scope="module")
def one_by_one():
    return [trained(config, n, replay=False) for n, config in enumerate(CASES)]


@in_every_row
def test_batches_in_every_row(row, one_by_one):
    assert printed_in_row(row, print_trained) == f"{one_by_one}\n"


@pytest.mark.parametrize("batch_size", [3, 8, 19])
@pytest.mark.parametrize("name", PLANNED)
def test_batches_of_any_model(name, batch_size):
    rng, config = random.Random(batch_size), Config(steps=4, batch_size=batch_size)
    documents = [[rng.randrange(7) for _ in range(rng.randrange(2, 9))] for _ in range(23)]
    assert trained_function(PLANNED[name], documents, config, True) == trained_function(
        PLANNED[name], documents, config, False
    )


def test_a_document_that_leaves_ordinary_numbers():
    """In the middle of a batch: the step is what one document after the other gives, numbers or error."""
    config = replace(WIDE, batch_size=9, activation="relu", steps=2)
    for scale in (1e150, 1e300, 1e308):
        outcomes = []
        for replay in (True, False):
            model = GPT(config, initial_parameters(config, 5, random.Random(1), Tape()))
            model.state_dict["layer0.attn_wv"].data = [scale * x for x in model.state_dict["layer0.attn_wv"].data]
            losses = []
            try:
                for step in train(model, documents_for(config, 1), replay=replay):
                    losses.append(step.loss)
                outcome = "trained"
            except ArithmeticError as error:
                outcome = str(error)
            outcomes.append((outcome, all_bits(losses), parameters_sha256(model.state_dict)))
        assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("batch_size", [8, 9, 16, 21])
def test_infinite_adjoints_stay_in_their_document(batch_size):
    """Documents side by side, some of them short, and some with adjoints that are infinite: those stay away from the
    gradients of the others, in the sums over positions as well."""
    rng, runs = random.Random(batch_size), []
    documents = []
    for _ in range(batch_size):
        tokens = rng.choice([(0, 1), (2, 3)])  # 1 is the one that is scaled
        documents.append([rng.choice(tokens) for _ in range(rng.randrange(2, 9))])
    config = Config(steps=1, batch_size=batch_size, optimizer="sgd", learning_rate=0.1)
    for replay in (True, False):
        with Tape():
            numbers = random.Random(4)
            wte, wq, wk, wv = (Matrix(4, 4, [numbers.gauss(0, 1) for _ in range(16)]) for _ in range(4))
            scales = Matrix(4, 4, [1e160 if row == 1 else 1.0 for row in range(4) for _ in range(4)])
            tiny = Vector([1e-320] * 4)

            def loss(tokens, wte=wte, wq=wq, wk=wk, wv=wv, scales=scales, tiny=tiny):
                keys, values, losses = [], [], []
                for token, target in pairwise(tokens):
                    keys.append(wk[token] * 1.0)
                    values.append(wv[token] * tiny)
                    y = attention(wq[token] * 1.0, keys, values, 2) * scales[token] * scales[token]
                    losses.append(surprisal(softmax(linear(y, wte))[target]))
                return mean(losses)

            assert record(lambda *t: loss(t), *[Index(0)] * 6).why_not_planned is None
            learned = [wte, wq, wk, wv]
            losses = [step.loss for step in train(Model(loss, learned, config), documents, replay=replay)]
            runs.append((all_bits(losses), [all_bits(w.data) for w in learned]))
            assert not all(isfinite(x) for x in wv.data)
            assert all(isfinite(x) for w in (wq, wk, wv) for row in (2, 3) for x in w[row].data)
    assert runs[0] == runs[1]


def test_fast_batches_are_near():
    """The loss of a first step within 1e-5, relatively."""
    for number, config in enumerate(CASES):
        first = []
        for fast in (True, False):
            small = replace(config, std=0.1, steps=1)
            model = GPT(small, initial_parameters(small, 5, random.Random(number), Tape()))
            first += [step.loss for step in train(model, documents_for(small, number), fast=fast)]
        assert first[0] == pytest.approx(first[1], rel=1e-5)


# ---- threads

# Enough parameters that a step of the optimizer is shared, too.
LARGE = replace(WIDE, batch_size=20, n_embd=40, n_head=4, n_layer=2, std=0.1, steps=4)
# Products so large that one document's are shared.
ALONE = replace(WIDE, batch_size=1, n_embd=67, n_head=1, block_size=17, std=0.1, steps=4)


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("config", [LARGE, ALONE, replace(LARGE, optimizer="sgd"), CASES[7]])
def test_any_number_of_threads(config, fast):
    small = replace(config, std=0.1)
    found = [trained(small, 1, threads=threads, fast=fast, steps_per_call=None) for threads in (1, 2, 3, 8)]
    assert all(each == found[0] for each in found)


def test_as_many_threads_as_there_may_be():
    for bad in (0, -1, 257):
        with pytest.raises(ConfigError, match="threads must be from 1 to 256"):
            trained(WIDE, 1, threads=bad)


def test_a_process_that_forks_goes_on():
    """The child has none of the parent's threads, and starts its own."""
    model = GPT(LARGE, initial_parameters(LARGE, 5, random.Random(1), Tape()))
    steps = train(model, documents_for(LARGE, 1), threads=3)
    next(steps)
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        try:
            os.write(writer, repr(([step.loss for step in steps], parameters_sha256(model.state_dict))).encode())
        finally:
            os._exit(0)
    os.close(writer)
    rest = [step.loss for step in steps]
    with open(reader, "rb") as pipe:
        found = pipe.read().decode()
    os.waitpid(child, 0)
    assert found == repr((rest, parameters_sha256(model.state_dict)))


def test_signals_reach_the_thread_that_trains():
    """An interrupt ends a training on several threads as it ends one on one."""
    code = """
import os, signal, sys, threading, time
from tests.test_batches import LARGE, documents_for
from dataclasses import replace
import random
from microgpt import GPT, Tape, initial_parameters, train
config = replace(LARGE, steps=10**9, learning_rate=0.0)
model = GPT(config, initial_parameters(config, 5, random.Random(1), Tape()))

def press():
    while True:  # one alone may come in a callback of the garbage collector, where Python drops it
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGINT)

try:
    threading.Thread(target=press, daemon=True).start()
    for step in train(model, documents_for(config, 1), threads=3, steps_per_call=None):
        pass
except KeyboardInterrupt:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    print("interrupted")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.stdout == "interrupted\n", done.stderr
