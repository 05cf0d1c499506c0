"""Models that a random number generator makes: replayed, planned or not, and trained, in every row of kernels, with the
bits of plain scalars."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite
from typing import Any

from microgpt import Config, Index, Model, Tape, record, train
from microgpt.config import CHOICES
from microgpt.core import lib
from microgpt.vector import View

from .bits import all_bits
from .mirror import VECTORS, both_weights, loss_and_gradients, trained
from .rows import in_every_row, printed_in_row

VOCAB, LONGEST = 5, 11


@dataclass
class Place:
    """What a layer may use, besides its two operands, which are lanes of one number."""

    f: Any
    weights: Callable[[str, int, int], Any]
    size: int
    number: int  # of the layer
    choice: int  # another whim of the generator's
    token: Any
    before: Any  # the token before this
    position: int
    past: tuple[list, list]  # of the layer

    def w(self, name, rows=None, columns=None):
        """A matrix; half of the layers have some in common."""
        name = f"{name}{self.number if self.choice % 2 else ''}"
        return self.weights(name, rows or self.size, columns or self.size)

    def row(self, name):
        return self.w(name, 1)[0]


def attended(p, x, y):
    p.past[0].append(p.f.linear(x, p.w("key")) if p.choice % 3 else x * 0.7)
    p.past[1].append(p.f.linear(y, p.w("value")) if p.choice % 5 else y.tanh())
    q = p.f.linear(x, p.w("query")) if p.choice % 7 else y + 0.1
    return p.f.attention(q, *p.past, next(n for n in (3, 2, 1) if p.size % n == 0))


CHANGES = [
    lambda p, a: a**2,
    lambda p, a: (a + 1).log() * 0.5,
    lambda p, a: a.exp().tanh(),
    lambda p, a: p.f.map("relu", a - 0.3),
    lambda p, a: a * a * p.w("scale", 1, 1)[0][0] + p.w("shift", 1, 1)[0][0],
    lambda p, a: a.sigmoid() + 0.1,
    lambda p, a: a * 2.0,
]


def weighed(p, x, y):
    """Attention whose weights, or logits in the place of these, are changed before they are used."""
    p.past[0].append(p.f.linear(x, p.w("key")))
    p.past[1].append(p.f.linear(y, p.w("value")) if p.choice % 5 else y.tanh())
    q, n = p.f.linear(x, p.w("query")), next(n for n in (3, 2, 1) if p.size % n == 0)
    keys, change = p.past[0], CHANGES[p.choice % 7]
    if p.choice % 3:
        return p.f.weighed(change(p, p.f.attention_weights(q, keys, n)), p.past[1], n)
    width = p.size // n
    logits = p.f.sums(n, len(keys), width, View(q, group=width, term=1), View(keys, group=width, term=1))
    return p.f.weighed(change(p, logits * logits), p.past[1], n)


def halves(p, x, y):
    n = p.size // 2
    return p.f.linear(x[:n] * y[p.size - n :], p.w("half", p.size, n)) if n else y - x


LAYERS = {
    "linear": lambda p, x, y: p.f.linear(x, p.w("square")),
    "two linears": lambda p, x, y: p.f.linear(x, p.w("square")) * p.f.linear(y, p.w("other")),
    "joined": lambda p, x, y: p.f.linear([x, y], p.w("joined", p.size, 2 * p.size)),
    "attended": attended,
    "weighed": weighed,
    "weighed otherwise": weighed,
    "halves": halves,
    "sum": lambda p, x, y: x + y,
    "difference": lambda p, x, y: x - y * 0.5,
    "product": lambda p, x, y: x * y,
    "quotient": lambda p, x, y: x / (y * y + 1.5),
    "larger": lambda p, x, y: p.f.maps(lib.MG_MAX, 1, p.size, View(x, lane=1), View(y, lane=1)),
    "a lane": lambda p, x, y: x * y[p.choice % p.size],
    "some lanes": lambda p, x, y: x * (y[p.choice % p.size] * x[-1 % p.size] + x[0]),
    "a sum of products": lambda p, x, y: x * (x * y).sum(),
    "centred": lambda p, x, y: x - x.mean(),
    "a gain": lambda p, x, y: x * p.row("gain"),
    "a bias": lambda p, x, y: p.row("bias") + x,
    "a scale": lambda p, x, y: x * p.w("scale", 1, 1)[0][0] + y,
    "position": lambda p, x, y: x + p.weights("wpe", LONGEST, p.size)[p.position],
    "token": lambda p, x, y: x * p.w("table", VOCAB)[p.token],
    "token before": lambda p, x, y: x + p.w("table", VOCAB)[p.before],
    "relu": lambda p, x, y: p.f.map("relu", x),
    "squares": lambda p, x, y: x**2,
    "cubes": lambda p, x, y: x**3,
    "inverse": lambda p, x, y: 1 / (x * x + 1),
    "exponentials": lambda p, x, y: p.f.map("exp", x * 0.1),
    "tanh": lambda p, x, y: x - x.tanh() * x[0],
    "silu": lambda p, x, y: p.f.silu(x),
    "gelu": lambda p, x, y: p.f.gelu(x),
    "softmax": lambda p, x, y: p.f.softmax(x),
    "rmsnorm": lambda p, x, y: p.f.rmsnorm(x),
    "detached": lambda p, x, y: x * y.detach() + x.largest(),
}

LOSSES = {
    "entropy": lambda f, w, x, logits, b: f.surprisal(f.softmax(logits)[b]),
    "logarithm of a sum": lambda f, w, x, logits, b: f.map("exp", logits - logits.largest()).sum().log() - logits[b],
    "hinge": lambda f, w, x, logits, b: f.map("relu", logits - logits[b] + 1.0).sum(),
    "selected twice": lambda f, w, x, logits, b: logits[b] * logits[b] + logits.sum(),
    "selected and not": lambda f, w, x, logits, b: (logits**2).sum() + logits[b] * logits[0],
    "smoothed": lambda f, w, x, logits, b: f.map("log", p := f.softmax(logits)).mean() * -0.1 - p[b].log() * 0.9,
    "a row": lambda f, w, x, logits, b: (logits * logits).sum() - (w("rows", VOCAB, VOCAB)[b] * logits).sum(),
}


class RandomModel:
    def __init__(self, seed):
        rng = random.Random(seed)
        self.size = rng.choice([1, 2, 3, 4, 5, 8, 9])
        count = rng.randrange(1, 9)
        self.layers = [
            (rng.choice(list(LAYERS)), rng.randrange(n), rng.randrange(n), rng.randrange(210))
            for n in range(1, count + 1)
        ]
        self.loss, self.tied = rng.choice(list(LOSSES)), rng.random() < 0.2

    def __call__(self, f, w, tokens):
        pasts, losses = [([], []) for _ in self.layers], []
        for position, (before, (token, target)) in enumerate(zip([tokens[0], *tokens], pairwise(tokens))):
            found = [w("wte", VOCAB, self.size)[token]]
            for number, ((layer, a, b, choice), past) in enumerate(zip(self.layers, pasts)):
                place = Place(f, w, self.size, number, choice, token, before, position, past)
                found.append(LAYERS[layer](place, found[a], found[b]))
            logits = f.linear(found[-1], w("wte" if self.tied else "head", VOCAB, self.size))
            losses.append(LOSSES[self.loss](f, w, found[-1], logits, target))
        return f.mean(losses)


def differences(seed):
    """What is not as in plain scalars, of one model, and whether it is planned. None if it cannot be computed."""
    model, rng = RandomModel(seed), random.Random(seed)
    length, batch_size = rng.choice([2, 3, 4, 7, LONGEST]), rng.choice([1, 2, 5, 9, 17])
    texts = [[rng.randrange(VOCAB) for _ in range(length)] for _ in range(2)]
    documents = [[rng.randrange(VOCAB) for _ in range(rng.randrange(2, LONGEST + 1))] for _ in range(batch_size + 3)]
    config = Config(steps=2, batch_size=batch_size, optimizer=rng.choice(CHOICES["optimizer"]), block_size=LONGEST)
    with Tape():
        vectors, scalars = both_weights(model, [0] * length, seed)
        try:
            expected = [all_bits(loss_and_gradients(model, scalars, text)) for text in texts]
            losses = all_bits(trained(model, scalars, documents, config))
        except ArithmeticError:
            return None
        found = []
        program = record(lambda *tokens: model(VECTORS, vectors, tokens), *(Index(0) for _ in range(length)))
        for text, numbers in zip(texts, expected):
            vectors.zero_grad()
            loss = program(*text)
            program.backward()
            if all_bits([loss, *vectors.grad]) != numbers:
                found.append(f"seed {seed}: a replay")
        matrices = list(vectors.matrices.values())
        trainable = Model(lambda tokens: model(VECTORS, vectors, tokens), matrices, config)
        if all_bits(step.loss for step in train(trainable, documents, threads=1 + seed % 2)) != losses:
            found.append(f"seed {seed}: losses of a training")
        if all_bits(vectors.data) != all_bits(value.data for value in scalars.lanes):
            found.append(f"seed {seed}: parameters after a training")
    return found, program.why_not_planned is None


def compare(seeds):
    """The differences of many models, of which at least a third are planned."""
    results = [found for found in map(differences, seeds) if found is not None]
    assert sum(planned for _, planned in results) > len(seeds) // 3
    return [difference for some, _ in results for difference in some]


def extreme(seed):
    """Numbers of which some are so large or small that what is made of them overflows, or fades."""
    scale = random.Random(seed).choice([30.0, 1e20, 1e80, 1e150, 1e-100, 1e-160])
    special = [0.0, -0.0, 5e-324, 1e-310, -1e-300, 1e308]

    def draw(rng):
        x = rng.gauss(0, 0.5) * rng.choice([1, scale])
        return x if rng.random() < 0.9 else rng.choice(special)

    return draw


def test_extreme_numbers():
    """Infinities and NaNs of later positions, lanes that nobody reads and products with 0 stay where they are."""
    outcomes = Counter()
    for seed in range(150):
        model, rng = RandomModel(seed), random.Random(seed)
        length, draw = rng.choice([2, 3, 5, 8]), extreme(seed)
        with Tape():
            try:
                vectors, scalars = both_weights(model, [0] * length, seed, draw)
            except (ArithmeticError, ValueError):
                continue
            program = record(lambda *tokens: model(VECTORS, vectors, tokens), *(Index(0) for _ in range(length)))
            for _ in range(3):
                text = [rng.randrange(VOCAB) for _ in range(length)]
                try:
                    expected = all_bits(loss_and_gradients(model, scalars, text))
                except (ArithmeticError, ValueError):
                    continue  # also where a statement raises that the result does not need
                vectors.zero_grad()
                loss = program(*text)
                program.backward()
                assert all_bits([loss, *vectors.grad]) == expected, f"seed {seed}"
                finite = all(isfinite(float.fromhex(x)) for x in expected)
                outcomes[finite, program.why_not_planned is None] += 1
    assert min(outcomes[finite, planned] for finite in (False, True) for planned in (False, True)) > 20


def print_differences() -> None:
    """For the test below, in a process of its own."""
    print(compare(range(1000, 1025)))


def test_they_are_plain_scalars():
    assert compare(range(60)) == []


@in_every_row
def test_in_every_row(row):
    assert printed_in_row(row, print_differences) == "[]\n"
