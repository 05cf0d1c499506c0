"""Models whose tokens are read in other ways than each as what follows the one before it, and what is made of rows
that they select (see mirror.py)."""

from __future__ import annotations

import math
from functools import partial
from itertools import pairwise

from microgpt.vector import View

from .odd_models import EMBD, IN_TURN, ORDER, RECORDED, VOCAB, attending_to_itself, embedded, loss_of


def read_as(f, w, pairs):
    """What comes in, and what is to come out, of each position."""
    keys, values, losses = [], [], []
    for t, (token, target) in enumerate(pairs):
        x = embedded(f, w, token, t)
        x = attending_to_itself(f, w, f.rmsnorm(x), keys, values) + x
        losses.append(loss_of(f, f.linear(x, w("head", VOCAB, EMBD)), target))
    return f.mean(losses)


def denoised(f, w, tokens):
    """Two tokens a position: one that was corrupted, and the true one (Devlin et al., 2019)."""
    return read_as(f, w, zip(tokens[::2], tokens[1::2]))


def denoised_by_halves(f, w, tokens):
    """First all that were corrupted, then all true ones."""
    half = len(tokens) // 2
    return read_as(f, w, zip(tokens[:half], tokens[half:]))


def copied(f, w, tokens):
    """The same comes out that goes in."""
    return read_as(f, w, [(token, token) for token in tokens])


def true_first(f, w, tokens):
    """Of two tokens a position the first is the target, and the embedding's rows are the output's."""
    losses = []
    for target, token in zip(tokens[::2], tokens[1::2]):
        x = w("wte", VOCAB, EMBD)[token]
        x = f.linear(x, w("square", EMBD, EMBD)).relu() + x
        losses.append(loss_of(f, f.linear(x, w("wte", VOCAB, EMBD)), target))
    return f.mean(losses)


def classified(f, w, tokens):
    """The first token is the class of the document, which every position predicts."""
    return read_as(f, w, [(token, tokens[0]) for token in tokens[1:]])


def by_class_and_word(f, w, tokens):
    """A target of two tokens: its class, and which of the class it is (Morin and Bengio, 2005)."""
    x, losses = w("start", 1, EMBD)[0], []
    for a, b in zip(tokens[::2], tokens[1::2]):
        words = f.linear(x, w("words", VOCAB, EMBD)) + w("of class", VOCAB, VOCAB)[a]
        losses.append(loss_of(f, f.linear(x, w("classes", VOCAB, EMBD)), a) + loss_of(f, words, b))
        x = (w("class", VOCAB, EMBD)[a] + w("word", VOCAB, EMBD)[b]).tanh()
    return f.mean(losses)


def ranked(f, w, tokens):
    """Two lanes of one vector are selected, by two tokens (Bradley and Terry, 1952)."""
    losses = []
    for token, target in pairwise(tokens):
        logits = f.linear(w("wte", VOCAB, EMBD)[token], w("head", VOCAB, EMBD))
        losses.append(((logits[token] - logits[target]).exp() + 1).log())
    return f.mean(losses)


def unlikely(f, w, tokens):
    """The target is to be likely, and the token itself is not (Welleck et al., 2020)."""
    losses = []
    for token, target in pairwise(tokens):
        p = f.softmax(f.linear(w("wte", VOCAB, EMBD)[token], w("head", VOCAB, EMBD)))
        losses.append(-p[target].log() - (1 - p[token]).log() * 0.5)
    return f.mean(losses)


def co_occurring(f, w, tokens):
    """No softmax: products of two rows, and a number for each (Pennington et al., 2014)."""
    losses = []
    for a, b in pairwise(tokens):
        dot = (w("wte", VOCAB, EMBD)[a] * w("context", VOCAB, EMBD)[b]).sum()
        losses.append((dot + w("ba", VOCAB, 1)[a][0] + w("bb", VOCAB, 1)[b][0] - 0.5) ** 2)
    return f.mean(losses)


def gaussian(f, w, tokens):
    """A token is a place, and what is predicted is where it is and how far off that may be."""
    losses = []
    for token, target in pairwise(tokens):
        x = f.linear(w("wte", VOCAB, EMBD)[token], w("square", EMBD, EMBD)).tanh()
        s = f.linear(x, w("s", 2, EMBD))
        d = (w("places", VOCAB, 2)[target] - f.linear(x, w("mu", 2, EMBD))) * f.map("exp", -s)
        losses.append((d * d * 0.5 + s).sum())
    return f.mean(losses)


def pointing(f, w, tokens):
    """Some of the probability is of the tokens so far, each as much as it is attended to (See et al., 2017)."""
    keys, rows, losses = [], [], []
    for t, (token, target) in enumerate(pairwise(tokens)):
        x = embedded(f, w, token, t)
        keys.append(f.linear(x, w("wk", EMBD, EMBD)))
        rows.append(w("copies", VOCAB, VOCAB)[token])
        pointed = f.weighed(f.attention_weights(f.linear(x, w("wq", EMBD, EMBD)), keys, 1), rows, 1)
        gate = f.linear(x, w("gate", 1, EMBD)).sigmoid()[0]
        p = f.softmax(f.linear(x, w("head", VOCAB, EMBD)))
        losses.append(f.surprisal(f.softmax(pointed)[target] * gate + p[target] * (1 - gate)))
    return f.mean(losses)


def mixture_of_softmaxes(f, w, tokens):
    """Yang et al., 2018: as many outputs as there are weights for them, all of one matrix."""
    losses = []
    for token, target in pairwise(tokens):
        x = w("wte", VOCAB, EMBD)[token]
        parts = f.softmax(f.linear(x, w("parts", 3, EMBD)))
        latents = [f.linear(x, w(f"latent{j}", EMBD, EMBD)).tanh() for j in range(3)]
        p = sum(f.softmax(f.linear(y, w("head", VOCAB, EMBD)))[target] * parts[j] for j, y in enumerate(latents))
        losses.append(f.surprisal(p))
    return f.mean(losses)


def turned(f, w, tokens):
    """Both halves of queries and keys are turned, by constants of the position (Su et al., 2021)."""
    keys, values, losses, half = [], [], [], EMBD // 2
    for t, (token, target) in enumerate(pairwise(tokens)):
        x = w("wte", VOCAB, EMBD)[token]
        cos, sin = (f.vector([of(t * 100 ** (-i / half)) for i in range(half)]) for of in (math.cos, math.sin))
        q, k = (f.linear(x, w(name, EMBD, EMBD)) for name in ("wq", "wk"))
        q, k = ((y[:half] * cos - y[half:] * sin, y[:half] * sin + y[half:] * cos) for y in (q, k))
        keys.append(k)
        values.append(f.linear(x, w("wv", EMBD, EMBD)))
        logits = [
            f.sums(1, t + 1, half, View(q[i], term=1), View([k[i] for k in keys], term=1)) / EMBD**0.5 for i in (0, 1)
        ]
        x = f.weighed(f.softmax(logits[0] + logits[1]), values, 1) + x
        losses.append(loss_of(f, f.linear(x, w("head", VOCAB, EMBD)), target))
    return f.mean(losses)


def attending_to_nothing(f, w, tokens, sink=None):
    """A softmax whose total is larger by 1, or by what is learned (Xiao et al., 2024)."""
    keys, values, losses = [], [], []
    for t, (token, target) in enumerate(pairwise(tokens)):
        x = embedded(f, w, token, t)
        normal = f.rmsnorm(x)
        keys.append(f.linear(normal, w("wk", EMBD, EMBD)))
        values.append(f.linear(normal, w("wv", EMBD, EMBD)))
        q = f.linear(normal, w("wq", EMBD, EMBD))
        exps = f.map("exp", f.sums(1, t + 1, EMBD, View(q, term=1), View(keys, term=1)) / EMBD**0.5)
        weights = exps / (exps.sum() + (w("sink", 1, 1)[0][0].exp() if sink else 1.0))
        losses.append(loss_of(f, f.linear(f.weighed(weights, values, 1) + x, w("head", VOCAB, EMBD)), target))
    return f.mean(losses)


def straight_through(f, w, tokens):
    """The numbers of a relu, with the derivative of what it is of (Bengio et al., 2013)."""
    losses = []
    for token, target in pairwise(tokens):
        x = f.linear(w("wte", VOCAB, EMBD)[token], w("square", EMBD, EMBD))
        x = x.relu().detach() - x.detach() + x
        losses.append(loss_of(f, f.linear(x, w("head", VOCAB, EMBD)), target))
    return f.mean(losses)


def values_of_two_layers(f, w, tokens):
    """The values of a second layer are mixed with those of the first (Zhou et al., 2024)."""
    caches, losses = [([], []), ([], [])], []
    for t, (token, target) in enumerate(pairwise(tokens)):
        x, first = embedded(f, w, token, t), None
        for layer, (keys, values) in enumerate(caches):
            normal = f.rmsnorm(x)
            keys.append(f.linear(normal, w(f"wk{layer}", EMBD, EMBD)))
            value = f.linear(normal, w(f"wv{layer}", EMBD, EMBD))
            values.append(value if first is None else value * 0.5 + first * 0.5)
            first = value
            x = x + f.attention(f.linear(normal, w(f"wq{layer}", EMBD, EMBD)), keys, values, 2)
        losses.append(loss_of(f, f.linear(x, w("head", VOCAB, EMBD)), target))
    return f.mean(losses)


INPUTS = {  # each with the reason why its statements are replayed one by one, where they are
    "denoised": (denoised, None),
    "denoised by halves": (denoised_by_halves, None),
    "copied": (copied, None),
    "true first": (true_first, ORDER),
    "classified": (classified, None),
    "by class and word": (by_class_and_word, RECORDED),
    "ranked": (ranked, ORDER),
    "unlikely": (unlikely, ORDER),
    "co-occurring": (co_occurring, None),
    "gaussian": (gaussian, None),
    "pointing": (pointing, "reads leaves that differ by position"),
    "mixture of softmaxes": (mixture_of_softmaxes, None),
    "turned": (turned, ORDER),
    "attending to nothing": (attending_to_nothing, None),
    "attending to a sink": (partial(attending_to_nothing, sink=True), None),
    "straight through": (straight_through, None),
    "values of two layers": (values_of_two_layers, IN_TURN),
}
