"""microgpt.training: steps, the learning rate, Adam, and what happens when a run diverges or is left."""

import math
import random
from dataclasses import replace
from itertools import chain, pairwise
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microgpt import (
    GPT,
    SCALARS,
    SPANS,
    Adam,
    Config,
    DataError,
    DivergedError,
    Index,
    Matrix,
    MicrogptError,
    Model,
    Optimizer,
    Tape,
    TapeError,
    Training,
    Vector,
    initial_parameters,
    mean,
    parameters_sha256,
    softmax,
    surprisal,
    train,
)
from microgpt.config import CHOICES
from microgpt.core import ffi, lib
from microgpt.errors import ShapeError
from microgpt.optimizers import learning_rate_at, settings_of

from . import program
from .bits import all_bits, bits

TINY = Config(n_embd=4, n_head=2, block_size=4, steps=5, zero_output=False, std=0.3)
BOS, A, B = 2, 0, 1
DOCUMENTS = [[BOS, A, B, BOS], [BOS, B, BOS], [BOS, A, A, B, BOS]]

both = pytest.mark.parametrize("operations", [SPANS, SCALARS], ids=["spans", "scalars"])


def fresh(config, operations=SPANS):
    """A model of three tokens on a tape of its own, always with the same parameters."""
    return GPT(config, initial_parameters(config, BOS + 1, random.Random(1), Tape()), operations)


def outcome(config, documents):
    """The bits of all losses, and the digest of the parameters after them."""
    model = fresh(config)
    losses = [step.loss for step in train(model, documents)]
    return all_bits(losses), parameters_sha256(model.state_dict)


@both
def test_steps(operations):
    """Steps are numbered from 1; each reports the loss of its document before the parameters change, and is lazy."""
    model = fresh(TINY, operations)
    steps = train(model, DOCUMENTS)
    seen = set()
    for number in range(1, TINY.steps + 1):
        seen.add(parameters_sha256(model.state_dict))
        loss = model.loss(DOCUMENTS[(number - 1) % len(DOCUMENTS)]).data
        step = next(steps)
        assert (step.number, step.loss.hex()) == (number, loss.hex())
    assert next(steps, None) is None
    assert len(seen) == TINY.steps


def test_documents_come_in_turn():
    """Step s takes document s modulo their number."""
    assert outcome(TINY, DOCUMENTS[:2]) == outcome(TINY, DOCUMENTS[:2] * 3)
    assert outcome(TINY, DOCUMENTS) != outcome(TINY, DOCUMENTS[::-1])


def test_no_steps():
    """steps=0 yields nothing and changes nothing, whatever the documents."""
    model = fresh(replace(TINY, steps=0))
    before = parameters_sha256(model.state_dict)
    assert list(train(model, DOCUMENTS)) == list(train(model, [])) == []
    assert parameters_sha256(model.state_dict) == before


@both
def test_a_long_document_is_cut(operations):
    """Of a document longer than the block, the first block_size predictions count; the next character does."""
    tokens = [BOS, A, B, B, A, A, B, BOS]
    block = TINY.block_size
    model = fresh(TINY, operations)
    assert model.loss(tokens).data.hex() == model.loss(tokens[: block + 1]).data.hex()
    assert model.loss(tokens).data != model.loss(tokens[:block]).data
    assert outcome(TINY, [tokens]) == outcome(TINY, [tokens[: block + 1]])


def test_gradients_start_at_zero():
    """Gradients left by other work do not leak into a training."""
    model = fresh(TINY)
    model.loss(DOCUMENTS[0]).backward()
    assert any(g for w in model.state_dict.values() for row in w for g in row.grad)
    losses = [step.loss for step in train(model, DOCUMENTS)]
    assert (all_bits(losses), parameters_sha256(model.state_dict)) == outcome(TINY, DOCUMENTS)
    assert not any(g for w in model.state_dict.values() for row in w for g in row.grad)


@pytest.mark.parametrize(("replay", "fast"), [(True, False), (False, False), (True, True)])
@pytest.mark.parametrize("batch_size", [1, 2])
def test_gradients_of_others_stay_out(replay, fast, batch_size):
    """Between two steps others may leave gradients in the parameters: every step's begin at 0."""
    config, runs = replace(TINY, batch_size=batch_size), []
    for others in (False, True):
        model, losses = fresh(config), []
        for step in train(model, DOCUMENTS, replay=replay, fast=fast):
            losses.append(step.loss)
            if others:
                model.loss(DOCUMENTS[0]).backward()
        runs.append((all_bits(losses), parameters_sha256(model.state_dict)))
    assert runs[0] == runs[1]


@both
def test_memory_does_not_grow(operations):
    """Without programs a step leaves nothing on the tape, and after the first one asks for no more memory."""
    model = fresh(replace(TINY, steps=8), operations)
    tape = model.state_dict["wte"]._tape
    slots = tape.memory().slots
    after = [tape.memory() for _ in train(model, DOCUMENTS[2:], replay=False)]
    assert {memory.slots for memory in after} == {slots}
    assert len({memory.capacity for memory in after}) == len({memory.bytes for memory in after}) == 1


def test_programs_are_recorded_once():
    """With programs the tape holds one for each length of document, and a collection takes them when all is done."""
    model = fresh(replace(TINY, steps=4 * len(DOCUMENTS)))
    tape = model.state_dict["wte"]._tape
    slots = tape.memory().slots
    after = [tape.memory().slots for _ in train(model, DOCUMENTS)]
    assert len(set(after[len(DOCUMENTS) :])) == 1
    for _ in range(2):  # the page that was being filled at the first goes at the second
        tape.collect()
    assert tape.memory().slots == slots


def test_left_half_way():
    """A training that is left has done whole steps only, and the model can be trained again."""
    model = fresh(TINY)
    tape = model.state_dict["wte"]._tape
    slots = tape.memory().slots
    steps = train(model, DOCUMENTS)
    for _ in range(2):
        next(steps)
    steps.close()
    other = fresh(TINY)
    digests = [parameters_sha256(other.state_dict) for _ in train(other, DOCUMENTS)]
    assert parameters_sha256(model.state_dict) == digests[1]
    for _ in range(2):  # the page that was being filled at the first goes at the second
        tape.collect()
    assert tape.memory().slots == slots
    assert [step.number for step in train(model, DOCUMENTS)] == [1, 2, 3, 4, 5]


@both
@pytest.mark.parametrize(
    ("learning_rate", "spoiled", "number"),
    [(1e300, None, 3), (0.01, math.nan, 1), (0.01, math.inf, 1), (0.01, 1e200, 1)],
    ids=["learning rate", "nan", "inf", "overflow"],
)
def test_diverged(operations, learning_rate, spoiled, number):
    """A loss that is not finite is a DivergedError that names the step; parameters are those before that step."""
    model = fresh(replace(TINY, learning_rate=learning_rate), operations)
    if spoiled is not None:
        model.state_dict["lm_head"].data = [spoiled] + [-1.0] * 11
    done, digests = [], [parameters_sha256(model.state_dict)]
    with pytest.raises(
        DivergedError, match=rf"\Astep {number}: [^\n]+; the learning_rate of \S+ may be too high: try \S+\Z"
    ) as caught:
        for step in train(model, DOCUMENTS):
            done.append(step.number)
            digests.append(parameters_sha256(model.state_dict))
    assert done == list(range(1, number))
    assert caught.value.step == number
    assert isinstance(caught.value, ArithmeticError)
    assert parameters_sha256(model.state_dict) == digests[-1]


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([1, 3], "document 2 has a token of 3, and the model has tokens of 0 to 2"),
        ([0, -1], "document 2 has a token of -1,"),
        ([0, 2**40], "document 2: tokens are integers below"),
        ([0, 0.5], "document 2: tokens are integers below"),
        ("ab", "document 2: tokens are integers below"),
    ],
)
def test_tokens_that_a_model_has_not(document, message, fast):
    """Are refused before the first step, by the number of their document."""
    with Tape():
        table = Matrix(3, 3, [0.1] * 9)
        model = Model(lambda t: mean([surprisal(softmax(table[a])[b]) for a, b in pairwise(t)]), [table])
        with pytest.raises(DataError, match=message):
            next(train(model, [[0, 1, 2, 2], document], fast=fast))


@pytest.mark.parametrize("replay", [False, True])
@pytest.mark.parametrize("loss", [3.0, None, Vector])
def test_a_loss_is_a_value(loss, replay):
    with Tape():
        table = Matrix(3, 3, [0.1] * 9)
        model = Model(lambda t: table[t[0]] if loss is Vector else loss, [table])
        with pytest.raises(TypeError, match="what a model's loss returns must be a Value, not "):
            next(train(model, [[0, 1]], replay=replay))


READING = {  # which tokens a loss reads, and after which it predicts
    "without the first": lambda tokens: pairwise(tokens[1:]),
    "without one in the middle": lambda tokens: pairwise(tokens[:1] + tokens[2:]),
    "every other": lambda tokens: pairwise(tokens[::2]),
    "without the last": lambda tokens: pairwise(tokens[:-1]),
    "the same of all": lambda tokens: pairwise(tokens[1:4]),
    "none": lambda tokens: [(0, 1), (1, 2)],
}


@pytest.mark.parametrize("lengths", [[5], [5, 4, 7]], ids=["of one length", "of several"])
@pytest.mark.parametrize("reading", READING)
def test_tokens_that_no_loss_reads(reading, lengths):
    """Are passed over: what a loss reads is a document's token at that place, however many before it are unread."""
    rng, runs = random.Random(3), []
    documents = [[rng.randrange(4) for _ in range(rng.choice(lengths))] for _ in range(7)]
    for replay in (True, False):
        with Tape():
            table = Matrix(4, 4, [math.sin(n) for n in range(16)])

            def loss(tokens, table=table):
                return mean([surprisal(softmax(table[a])[b]) for a, b in READING[reading](tokens)])

            losses = [step.loss for step in train(Model(loss, [table], Config(steps=9)), documents, replay=replay)]
            runs.append((all_bits(losses), all_bits(table.data)))
    assert runs[0] == runs[1]


@pytest.mark.parametrize("fast", [False, True])
def test_an_index_that_is_no_token(fast):
    with Tape():
        table, own = Matrix(3, 3, [0.1] * 9), Index(1)
        model = Model(lambda t: surprisal(softmax(table[t[0]] + table[own])[t[1]]), [table])
        with pytest.raises(TapeError, match="the loss selects by an Index of its own"):
            next(train(model, [[0, 1], [2, 1]], fast=fast))


@pytest.mark.parametrize(
    ("listed", "message"),
    [
        (lambda w, other: [], "an optimizer needs parameters, all of one tape"),
        (lambda w, other: [w, other], "an optimizer needs parameters, all of one tape"),
        (lambda w, other: [Vector([1.0]), w, w], r"parameters\[1\] and parameters\[2\] have numbers in common"),
        (lambda w, other: [w[2], w], r"parameters\[0\] and parameters\[1\] have numbers in common"),
        (lambda w, other: [w, softmax(w[0])], r"parameters\[1\] was computed, and only what depends on nothing"),
    ],
)
def test_what_cannot_be_learned(listed, message):
    """Is refused before the first step, in the same words with a recording and without, and by an optimizer."""
    with Tape():
        other = Matrix(3, 3, [0.1] * 9)
    with Tape():
        w = Matrix(3, 3, [0.1] * 9)
        model = Model(lambda t: surprisal(softmax(w[t[0]])[t[1]]), listed(w, other))
        for refused in (
            lambda: next(train(model, [[0, 1]])),
            lambda: next(train(model, [[0, 1]], replay=False)),
            lambda: Optimizer(Config(), model.parameters),
        ):
            with pytest.raises(ShapeError, match=message):
                refused()


def test_a_matrix_of_two_names():
    """Is learned once."""
    model, tied = fresh(TINY), fresh(TINY)
    tied.state_dict["lm_head"].data = tied.state_dict["wte"].data
    tied = GPT(TINY, {**tied.state_dict, "lm_head": tied.state_dict["wte"]})
    assert len(tied.parameters) == len(model.parameters) - 1
    parts = GPT(TINY, {**model.state_dict, "lm_head": model.state_dict["wte"]})
    with_model = Model(parts.loss, [w for name, w in model.state_dict.items() if name != "lm_head"], TINY)
    losses = [[step.loss for step in train(of, DOCUMENTS)] for of in (tied, with_model)]
    assert all_bits(losses[0]) == all_bits(losses[1])


@pytest.mark.parametrize("documents", [[], [[]], [[BOS]]])
def test_nothing_to_train_on(documents):
    """No documents, or one without a prediction, is an error of the input and not a divergence."""
    with pytest.raises((MicrogptError, ValueError)) as caught:
        list(train(fresh(TINY), documents))
    assert not isinstance(caught.value, DivergedError)


# No rate so small that half of it is not a normal number, which has fewer digits.
RATES = st.one_of(st.just(0.0), st.floats(1e-300, 10))
SETTINGS = st.tuples(RATES, st.integers(1, 10_000)).flatmap(
    lambda pair: st.tuples(st.just(pair[0]), st.integers(0, pair[1] - 1), st.just(pair[1]))
)


@given(SETTINGS)
def test_learning_rate(setting):
    """Both decays are the formulas of the program, evaluated in their order; they start at the learning rate."""
    rate, step, steps = setting
    config = Config(learning_rate=rate, steps=steps)
    cosine = rate * 0.5 * (1 + math.cos(math.pi * step / steps))
    assert learning_rate_at(config, step).hex() == cosine.hex()
    linear = rate * (1 - step / steps)
    assert learning_rate_at(replace(config, decay="linear"), step).hex() == linear.hex()
    assert learning_rate_at(config, 0) == learning_rate_at(replace(config, decay="linear"), 0) == rate


def gradients(rng, n):
    """Of all magnitudes, zeros and subnormal numbers among them, so that squares and roots round in all ways."""
    special = [0.0, -0.0, 5e-324, -2e-308, 1e-170, 1e150, -1.0]
    return special + [rng.choice((-1, 1)) * math.exp(rng.uniform(-40, 10)) for _ in range(n - len(special))]


@pytest.mark.parametrize(
    "settings",
    [
        *({"optimizer": name} for name in CHOICES["optimizer"]),
        {"optimizer": "adamw", "weight_decay": 0.3, "decay": "linear"},
        {"optimizer": "adamw", "weight_decay": 0.0},
        {"optimizer": "sgd", "momentum": 0.0},
        {"beta1": 0.85, "beta2": 0.99, "decay": "linear"},
        {"beta1": 0.0, "beta2": 0.0, "epsilon": 1e-300},
    ],
)
def test_optimizers(settings):
    """Updates of two matrices have the bits of the oracle's loop over parameters, and gradients are zeroed."""
    config, rng, n = Config(steps=4, **settings), random.Random(5), 3001
    sizes = [(1, n), (4, 5)]
    with Tape():
        matrices = [Matrix(m, k, [-0.0] * 2 + [rng.gauss(0, 1) for _ in range(m * k - 2)]) for m, k in sizes]
    parameters = [SimpleNamespace(data=x, grad=0.0) for w in matrices for x in w.data]
    m, v = [0.0] * len(parameters), [0.0] * len(parameters)
    optimizer = Optimizer(config, matrices)
    for step in range(config.steps):
        grads = [gradients(rng, rows * columns) for rows, columns in sizes]
        for w, grad in zip(matrices, grads):
            w.grad = grad
        for p, grad in zip(parameters, chain(*grads)):
            p.grad = grad
        optimizer.update(learning_rate_at(config, step))
        program.update(config, parameters, m, v, step)
        assert all_bits(x for w in matrices for x in w.data) == all_bits(p.data for p in parameters)
        assert all_bits(optimizer.m) == all_bits(m)
        assert all_bits(optimizer.v) == all_bits(v)
        assert not any(g for w in matrices for g in w.grad)


@pytest.mark.parametrize("position", [0, 13, 29])
def test_adam_overflow(position):
    """A gradient whose square overflows is an OverflowError, as in Python; nothing changes, and one can go on."""
    config = Config()
    with Tape():
        w, same = (Matrix(5, 6, [i / 7 for i in range(30)]) for _ in range(2))
    optimizer, other = Adam(config, [w]), Adam(config, [same])
    grad = [0.5] * 30
    w.grad = [*grad[:position], -1e200, *grad[position + 1 :]]
    data = w.data
    with pytest.raises(OverflowError):
        optimizer.update(0.01)
    assert w.data == data
    for _ in range(2):
        w.grad, same.grad = grad, grad
        optimizer.update(0.01)
        other.update(0.01)
        assert all_bits(w.data) == all_bits(same.data) != all_bits(data)


def test_gradients_are_added_whatever_the_batch_size():
    """add() and average() by hand, on a configuration whose own batches are of one document."""
    with Tape():
        matrices = [Matrix(40, 50, [0.0] * 2000), Matrix(3, 3, [0.0] * 9)]
    rng, optimizer = random.Random(3), Adam(Config(), matrices)
    for count in (4, 1, 3):
        documents = [[gradients(rng, w.rows * w.columns) for w in matrices] for _ in range(count)]
        for document in documents:
            for w, grad in zip(matrices, document):
                w.grad = grad
            optimizer.add()
            assert not any(g for w in matrices for g in w.grad)
        optimizer.average()
        for w, grads in zip(matrices, zip(*documents)):
            sums = [0.0] * len(grads[0])
            for grad in grads:
                sums = [a + b for a, b in zip(sums, grad)]
            assert all_bits(w.grad) == all_bits(total * (1 / count) for total in sums)
    with pytest.raises(ShapeError, match="there are none"):
        optimizer.average()


def test_the_core_is_told_the_sizes_of_buffers():
    """Buffers of another size than the runs of parameters are refused, and not touched."""
    with Tape():
        w = Matrix(2, 3, [1.0] * 6)
    runs = w._tape._pointer, [w._node], [6], 1
    w.grad = [2.0] * 6
    settings = settings_of(Config())
    for size in (0, 1, 5, 7, 2**64 - 1):
        small = ffi.new("double[]", [0.5] * 16)
        assert lib.mg_gradients_add(*runs, small, size) == lib.MG_SHAPE
        assert lib.mg_gradients_mean(*runs, small, size, 0.5) == lib.MG_SHAPE
        assert lib.mg_optimizer_step(*runs, small, small, size, settings, 1, 0.1) == lib.MG_SHAPE
        assert list(small) == [0.5] * 16
    assert w.data == [1.0] * 6
    assert w.grad == [2.0] * 6


@pytest.mark.parametrize("replay", [True, False])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_interrupt(replay, batch_size):
    """Ends the next steps; whoever goes on has the bits of a training that was not interrupted."""
    config = replace(TINY, steps=6, batch_size=batch_size)
    documents = [[2, 0, 1, 2], [2, 1, 0, 0, 2], [2, 1, 2]]

    def fresh():
        return GPT(config, initial_parameters(config, 3, random.Random(7)))

    model, whole = fresh(), fresh()
    expected = [step.loss for step in train(whole, documents, replay)]
    training = Training(model, documents, replay)
    losses = [step.loss for step in training.steps(stop=2)]
    training.interrupt()
    with pytest.raises(KeyboardInterrupt):
        next(training.steps())
    assert training.taken == 2
    losses += [step.loss for step in training.steps(steps_per_call=3)]
    assert [bits(loss) for loss in losses] == [bits(loss) for loss in expected]
    assert parameters_sha256(model.state_dict) == parameters_sha256(whole.state_dict)
