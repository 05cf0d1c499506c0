"""Programs whose positions are computed together: every number is that of the pure-Python program, in every row."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import pytest

from microgpt import (
    GPT,
    Config,
    ConfigError,
    DataError,
    DivergedError,
    Index,
    Matrix,
    Model,
    Tape,
    Tokenizer,
    Vector,
    initial_parameters,
    parameters_sha256,
    record,
    train,
)
from microgpt import training as training_module
from microgpt._core import ffi, lib
from microgpt.engines import CoreEngine
from microgpt.functions import linear, mean, softmax, surprisal

from . import program
from .bits import all_bits
from .rows import in_every_row, printed_in_row, processor_has

SMALL = Config(n_embd=6, n_head=2, block_size=10, zero_output=False, std=0.4, steps=8)
CONFIGS = [
    SMALL,
    replace(SMALL, activation="relu", n_head=3, n_layer=2),
    replace(SMALL, n_embd=1, n_head=1, block_size=1),
    replace(SMALL, n_embd=8, n_head=1, block_size=17),
    replace(SMALL, n_embd=5, n_head=5, zero_output=True, n_layer=3, block_size=3),
]
WORDS = ["emma", "o", "anne-marie", "zoë", "maximiliane-anna", "bob", "ava"]


def model_of(config, vocab_size, seed=1):
    return GPT(config, initial_parameters(config, vocab_size, random.Random(seed), Tape()))


def oracle_of(config, vocab_size, seed=1):
    return program.Model(config, vocab_size, random.Random(seed), program.oracle.Value)


def gradients(model):
    return [g for w in model.state_dict.values() for row in w for g in row.grad]


@pytest.mark.parametrize("config", CONFIGS, ids=range(len(CONFIGS)))
def test_losses_and_gradients(config):
    """Of every length of document and of any tokens, the target's place among the logits included."""
    vocab_size, rng = 7, random.Random(3)
    model, oracle = model_of(config, vocab_size), oracle_of(config, vocab_size)
    tape = model.state_dict["wte"]._tape
    for length in {1, 2, config.block_size // 2, config.block_size - 1, config.block_size} - {0}:
        recorded = record(lambda *tokens: model.loss(tokens), *[Index(0)] * (length + 1), tape=tape)
        assert recorded.why_not_planned is None
        for target in range(vocab_size):
            tokens = [rng.randrange(vocab_size) for _ in range(length)] + [target]
            for p in oracle.parameters:
                p.grad = 0
            with program.uncollected():
                expected = oracle.loss(tokens)
                expected.backward()
            for w in model.state_dict.values():
                w.zero_grad()
            found = recorded(*tokens)
            recorded.backward()
            assert all_bits([found]) == all_bits([expected.data])
            assert all_bits(gradients(model)) == all_bits(p.grad for p in oracle.parameters)


def test_values_inside_can_be_read():
    """Lanes that the function kept hold the numbers and gradients of the last replay, as when it is called."""
    model = model_of(SMALL, 5)
    tape = model.state_dict["wte"]._tape
    inside = []

    def loss(*tokens):
        inside.clear()
        keys, values = model.empty_cache(), model.empty_cache()
        losses = []
        for t in range(len(tokens) - 1):
            inside.append(model.gpt(tokens[t], t, keys, values))
            inside.append(softmax(inside[-1]))
            losses.append(surprisal(inside[-1][tokens[t + 1]]))
        inside.extend(vector for layer in (*keys, *values) for vector in layer)
        return mean(losses)

    def numbers():
        return all_bits(x for vector in inside for x in (*vector.data, *vector.grad))

    recorded = record(loss, *map(Index, (0, 1, 2, 3)), tape=tape)
    assert recorded.why_not_planned is None
    recorded(4, 2, 0, 1)
    recorded.backward()
    found = numbers()
    with tape:
        loss(4, 2, 0, 1).backward()
        assert numbers() == found


def test_gradients_of_detached_numbers_can_be_read():
    """They go no further than a leaf's, but are there, and so are those of all that was computed from them."""
    rng = random.Random(3)
    with Tape():
        wte, head = (Matrix(5, 4, [rng.gauss(0, 1) for _ in range(20)]) for _ in range(2))
        inside = []

        def loss(*tokens):
            inside.clear()
            losses = []
            for token, target in itertools.pairwise(tokens):
                x = wte[token].tanh()
                fixed = x.detach()
                scale = fixed * fixed + fixed * 3.0
                norm = ((scale * scale).sum() + 1.0) ** -0.5
                inside.extend((x, fixed, scale, scale * norm))
                losses.append(surprisal(softmax(linear(x * inside[-1], head))[target]) + norm * fixed[0])
            return mean(losses)

        recorded = record(loss, *map(Index, (0, 1, 2, 3)))
        assert recorded.why_not_planned is None
        recorded(4, 2, 0, 1)
        recorded.backward()
        found = [all_bits(vector.grad) for vector in inside]
        loss(4, 2, 0, 1).backward()
        assert [all_bits(vector.grad) for vector in inside] == found
        assert all(any(vector.grad) for vector in inside)


def test_other_graphs():
    """A temperature before the softmax, or a table that is used twice, changes the order; the numbers stay right."""
    model = model_of(SMALL, 5)
    w, tape = model.state_dict, model.state_dict["wte"]._tape

    def warm(*tokens):
        keys, values = model.empty_cache(), model.empty_cache()
        logits = [model.gpt(token, t, keys, values) for t, token in enumerate(tokens[:-1])]
        return mean([surprisal(softmax(x / 0.7)[target]) for x, target in zip(logits, tokens[1:])])

    def tied(*tokens):
        model._matrices = {**w, "lm_head": w["wte"]}
        return model.loss(tokens)

    def cool(*tokens):
        keys, values = model.empty_cache(), model.empty_cache()
        return mean(
            [
                surprisal(softmax(model.gpt(token, t, keys, values) * 1.5)[target])
                for t, (token, target) in enumerate(itertools.pairwise(tokens))
            ]
        )

    for function, planned in ((warm, False), (tied, True), (cool, True)):
        recorded = record(function, *map(Index, (0, 1, 2, 3)), tape=tape)
        assert (recorded.why_not_planned is None) == planned
        for tokens in ((4, 2, 0, 1), (1, 1, 1, 1), (0, 3, 4, 4)):
            for matrix in w.values():
                matrix.zero_grad()
            found = recorded(*tokens)
            recorded.backward()
            replayed = gradients(model)
            for matrix in w.values():
                matrix.zero_grad()
            with tape:
                expected = function(*tokens)
                expected.backward()
            assert all_bits([found, *replayed]) == all_bits([expected.data, *gradients(model)])


# ---- every row of kernels


def trained(config):
    tokenizer = Tokenizer(WORDS)
    model = model_of(config, tokenizer.vocab_size, seed=config.seed)
    losses = [step.loss for step in train(model, [tokenizer.encode(word) for word in WORDS], steps_per_call=None)]
    return all_bits(losses), parameters_sha256(model.state_dict)


def print_trained() -> None:
    """For the test below, in a process of its own."""
    print([trained(config) for config in CONFIGS])


@pytest.fixture(scope="module")
def in_python():
    """What the pure-Python program computes for all configurations."""
    tokenizer = Tokenizer(WORDS)
    results = []
    for config in CONFIGS:
        oracle = oracle_of(config, tokenizer.vocab_size, seed=config.seed)
        m, v = [0.0] * len(oracle.parameters), [0.0] * len(oracle.parameters)
        losses = []
        for step in range(config.steps):
            with program.uncollected():
                loss = oracle.loss(tokenizer.encode(WORDS[step % len(WORDS)]))
                loss.backward()
            losses.append(loss.data)
            program.update(config, oracle.parameters, m, v, step)
        model = model_of(config, tokenizer.vocab_size)
        numbers = iter([p.data for p in oracle.parameters])
        for w in model.state_dict.values():
            w.data = [next(numbers) for _ in w.data]
        results.append((all_bits(losses), parameters_sha256(model.state_dict)))
    return results


@in_every_row
def test_training_in_every_row(row, in_python):
    """Whole trainings, with each row of kernels forced."""
    assert printed_in_row(row, print_trained) == f"{in_python}\n"


# ---- blocks of steps


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("block", [2, 3, 8, 100, None])
def test_blocks_change_nothing(block, batch_size):
    """However many steps a call of the core takes, losses and parameters are the same."""
    config, tokenizer = replace(SMALL, batch_size=batch_size), Tokenizer(WORDS)
    documents = [tokenizer.encode(word) for word in WORDS]
    outcomes = []
    for size in (1, block):
        model = model_of(config, tokenizer.vocab_size)
        losses = [step.loss for step in train(model, documents, steps_per_call=size)]
        outcomes.append((all_bits(losses), parameters_sha256(model.state_dict)))
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize(("seconds", "expected"), [(1.0, {1}), (1e-9, {1, 4, 16, 64, 115})])
def test_a_call_takes_a_fiftieth_of_a_second(monkeypatch, seconds, expected):
    """Blocks are as long as the clock lets them be, so that an interrupt is noticed."""
    taken, clock = [], iter(range(1000))
    run = CoreEngine.run
    monkeypatch.setattr(CoreEngine, "run", lambda core, step, steps: taken.append(steps) or run(core, step, steps))
    monkeypatch.setattr(training_module.time, "perf_counter", lambda: next(clock) * seconds)
    config, tokenizer = replace(SMALL, steps=200 if seconds < 1 else 5), Tokenizer(WORDS)
    list(train(model_of(config, tokenizer.vocab_size), [tokenizer.encode(word) for word in WORDS], steps_per_call=None))
    assert set(taken) == expected
    assert sum(taken) == config.steps


@pytest.mark.parametrize("block", [1, 4, None])
@pytest.mark.parametrize("fast", [False, True])
def test_divergence_names_its_step(block, fast):
    """Also in the middle of a block: the steps before it are reported, and its parameters are those before it."""
    config, tokenizer = replace(SMALL, learning_rate=1e160, steps=20), Tokenizer(WORDS)
    documents = [tokenizer.encode(word) for word in WORDS]
    model = model_of(config, tokenizer.vocab_size)
    done = []
    with pytest.raises(DivergedError, match=r"\Astep \d+: ") as caught:
        for step in train(model, documents, steps_per_call=block, fast=fast):
            done.append(step.number)
    assert done == list(range(1, caught.value.step))
    if not fast:
        same = model_of(config, tokenizer.vocab_size)
        steps = train(same, documents)
        for _ in done:
            next(steps)
        assert parameters_sha256(same.state_dict) == parameters_sha256(model.state_dict)


def test_what_training_refuses():
    """Tokens that the model has not, and blocks of no steps."""
    model = model_of(SMALL, 3)
    for bad in ([0, 3], [-1, 0], [0, 1 << 40]):
        with pytest.raises(DataError, match="not from 0 to 2"):
            next(train(model, [[0, 1, 2], bad]))
    with pytest.raises(ConfigError, match="steps_per_call must be at least 1"):
        next(train(model, [[0, 1, 2]], steps_per_call=0))


# ---- the fast mode


def test_the_first_fast_step_is_near():
    """Loss within 1e-5 of the exact one; the parameters that Adam made of the gradients within 1e-4 of a step."""
    config, tokenizer = replace(SMALL, n_embd=16, n_head=4, steps=1), Tokenizer(WORDS)
    for word in WORDS:
        found = {}
        for fast in (False, True):
            model = model_of(config, tokenizer.vocab_size)
            (step,) = train(model, [tokenizer.encode(word)], fast=fast)
            found[fast] = step.loss, [x for w in model.state_dict.values() for x in w.data]
        assert found[True][0] == pytest.approx(found[False][0], rel=1e-5)
        far = [a for a, b in zip(found[True][1], found[False][1]) if abs(a - b) > 1e-4 * config.learning_rate]
        assert len(far) < len(found[True][1]) / 100  # Adam divides by a gradient's size, also where that is rounding
        assert found[True] != found[False]


def print_fast() -> None:
    """For the test below, in a process of its own: widths that vectors of 4, 8, 16 and 32 numbers fill, or do not."""
    tokenizer = Tokenizer(WORDS)
    documents = [tokenizer.encode(word) for word in WORDS * 3]
    for n_embd, batch_size in itertools.product((8, 20, 24, 36, 44), (1, 7, 19)):
        config = replace(SMALL, n_embd=n_embd, batch_size=batch_size, steps=3)
        model = model_of(config, tokenizer.vocab_size)
        losses = [step.loss for step in train(model, documents, fast=True)]
        print(n_embd, batch_size, losses, parameters_sha256(model.state_dict))


@pytest.mark.skipif(not processor_has("avx512"), reason="compares two rows, of which this processor has one")
def test_avx512_has_the_bits_of_avx2():
    """In the fast mode too: what is fused is spelled out, and how many numbers a vector holds changes nothing."""
    assert printed_in_row("avx512", print_fast) == printed_in_row("avx2", print_fast)


def test_fast_losses_are_the_same_on_average():
    """Over five seeds, the mean loss of the last steps is within 1% of that of the exact mode."""
    rng = random.Random(0)
    names = ["".join(rng.choice("aeiou" if i % 2 else "lmnrst") for i in range(rng.randint(3, 9))) for _ in range(200)]
    tokenizer = Tokenizer(names)
    documents = [tokenizer.encode(name) for name in names]
    means = {}
    for fast in (False, True):
        config, last = Config(steps=400), []
        for seed in range(5):
            model = model_of(config, tokenizer.vocab_size, seed)
            last += [step.loss for step in train(model, documents, steps_per_call=None, fast=fast)][-50:]
        means[fast] = sum(last) / len(last)
    assert means[True] == pytest.approx(means[False], rel=0.01)
    assert means[True] < 2.2  # it has learned


def test_fast_training_counts_numbers_below_the_normal_ones_as_0():
    """In the core's calls alone: the moments of parameters without a gradient end at 0, and Python's arithmetic is what
    it was, after steps and after a divergence."""
    config, tokenizer = replace(SMALL, steps=1), Tokenizer(WORDS)
    model = model_of(config, tokenizer.vocab_size)
    core = CoreEngine(model, [tokenizer.encode(WORDS[0])], fast=True)
    n, steps = sum(len(w.data) for w in model.state_dict.values()), ffi.new("uint64_t *")
    m, v, tiny = ffi.new("double[]", n), ffi.new("double[]", n), float.fromhex("0x1p-140")
    assert lib.mg_trainer_write_state(core._pointer, [tiny] * n, [tiny] * n, n, 1) == lib.MG_OK
    core.run(1, 1)
    assert lib.mg_trainer_read_state(core._pointer, m, v, n, steps) == lib.MG_OK
    smallest = float.fromhex("0x1p-126")
    assert all(abs(x) >= smallest or x == 0 for x in [*m, *v])
    assert 0.0 in list(m)
    assert any(x != 0 for x in m)
    least = 5e-324
    assert least * 1.0 > 0
    with pytest.raises(DivergedError):
        list(train(model_of(replace(config, learning_rate=1e160, steps=20), 3), [[0, 1, 2, 0]], fast=True))
    assert least * 1.0 > 0


def test_fast_is_the_program_engine_only():
    """Recording anew in every step is exact."""
    with pytest.raises(ConfigError, match="fast mode"):
        next(train(model_of(SMALL, 3), [[0, 1, 2]], replay=False, fast=True))


def test_fast_has_numbers_of_parameters_only():
    with Tape():
        table, shift = Matrix(3, 3, [0.1 * i for i in range(9)]), Vector([0.1, 0.2, 0.3])
        model = Model(lambda tokens: mean([surprisal(softmax(table[tokens[0]] + shift)[tokens[1]])]), [table])
        with pytest.raises(ConfigError, match="not one of the model's parameters"):
            next(train(model, [[0, 1]], fast=True))
        assert next(train(model, [[0, 1]])).number == 1


def test_fast_numbers_do_not_depend_on_where_parameters_stand():
    """Behind other leaves of the tape, which may be on other pages."""
    found = []
    for before in (1, 5, 5000):
        tape = Tape()
        Vector([0.5] * before, tape)
        model = GPT(SMALL, initial_parameters(SMALL, 3, random.Random(1), tape))
        losses = [step.loss for step in train(model, [[0, 1, 2, 2], [1, 0]], fast=True)]
        found.append((all_bits(losses), parameters_sha256(model.state_dict)))
    assert found[0] == found[1] == found[2]


def test_the_loss_of_a_token_is_at_most_87_in_the_fast_mode():
    for gap, expected in ((86.0, 86.0), (500.0, 87.0)):
        with Tape():
            table = Matrix([[0.0, gap]] * 2)
            model = Model(lambda tokens, w=table: mean([surprisal(softmax(w[tokens[0]])[tokens[1]])]), [table])
            assert next(train(model, [[1, 0]], fast=True)).loss == pytest.approx(expected, rel=1e-5)
            assert next(train(Model(model.loss, [table]), [[1, 0]])).loss == pytest.approx(gap, abs=0.1)
