"""What the model computes for a text, letter by letter: every vector on the way, read from the model's own forward.

`Watch` stands in the place of the model's operations, calls them, and notes what comes out. There is no second model
here: `GPT.gpt` runs as it does in training, and its numbers are the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from .. import functions
from ..errors import DataError, DivergedError
from ..model import GPT
from ..saving import Saved
from ..vector import Vector

# The vectors of a position, in the order in which `GPT.gpt` computes them: a name, and the operation that makes it.
BEFORE = (("embedding", "add"), ("norm", "rmsnorm"))
LAYER = (
    ("attn_norm", "rmsnorm"),
    ("q", "linear"),
    ("k", "linear"),
    ("v", "linear"),
    ("attention", "attention_weights"),
    ("mix", "weighed"),
    ("attn_out", "linear"),
    ("attn_residual", "add"),
    ("mlp_norm", "rmsnorm"),
    ("hidden", "linear"),
    ("activation", "activation"),
    ("mlp_out", "linear"),
    ("mlp_residual", "add"),
)
AFTER = (("logits", "linear"),)


def stage_names(n_layer: int) -> list[str]:
    """The names of all vectors of a position; those of a layer begin with "layer0." and so on."""
    layers = [f"layer{i}.{name}" for i in range(n_layer) for name, _ in LAYER]
    return [*(name for name, _ in BEFORE), *layers, *(name for name, _ in AFTER)]


class Watch:
    """The operations of functions.py, which note the vectors that they compute: `noted` has (operation, numbers)."""

    matrix = staticmethod(functions.matrix)
    data = staticmethod(functions.data)
    softmax = staticmethod(functions.softmax)
    divide = staticmethod(functions.divide)
    surprisal = staticmethod(functions.surprisal)
    mean = staticmethod(functions.mean)

    def __init__(self) -> None:
        self.noted: list[tuple[str, list[float]]] = []

    def _note(self, operation: str, out: Vector) -> Vector:
        self.noted.append((operation, out.data))
        return out

    def add(self, a: Vector, b: Vector) -> Vector:
        return self._note("add", functions.add(a, b))

    def rmsnorm(self, x: Vector) -> Vector:
        return self._note("rmsnorm", functions.rmsnorm(x))

    def linear(self, x: Vector, w: Any) -> Vector:
        return self._note("linear", functions.linear(x, w))

    def relu(self, x: Vector) -> Vector:
        return self._note("activation", functions.relu(x))

    def relu_squared(self, x: Vector) -> Vector:
        return self._note("activation", functions.relu_squared(x))

    def attention(self, q: Vector, keys: Sequence[Vector], values: Sequence[Vector], n_head: int) -> Vector:
        weights = self._note("attention_weights", functions.attention_weights(q, keys, n_head))
        return self._note("weighed", functions.weighed(weights, values, n_head))


@dataclass(frozen=True, slots=True)
class Position:
    """One letter of a text: what the model read, what it computed, and what it expects next."""

    token: int
    target: int  # the token that does come next
    stages: list[
        list[float]
    ]  # in the order of `stage_names`; an attention is n_head lists of weights, one after another
    probabilities: list[float]  # of each token to come next, at temperature 1, as the loss sees them
    tempered: list[list[float]]  # the same at each of the report's temperatures
    loss: float | None  # -log(the target's probability); None where that is 0


@dataclass(frozen=True, slots=True)
class Text:
    """A text as the model reads it. `cut` characters at its end lie beyond the block and are not read."""

    text: str
    cut: int
    loss: float | None  # the mean over the positions: the loss that training would report
    positions: list[Position]


def read_text(saved: Saved, text: str, temperatures: Sequence[float]) -> Text:
    """Run the model over a text, as its loss does. DataError for a character that the model has not seen,
    DivergedError for parameters that give no probabilities."""
    config, tokenizer = saved.model.config, saved.tokenizer
    unseen = [char for char in text if char not in tokenizer.chars]
    if unseen:
        raise DataError(f"the text has the character {unseen[0]!r}, which the model has not seen: give another --text")
    watch = Watch()
    model = GPT(config, saved.model.state_dict, watch)
    tokens = tokenizer.encode(text)[: config.block_size + 1]
    tape = model.parameters[0]._tape
    mark = tape.mark()
    try:
        positions, losses = [], []
        keys, values = model.empty_cache(), model.empty_cache()
        for place in range(len(tokens) - 1):
            watch.noted.clear()
            logits = model.gpt(tokens[place], place, keys, values)
            stages = [numbers for _, numbers in watch.noted]
            probs = functions.softmax(logits)
            tempered = [functions.softmax(functions.divide(logits, t)).data for t in temperatures]
            if not all(map(math.isfinite, chain(probs.data, *stages, *tempered))):
                raise OverflowError("a number grew too large for a float")
            target = tokens[place + 1]
            loss = functions.surprisal(probs[target]) if probs.data[target] > 0 else None
            losses.append(loss)
            number = None if loss is None else loss.data
            positions.append(Position(tokens[place], target, stages, probs.data, tempered, number))
        known = [loss for loss in losses if loss is not None]
        mean = functions.mean(known).data if len(known) == len(losses) else None
    except (ArithmeticError, ValueError) as error:
        raise DivergedError(f"nothing can be computed from these parameters: {error}", None) from error
    finally:
        tape.rewind(mark)
    read = len(tokens) - 1 if len(tokens) == config.block_size + 1 else len(text)
    return Text(text[:read], len(text) - min(read, len(text)), mean, positions)


def heads(numbers: Sequence[float], n_head: int) -> list[Sequence[float]]:
    """The weights of an attention, a list for each head."""
    width = len(numbers) // n_head
    return [numbers[head * width : (head + 1) * width] for head in range(n_head)]
