"""The whole program in pure Python, on the oracle: what `python -m microgpt` must equal bit for bit.

Written from the contract, plainly and for any class with the interface of `Value`: `run(config, docs, Value)`.
"""

from __future__ import annotations

import gc
import math
import random
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache

from microgpt import Config

from . import oracle


@dataclass
class Run:
    """All that a run computes."""

    vocab_size: int = 0
    losses: list = field(default_factory=list)
    gradients: list = field(default_factory=list)  # of the last step
    parameters: list = field(default_factory=list)
    samples: list = field(default_factory=list)


def linear(x, w):
    return [sum(a * b for a, b in zip(row, x)) for row in w]


def rmsnorm(x):
    scale = (sum(a * a for a in x) / len(x) + 1e-5) ** -0.5
    return [a * scale for a in x]


def softmax(x):
    largest = max(a.data for a in x)
    exps = [(a - largest).exp() for a in x]
    total = sum(exps)
    return [e / total for e in exps]


def attention(q, keys, values, n_head):
    size, out = len(q) // n_head, []
    for first in range(0, len(q), size):
        head = range(first, first + size)
        weights = softmax([sum(q[j] * k[j] for j in head) / size**0.5 for k in keys])
        out += [sum(w * v[j] for w, v in zip(weights, values)) for j in head]
    return out


class Model:
    def __init__(self, config: Config, vocab_size, rng, value):
        self.config, self.weights = config, {}
        n, last = config.n_embd, 0 if config.zero_output else config.std
        shapes = {"wte": (vocab_size, n), "wpe": (config.block_size, n), "lm_head": (vocab_size, n)}
        for i in range(config.n_layer):
            shapes |= {f"{i}.wq": (n, n), f"{i}.wk": (n, n), f"{i}.wv": (n, n), f"{i}.wo": (n, n)}
            shapes |= {f"{i}.fc1": (4 * n, n), f"{i}.fc2": (n, 4 * n)}
        for name, (rows, columns) in shapes.items():
            std = last if name.endswith(("wo", "fc2")) else config.std
            self.weights[name] = [[value(rng.gauss(0, std)) for _ in range(columns)] for _ in range(rows)]
        self.parameters = [p for w in self.weights.values() for row in w for p in row]

    def logits(self, token, position, keys, values):
        w, square = self.weights, self.config.activation == "relu_squared"
        x = rmsnorm([a + b for a, b in zip(w["wte"][token], w["wpe"][position])])
        for i in range(self.config.n_layer):
            normed = rmsnorm(x)
            q = linear(normed, w[f"{i}.wq"])
            keys[i].append(linear(normed, w[f"{i}.wk"]))
            values[i].append(linear(normed, w[f"{i}.wv"]))
            attended = linear(attention(q, keys[i], values[i], self.config.n_head), w[f"{i}.wo"])
            x = [a + b for a, b in zip(attended, x)]
            hidden = [a.relu() ** 2 if square else a.relu() for a in linear(rmsnorm(x), w[f"{i}.fc1"])]
            x = [a + b for a, b in zip(linear(hidden, w[f"{i}.fc2"]), x)]
        return linear(x, w["lm_head"])

    def cache(self):
        return [[] for _ in range(self.config.n_layer)]

    def loss(self, tokens):
        n, keys, values, losses = min(self.config.block_size, len(tokens) - 1), self.cache(), self.cache(), []
        for t in range(n):
            losses.append(-softmax(self.logits(tokens[t], t, keys, values))[tokens[t + 1]].log())
        return (1 / n) * sum(losses)


# ---- what an optimizer makes of a parameter p with the gradient g, and of its moments m and v


def adam(config, rate, step, p, g, m, v):
    m = config.beta1 * m + (1 - config.beta1) * g
    v = config.beta2 * v + (1 - config.beta2) * g**2
    m_hat, v_hat = m / (1 - config.beta1 ** (step + 1)), v / (1 - config.beta2 ** (step + 1))
    return p - rate * m_hat / (v_hat**0.5 + config.epsilon), m, v


def adamw(config, rate, step, p, g, m, v):
    return adam(config, rate, step, p - rate * config.weight_decay * p, g, m, v)


def sgd(config, rate, step, p, g, m, v):
    m = config.momentum * m + g
    return p - rate * m, m, v


OPTIMIZERS = {"adam": adam, "adamw": adamw, "sgd": sgd}  # all of Config's


def update(config: Config, parameters, m, v, step):
    if config.decay == "cosine":
        rate = config.learning_rate * 0.5 * (1 + math.cos(math.pi * step / config.steps))
    else:
        rate = config.learning_rate * (1 - step / config.steps)
    optimizer = OPTIMIZERS[config.optimizer]
    for i, p in enumerate(parameters):
        p.data, m[i], v[i] = optimizer(config, rate, step, p.data, p.grad, m[i], v[i])
        p.grad = 0


def run(config: Config, docs, value=oracle.Value) -> Run:
    rng, docs, result = random.Random(config.seed), list(docs), Run()
    rng.shuffle(docs)
    chars = sorted(set("".join(docs)))
    bos, result.vocab_size = len(chars), len(chars) + 1
    model = Model(config, result.vocab_size, rng, value)
    m, v = [0.0] * len(model.parameters), [0.0] * len(model.parameters)
    for step in range(config.steps):
        total, sums = 0.0, [0.0] * len(model.parameters)
        for i in range(step * config.batch_size, (step + 1) * config.batch_size):
            loss = model.loss([bos, *(chars.index(c) for c in docs[i % len(docs)]), bos])
            loss.backward()
            total += loss.data
            sums = [s + p.grad for s, p in zip(sums, model.parameters)]
            for p in model.parameters:
                p.grad = 0
        for p, s in zip(model.parameters, sums):
            p.grad = s * (1 / config.batch_size)
        result.losses.append(total * (1 / config.batch_size))
        result.gradients = [p.grad for p in model.parameters]
        update(config, model.parameters, m, v, step)
    result.parameters = [p.data for p in model.parameters]
    for _ in range(config.samples):
        keys, values, token, text = model.cache(), model.cache(), bos, ""
        for t in range(config.block_size):
            probs = softmax([a / config.temperature for a in model.logits(token, t, keys, values)])
            token = rng.choices(range(result.vocab_size), weights=[p.data for p in probs])[0]
            if token == bos:
                break
            text += chars[token]
        result.samples.append(text)
    return result


@contextmanager
def uncollected():
    """Python's collector, which goes through a growing graph again and again, takes more than half of the oracle's time
    and finds nothing, as its Values hold nothing but what they were computed from."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@cache
def expected(config: Config, *docs) -> Run:
    """What the oracle computes, once in a session."""
    with uncollected():
        return run(config, docs)
