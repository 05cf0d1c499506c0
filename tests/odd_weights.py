"""Models whose weights are used as in no course: several times, in parts, by columns, one by one (see mirror.py)."""

from __future__ import annotations

from itertools import pairwise

from microgpt.vector import View

from .odd_models import EMBD, IN_TURN, LONGEST, ORDER, RECORDED, VOCAB, embedded, loss_of, then


def low_rank(f, w, x):
    return f.linear(f.linear(x, w("down", 1, EMBD)), w("up", EMBD, 1)) * 0.5 + f.linear(x, w("square", EMBD, EMBD))


def forth_and_back(f, w, x):
    """One matrix, by its rows and then by its columns."""
    y = f.linear(x, w("wide", 7, EMBD)).relu()
    return f.sums(1, EMBD, 7, View(w("wide", 7, EMBD), lane=1, term=EMBD), View(y, term=1)) + x


def normal_rows(f, w, x):
    """The rows of a matrix have one length, anew at each position."""
    rows = [row * ((row * row).sum() + 1e-3) ** -0.5 for row in w("square", EMBD, EMBD)]
    return f.linear([(row * x) for row in rows], w("after", EMBD, EMBD * EMBD))


def one_number(f, w, x):
    """A parameter that is gain, bias and what is divided by."""
    b = w("b", 1, 1)[0][0]
    return (x * b + b).tanh() / (b * b + 1) + b


def soft_experts(f, w, x):
    """Three, each of another width, as much of each as sigmoids say."""
    gates = f.linear(x, w("gate", 3, EMBD)).sigmoid()
    total = gates.sum()
    out = x
    for n in range(3):
        y = f.linear(f.linear(f.rmsnorm(x), w(f"up{n}", 3 + n, EMBD)).relu(), w(f"down{n}", EMBD, 3 + n))
        out = out + y * (gates[n] / total)
    return out


def block_diagonal(f, w, x):
    """Each half of the lanes by itself."""
    y = f.sums(2, 3, 2, View(w("blocks", 6, 2), group=6, lane=2, term=1), View(x, group=2, term=1))
    return f.linear(y.tanh(), w("after", EMBD, 6)) + x


def one_weight(f, w, x):
    """One number is the weight of all lanes."""
    y = f.sums(1, EMBD, EMBD, View(w("t", 1, 1)[0][0]), View(x, term=1))
    return f.linear(y, w("after", EMBD, EMBD)) + x


def a_weight_a_sum(f, w, x):
    """Each sum has one weight for all its terms."""
    y = f.sums(1, 3, EMBD, View(w("t", 1, 3)[0], lane=1), View(x, term=1))
    return f.linear(y, w("after", EMBD, 3))


def one_row_for_all(f, w, x):
    """All sums have the same weights."""
    y = f.sums(1, 3, EMBD, View(w("row", 1, EMBD)[0], term=1), View(x, term=1))
    return f.linear(y.tanh(), w("after", EMBD, 3)) + x


def functions_of_parameters(f, w, x):
    """Functions of parameters, anew at each position."""
    return x * f.map("relu", w("gain", 1, EMBD)[0]) + f.map("exp", w("bias", 1, EMBD)[0]) + w("third", 1, EMBD)[0] ** 2


def functions_of_embeddings(f, w, tokens):
    """Functions of rows that the token selects."""
    losses = []
    for token, target in pairwise(tokens):
        x = f.map("relu", w("wte", VOCAB, EMBD)[token]) + f.map("exp", w("b", VOCAB, EMBD)[token])
        x = x + w("c", VOCAB, EMBD)[token] ** 2 + w("d", VOCAB, EMBD)[token].sigmoid()
        losses.append(loss_of(f, f.linear(x, w("head", VOCAB, EMBD)), target))
    return f.mean(losses)


def sums_of_embeddings(f, w, tokens):
    losses = []
    for token, target in pairwise(tokens):
        x = w("wte", VOCAB, EMBD)[token]
        y = x * x.sum() + w("other", VOCAB, EMBD)[token].mean()
        losses.append(loss_of(f, f.linear(y, w("head", VOCAB, EMBD)), target))
    return f.mean(losses)


def one_weight_for_two(f, w, tokens):
    """One weight for all lanes of two embeddings."""
    losses = []
    for token, target in pairwise(tokens):
        a, b = w("wte", VOCAB, EMBD)[token], w("other", VOCAB, EMBD)[token]
        y = f.sums(1, 1, 2 * EMBD, View(w("t", 1, 1)[0][0]), View([a, b], term=1, by_term=True, block=EMBD))
        losses.append(loss_of(f, f.linear(a * y[0], w("head", VOCAB, EMBD)), target))
    return f.mean(losses)


def fused(f, w, tokens):
    """Queries, keys and values by one matrix, and a gate and what passes it by another."""
    keys, values, losses = [], [], []
    for t, (token, target) in enumerate(pairwise(tokens)):
        x = embedded(f, w, token, t)
        qkv = f.linear(f.rmsnorm(x), w("qkv", 3 * EMBD, EMBD))
        keys.append(qkv[EMBD : 2 * EMBD])
        values.append(qkv[2 * EMBD :])
        x = f.linear(f.attention(qkv[:EMBD], keys, values, 2), w("wo", EMBD, EMBD)) + x
        gated = f.linear(x, w("gated", 10, EMBD))
        x = f.linear(f.silu(gated[:5]) * gated[5:], w("narrow", EMBD, 5)) + x
        losses.append(loss_of(f, f.linear(x, w("head", VOCAB, EMBD)), target))
    return f.mean(losses)


def head_by_head(f, w, tokens):
    """Every head by itself, on slices."""
    keys, values, losses = [], [], []
    for t, (token, target) in enumerate(pairwise(tokens)):
        x = embedded(f, w, token, t)
        keys.append(f.linear(x, w("wk", EMBD, EMBD)))
        values.append(f.linear(x, w("wv", EMBD, EMBD)))
        q = f.linear(x, w("wq", EMBD, EMBD))
        heads = [
            f.attention(q[n : n + 2], [k[n : n + 2] for k in keys], [v[n : n + 2] for v in values], 1) for n in (0, 2)
        ]
        x = f.linear(heads, w("wo", EMBD, EMBD)) + x
        losses.append(loss_of(f, f.linear(x, w("head", VOCAB, EMBD)), target))
    return f.mean(losses)


def embedding_and_bias(f, w, tokens):
    """One matrix is the embedding, the output, and two of its rows are biases."""
    losses = []
    for token, target in pairwise(tokens):
        x = w("wte", VOCAB, VOCAB)[token] + w("wte", VOCAB, VOCAB)[0]
        losses.append(loss_of(f, f.linear(x.tanh(), w("wte", VOCAB, VOCAB)) + w("wte", VOCAB, VOCAB)[1], target))
    return f.mean(losses)


def embedding_and_gain(f, w, tokens):
    losses = []
    for token, target in pairwise(tokens):
        row = w("wte", VOCAB, EMBD)[token]
        x = f.layernorm(row, w("wte", VOCAB, EMBD)[2], w("wte", VOCAB, EMBD)[token])
        losses.append(loss_of(f, f.linear(x, w("head", VOCAB, EMBD)), target))
    return f.mean(losses)


def two_tables(f, w, tokens):
    """Four parts, one after the other: of the token twice, of the position, and of neither."""
    losses = []
    for t, (token, target) in enumerate(pairwise(tokens)):
        parts = [w("a", VOCAB, 3)[token], w("b", VOCAB, 3)[token], w("wpe", LONGEST, 3)[t], w("c", 1, 3)[0]]
        losses.append(loss_of(f, f.linear(f.linear(parts, w("square", 6, 12)).tanh(), w("head", VOCAB, 6)), target))
    return f.mean(losses)


def bilinear(f, w, tokens):
    """A product of two tokens, by one matrix."""
    losses, before = [], tokens[0]
    for token, target in pairwise(tokens):
        x, y = w("wte", VOCAB, EMBD)[token], w("other", VOCAB, EMBD)[before]
        z = f.linear(x, w("square", EMBD, EMBD)) * f.linear(y, w("square", EMBD, EMBD))
        losses.append(loss_of(f, f.linear(z, w("head", VOCAB, EMBD)), target))
        before = token
    return f.mean(losses)


def scaled_once(f, w, tokens):
    """Rows of weights as long as is learned (Salimans and Kingma, 2016), computed before the first position."""
    rows = [row * ((row * row).sum() ** -0.5 * g) for row, g in zip(w("rows", VOCAB, EMBD), w("lengths", 1, VOCAB)[0])]
    losses = []
    for token, _ in pairwise(tokens):
        logits = [(row * w("wte", VOCAB, EMBD)[token]).sum() for row in rows]
        losses.append(sum(x.exp() for x in logits).log() - logits[0])
    return f.mean(losses)


def products_of_tables(f, w, tokens):
    """A table twice at a position, by one token and by another, and beside a matrix that nothing reads."""
    losses = []
    w("unused", 2, 3)
    for before, (token, target) in zip([tokens[0], *tokens], pairwise(tokens)):
        x = w("wte", VOCAB, EMBD)[token] * w("wte", VOCAB, EMBD)[token] + w("wte", VOCAB, EMBD)[before]
        losses.append(loss_of(f, f.linear(x, w("head", VOCAB, EMBD)), target))
    return f.mean(losses)


def parts_of_a_row(f, w, tokens):
    """The halves of a token's row, and one lane of it, each by itself."""
    losses = []
    for token, target in pairwise(tokens):
        row = w("wte", VOCAB, EMBD)[token]
        x = f.linear(row[:2] + row[2:], w("half", EMBD, 2)).tanh()
        losses.append(loss_of(f, f.linear(x * row[1], w("head", VOCAB, EMBD)), target))
    return f.mean(losses)


def lanes_one_by_one(f, w, tokens):
    """What is looped over in Python is recorded lane by lane."""
    losses = []
    for token, target in pairwise(tokens):
        row = w("wte", VOCAB, EMBD)[token]
        dots = [sum(a * b for a, b in zip(row, other)) for other in w("square", EMBD, EMBD)]
        x = w("wpe", LONGEST, EMBD)[0] * (dots[0] * dots[1] + dots[2])
        losses.append(loss_of(f, f.linear(x, w("head", VOCAB, EMBD)), target))
    return f.mean(losses)


def one_lane(f, w, tokens):
    """Vectors of one lane, one head, everywhere."""
    keys, values, losses = [], [], []
    for t, (token, target) in enumerate(pairwise(tokens)):
        x = w("wte", VOCAB, 1)[token] + w("wpe", LONGEST, 1)[t]
        keys.append(f.linear(x, w("wk", 1, 1)))
        values.append(f.linear(x, w("wv", 1, 1)))
        x = f.attention(f.linear(x, w("wq", 1, 1)), keys, values, 1) + x
        losses.append(loss_of(f, f.linear(x, w("head", VOCAB, 1)), target))
    return f.mean(losses)


WEIGHTS = {  # each with the reason why its statements are replayed one by one, where they are
    "fused": (fused, None),
    "head by head": (head_by_head, None),
    "low rank": (then(low_rank), None),
    "forth and back": (then(forth_and_back), None),
    "normal rows": (then(normal_rows), None),
    "one number": (then(one_number), ORDER),
    "soft experts": (then(soft_experts), IN_TURN),
    "block diagonal": (then(block_diagonal), "a kind that no plan has"),
    "one weight": (then(one_weight), None),
    "a weight a sum": (then(a_weight_a_sum), None),
    "one row for all": (then(one_row_for_all), None),
    "functions of parameters": (then(functions_of_parameters), None),
    "functions of embeddings": (functions_of_embeddings, None),
    "sums of embeddings": (sums_of_embeddings, None),
    "one weight for two": (one_weight_for_two, None),
    "embedding and bias": (embedding_and_bias, ORDER),
    "embedding and gain": (embedding_and_gain, None),
    "two tables": (two_tables, None),
    "bilinear": (bilinear, None),
    "scaled once": (scaled_once, RECORDED),
    "products of tables": (products_of_tables, None),
    "parts of a row": (parts_of_a_row, None),
    "lanes one by one": (lanes_one_by_one, None),
    "one lane": (one_lane, None),
}
