"""Models that are in no course, for either kind of numbers (see mirror.py)."""

from __future__ import annotations

import math
import random
from functools import partial
from itertools import pairwise

from microgpt.core import lib
from microgpt.vector import View

VOCAB, EMBD, LONGEST = 5, 4, 10


def loss_of(f, logits, target):
    return f.surprisal(f.softmax(logits)[target])


# ---- transformers: what attends, and what follows it, may be anything


def transformer(f, w, tokens, attend=None, then=None, kv=EMBD):
    keys, values, losses = [], [], []
    for t, (token, target) in enumerate(pairwise(tokens)):
        x = w("wte", VOCAB, EMBD)[token] + w("wpe", LONGEST, EMBD)[t]
        before = f.rmsnorm(x)
        q = f.linear(before, w("wq", EMBD, EMBD))
        keys.append(f.linear(before, w("wk", kv, EMBD)))
        values.append(f.linear(before, w("wv", kv, EMBD)))
        attended = attend(f, w, q, keys, values) if attend else f.attention(q, keys, values, 2)
        x = f.linear(attended, w("wo", EMBD, EMBD)) + x
        if then:
            x = then(f, w, x)
        losses.append(loss_of(f, f.linear(x, w("head", VOCAB, EMBD)), target))
    return f.mean(losses)


def attending(attend, kv=EMBD):
    return partial(transformer, attend=attend, kv=kv)


def then(step):
    return partial(transformer, then=step)


def shared(f, q, keys, values, n_head):
    """Attention whose heads have queries of their own, and all the same keys and values."""
    size, n = len(q) // n_head, len(keys)
    logits = f.sums(n_head, n, size, View(q, group=size, term=1), View(keys, term=1)) / size**0.5
    largest = f.largest(n_head, n, View(logits, group=n, term=1))
    exps = f.map("exp", f.maps(lib.MG_ADD, n_head, n, View(logits, group=n, lane=1), View(-largest, group=1)))
    total = f.sums(n_head, 1, n, View(exps, group=n, term=1))
    weights = exps * f.maps(lib.MG_POW, n_head, n, View(total, group=1), constant=-1.0)
    return f.sums(n_head, size, n, View(weights, group=n, term=1), View(values, lane=1, by_term=True))


def capped(f, w, q, keys, values):
    """Logits that a tanh keeps small, and the weights of which a relu makes."""
    logits = f.sums(2, len(keys), 2, View(q, group=2, term=1), View(keys, group=2, term=1))
    return f.weighed((f.map("tanh", logits / 3.0) * 3.0).relu(), values, 2)


def slopes(f, w, q, keys, values):
    """Logits that fall with the distance, by constants (Press et al., 2021), and sigmoids."""
    n = len(keys)
    logits = f.sums(2, n, 2, View(q, group=2, term=1), View(keys, group=2, term=1))
    return f.weighed((logits + f.vector([(u - n) * k for k in (0.5, 0.25) for u in range(n)])).sigmoid(), values, 2)


def with_a_sink(f, w, q, keys, values):
    return f.attention(q, [w("key", 1, EMBD)[0], *keys], [w("value", 1, EMBD)[0], *values], 2)


def grouped(f, w, q, keys, values):
    """Two heads share the first lane of keys and values, two the second."""
    halves = [
        shared(f, q[2 * n : 2 * n + 2], [k[n : n + 1] for k in keys], [v[n : n + 1] for v in values], 2)
        for n in range(2)
    ]
    return f.linear(halves, w("mix", EMBD, EMBD))


def gated_mlp(f, w, x):
    before = f.rmsnorm(x)
    hidden = f.silu(f.linear(before, w("gate", 7, EMBD))) * f.linear(before, w("wide", 7, EMBD))
    return f.linear(hidden, w("narrow", EMBD, 7)) + x


def powers_of_itself(f, w, x):
    y = f.linear(x, w("wide", 7, EMBD))
    return f.linear(y * y * y + y * y, w("narrow", EMBD, 7))


def highway(f, w, x):
    gate = f.linear(x, w("gate", EMBD, EMBD)).sigmoid()
    return gate * f.linear(x, w("other", EMBD, EMBD)).tanh() + (1 - gate) * x


def two_experts(f, w, x):
    gates = f.softmax(f.linear(x, w("gate", 2, EMBD)))
    experts = [f.linear(f.linear(x, w(f"up{n}", 3, EMBD)).relu(), w(f"down{n}", EMBD, 3)) for n in range(2)]
    return experts[0] * gates[0] + experts[1] * gates[1] + x


def dense(f, w, x):
    """Every layer reads all before it."""
    y = f.linear(x, w("first", EMBD, EMBD)).relu()
    z = f.linear([x, y], w("second", EMBD, 2 * EMBD)).relu()
    return f.linear([x, y, z], w("third", EMBD, 3 * EMBD))


def hypernetwork(f, w, x):
    """A position computes the weights for its own lanes."""
    return f.sums(1, EMBD, EMBD, View(f.linear(x, w("hyper", EMBD**2, EMBD)), lane=EMBD, term=1), View(x, term=1)) + x


def outer_products(f, w, x):
    return f.linear(f.maps(lib.MG_MUL, EMBD, EMBD, View(x, group=1), View(x, lane=1)), w("outer", EMBD, EMBD**2))


def learned_exponents(f, w, x):
    return f.maps(lib.MG_POWER, 1, EMBD, View(x * x + 0.1, lane=1), View(w("exponents", 1, EMBD)[0], lane=1))


def quotients(f, w, x):
    return x / w("divisors", 1, EMBD)[0] + 1 / (x * x + True) - f.map("abs", x).sum() / 3


def thirty_layers(f, w, x):
    for n in range(30):
        x = (x * w("depths", 30, 1)[n][0] + 0.1).tanh()
    return x


def rotary(f, w, tokens):
    """Queries and keys are turned by an angle that grows with the position (Su et al., 2021)."""
    keys, values, losses = [], [], []
    for t, (token, target) in enumerate(pairwise(tokens)):
        angles = [t, t, t / 10, t / 10]

        def turned(x, angles=angles):
            swapped = f.maps(lib.MG_ADD, 1, EMBD, View([x[1], x[0], x[3], x[2]]), constant=0.0)
            sines = [math.sin(a) * (-1, 1)[n % 2] for n, a in enumerate(angles)]
            return x * f.vector([math.cos(a) for a in angles]) + swapped * f.vector(sines)

        x = f.rmsnorm(w("wte", VOCAB, EMBD)[token])
        keys.append(turned(f.linear(x, w("wk", EMBD, EMBD))))
        values.append(f.linear(x, w("wv", EMBD, EMBD)))
        x = f.attention(turned(f.linear(x, w("wq", EMBD, EMBD))), keys, values, 2) + x
        losses.append(loss_of(f, f.linear(x, w("head", VOCAB, EMBD)), target))
    return f.mean(losses)


def heads_of_two_sizes(f, w, tokens):
    """One head of four lanes, beside two of two."""
    keys, values, losses = ([], []), ([], []), []
    for t, (token, target) in enumerate(pairwise(tokens)):
        x = w("wte", VOCAB, EMBD)[token] + w("wpe", LONGEST, EMBD)[t]
        parts = []
        for n in range(2):
            keys[n].append(f.linear(x, w(f"k{n}", EMBD, EMBD)))
            values[n].append(f.linear(x, w(f"v{n}", EMBD, EMBD)))
            parts.append(f.attention(f.linear(x, w(f"q{n}", EMBD, EMBD)), keys[n], values[n], n + 1))
        x = f.linear(parts, w("wo", EMBD, 2 * EMBD)) + x
        losses.append(loss_of(f, f.linear(x, w("head", VOCAB, EMBD)), target))
    return f.mean(losses)


def one_layer_three_times(f, w, tokens):
    """All layers have the same weights, which get their gradients from three depths, and know how deep they are."""
    keys, values, losses = ([], [], []), ([], [], []), []
    for token, target in pairwise(tokens):
        x = w("wte", VOCAB, EMBD)[token]
        for depth in range(3):
            before = f.rmsnorm(x + w("depths", 3, EMBD)[depth])
            keys[depth].append(f.linear(before, w("wk", EMBD, EMBD)))
            values[depth].append(f.linear(before, w("wv", EMBD, EMBD)))
            x = f.attention(f.linear(before, w("wq", EMBD, EMBD)), keys[depth], values[depth], 2) + x
            x = f.linear(f.gelu(f.linear(x, w("wide", 7, EMBD))), w("narrow", EMBD, 7)) + x
        losses.append(loss_of(f, f.linear(x, w("head", VOCAB, EMBD)), target))
    return f.mean(losses)


def one_cache_for_two_layers(f, w, tokens):
    """The second layer attends to the keys and values of the first."""
    keys, values, losses = [], [], []
    for t, (token, target) in enumerate(pairwise(tokens)):
        x = w("wte", VOCAB, EMBD)[token] + w("wpe", LONGEST, EMBD)[t]
        keys.append(f.linear(x, w("wk", EMBD, EMBD)))
        values.append(f.linear(x, w("wv", EMBD, EMBD)))
        for depth in range(2):
            x = x + f.attention(f.linear(x, w(f"wq{depth}", EMBD, EMBD)), keys, values, 2)
        losses.append(loss_of(f, f.linear(x, w("head", VOCAB, EMBD)), target))
    return f.mean(losses)


def one_matrix(f, w, tokens):
    """Queries, keys, values and what follows them all have one matrix, and the embedding is the output's too."""
    keys, values, losses = [], [], []
    for token, target in pairwise(tokens):
        square = w("square", EMBD, EMBD)
        x = f.linear(w("wte", VOCAB, EMBD)[token], square)
        keys.append(f.linear(x, square))
        values.append(f.linear(keys[-1], square))
        x = f.linear(f.attention(f.linear(x, square), keys, values, 1), square)
        losses.append(loss_of(f, f.linear(x, w("wte", VOCAB, EMBD)), target))
    return f.mean(losses)


def both_directions(f, w, tokens):
    """Every position attends to all, also to those that come after it."""
    xs = [w("wte", VOCAB, EMBD)[token] + w("wpe", LONGEST, EMBD)[t] for t, token in enumerate(tokens[:-1])]
    keys, values = ([f.linear(x, w(name, EMBD, EMBD)) for x in xs] for name in ("wk", "wv"))
    attended = [f.attention(f.linear(x, w("wq", EMBD, EMBD)), keys, values, 2) for x in xs]
    return f.mean([loss_of(f, f.linear(x, w("head", VOCAB, EMBD)), b) for x, b in zip(attended, tokens[1:])])


# ---- positions that remember otherwise


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


def scaled_once(f, w, tokens):
    """Rows of weights as long as is learned (Salimans and Kingma, 2016), computed before the first position."""
    rows = [row * ((row * row).sum() ** -0.5 * g) for row, g in zip(w("rows", VOCAB, EMBD), w("lengths", 1, VOCAB)[0])]
    losses = []
    for token, _ in pairwise(tokens):
        logits = [(row * w("wte", VOCAB, EMBD)[token]).sum() for row in rows]
        losses.append(sum(x.exp() for x in logits).log() - logits[0])
    return f.mean(losses)


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


def next_embedding(f, w, tokens):
    """No probabilities: how far from the row of the token that comes."""
    losses = []
    for token, target in pairwise(tokens):
        d = f.linear(w("wte", VOCAB, EMBD)[token], w("square", EMBD, EMBD)) - w("wte", VOCAB, EMBD)[target]
        losses.append((d * d).sum())
    return f.mean(losses)


# ---- losses of other forms


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


ORDER = "added in another order than the sweep's"
IN_TURN = "takes the lanes of two statements in turn"
RESULT = "the result is not the sum or the mean of losses"
OTHER = "a position reads what another position computed"
RECORDED = "not recorded by the same statements"
LISTED = "listed in a way that is no concatenation"

MODELS = {  # each with the reason why its statements are replayed one by one, where they are
    "all heads share": (attending(lambda f, w, q, k, v: shared(f, q, k, v, 2), kv=2), ORDER),
    "heads share by twos": (attending(grouped, kv=2), ORDER),
    "capped": (attending(capped), None),
    "slopes": (attending(slopes), "reads leaves that differ by position"),
    "a window": (attending(lambda f, w, q, k, v: f.attention(q, k[-3:], v[-3:], 2)), "two positions differ"),
    "itself alone": (attending(lambda f, w, q, k, v: f.attention(q, k[-1:], v[-1:], 2)), LISTED),
    "the first alone": (attending(lambda f, w, q, k, v: f.attention(q, k[:1], v[:1], 2)), RECORDED),
    "a sink": (attending(with_a_sink), "two positions differ"),
    "a temperature": (attending(lambda f, w, q, k, v: f.attention(q * w("t", 1, 1)[0][0], v, k, 1)), None),
    "keys as all": (attending(lambda f, w, q, k, v: f.attention(k[-1], k, k, 2) + v[-1]), IN_TURN),
    "values as queries": (attending(lambda f, w, q, k, v: f.attention(v[-1], k, v, 2) + q), None),
    "twice": (attending(lambda f, w, q, k, v: f.attention(f.attention(q, k, v, 2), k, v, 2)), IN_TURN),
    "gated mlp": (then(gated_mlp), None),
    "powers of itself": (then(powers_of_itself), None),
    "highway": (then(highway), IN_TURN),
    "two experts": (then(two_experts), None),
    "dense": (then(dense), IN_TURN),
    "hypernetwork": (then(hypernetwork), IN_TURN),
    "outer products": (then(outer_products), None),
    "learned exponents": (then(learned_exponents), None),
    "quotients": (then(quotients), IN_TURN),
    "thirty layers": (then(thirty_layers), None),
    "rotary": (rotary, "no regular order"),
    "heads of two sizes": (heads_of_two_sizes, None),
    "one layer three times": (one_layer_three_times, None),
    "one cache for two layers": (one_cache_for_two_layers, IN_TURN),
    "one matrix": (one_matrix, IN_TURN),
    "both directions": (both_directions, RECORDED),
    "lstm": (lstm, OTHER),
    "running sums": (running_sums, RECORDED),
    "convolution": (convolution, OTHER),
    "two tokens": (two_tokens, ORDER),
    "lane by lane convolution": (lane_by_lane_convolution, None),
    "shifted": (shifted, None),
    "bag of words": (bag_of_words, "a sum or a maximum of leaves, or over positions"),
    "scaled once": (scaled_once, RECORDED),
    "numbers of the position": (numbers_of_the_position, RECORDED),
    "from behind": (from_behind, None),
    "layer by layer": (layer_by_layer, RECORDED),
    "products of tables": (products_of_tables, None),
    "parts of a row": (parts_of_a_row, None),
    "lanes one by one": (lanes_one_by_one, None),
    "one lane": (one_lane, None),
    "next embedding": (next_embedding, ORDER),
    "smoothed": (losing(smoothed), None),
    "hinge": (losing(hinge), ORDER),
    "selected twice": (losing(selected_twice), None),
    "selected and not": (losing(selected_and_not), None),
    "selected of two": (losing(selected_of_two), None),
    "mixed": (losing(mixed), "a sum or a maximum of leaves"),
    "focal": (losing(focal), None),
    "regularized": (losing(regularized), None),
    "added in Python": (resulting(lambda f, losses: sum(losses)), RESULT),
    "the last": (resulting(lambda f, losses: losses[-1]), RESULT),
    "every other": (resulting(lambda f, losses: f.mean(losses[::2])), None),
    "each twice": (resulting(lambda f, losses: f.mean([x for loss in losses for x in (loss, loss)])), RESULT),
    "squared": (resulting(lambda f, losses: f.mean(losses) ** 2), RESULT),
}
