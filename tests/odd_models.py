"""Models that are in no course, for either kind of numbers (see mirror.py)."""

from __future__ import annotations

import math
from functools import partial
from itertools import pairwise

from microgpt.core import lib
from microgpt.vector import View

VOCAB, EMBD, LONGEST = 5, 4, 10


def loss_of(f, logits, target):
    return f.surprisal(f.softmax(logits)[target])


def embedded(f, w, token, t):
    return w("wte", VOCAB, EMBD)[token] + w("wpe", LONGEST, EMBD)[t]


def attending_to_itself(f, w, x, keys, values, layer=""):
    keys.append(f.linear(x, w(f"wk{layer}", EMBD, EMBD)))
    values.append(f.linear(x, w(f"wv{layer}", EMBD, EMBD)))
    return f.attention(f.linear(x, w(f"wq{layer}", EMBD, EMBD)), keys, values, 2)


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


def relative(f, w, q, keys, values):
    """Keys are moved by how far they are."""
    n = len(keys)
    moved = [k + w("relative", LONGEST, EMBD)[n - 1 - u] for u, k in enumerate(keys)]
    return f.attention(q, moved, values, 2)


def longest(f, w, q, keys, values):
    """As long as the largest logit says."""
    logits = f.sums(1, len(keys), EMBD, View(q, term=1), View(keys, term=1))
    return f.weighed(f.softmax(logits), values, 1) * f.largest(1, len(keys), View(logits, term=1))[0]


def heads_mixed(f, w, q, keys, values):
    """The logits of two heads are mixed before their softmax (Shazeer et al., 2020)."""
    n, mix = len(keys), w("mix", 2, 2)
    logits = f.sums(2, n, 2, View(q, group=2, term=1), View(keys, group=2, term=1))
    mixed = [logits[:n] * mix[head][0] + logits[n:] * mix[head][1] for head in range(2)]
    return f.linear([f.weighed(f.softmax(x), values, 1) for x in mixed], w("both", EMBD, 2 * EMBD))


def learned_query(f, w, q, keys, values):
    """All positions ask the same."""
    return f.attention(w("query", 1, EMBD)[0], keys, values, 2) + q


def biased_heads(f, w, q, keys, values):
    """Beside each head's logits stands a number of the head."""
    n = len(keys)
    logits = f.sums(2, n, 2, View(q, group=2, term=1), View(keys, group=2, term=1))
    biased = f.maps(lib.MG_ADD, 2, n, View(logits, group=n, lane=1), View(w("bias", 1, 2)[0], group=1))
    return f.weighed(biased.sigmoid(), values, 2)


def mixed_by_place(f, w, q, keys, values):
    """How much of each position is learned, by its number."""
    n = len(keys)
    return f.sums(1, EMBD, n, View(w("places", 1, LONGEST)[0], term=1), View(values, lane=1, by_term=True)) + q


def logits_of(f, q, keys):
    return f.sums(2, len(keys), 2, View(q, group=2, term=1), View(keys, group=2, term=1))


def without_a_softmax(f, w, q, keys, values):
    """The logits are the weights: lanes that lie ahead of a position are cut where they are summed up."""
    return f.weighed(logits_of(f, q, keys), values, 2)


def by_their_sum(f, w, q, keys, values):
    n, weights = len(keys), logits_of(f, q, keys) + 3.0
    total = f.sums(2, 1, n, View(weights, group=n, term=1))
    return f.weighed(weights * f.maps(lib.MG_POW, 2, n, View(total, group=1), constant=-1.0), values, 2)


def weights_twice(f, w, q, keys, values):
    weights = logits_of(f, q, keys)
    return f.weighed(weights, values, 2) + f.weighed(weights.tanh(), values, 2)


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


def normal_keys(f, w, tokens):
    """Queries and keys of one length, and a temperature that is learned."""
    keys, values, losses = [], [], []
    for t, (token, target) in enumerate(pairwise(tokens)):
        x = embedded(f, w, token, t)
        keys.append(f.rmsnorm(f.linear(x, w("wk", EMBD, EMBD))))
        values.append(f.linear(x, w("wv", EMBD, EMBD)))
        q = f.rmsnorm(f.linear(x, w("wq", EMBD, EMBD))) * w("t", 1, 1)[0][0].exp()
        x = f.linear(f.attention(q, keys, values, 2), w("wo", EMBD, EMBD)) + x
        losses.append(loss_of(f, f.linear(f.rmsnorm(x), w("head", VOCAB, EMBD)), target))
    return f.mean(losses)


def after_norm(f, w, tokens):
    """Two layers, and what is left of each is normalised after it is added."""
    caches, losses = [([], []), ([], [])], []
    for t, (token, target) in enumerate(pairwise(tokens)):
        x = embedded(f, w, token, t)
        for n, (keys, values) in enumerate(caches):
            x = f.rmsnorm(attending_to_itself(f, w, x, keys, values, n) + x)
            x = f.rmsnorm(f.linear(f.linear(x, w(f"{n}up", 6, EMBD)).relu() ** 2, w(f"{n}down", EMBD, 6)) + x)
        losses.append(loss_of(f, f.linear(x, w("head", VOCAB, EMBD)), target))
    return f.mean(losses)


def cross(f, w, tokens):
    """Keys and values are of another embedding."""
    keys, values, losses = [], [], []
    for t, (token, target) in enumerate(pairwise(tokens)):
        x, y = w("a", VOCAB, EMBD)[token], w("b", VOCAB, EMBD)[token] * w("wpe", LONGEST, EMBD)[t]
        keys.append(f.linear(y, w("wk", EMBD, EMBD)))
        values.append(f.linear(y, w("wv", EMBD, EMBD)))
        x = f.attention(f.linear(x, w("wq", EMBD, EMBD)), keys, values, 2) * x
        losses.append(loss_of(f, f.linear(x, w("head", VOCAB, EMBD)), target))
    return f.mean(losses)


def strictly_before(f, w, tokens):
    """A position attends to those before it alone, and the first to a row of its own."""
    keys, values, losses = [w("key", 1, EMBD)[0]], [w("value", 1, EMBD)[0]], []
    for token, target in pairwise(tokens):
        x = w("wte", VOCAB, EMBD)[token]
        y = f.attention(f.linear(x, w("wq", EMBD, EMBD)), keys, values, 2)
        keys.append(f.linear(x, w("wk", EMBD, EMBD)))
        values.append(f.linear(x, w("wv", EMBD, EMBD)))
        losses.append(loss_of(f, f.linear(y + x, w("head", VOCAB, EMBD)), target))
    return f.mean(losses)


def keys_without_gradient(f, w, tokens):
    keys, values, losses = [], [], []
    for t, (token, target) in enumerate(pairwise(tokens)):
        x = embedded(f, w, token, t)
        keys.append(f.linear(x, w("wk", EMBD, EMBD)).detach())
        values.append(f.linear(x, w("wv", EMBD, EMBD)))
        x = f.attention(f.linear(x, w("wq", EMBD, EMBD)), keys, values, 2) + x
        losses.append(loss_of(f, f.linear(x, w("head", VOCAB, EMBD)), target))
    return f.mean(losses)


def values_without_gradient(f, w, tokens):
    keys, values, losses = [], [], []
    for t, (token, target) in enumerate(pairwise(tokens)):
        x = embedded(f, w, token, t)
        keys.append(f.linear(x, w("wk", EMBD, EMBD)))
        values.append(x.detach() * 2)
        x = f.attention(f.linear(x, w("wq", EMBD, EMBD)).detach(), keys, values, 2) + x
        losses.append(loss_of(f, f.linear(x, w("head", VOCAB, EMBD)), target))
    return f.mean(losses)


def only_heads_learn(f, w, tokens):
    keys, values, losses = [], [], []
    for t, (token, target) in enumerate(pairwise(tokens)):
        x = embedded(f, w, token, t)
        x = (attending_to_itself(f, w, x, keys, values) + x).detach()
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


ORDER = "added in another order than the sweep's"
IN_TURN = "takes the lanes of two statements in turn"
RESULT = "the result is not the sum or the mean of losses"
OTHER = "a position reads what another position computed"
RECORDED = "not recorded by the same statements"
LISTED = "listed in a way that is no concatenation"

MODELS = {  # each with the reason why its statements are replayed one by one, where they are
    "all heads share": (attending(lambda f, w, q, k, v: shared(f, q, k, v, 2), kv=2), ORDER),
    "heads share by twos": (attending(grouped, kv=2), ORDER),
    "relative": (attending(relative), RECORDED),
    "longest": (attending(longest), None),
    "heads mixed": (attending(heads_mixed), IN_TURN),
    "every other key": (attending(lambda f, w, q, k, v: f.attention(q, k[::2], v[::2], 2)), RECORDED),
    "keys by themselves": (attending(lambda f, w, q, k, v: f.attention(q, [f.rmsnorm(x) for x in k], v, 1)), RECORDED),
    "learned query": (attending(learned_query), "a kind that no plan has"),
    "biased heads": (attending(biased_heads), None),
    "mixed by place": (attending(mixed_by_place), "something that does not grow with them"),
    "without a softmax": (attending(without_a_softmax), None),
    "by their sum": (attending(by_their_sum), None),
    "weights twice": (attending(weights_twice), IN_TURN),
    "capped": (attending(capped), None),
    "slopes": (attending(slopes), "reads leaves that differ by position"),
    "a window": (attending(lambda f, w, q, k, v: f.attention(q, k[-3:], v[-3:], 2)), "two positions differ"),
    "itself alone": (attending(lambda f, w, q, k, v: f.attention(q, k[-1:], v[-1:], 2)), LISTED),
    "the first alone": (attending(lambda f, w, q, k, v: f.attention(q, k[:1], v[:1], 2)), RECORDED),
    "a sink": (attending(with_a_sink), "two positions differ"),
    "a temperature": (attending(lambda f, w, q, k, v: f.attention(q * w("t", 1, 1)[0][0], v, k, 1)), None),
    "keys as all": (attending(lambda f, w, q, k, v: f.attention(k[-1], k, k, 2) + v[-1]), IN_TURN),
    "keys as queries": (attending(lambda f, w, q, k, v: f.attention(k[-1], k, v, 2) + q), None),
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
    "normal keys": (normal_keys, None),
    "after norm": (after_norm, IN_TURN),
    "cross": (cross, ORDER),
    "strictly before": (strictly_before, RECORDED),
    "keys without gradient": (keys_without_gradient, IN_TURN),
    "values without gradient": (values_without_gradient, IN_TURN),
    "only heads learn": (only_heads_learn, None),
    "heads of two sizes": (heads_of_two_sizes, None),
    "one layer three times": (one_layer_three_times, None),
    "one cache for two layers": (one_cache_for_two_layers, IN_TURN),
    "one matrix": (one_matrix, IN_TURN),
    "both directions": (both_directions, RECORDED),
}
