"""Peers: other libraries' scalars on the same graph, and training steps of the same model in PyTorch, in JAX and in C
with gradients by hand. `pip install .[peers]`, and a C compiler, or they are skipped."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from microgpt import Config, Tape
from tests.by_hand import TUNED, Exact, compiled, flattened

from .test_eager import NODES, record, sweep_on_oracle
from .test_model import LARGE, TOTAL, WIDE, WIDER, prepared, steps_of

NARROW = Config(block_size=8)
sizes = pytest.mark.parametrize("config", [NARROW, WIDE, WIDER], ids=["n_embd 16", "n_embd 64", "n_embd 256"])


def test_xad_record_and_sweep(case: Any) -> None:
    """XAD's Python binding, its tape and active type."""
    adj = pytest.importorskip("xad.adj_1st")

    def run() -> None:
        with adj.Tape() as tape:
            a, b = adj.Real(0.5), adj.Real(0.25)
            tape.registerInput(a)
            tape.registerInput(b)
            tape.newRecording()
            c = a
            for _ in range(NODES // 2):
                c = c * b + a
            tape.registerOutput(c)
            c.setAdjoint(1.0)
            tape.computeAdjoints()

    case(run, NODES, "operations", sweep_on_oracle)


def test_torch_record_and_sweep(case: Any) -> None:
    """PyTorch, scalars in float64, one thread."""
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)

    def value(x: float) -> Any:
        return torch.tensor(x, dtype=torch.float64, requires_grad=True)

    case(lambda: record(value).backward(), NODES, "operations", sweep_on_oracle, rounds=5, pairs=3)


# ---- training steps


def documents_of(config: Config) -> tuple[Any, list[list[int]]]:
    with Tape():
        model, _, documents, _ = prepared(config)
        return {name: [row.data for row in w] for name, w in model.state_dict.items()}, documents


# As a plain `cc -O3` compiles it, and with all that makes it faster: for float also -ffast-math.
BUILDS = {
    "double": ("double", ["-ffp-contract=off"]),
    "double tuned": ("double", [*TUNED, "-ffp-contract=off"]),
    "float tuned": ("float", [*TUNED, "-ffast-math"]),
}
# Of the one that keeps every bit: with pow wherever Python calls it, and only where it may not give the nearest float.
EXACT_BUILDS = {
    "plain": [],
    "tuned": TUNED,
    "few powers": ["-DFEW_POWERS"],
    "few powers tuned": [*TUNED, "-DFEW_POWERS"],
}


@pytest.mark.parametrize("build", BUILDS)
@sizes
def test_by_hand(case: Any, tmp_path: Path, config: Config, build: str) -> None:
    """Plain C with gradients by hand, sums in natural order."""
    real, options = BUILDS[build]
    library = compiled("by_hand", tmp_path, config.n_embd, config.block_size, [f"-DREAL={real}", *options])
    _, documents = documents_of(config)
    tokens, starts = flattened(documents)
    steps = 16_000 // config.n_embd
    with Tape():
        ours = steps_of(config, steps, fast=real == "float")
        by_hand = partial(library.train, tokens, starts, len(documents), steps)
        case(by_hand, steps, "training steps", ours, rounds=9, pairs=15)


@pytest.mark.parametrize("build", EXACT_BUILDS)
@sizes
def test_by_hand_exact(case: Any, tmp_path: Path, config: Config, build: str) -> None:
    """Plain C with gradients by hand that keeps every bit, as tests/test_by_hand.py shows."""
    numbers, documents = documents_of(config)
    parameters = [number for rows in numbers.values() for row in rows for number in row]
    size = config.n_embd, config.block_size
    by_hand = Exact(tmp_path, *size, parameters, documents, TOTAL, config.learning_rate, EXACT_BUILDS[build])
    steps = 16_000 // config.n_embd
    with Tape():
        ours = steps_of(config, steps)
        by_hand.take(200)  # as the other has
        case(lambda: by_hand.take(steps), steps, "training steps", ours, rounds=9, pairs=15)


def loss_of(config: Config, library: Any, w: dict[str, Any], tokens: Any, targets: Any, there: Any, mask: Any) -> Any:
    """The model's loss over all positions at once, in what PyTorch and jax.numpy have in common."""
    n, heads, size = len(tokens), config.n_head, config.n_embd // config.n_head

    def norm(x: Any) -> Any:
        return x * ((x * x).mean(-1)[:, None] + 1e-5) ** -0.5

    def split(x: Any) -> Any:
        return (
            library.transpose(x.reshape(n, heads, size), 0, 1)
            if library.__name__ == "torch"
            else x.reshape(n, heads, size).transpose(1, 0, 2)
        )

    x = norm(w["wte"][tokens] + w["wpe"][:n])
    for i in range(config.n_layer):
        normed = norm(x)
        q, k, v = (split(normed @ w[f"layer{i}.attn_w{name}"].T) for name in "qkv")
        weights = library.exp((q @ k.swapaxes(1, 2)) / size**0.5 + mask)
        mixed = (weights / weights.sum(-1)[:, :, None]) @ v
        x = x + mixed.swapaxes(0, 1).reshape(n, config.n_embd) @ w[f"layer{i}.attn_wo"].T
        hidden = norm(x) @ w[f"layer{i}.mlp_fc1"].T
        x = x + ((hidden * (hidden > 0)) ** 2) @ w[f"layer{i}.mlp_fc2"].T
    logits = x @ w["lm_head"].T
    losses = library.log(library.exp(logits).sum(-1)) - (logits * targets).sum(-1)
    return (losses * there).sum() / there.sum()


def take(step: Callable[[int], Any], steps: int) -> Callable[[], None]:
    """A function that takes so many more steps."""
    number = 0

    def run() -> None:
        nonlocal number
        for _ in range(steps):
            step(number)
            number += 1

    return run


@sizes
def test_torch_train(case: Any, config: Config) -> None:
    """PyTorch eager, float32, one thread, its own Adam."""
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    numbers, documents = documents_of(config)
    w = {name: torch.tensor(rows, requires_grad=True) for name, rows in numbers.items()}
    optimizer = torch.optim.Adam(w.values(), lr=0.01, betas=(0.9, 0.95), eps=1e-8)
    one_hot = torch.eye(len(numbers["wte"]))

    def step(number: int) -> None:
        tokens = torch.tensor(documents[number % len(documents)][: config.block_size + 1])
        n = len(tokens) - 1
        mask = torch.full((n, n), -torch.inf).triu(1)
        optimizer.zero_grad()
        loss_of(config, torch, w, tokens[:-1], one_hot[tokens[1:]], torch.ones(n), mask).backward()
        optimizer.step()

    case(take(step, 50), 50, "training steps", rounds=5)


def jax_steps(jax: Any, config: Config) -> tuple[Callable[[int], Any], Callable[[], Any]]:
    """A training by JAX, jit, float32: a function that takes step `number`, and one that waits for all that were taken.

    Documents are padded to the block, so that all have one shape."""
    np = jax.numpy
    numbers, documents = documents_of(config)
    w = {name: np.array(rows, dtype=np.float32) for name, rows in numbers.items()}
    block, mask = config.block_size, np.triu(np.full((config.block_size, config.block_size), -np.inf), 1)
    one_hot = np.eye(len(numbers["wte"]), dtype=np.float32)

    @jax.jit
    def update(state: Any, tokens: Any, n: Any, number: Any) -> Any:
        w, m, v = state
        there = (np.arange(block) < n).astype(np.float32)
        grad = jax.grad(lambda w: loss_of(config, np, w, tokens[:-1], one_hot[tokens[1:]], there, mask))(w)
        tree = jax.tree.map
        m = tree(lambda m, g: 0.9 * m + 0.1 * g, m, grad)
        v = tree(lambda v, g: 0.95 * v + 0.05 * g * g, v, grad)
        c1, c2 = 1 - 0.9 ** (number + 1), 1 - 0.95 ** (number + 1)
        w = tree(lambda p, m, v: p - 0.01 * (m / c1) / (np.sqrt(v / c2) + 1e-8), w, m, v)
        return w, m, v

    zeros = {name: np.zeros_like(p) for name, p in w.items()}
    state = (w, zeros, zeros)
    padded = [(document + [0] * block)[: block + 1] for document in documents]

    def step(number: int) -> None:
        nonlocal state
        d = number % len(documents)
        n = min(block, len(documents[d]) - 1)
        state = update(state, np.array(padded[d]), n, float(number))

    return step, lambda: jax.block_until_ready(state)


@sizes
def test_jax_train(case: Any, config: Config) -> None:
    """Steps that have been compiled."""
    jax = pytest.importorskip("jax")
    step, wait = jax_steps(jax, config)
    run = take(step, 100)
    case(lambda: (run(), wait()), 100, "training steps", rounds=5)


@pytest.mark.long
def test_jax_cold_start(case: Any) -> None:
    """A large model from its parameters to its 300th step, with the compilation."""
    jax = pytest.importorskip("jax")

    def run() -> None:
        jax.clear_caches()
        step, wait = jax_steps(jax, LARGE)
        for number in range(LARGE.steps):
            step(number)
        wait()

    case.once(run, 1, "runs", rounds=3)
