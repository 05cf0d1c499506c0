"""Losses that are in no course, of a position and of documents with others than one a position (see mirror.py)."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

from microgpt.vector import View

from .odd_models import EMBD, IN_TURN, LONGEST, ORDER, RECORDED, VOCAB, attending_to_itself, embedded, loss_of


def with_loss(f, w, tokens, loss, result=None):
    losses = []
    for token, target in pairwise(tokens):
        x = f.linear(w("wte", VOCAB, EMBD)[token], w("wide", 6, EMBD)).tanh()
        losses.append(loss(f, w, f.linear(x, w("head", VOCAB, 6)), target))
    return result(f, losses) if result else f.mean(losses)


def losing(loss):
    return partial(with_loss, loss=loss)


def resulting(result):
    return partial(with_loss, loss=lambda f, w, logits, b: loss_of(f, logits, b), result=result)


def smoothed(f, w, logits, target):
    p = f.softmax(logits)
    return f.map("log", p).mean() * -0.1 - p[target].log() * 0.9


def hinge(f, w, logits, target):
    """Whose order of lanes is another for every target."""
    return (logits - logits[target] + 1.0).relu().sum()


def selected_twice(f, w, logits, target):
    """Both operands of a product are the lane that an input selects."""
    return logits[target] * logits[target] + logits.sum()


def selected_and_not(f, w, logits, target):
    """One of both operands is selected, and may be the lane that the other is."""
    return logits[target] * logits[0] + logits[1] * logits[target] + (logits * logits).sum()


def selected_of_two(f, w, logits, target):
    """Both are selected, of two statements."""
    return logits[target] * logits.sigmoid()[target] - f.softmax(logits)[target]


def selected_scaled(f, w, logits, target):
    """By a parameter; and so in the other order."""
    return logits[target] * w("t", 1, 1)[0][0] + (logits * logits).sum()


def scaled_selected(f, w, logits, target):
    return w("t", 1, 1)[0][0] * logits[target] + (logits * logits).sum()


def selected_plus(f, w, logits, target):
    return (logits[target] + w("t", 1, 1)[0][0]) ** 2 + (logits * logits).sum()


def selected_power(f, w, logits, target):
    return (logits[target] * logits[target] + 0.5) ** w("t", 1, 1)[0][0] + (logits * logits).sum()


def mixed(f, w, logits, target):
    """Of two distributions, by weights that no position has a part in."""
    parts = f.softmax(w("parts", 1, 2)[0])
    return f.surprisal((f.softmax(logits) * parts[0] + f.softmax(logits * 0.5) * parts[1])[target])


def focal(f, w, logits, target):
    p = f.softmax(logits)[target]
    return (1 - p) ** 2 * -p.log()


def regularized(f, w, logits, target):
    """By the size of the logits' normalizer, and of rows of weights, one of which the target selects."""
    row = w("head", VOCAB, 6)[0]
    z = f.map("exp", logits).sum().log()
    return z - logits[target] + z**2 * 1e-2 + (row * row).sum() * 0.01 + (w("wte", VOCAB, EMBD)[target] * 0.1).sum()


def unigram_smoothed(f, w, logits, target):
    """Towards what is learned of how often tokens come."""
    p, q = f.softmax(logits), f.softmax(w("unigram", 1, VOCAB)[0])
    return -p[target].log() * 0.9 - (f.map("log", p) * q).sum() * 0.1


def brier(f, w, logits, target):
    p = f.softmax(logits)
    return (p * p).sum() - p[target] * 2 + 1


def negatives(f, w, logits, target):
    """Each token by itself: is it the one?"""
    return f.map("softplus", -logits)[target] + f.map("softplus", logits).sum() * 0.2


def hard(f, w, logits, target):
    """The largest is found by comparing two at a time, and has a derivative."""
    best = logits[0]
    for n in range(1, VOCAB):
        best = best.max(logits[n])
    return best - logits[target]


def confident(f, w, logits, target):
    """Weighed by what has no derivative."""
    p = f.softmax(logits)
    return -p[target].log() * (1 - p.detach()[target]) ** 2


def distilled(f, w, logits, target):
    teacher = f.softmax(w("teacher", VOCAB, VOCAB)[target]).detach()
    return -(teacher * f.map("log", f.softmax(logits))).sum()


def uncertain(f, w, logits, target):
    """Kendall et al., 2018."""
    s = w("s", 1, 1)[0][0]
    return loss_of(f, logits, target) * (-s).exp() + s


def z_loss(f, w, logits, target):
    """The normalizer, to the square, of logits that are made smaller first."""
    largest = logits.largest()
    z = f.map("exp", logits - largest).sum().log() + largest
    return z - logits[target] + (z * z) * 1e-3


def perplexity(f, w, logits, target):
    return loss_of(f, logits, target).exp()


def entropy_bonus(f, w, logits, target):
    p = f.softmax(logits)
    return -p[target].log() + (p * f.map("log", p)).sum() * 0.1


def two_of_one(f, w, logits, target):
    """The same logits, at two temperatures."""
    return loss_of(f, logits * 2, target) + loss_of(f, logits * w("t", 1, 1)[0][0], target)


def decayed_everywhere(f, w, logits, target):
    """All squares of a matrix, at every position."""
    squares = f.sums(1, 1, 6 * VOCAB, View(w("head", VOCAB, 6), term=1), View(w("head", VOCAB, 6), term=1))
    return loss_of(f, logits, target) + squares[0] * 0.01


# ---- other losses than one a position, of what comes next


def next_embedding(f, w, tokens):
    """No probabilities: how far from the row of the token that comes."""
    losses = []
    for token, target in pairwise(tokens):
        d = f.linear(w("wte", VOCAB, EMBD)[token], w("square", EMBD, EMBD)) - w("wte", VOCAB, EMBD)[target]
        losses.append((d * d).sum())
    return f.mean(losses)


def two_outputs(f, w, tokens):
    """The embedding is one, and a wider matrix the other."""
    keys, values, losses = [], [], []
    for t, (token, target) in enumerate(pairwise(tokens)):
        x = embedded(f, w, token, t)
        x = attending_to_itself(f, w, x, keys, values) + x
        first = loss_of(f, f.linear(x, w("wte", VOCAB, EMBD)), target)
        losses.append(first + loss_of(f, f.linear(x.tanh(), w("wide", VOCAB + 3, EMBD)), target) * 0.5)
    return f.mean(losses)


def two_ahead(f, w, tokens):
    """Two losses a position: the next token and the one after it."""
    losses = []
    for t, (token, target) in enumerate(pairwise(tokens)):
        x = w("wte", VOCAB, EMBD)[token]
        losses.append(loss_of(f, f.linear(x, w("head", VOCAB, EMBD)), target))
        losses.append(loss_of(f, f.linear(x, w("other", VOCAB, EMBD)), tokens[min(t + 2, len(tokens) - 1)]))
    return f.mean(losses)


def back_and_forth(f, w, tokens):
    """Each token predicts the next, and each the one before it."""
    losses = []
    for token, target in pairwise(tokens):
        x, y = w("wte", VOCAB, EMBD)[token], w("wte", VOCAB, EMBD)[target]
        losses.append(
            loss_of(f, f.linear(x, w("head", VOCAB, EMBD)), target)
            + loss_of(f, f.linear(y, w("back", VOCAB, EMBD)), token)
        )
    return f.mean(losses)


def sequence_of_losses(f, w, tokens):
    """All losses of one kind, and then all of the other."""
    forward, backward = [], []
    for token, target in pairwise(tokens):
        x, y = w("wte", VOCAB, EMBD)[token], w("wte", VOCAB, EMBD)[target]
        forward.append(loss_of(f, f.linear(x, w("head", VOCAB, EMBD)), target))
        backward.append(loss_of(f, f.linear(y, w("back", VOCAB, EMBD)), token))
    return f.mean(forward + backward)


def mean_of_means(f, w, tokens):
    forward, backward = [], []
    for token, target in pairwise(tokens):
        x, y = w("wte", VOCAB, EMBD)[token], w("wte", VOCAB, EMBD)[target]
        forward.append(loss_of(f, f.linear(x, w("head", VOCAB, EMBD)), target))
        backward.append(loss_of(f, f.linear(y, w("back", VOCAB, EMBD)), token))
    return f.mean([f.mean(forward), f.mean(backward)])


def last_of_attention(f, w, tokens):
    """A document has one loss, at its end."""
    keys, values = [], []
    for t, token in enumerate(tokens[:-1]):
        x = embedded(f, w, token, t)
        y = attending_to_itself(f, w, x, keys, values)
    return loss_of(f, f.linear(y + x, w("head", VOCAB, EMBD)), tokens[-1])


def decayed(f, w, tokens):
    """Weights decay within the loss, once a document."""
    losses = []
    for token, target in pairwise(tokens):
        losses.append(loss_of(f, f.linear(w("wte", VOCAB, EMBD)[token], w("head", VOCAB, EMBD)), target))
    squares = [(row * row).sum() for row in w("head", VOCAB, EMBD)]
    return f.mean(losses) + sum(squares) * 0.01


def contrastive(f, w, tokens):
    """Which of those before it is the neighbour?"""
    xs, losses = [], []
    for t, token in enumerate(tokens):
        xs.append(
            f.rmsnorm(f.linear(w("wte", VOCAB, EMBD)[token] + w("wpe", LONGEST + 3, EMBD)[t], w("square", EMBD, EMBD)))
        )
    for t in range(1, len(xs)):
        logits = f.sums(1, t, EMBD, View(xs[:t], term=1), View(xs[t], term=1)) / 0.5
        losses.append(f.surprisal(f.softmax(logits)[t - 1]))
    return f.mean(losses)


def contrastive_first(f, w, tokens):
    """Which is the first of all so far?"""
    xs, losses = [], []
    for t, token in enumerate(tokens[:-1]):
        xs.append(f.linear(embedded(f, w, token, t), w("square", EMBD, EMBD)))
        logits = f.sums(1, t + 1, EMBD, View(xs[-1], term=1), View(xs, term=1)) / 2.0
        losses.append(f.surprisal(f.softmax(logits)[0]))
    return f.mean(losses)


def cosine(f, w, tokens):
    """How far the angle to the next row is from 0."""
    losses = []
    for token, target in pairwise(tokens):
        x = f.linear(w("wte", VOCAB, EMBD)[token], w("square", EMBD, EMBD))
        y = w("wte", VOCAB, EMBD)[target]
        dot = (x * y).sum()
        losses.append(1 - dot / (((x * x).sum() + 1e-3).sqrt() * ((y * y).sum() + 1e-3).sqrt()))
    return f.mean(losses)


def cosine_logits(f, w, tokens):
    """Logits are cosines, but for the length of one."""
    losses = []
    for token, target in pairwise(tokens):
        x = f.rmsnorm(f.linear(w("wte", VOCAB, EMBD)[token], w("square", EMBD, EMBD)))
        logits = f.linear(x, w("head", VOCAB, EMBD))
        norms = [((row * row).sum() + 1e-3) ** -0.5 for row in w("head", VOCAB, EMBD)]
        scaled = [logits[i] * norms[i] for i in range(VOCAB)]
        total = sum(x.exp() for x in scaled)
        losses.append(total.log() - logits[target])
    return f.mean(losses)


def balanced(f, w, tokens):
    """Beside the losses, how unlike the use of two gates is over the document."""
    gates, losses = [], []
    for token, target in pairwise(tokens):
        x = w("wte", VOCAB, EMBD)[token]
        gates.append(f.softmax(f.linear(x, w("gate", 2, EMBD))))
        losses.append(loss_of(f, f.linear(x * gates[-1][0] + gates[-1][1], w("head", VOCAB, EMBD)), target))
    share = f.sums(1, 2, len(gates), View(gates, lane=1, by_term=True)) / len(gates)
    return f.mean(losses) + (share * share).sum() * 0.1


def weighted_by_parameters(f, w, tokens):
    losses = []
    for t, (token, target) in enumerate(pairwise(tokens)):
        loss = loss_of(f, f.linear(w("wte", VOCAB, EMBD)[token], w("head", VOCAB, EMBD)), target)
        losses.append(loss * w("weights", LONGEST, 1)[t][0])
    return f.mean(losses)


def frequencies(f, w, tokens):
    """What is predicted does not depend on what comes before."""
    return f.mean([loss_of(f, w("bias", 1, VOCAB)[0] * 2, target) for target in tokens[1:]])


def by_squares(f, w, tokens):
    """A distance, added up lane by lane in Python."""
    losses = []
    for token, target in pairwise(tokens):
        row = w("wte", VOCAB, EMBD)[token]
        total = row[0] * 0
        for n in range(EMBD):
            total = total + row[n] * w("v", 1, EMBD)[0][n]
        losses.append((total - w("y", 1, VOCAB)[0][target]) ** 2)
    return f.mean(losses)


def largest_loss(f, losses):
    out = losses[0]
    for loss in losses[1:]:
        out = out.max(loss)
    return out


def differences_of(f, losses):
    """Of each and the one before it, in a circle."""
    return f.mean([a - b for a, b in zip([*losses[1:], losses[0]], losses)])


RESULT = "the result is not the sum or the mean of losses"

LOSSES = {  # each with the reason why its statements are replayed one by one, where they are
    "next embedding": (next_embedding, ORDER),
    "smoothed": (losing(smoothed), None),
    "hinge": (losing(hinge), ORDER),
    "selected twice": (losing(selected_twice), None),
    "selected and not": (losing(selected_and_not), None),
    "selected of two": (losing(selected_of_two), None),
    "selected scaled": (losing(selected_scaled), None),
    "scaled selected": (losing(scaled_selected), None),
    "selected plus": (losing(selected_plus), None),
    "selected power": (losing(selected_power), None),
    "mixed": (losing(mixed), "a sum or a maximum of leaves"),
    "focal": (losing(focal), None),
    "regularized": (losing(regularized), None),
    "added in Python": (resulting(lambda f, losses: sum(losses)), RESULT),
    "the last": (resulting(lambda f, losses: losses[-1]), RESULT),
    "every other": (resulting(lambda f, losses: f.mean(losses[::2])), None),
    "each twice": (resulting(lambda f, losses: f.mean([x for loss in losses for x in (loss, loss)])), RESULT),
    "squared": (resulting(lambda f, losses: f.mean(losses) ** 2), RESULT),
    "unigram smoothed": (losing(unigram_smoothed), "a sum or a maximum of leaves"),
    "brier": (losing(brier), None),
    "negatives": (losing(negatives), None),
    "hard": (losing(hard), None),
    "confident": (losing(confident), None),
    "distilled": (losing(distilled), None),
    "uncertain": (losing(uncertain), None),
    "z loss": (losing(z_loss), None),
    "perplexity": (losing(perplexity), None),
    "entropy bonus": (losing(entropy_bonus), ORDER),
    "two of one": (losing(two_of_one), ORDER),
    "decayed everywhere": (losing(decayed_everywhere), "a kind that no plan has"),
    "two outputs": (two_outputs, IN_TURN),
    "two ahead": (two_ahead, ORDER),
    "back and forth": (back_and_forth, ORDER),
    "sequence of losses": (sequence_of_losses, RESULT),
    "mean of means": (mean_of_means, RECORDED),
    "last of attention": (last_of_attention, RESULT),
    "decayed": (decayed, RESULT),
    "contrastive": (contrastive, RECORDED),
    "contrastive first": (contrastive_first, "reads a part of the lanes"),
    "cosine": (cosine, ORDER),
    "cosine logits": (cosine_logits, ORDER),
    "balanced": (balanced, RESULT),
    "weighted by parameters": (weighted_by_parameters, ORDER),
    "frequencies": (frequencies, None),
    "by squares": (by_squares, None),
    "weighted": (resulting(lambda f, losses: f.mean([x * (t + 1) for t, x in enumerate(losses)])), RECORDED),
    "from the end": (resulting(lambda f, losses: f.mean(losses[::-1])), RESULT),
    "of logarithms": (resulting(lambda f, losses: f.mean(losses).log()), RESULT),
    "halved": (resulting(lambda f, losses: f.mean(losses) / 2), RESULT),
    "squares of": (resulting(lambda f, losses: f.mean([x * x for x in losses])), RECORDED),
    "largest loss": (resulting(largest_loss), RESULT),
    "differences of": (resulting(differences_of), RECORDED),
}
