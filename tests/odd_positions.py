"""Models that remember in other ways than attention, and positions of which not all are alike (see mirror.py)."""

from __future__ import annotations

import random
from itertools import pairwise

from microgpt.core import lib
from microgpt.vector import View

from .odd_models import EMBD, LONGEST, ORDER, OTHER, RECORDED, VOCAB, loss_of


def lstm(f, w, tokens):
    """Hochreiter and Schmidhuber, 1997."""
    h, c, losses = w("h", 1, 3)[0], w("c", 1, 3)[0], []
    for token, target in pairwise(tokens):
        x = w("wte", VOCAB, EMBD)[token]

        def gate(name, x=x, h=h):
            return f.linear(x, w(name + "x", 3, EMBD)) + f.linear(h, w(name + "h", 3, 3)) + w(name + "b", 1, 3)[0]

        c = gate("forget").sigmoid() * c + gate("in").sigmoid() * gate("new").tanh()
        h = gate("out").sigmoid() * c.tanh()
        losses.append(loss_of(f, f.linear(h, w("head", VOCAB, 3)), target))
    return f.mean(losses)


def gru(f, w, tokens):
    """Cho et al., 2014."""
    h, losses = w("h", 1, 3)[0], []
    for token, target in pairwise(tokens):
        x = w("wte", VOCAB, EMBD)[token]
        reset = (f.linear(x, w("rx", 3, EMBD)) + f.linear(h, w("rh", 3, 3))).sigmoid()
        update = (f.linear(x, w("ux", 3, EMBD)) + f.linear(h, w("uh", 3, 3))).sigmoid()
        new = (f.linear(x, w("nx", 3, EMBD)) + f.linear(reset * h, w("nh", 3, 3))).tanh()
        h = update * h + (1 - update) * new
        losses.append(loss_of(f, f.linear(h, w("head", VOCAB, 3)), target))
    return f.mean(losses)


def positional_sums(f, w, tokens):
    """What stands for a position is the sum of the rows up to it, one more at each."""
    losses, place = [], None
    for t, (token, target) in enumerate(pairwise(tokens)):
        place = w("wpe", LONGEST, EMBD)[t] if place is None else place + w("wpe", LONGEST, EMBD)[t]
        x = w("wte", VOCAB, EMBD)[token] + place
        losses.append(loss_of(f, f.linear(x.tanh(), w("head", VOCAB, EMBD)), target))
    return f.mean(losses)


def positional_sums_at_once(f, w, tokens):
    losses = []
    for t, (token, target) in enumerate(pairwise(tokens)):
        place = f.sums(1, EMBD, t + 1, View(w("wpe", LONGEST, EMBD), lane=1, term=EMBD))
        losses.append(
            loss_of(f, f.linear((w("wte", VOCAB, EMBD)[token] + place).tanh(), w("head", VOCAB, EMBD)), target)
        )
    return f.mean(losses)


def averages(f, w, tokens):
    """An average that forgets, as fast as is learned."""
    state, losses = w("start", 1, EMBD)[0], []
    for token, target in pairwise(tokens):
        keep = w("keep", 1, EMBD)[0].sigmoid()
        state = keep * state + (1 - keep) * w("wte", VOCAB, EMBD)[token]
        losses.append(loss_of(f, f.linear(state, w("head", VOCAB, EMBD)), target))
    return f.mean(losses)


def maxima(f, w, tokens):
    """The largest so far, lane by lane."""
    best, losses = None, []
    for token, target in pairwise(tokens):
        x = w("wte", VOCAB, EMBD)[token]
        best = x if best is None else f.maps(lib.MG_MAX, 1, EMBD, View(best, lane=1), View(x, lane=1))
        losses.append(loss_of(f, f.linear(best, w("head", VOCAB, EMBD)), target))
    return f.mean(losses)


def running_sums(f, w, tokens):
    """Attention without a softmax: a matrix of sums goes from position to position (Katharopoulos et al., 2020)."""
    state, losses = None, []
    for token, target in pairwise(tokens):
        x = w("wte", VOCAB, EMBD)[token]
        q, k, v = (f.linear(x, w(name, 2, EMBD)) for name in ("wq", "wk", "wv"))
        product = f.maps(lib.MG_MUL, 2, 2, View(k, group=1), View(v, lane=1))
        state = product if state is None else state + product
        read = f.sums(1, 2, 2, View(state, lane=1, term=2), View(q, term=1))
        losses.append(loss_of(f, f.linear(read, w("head", VOCAB, 2)), target))
    return f.mean(losses)


def convolution(f, w, tokens):
    """Each position reads its token and the one before it, with weights of their own, in two layers."""
    losses, before, below = [], w("pad", 1, EMBD)[0], None
    for token, target in pairwise(tokens):
        now = w("wte", VOCAB, EMBD)[token]
        x = (f.linear(now, w("now", EMBD, EMBD)) + f.linear(before, w("before", EMBD, EMBD))).tanh()
        x = f.linear([x, x if below is None else below], w("pair", EMBD, 2 * EMBD)).tanh()
        losses.append(loss_of(f, f.linear(x, w("head", VOCAB, EMBD)), target))
        before, below = now, x
    return f.mean(losses)


def two_tokens(f, w, tokens):
    """As a convolution of one layer: the token before is an input of its own, and the first comes twice."""
    losses = []
    for before, (token, target) in zip([tokens[0], *tokens], pairwise(tokens)):
        now = f.linear(w("wte", VOCAB, EMBD)[token], w("now", EMBD, EMBD))
        x = (now + f.linear(w("wte", VOCAB, EMBD)[before], w("before", EMBD, EMBD))).tanh()
        losses.append(loss_of(f, f.linear(x, w("head", VOCAB, EMBD)), target))
    return f.mean(losses)


def lane_by_lane_convolution(f, w, tokens):
    """A window of three tokens, a weight for each lane of each, and what is left out by masks of constants."""
    padded, losses, rng = [tokens[0]] * 2 + list(tokens), [], random.Random(5)
    for t, target in enumerate(tokens[1:]):
        rows = [w("wte", VOCAB, EMBD)[padded[t + n]] * w("taps", 3, EMBD)[n] for n in range(3)]
        mask = f.vector([rng.choice((0.0, 2.0)) for _ in range(EMBD)])
        losses.append(loss_of(f, f.linear((rows[0] + rows[1] + rows[2]).tanh() * mask, w("head", VOCAB, EMBD)), target))
    return f.mean(losses)


def shifted(f, w, tokens):
    """Mixed with the token before, lane by lane, as much as is learned; before the first stands a row of its own."""
    losses, before = [], w("pad", 1, EMBD)[0]
    for token, target in pairwise(tokens):
        now, part = w("wte", VOCAB, EMBD)[token], w("part", 1, EMBD)[0]
        losses.append(loss_of(f, f.linear(now * part + before * (1 - part), w("head", VOCAB, EMBD)), target))
        before = now
    return f.mean(losses)


def bag_of_words(f, w, tokens):
    seen, losses = [], []
    for token, target in pairwise(tokens):
        seen.append(w("wte", VOCAB, EMBD)[token].tanh())
        x = f.sums(1, EMBD, len(seen), View(seen, lane=1, by_term=True)) / len(seen)
        losses.append(loss_of(f, f.linear(x, w("head", VOCAB, EMBD)), target))
    return f.mean(losses)


# ---- what stands beside the positions, or differs from one to another


def numbers_of_the_position(f, w, tokens):
    xs = [w("wte", VOCAB, EMBD)[token] * (t + 1) + t for t, token in enumerate(tokens[:-1])]
    return f.mean([loss_of(f, f.linear(x, w("head", VOCAB, EMBD)), b) for x, b in zip(xs, tokens[1:])])


def from_behind(f, w, tokens):
    """Positions are counted from the end, and are as many as there are: no document begins as a longer one does."""
    losses = []
    for t, (token, target) in enumerate(pairwise(tokens)):
        x = w("wte", VOCAB, EMBD)[token] + w("wpe", LONGEST + 3, EMBD)[len(tokens) - t] * (1 / len(tokens))
        losses.append(loss_of(f, f.linear(x, w("head", VOCAB, EMBD)), target))
    return f.mean(losses)


def layer_by_layer(f, w, tokens):
    """All positions of a layer before the next."""
    xs = [f.linear(w("wte", VOCAB, EMBD)[token], w("square", EMBD, EMBD)).tanh() for token in tokens[:-1]]
    return f.mean([loss_of(f, f.linear(x, w("head", VOCAB, EMBD)), b) for x, b in zip(xs, tokens[1:])])


def as_many_layers_as_tokens(f, w, tokens):
    losses = []
    for token, target in pairwise(tokens):
        x = w("wte", VOCAB, EMBD)[token]
        for _ in tokens:
            x = f.linear(x, w("square", EMBD, EMBD)).tanh()
        losses.append(loss_of(f, f.linear(x, w("head", VOCAB, EMBD)), target))
    return f.mean(losses)


def deeper_later(f, w, tokens):
    """A layer more at each position."""
    losses = []
    for t, (token, target) in enumerate(pairwise(tokens)):
        x = w("wte", VOCAB, EMBD)[token]
        for _ in range(t + 1):
            x = f.linear(x, w("square", EMBD, EMBD)).tanh()
        losses.append(loss_of(f, f.linear(x, w("head", VOCAB, EMBD)), target))
    return f.mean(losses)


def one_more_for_long(f, w, tokens):
    """Documents of more than four tokens have another layer."""
    losses = []
    for token, target in pairwise(tokens):
        x = w("wte", VOCAB, EMBD)[token]
        if len(tokens) > 4:
            x = f.linear(x, w("square", EMBD, EMBD)).tanh()
        losses.append(loss_of(f, f.linear(x, w("head", VOCAB, EMBD)), target))
    return f.mean(losses)


def another_of_five(f, w, tokens):
    """Documents of five tokens are bolder than all others, shorter or longer."""
    losses = []
    for token, target in pairwise(tokens):
        x = w("wte", VOCAB, EMBD)[token] * (2.0 if len(tokens) == 5 else 1.0)
        losses.append(loss_of(f, f.linear(x, w("head", VOCAB, EMBD)), target))
    return f.mean(losses)


def first_from_nothing(f, w, tokens):
    """The first token has a loss, too, of a bias alone."""
    losses = [loss_of(f, w("prior", 1, VOCAB)[0], tokens[0])]
    for token, target in pairwise(tokens):
        losses.append(loss_of(f, f.linear(w("wte", VOCAB, EMBD)[token], w("head", VOCAB, EMBD)), target))
    return f.mean(losses)


def first_from_a_row(f, w, tokens):
    """The first token is predicted as all others are, from a row of its own."""
    rows = [w("start", 1, EMBD)[0], *(w("wte", VOCAB, EMBD)[token] for token in tokens[:-1])]
    return f.mean([loss_of(f, f.linear(x, w("head", VOCAB, EMBD)), b) for x, b in zip(rows, tokens)])


POSITIONS = {  # each with the reason why its statements are replayed one by one, where they are
    "lstm": (lstm, OTHER),
    "gru": (gru, OTHER),
    "positional sums": (positional_sums, RECORDED),
    "positional sums at once": (positional_sums_at_once, "something that does not grow with them"),
    "averages": (averages, OTHER),
    "maxima": (maxima, RECORDED),
    "running sums": (running_sums, RECORDED),
    "convolution": (convolution, OTHER),
    "two tokens": (two_tokens, ORDER),
    "lane by lane convolution": (lane_by_lane_convolution, None),
    "shifted": (shifted, None),
    "bag of words": (bag_of_words, "a sum or a maximum of leaves, or over positions"),
    "numbers of the position": (numbers_of_the_position, RECORDED),
    "from behind": (from_behind, None),
    "layer by layer": (layer_by_layer, RECORDED),
    "as many layers as tokens": (as_many_layers_as_tokens, None),
    "deeper later": (deeper_later, RECORDED),
    "one more for long": (one_more_for_long, None),
    "another of five": (another_of_five, None),
    "first from nothing": (first_from_nothing, RECORDED),
    "first from a row": (first_from_a_row, ORDER),
}
