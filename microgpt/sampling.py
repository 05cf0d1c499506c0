"""The course's block 7, inference: new documents, one token after another."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from .errors import ConfigError, DataError, DivergedError, MicrogptError, integer, require
from .model import GPT, SPANS
from .program import Program, record
from .tokenizer import Tokenizer
from .vector import Index, Vector


class _Recorded:
    """The probabilities after a token at each position, as programs that share the cache of keys and values.

    The program of a position computes that position's keys and values again, in place, and reads those before it.
    """

    __slots__ = ("_keys", "_model", "_programs", "_values")

    def __init__(self, model: GPT) -> None:
        self._model = model
        self._keys, self._values = model.empty_cache(), model.empty_cache()
        self._programs: list[Program[Vector]] = []

    def __call__(self, token_id: int, pos_id: int) -> list[float]:
        if pos_id < len(self._programs):
            return self._programs[pos_id](token_id)
        tape = self._model.state_dict["wte"]._tape

        def function(token: Index) -> Vector:
            return self._model.probabilities(token, pos_id, self._keys, self._values)

        program = record(function, Index(token_id), tape=tape, since=tape.mark())
        self._programs.append(program)
        return program.result.data


def _anew(model: GPT[Any]) -> Callable[[int, int], list[float]]:
    """The same for one sample, recorded as it goes."""
    keys, values = model.empty_cache(), model.empty_cache()
    return lambda token_id, pos_id: model.operations.data(model.probabilities(token_id, pos_id, keys, values))


def _likeliest(weights: list[float], top_k: int | None, top_p: float | None) -> list[float]:
    """The weights of the top_k likeliest tokens, and of the fewest likeliest that together have top_p; 0 for the
    others. Of equal ones the first is the likelier."""
    order = sorted(range(len(weights)), key=lambda i: -weights[i])
    if top_k is not None:
        order = order[:top_k]
    if top_p is not None:
        whole, share, count = sum(weights[i] for i in order), 0.0, 0
        while count < len(order) and (count == 0 or share < top_p * whole):
            share += weights[order[count]]
            count += 1
        order = order[:count]
    kept = set(order)
    return [weight if i in kept else 0.0 for i, weight in enumerate(weights)]


def _encode_prompt(model: GPT[Any], tokenizer: Tokenizer, prompt: str) -> list[int]:
    require("the prompt", prompt, str)
    unseen = [char for char in prompt if char not in tokenizer.chars]
    if unseen:
        raise DataError(f"the prompt has the character {unseen[0]!r}, which the model has not seen")
    if len(prompt) >= model.config.block_size:
        size = model.config.block_size
        raise DataError(f"the prompt has {len(prompt)} characters, and the block is {size}: leave room for one")
    return tokenizer.encode(prompt)[:-1]


def _at_temperature(model: GPT[Any], temperature: float | None) -> GPT[Any]:
    if temperature is None or temperature == 0 or temperature == model.config.temperature:
        return model
    return GPT(replace(model.config, temperature=temperature), model.state_dict, model.operations)


def sample(
    model: GPT[Any],
    tokenizer: Tokenizer,
    rng: random.Random,
    replay: bool = True,
    *,
    count: int | None = None,
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    prompt: str = "",
) -> Iterator[str]:
    """Yields `count` documents, each from BOS and the prompt until BOS comes again or the block is full.

    `count` and `temperature` are the configuration's where they are not given. A temperature of 0 takes the likeliest
    token each time. Only the `top_k` likeliest tokens (Fan, Lewis and Dauphin, 2018), and only the fewest that have a
    probability of `top_p` together (Holtzman et al., 2019), are drawn from. Makes one draw, `rng.choices` over the
    probabilities, a token, and none at temperature 0. With `replay` every position is recorded once and replayed in C;
    without, or when the model computes with scalar Values, every token records anew.

    ConfigError for a setting that cannot work, DataError for a prompt that has an unseen character or fills the block.
    DivergedError when the parameters are so large, or no numbers, that there are no probabilities.
    """
    require("the model", model, GPT)
    require("the tokenizer", tokenizer, Tokenizer)
    require("the random numbers", rng, random.Random)
    if count is not None and integer("count", count) < 0:
        raise ConfigError(f"count must not be negative, as {count} is")
    if top_k is not None and integer("top_k", top_k) < 1:
        raise ConfigError(f"top_k must be at least 1, not {top_k}")
    if top_p is not None and not 0 < top_p <= 1:
        raise ConfigError(f"top_p must be greater than 0 and at most 1, not {top_p}")
    greedy, model = temperature == 0, _at_temperature(model, temperature)
    beginning = _encode_prompt(model, tokenizer, prompt)
    return _texts(model, tokenizer, rng, replay, count, greedy, top_k, top_p, beginning)


def _texts(
    model: GPT[Any],
    tokenizer: Tokenizer,
    rng: random.Random,
    replay: bool,
    count: int | None,
    greedy: bool,
    top_k: int | None,
    top_p: float | None,
    beginning: list[int],
) -> Iterator[str]:
    tape = model.state_dict["wte"]._tape
    tokens = range(tokenizer.vocab_size)
    recorded = _Recorded(model) if replay and model.operations is SPANS else None
    for _ in range(model.config.samples if count is None else count):
        mark = tape.mark()
        probabilities = recorded or _anew(model)
        ids = beginning[1:]
        for pos_id in range(model.config.block_size):
            token_id = beginning[pos_id] if pos_id < len(beginning) else ids[-1]
            try:
                weights = probabilities(token_id, pos_id)
                if pos_id + 1 < len(beginning):
                    continue  # the next one is given
                if top_k is not None or top_p is not None:
                    weights = _likeliest(weights, top_k, top_p)
                token_id = weights.index(max(weights)) if greedy else rng.choices(tokens, weights=weights)[0]
            except MicrogptError:
                raise
            except (ArithmeticError, ValueError) as error:
                raise DivergedError(f"nothing can be sampled from these parameters: {error}", None) from error
            if token_id == tokenizer.bos:
                break
            ids.append(token_id)
        if recorded is None:
            tape.rewind(mark)
        yield tokenizer.decode(ids)


def next_probabilities(
    model: GPT[Any], tokenizer: Tokenizer, prompt: str = "", temperature: float | None = None
) -> dict[str, float]:
    """How probable each character is to follow the prompt, and, as "", that the document ends there; their sum is 1.

    `temperature` is the configuration's where it is not given; at 0 the likeliest is certain. DataError as `sample`'s.
    """
    require("the model", model, GPT)
    require("the tokenizer", tokenizer, Tokenizer)
    model = _at_temperature(model, temperature)
    tape = model.state_dict["wte"]._tape
    mark, weights, probabilities = tape.mark(), [], _anew(model)
    for pos_id, token_id in enumerate(_encode_prompt(model, tokenizer, prompt)):
        weights = probabilities(token_id, pos_id)
    tape.rewind(mark)
    if temperature == 0:
        likeliest = weights.index(max(weights))
        weights = [float(i == likeliest) for i in range(len(weights))]
    return dict(zip([*tokenizer.chars, ""], weights))
