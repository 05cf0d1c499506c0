"""A recorded program replays, bit for bit, what calling the function again would compute."""

from __future__ import annotations

import math
import random
import warnings

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import microgpt
from microgpt import (
    GPT,
    SPANS,
    Config,
    FrozenBranchWarning,
    Matrix,
    Program,
    Tape,
    Tokenizer,
    Value,
    Vector,
    initial_parameters,
    linear,
    record,
    rmsnorm,
    softmax,
    train,
)
from microgpt.core import lib

from . import oracle
from .bits import all_bits
from .test_graphs import numbers, play, programs

WORDS = ["emma", "olivia", "ava", "mia", "zoë", "anne-marie", "o", "bob"]


def formula(x, y):
    """Every kind of scalar operation, some operands twice."""
    z = (x * y + 1.5) / (x * x + 2) - (y.tanh() * x.sigmoid()) ** 2
    z = z + (x.exp() + 3).log() * abs(y) + x.max(y) * y.min(0.25) + (x * x + 1).sqrt()
    return z.relu() + z.sin() * z.cos() + 2**x + (y * y + 1) ** x


@pytest.mark.parametrize("seed", range(5))
def test_scalars_replay(seed):
    """New inputs give the result and the gradients that the oracle gives for them."""
    rng = random.Random(seed)
    program = record(formula, 0.5, -0.5)
    for _ in range(20):
        x, y = rng.uniform(-2, 2), rng.uniform(-2, 2)
        ox, oy = oracle.Value(x), oracle.Value(y)
        expected = formula(ox, oy)
        expected.backward()
        found = program(x, y)
        program.backward()
        assert all_bits([found, *(v.grad for v in program.inputs)]) == all_bits([expected.data, ox.grad, oy.grad])


@settings(max_examples=150, deadline=None)
@given(programs, st.lists(numbers, min_size=4, max_size=4))
def test_random_programs_replay(program, others):
    """A random graph, recorded with some leaves, replayed with others: what the oracle computes from those."""
    leaves, steps = program
    kept = [step for step in steps if step[0] not in ("custom", "backward", "write")]
    others = others[: len(leaves)] + leaves[len(others) :]
    errors, *expected = play((others, kept), oracle.Value)
    assume(not any(errors) and not any(play((leaves, kept), oracle.Value)[0]))

    def function(*inputs):
        nodes = list(inputs)
        for kind, name, where, argument in kept:
            node = nodes[where % len(nodes)]
            if kind == "unary":
                nodes.append(getattr(node, name)())
            else:
                nodes.append(getattr(node, name)(nodes[argument % len(nodes)] if kind == "binary" else argument))
        return nodes[-1] + 0

    recorded = record(function, *leaves)
    recorded(*others)
    recorded.backward()
    data, grad = expected
    last = float.fromhex(data[-1]) if data[-1] != "nan" else math.nan
    assert all_bits([recorded.result.data]) == all_bits([last + 0])
    assert all_bits(v.grad for v in recorded.inputs) == grad[: len(leaves)]


def test_vectors_and_parameters_replay():
    """A program over vectors uses the parameters as they are at each replay, and adds to their gradients."""
    w = Matrix(3, 2, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6])

    def function(x):
        return -softmax(linear(rmsnorm(x), w))[1].log()

    program = record(function, [1.0, 2.0])
    rng = random.Random(0)
    for _ in range(5):
        x = [rng.gauss(0, 1), rng.gauss(0, 1)]
        w.data = [rng.gauss(0, 1) for _ in range(6)]
        w.zero_grad()
        found = program(x)
        program.backward()
        grads = program.inputs[0].grad + [g for row in w for g in row.grad]
        w.zero_grad()
        again = Vector(x)
        expected = function(again)
        expected.backward()
        assert all_bits([found]) == all_bits([expected.data])
        assert all_bits(grads) == all_bits(again.grad + [g for row in w for g in row.grad])
    program.backward()
    program.backward()
    assert w[0].grad != [0.0, 0.0]


def test_values_inside_can_be_read():
    """Values that the function made and kept hold the numbers of the last replay."""
    inside = []

    def function(x):
        inside.append(x * 2)
        return inside[0] + 1

    program = record(function, 1.0)
    assert program(5.0) == 11.0
    assert inside[0].data == 10.0


def test_a_vector_result():
    """A program may end in a Vector: forward only."""
    program = record(lambda x: softmax(x), [1.0, 2.0, 3.0])
    assert program([0.0, 0.0, 0.0]) == [1 / 3] * 3
    with pytest.raises(microgpt.ShapeError, match="starts from one Value"):
        program.backward()


def test_a_quiet_recording_stays_so():
    """What is recorded after another recording inside it, too."""

    def outer(x):
        record(lambda y: y + 1, 1.0)
        return x.log() + record(lambda: (x - 1).log()).result

    program = record(outer, -1.0, quiet=True)
    assert program(3.0) == math.log(3.0) + math.log(2.0)
    with pytest.raises(ValueError, match="math domain error"):
        record(outer, -1.0)


def test_branches_are_frozen_with_a_warning():
    """A comparison, or the truth of a Value, warns once while a function is recorded, and never outside."""
    with pytest.warns(FrozenBranchWarning, match="takes the same branch") as caught:
        program = record(lambda x: x * 2 if x > 0 else x * 3 if x < 1 else x, 1.0)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert program(-1.0) == -2.0
    with pytest.warns(FrozenBranchWarning):
        record(lambda x: x + 1 if x else x, 0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        a, b = Value(1.0), Value(2.0)
        assert (a < b, a <= 1, b > 2.5, b >= a) == (True, True, False, True)
        assert max(a, b) is b
        assert Value(0.0)
        record(lambda x: x.max(0.0), 1.0)


def setting(x, name, number):
    setattr(x, name, number)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda x, w: x.grad, "read `grad`"),
        (lambda x, w: w.grad, "read `grad`"),
        (lambda x, w: (x * x).backward(), "called backward"),
        (lambda x, w: setting(x, "data", 1.0), "set `data`"),
        (lambda x, w: setting(w, "data", [1.0, 2.0]), "set `data`"),
        (lambda x, w: setting(x, "grad", 0.0), "set `data` or `grad`"),
        (lambda x, w: setting(w, "grad", [0.0, 0.0]), "set `data` or `grad`"),
        (lambda x, w: w.zero_grad(), "set `data` or `grad`"),
    ],
)
def test_what_a_replay_does_not_do_again(act, message):
    """Warns, once, while a function is recorded, and never outside."""
    w = Vector([1.0, 2.0])

    def function(x):
        act(x, w)
        act(x, w)
        return x * w[1]

    with pytest.warns(FrozenBranchWarning, match=message) as caught:
        record(function, 2.0)
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        function(Value(1.0))


def test_custom_statements_cannot_be_replayed():
    """Partials of one's own are not known for other inputs: NotReplayableError says so when recording."""
    with pytest.raises(microgpt.NotReplayableError, match="cannot be computed again"):
        record(lambda x: Value(1.0, (x,), (2.0,)) + 1, 1.0)
    assert record(lambda x: x + Value(2.0), 1.0)(3.0) == 5.0


def test_errors_are_those_of_the_operations():
    """A replay raises what the operations would, and the program goes on working."""
    program = record(lambda x: x.log() + 1, 1.0)
    with pytest.raises(ValueError, match="math domain error"):
        program(-1.0)
    with pytest.raises(microgpt.OverwrittenError):
        program.backward()
    assert program(math.e) == 2.0
    program.backward()


def test_misuse():
    """A wrong number of inputs, no Value as result, a rewound or closed tape, another thread's tape: named errors."""
    program = record(lambda x: x + 1, 1.0)
    with pytest.raises(microgpt.ShapeError, match="recorded with 1 inputs, and 2 are given"):
        program(1.0, 2.0)
    with pytest.raises(TypeError, match="returns a Value or a Vector, not float"):
        record(lambda x: 3.0, 1.0)
    with pytest.raises(microgpt.OverwrittenError):
        program.set(2.0)
        program.backward()
    with Tape() as tape:
        mark = tape.mark()
        inner = record(lambda x: x * 2, 1.0)
        tape.rewind(mark)
        with pytest.raises(microgpt.StaleValueError):
            inner(2.0)
        inner = record(lambda x: x * 2, 1.0)
        tape.close()
        with pytest.raises(microgpt.ClosedTapeError):
            inner.forward()
    del inner


def test_a_program_survives_collections():
    """What a program needs is kept while the program exists, though nothing else holds it."""
    with Tape() as tape:
        program = record(lambda x: ((x * 3 + 1) * x).tanh(), 0.5)
        expected = program(0.25)
        program(0.75)
        tape.collect()
        for _ in range(10_000):
            Value(1.0)
        tape.collect()
        assert program(0.25) == expected


def test_large_program():
    """A program of 100,000 operations replays in one call each way."""

    def chain(x, y):
        z = x
        for _ in range(50_000):
            z = z * y + x
        return z

    program = record(chain, 0.5, 0.25)
    expected = chain(Value(0.75), Value(0.125))
    assert program(0.75, 0.125) == expected.data
    program.backward()
    assert all(math.isfinite(v.grad) for v in program.inputs)


@pytest.mark.parametrize(
    "config",
    [
        Config(n_embd=8, n_head=2, steps=12),
        Config(n_embd=6, n_head=3, n_layer=2, block_size=4, activation="relu", steps=10, zero_output=False, std=0.3),
    ],
)
def test_training_by_programs_equals_training_without(config):
    """Losses and parameters of a replayed run and of one that records each step anew are the same bits."""
    runs = []
    for replay in (True, False):
        tokenizer = Tokenizer(WORDS)
        state_dict = initial_parameters(config, tokenizer.vocab_size, random.Random(1))
        losses = [s.loss for s in train(GPT(config, state_dict, SPANS), [tokenizer.encode(w) for w in WORDS], replay)]
        runs.append((all_bits(losses), all_bits(x for w in state_dict.values() for x in w.data)))
    assert runs[0] == runs[1]


def test_every_failed_allocation_is_a_memory_error():
    """Whichever allocation fails while a program is made, the tape is intact and the next attempt succeeds."""
    with Tape() as tape:
        x = Vector([0.1 * i for i in range(20)])
        result = sum(rmsnorm(x + x)) * 2
        for k in range(1, 100):
            lib.mg_tape_fail_allocation(tape._pointer, k)
            try:
                Program((x,), result, 0, [])
            except MemoryError:
                lib.mg_tape_fail_allocation(tape._pointer, 0)
                assert x.data == [0.1 * i for i in range(20)]
            else:
                break
        lib.mg_tape_fail_allocation(tape._pointer, 0)
        assert 1 < k < 99
        result.backward()
