"""Models of other forms: replays have the bits of recording anew."""

from __future__ import annotations

import random
import warnings
from dataclasses import replace
from functools import partial
from itertools import pairwise
from math import isfinite

import pytest

from microgpt import (
    GPT,
    Config,
    ConfigError,
    FrozenBranchWarning,
    Index,
    Matrix,
    Model,
    Tape,
    Value,
    Vector,
    attention,
    gelu,
    initial_parameters,
    layernorm,
    linear,
    mean,
    parameters_sha256,
    record,
    relu,
    rmsnorm,
    silu,
    softmax,
    surprisal,
    train,
)
from microgpt.config import CHOICES
from microgpt.functions import attention_weights, weighed
from microgpt.vector import View, record_sum

from .bits import all_bits

VOCAB, EMBD, CONTEXT = 7, 6, 3


class Parameters:
    """Matrices by name, made when first asked for."""

    def __init__(self, seed=1):
        self.rng, self.matrices = random.Random(seed), {}

    def __call__(self, name, rows, columns):
        if name not in self.matrices:
            numbers = [self.rng.gauss(0, 0.4) for _ in range(rows * columns)]
            self.matrices[name] = Matrix(rows, columns, numbers)
        return self.matrices[name]


def loss_of(logits, target):
    return surprisal(softmax(logits)[target])


def bigram(w, tokens):
    table = w("table", VOCAB, VOCAB)
    return mean([loss_of(table[a] + w("bias", 1, VOCAB)[0], b) for a, b in pairwise(tokens)])


def bigram_mlp(w, tokens):
    return mean(
        [
            loss_of(linear(linear(w("wte", VOCAB, EMBD)[a], w("w1", 9, EMBD)).tanh(), w("w2", VOCAB, 9)), b)
            for a, b in pairwise(tokens)
        ]
    )


def makemore(w, tokens):
    """A fixed context of embeddings, one after the other."""
    padded = [tokens[0]] * (CONTEXT - 1) + list(tokens)
    losses = []
    for t, target in enumerate(tokens[1:]):
        context = [w("wte", VOCAB, EMBD)[token] for token in padded[t : t + CONTEXT]]
        hidden = (linear(context, w("w1", 8, CONTEXT * EMBD)) + w("b1", 1, 8)[0]).tanh()
        losses.append(loss_of(linear(hidden, w("w2", VOCAB, 8)) + w("b2", 1, VOCAB)[0], target))
    return mean(losses)


def transformer(w, tokens, *, norm, activation, tied=False, positions=True, parallel=False):
    keys, values, losses = [], [], []
    for t, (token, target) in enumerate(pairwise(tokens)):
        x = w("wte", VOCAB, EMBD)[token]
        x = x + w("wpe", 20, EMBD)[t] if positions else norm(w, "n0", x)
        before = norm(w, "n1", x)
        q = linear(before, w("wq", EMBD, EMBD))
        keys.append(linear(before, w("wk", EMBD, EMBD)))
        values.append(linear(before, w("wv", EMBD, EMBD)))
        attended = linear(attention(q, keys, values, 2), w("wo", EMBD, EMBD))
        hidden = before if parallel else norm(w, "n2", x := attended + x)
        mixed = linear(activation(linear(hidden, w("fc1", 11, EMBD))), w("fc2", EMBD, 11))
        x = attended + mixed + x if parallel else mixed + x
        losses.append(loss_of(linear(x, w("wte" if tied else "lm_head", VOCAB, EMBD)), target))
    return mean(losses)


def transposed(w, tokens):
    """Queries, keys and values by matrices that are read by columns: their terms do not stand side by side."""

    def by_columns(x, name):
        return record_sum(1, EMBD, EMBD, View(w(name, EMBD, EMBD), lane=1, term=EMBD), View(x, term=1))

    keys, values, losses = [], [], []
    for token, target in pairwise(tokens):
        x = w("wte", VOCAB, EMBD)[token]
        before = rmsnorm(x)
        keys.append(by_columns(before, "wk"))
        values.append(by_columns(before, "wv"))
        x = attention(by_columns(before, "wq"), keys, values, 2) + x
        losses.append(loss_of(linear(x, w("lm_head", VOCAB, EMBD)), target))
    return mean(losses)


def attending(w, tokens, *, change):
    """What each position attends to is changed before it is used, by maps over the positions so far."""
    keys, values, losses = [], [], []
    for token, target in pairwise(tokens):
        x = w("wte", VOCAB, EMBD)[token]
        before = rmsnorm(x)
        q = linear(before, w("wq", EMBD, EMBD))
        keys.append(linear(before, w("wk", EMBD, EMBD)))
        values.append(linear(before, w("wv", EMBD, EMBD)))
        weights = attention_weights(q, keys, 2)
        x = linear(weighed(change(weights, w), values, 2), w("wo", EMBD, EMBD)) + x
        losses.append(loss_of(linear(x, w("lm_head", VOCAB, EMBD)), target))
    return mean(losses)


def rms(w, name, x):
    return rmsnorm(x)


def layer(w, name, x):
    return layernorm(x, w(name + ".gain", 1, EMBD)[0], w(name + ".bias", 1, EMBD)[0])


def recurrent(w, tokens):
    """Every position reads what the one before it computed: replayed one by one."""
    h, losses = w("h0", 1, 5)[0], []
    for token, target in pairwise(tokens):
        h = (linear(w("wte", VOCAB, EMBD)[token], w("wx", 5, EMBD)) + linear(h, w("wh", 5, 5))).tanh()
        losses.append(loss_of(linear(h, w("out", VOCAB, 5)), target))
    return mean(losses)


def summed(w, tokens):
    total = bigram_mlp(w, tokens) * (len(tokens) - 1)
    return total


def but_the_last(w, tokens):
    """Whose losses do not tell the length of a document: shorter ones are not its beginning."""
    return mean([loss_of(w("table", VOCAB, VOCAB)[a], 1) for a in tokens[:-1]])


PLANNED = {
    "bigram": bigram,
    "bigram mlp": bigram_mlp,
    "makemore": makemore,
    "transposed": transposed,
    "tied": lambda w, t: transformer(w, t, norm=rms, activation=relu, tied=True),
    "layernorm gelu": lambda w, t: transformer(w, t, norm=layer, activation=gelu),
    "silu without positions": lambda w, t: transformer(w, t, norm=rms, activation=silu, positions=False),
    "parallel tanh": lambda w, t: transformer(w, t, norm=rms, activation=Vector.tanh, parallel=True),
    "parallel sigmoid, tied": lambda w, t: transformer(
        w, t, norm=layer, activation=Vector.sigmoid, parallel=True, tied=True
    ),
}
ATTENDING = {
    "squares": lambda a, w: a**2,
    "cubes": lambda a, w: a**3,
    "logarithms": lambda a, w: (a + 1).log(),
    "exponentials, tanh": lambda a, w: a.exp().tanh(),
    "relu of less": lambda a, w: relu(a - 0.3),
    "twice, and leaves": lambda a, w: a * a * w("scale", 1, 1)[0][0] + w("shift", 1, 1)[0][0],
}
for title, change in ATTENDING.items():
    PLANNED[title] = partial(attending, change=change)
REPLAYED = {"recurrent": recurrent, "a sum": summed}


def anew(function, w, tokens):
    """The loss and all gradients of the function, recorded for these tokens."""
    for matrix in w.matrices.values():
        matrix.zero_grad()
    loss = function(w, tokens)
    loss.backward()
    return all_bits([loss.data, *(g for matrix in w.matrices.values() for g in matrix.grad)])


def trained_function(function, documents, config, replay):
    """The losses and the parameters of a training of the function."""
    with Tape():
        w = Parameters()
        function(w, documents[0])
        model = Model(lambda tokens: function(w, tokens), list(w.matrices.values()), config)
        losses = [step.loss for step in train(model, documents, replay=replay)]
        return all_bits(losses), all_bits(x for m in w.matrices.values() for x in m.data)


@pytest.mark.parametrize("name", [*PLANNED, *REPLAYED])
@pytest.mark.parametrize("length", [2, 5, 12])
def test_replays_have_the_bits_of_recording(name, length):
    function, rng = {**PLANNED, **REPLAYED}[name], random.Random(length)
    with Tape():
        w = Parameters()
        program = record(lambda *tokens: function(w, tokens), *(Index(0) for _ in range(length)))
        if length > 2:
            assert (program.why_not_planned is None) == (name in PLANNED), program.why_not_planned
        for _ in range(4):
            tokens = [rng.randrange(VOCAB) for _ in range(length)]
            expected = anew(function, w, tokens)
            for matrix in w.matrices.values():
                matrix.zero_grad()
            found = program(*tokens)
            program.backward()
            assert all_bits([found, *(g for m in w.matrices.values() for g in m.grad)]) == expected
            for matrix in w.matrices.values():
                matrix.data = [x + rng.gauss(0, 0.01) for x in matrix.data]


@pytest.mark.parametrize("name", PLANNED)
def test_a_sweep_after_a_replay(name):
    """A plan leaves in the tape what an ordinary backward() needs: numbers, and partials of every lane."""
    function, rng = PLANNED[name], random.Random(4)
    with Tape():
        w = Parameters()
        program = record(lambda *tokens: function(w, tokens), *(Index(0) for _ in range(7)))
        tokens = [rng.randrange(VOCAB) for _ in range(7)]
        expected = anew(function, w, tokens)
        for matrix in w.matrices.values():
            matrix.zero_grad()
        found = program(*tokens)
        program.result.backward()
        assert all_bits([found, *(g for m in w.matrices.values() for g in m.grad)]) == expected


@pytest.mark.parametrize("name", [*PLANNED, *REPLAYED, "but the last"])
def test_training_any_function_of_tokens(name):
    """One recording for all lengths, in the core, has the losses and parameters of recording every document anew."""
    function = {**PLANNED, **REPLAYED, "but the last": but_the_last}[name]
    rng = random.Random(9)
    documents = [[rng.randrange(VOCAB) for _ in range(rng.randrange(2, 9))] for _ in range(9)]
    assert trained_function(function, documents, Config(steps=12), True) == trained_function(
        function, documents, Config(steps=12), False
    )


@pytest.mark.parametrize("optimizer", CHOICES["optimizer"])
@pytest.mark.parametrize("decay", ["constant", "linear"])
def test_other_optimizers(optimizer, decay):
    """The core's trainer and the eager loop are one."""
    config = Config(optimizer=optimizer, decay=decay, warmup=3, steps=9, n_embd=4, n_head=2, std=0.3, zero_output=False)
    rng, digests = random.Random(2), []
    documents = [[rng.randrange(5) for _ in range(rng.randrange(2, 9))] for _ in range(5)]
    for replay in (True, False):
        model = GPT(config, initial_parameters(config, 5, random.Random(1), Tape()))
        losses = [step.loss for step in train(model, documents, replay=replay)]
        digests.append((all_bits(losses), parameters_sha256(model.state_dict)))
    assert digests[0] == digests[1]


# ---- numbers that are no ordinary ones, and what is frozen


def test_an_infinite_later_position_stays_out():
    """0 * inf of a position that lies ahead is no part of an earlier one's loss."""
    config = Config(n_embd=4, n_head=2, block_size=4, std=0.3, zero_output=False, activation="relu")
    model = GPT(config, initial_parameters(config, 5, random.Random(1), Tape()))
    tape = model.parameters[0]._tape
    tokens = [1, 2, 3, 4, 1]
    program = record(lambda *tokens: model.loss(tokens), *(Index(0) for _ in tokens), tape=tape)
    wv = model.state_dict["layer0.attn_wv"]
    for scale in (1.0, 1e150, 1e300, 1e308):
        wv.data = [scale * x for x in wv.data]
        outcomes = []
        for run in (lambda: program(*tokens), lambda: model.loss(tokens).data):
            try:
                outcomes.append(all_bits([run()]))
            except (OverflowError, ValueError, ZeroDivisionError) as error:
                outcomes.append(type(error))
        assert outcomes[0] == outcomes[1]
        wv.data = [x / scale for x in wv.data]


@pytest.mark.parametrize("infinite", [0, 1])
def test_an_infinite_adjoint_stays_out_of_other_positions(infinite):
    """0 * inf of a position that lies ahead is no part of a gradient: one scale makes adjoints infinite."""
    with Tape() as tape:
        rng = random.Random(4)
        wte, wpe, wv = (Matrix(3, 4, [rng.gauss(0, 1) for _ in range(12)]) for _ in range(3))
        scales = Matrix(3, 4, [1e160 if row == infinite else 1.0 for row in range(3) for _ in range(4)])
        tiny = Vector([1e-320] * 4)

        def loss(tokens):
            keys, values, losses = [], [], []
            for t, (token, target) in enumerate(pairwise(tokens)):
                x = wte[token] + wpe[t]
                keys.append(x)
                values.append(wv[token] * tiny)
                y = attention(x * 0.5, keys, values, 2) * scales[t] * scales[t]
                losses.append(surprisal(softmax(linear(y, wte))[target]))
            return mean(losses)

        tokens, found = [0, 1, 2, 0], []
        program = record(lambda *tokens: loss(tokens), *(Index(0) for _ in tokens), tape=tape)
        assert program.why_not_planned is None
        program(*tokens)
        for run in (program.backward, lambda: loss(tokens).backward()):
            for matrix in (wte, wpe, wv, scales):
                matrix.zero_grad()
            run()
            found.append([all_bits(matrix.grad) for matrix in (wte, wpe, wv, scales)])
        assert found[0] == found[1]
        assert not all(isfinite(g) for g in wv.grad)
        assert any(isfinite(g) and g != 0 for g in wpe.grad)


def test_recording_does_not_depend_on_the_numbers_of_the_example():
    """Token 0, which training records with, has probability 0 after itself: the documents' own tokens have not."""
    with Tape():
        w = Matrix(3, 3, [-800.0, 0.0, 0.0, 0.0, 0.5, 0.1, 0.2, 0.3, 0.4])

        def loss(tokens):
            return mean([surprisal(softmax(w[a] + w[a])[b]) for a, b in pairwise(tokens)])

        steps = list(train(Model(loss, [w], Config(steps=3)), [[1, 2, 1], [2, 1]]))
        assert [step.number for step in steps] == [1, 2, 3]


def test_reading_data_is_frozen_with_a_warning():
    with Tape():
        with pytest.warns(FrozenBranchWarning, match="detach"):
            frozen = record(lambda x: x * x.data, 2.0)
        assert frozen(3.0) == 6.0
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            program = record(lambda x, v: x * x.detach() + (v.detach() * v).sum(), 2.0, [1.0, 2.0])
        x, v = program.inputs
        assert program(3.0, [4.0, 5.0]) == 9.0 + 41.0
        program.backward()
        assert (x.grad, v.grad) == (3.0, [4.0, 5.0])
        assert Value(2.0).detach().data == 2.0


def test_a_configuration_that_does_not_fit_its_parameters():
    config = Config(n_embd=8, n_head=2, block_size=4)
    with Tape():
        parameters = initial_parameters(config, 5, random.Random(1))
        for other in ({"n_embd": 16}, {"block_size": 8}, {"n_layer": 2}):
            with pytest.raises(ConfigError, match=r"configuration (says|has)"):
                GPT(replace(config, **other), parameters)
        assert GPT(config, parameters).config is config
