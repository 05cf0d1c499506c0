"""The course's block 7, inference: new documents, one token after another."""

from __future__ import annotations

import random
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any

from .arguments import integer, require
from .core import check, ffi, lib
from .errors import ConfigError, DataError, DivergedError, MicrogptError
from .index import Index
from .model import GPT, SPANS
from .program import Program, record, record_with
from .tokenizer import Tokenizer
from .vector import Vector

BLOCK_SECONDS = 0.02  # a call of the core cannot be interrupted
MOST_TOKENS = 1 << 20  # that a call may draw


class _Core:
    """Many samples in one call of the core: the probabilities as in a loss of all positions, recorded once."""

    __slots__ = ("_done", "_pointer", "_positions", "_program", "_settings")

    def __init__(self, pointer: Any, program: Program[Any, Any], positions: int, settings: Any) -> None:
        self._pointer = ffi.gc(pointer, lib.mg_sampler_free)
        self._program = program  # whose result a collection has to see
        self._positions, self._settings = positions, settings
        self._done = ffi.new("size_t *")

    @classmethod
    def of(
        cls, model: GPT[Any], end: int, greedy: bool, top_k: int | None, top_p: float | None, rng: random.Random
    ) -> _Core | None:
        """None where the core does not know the model's form, or the random numbers are not Python's own."""
        if not _is_mersenne_twister(rng):
            return None
        size, tape = model.config.block_size, model.state_dict["wte"]._tape

        def function(*tokens: Index) -> Any:
            keys, values, losses = model.empty_cache(), model.empty_cache(), []
            for pos_id in range(size):
                probs = model.probabilities(tokens[pos_id], pos_id, keys, values)
                losses.append(model.operations.surprisal(probs[tokens[pos_id + 1]]))
            return model.operations.mean(losses)

        program = record_with(function, [Index(0) for _ in range(size + 1)], tape, quiet=True, plan=False)
        pointer = lib.mg_sampler_new(program._pointer)
        if pointer == ffi.NULL:
            status = lib.mg_tape_take_status(tape._pointer)
            if status == lib.MG_OPERATION:
                return None
            check(status)
        few = 0 if top_k is None else min(top_k, end + 1)
        return cls(pointer, program, size, ffi.new("mg_sampling *", [greedy, few, top_p or 0.0, end]))

    def draw(self, given: Sequence[int], count: int, rng: random.Random) -> tuple[list[int], list[int]]:
        """The tokens of the next texts, and how many each has; fewer texts where the next one must be computed one by
        one. `rng` is afterwards where those that were drawn have left it."""
        version, words, gauss = rng.getstate()
        state = array("I", words)
        room = count * (self._positions - len(given) + 1)
        tokens, lengths = ffi.new("int32_t[]", room), ffi.new("int32_t[]", count)
        status = lib.mg_sampler_run(
            self._pointer, self._settings, given, len(given), count, ffi.from_buffer("uint32_t[]", state), len(state),
            tokens, room, lengths, self._done
        )  # fmt: skip
        if status != lib.MG_NOT_FINITE:
            check(status)
        rng.setstate((version, tuple(state), gauss))
        drawn = ffi.unpack(lengths, self._done[0]) if self._done[0] else []
        return (ffi.unpack(tokens, sum(drawn)) if sum(drawn) else []), drawn


def _is_mersenne_twister(rng: random.Random) -> bool:
    """Whether `choices` draws from Python's own generator, whose state can be had and given back."""
    names = ("random", "choices", "getstate", "setstate")
    own = getattr(rng, "__dict__", {})
    return all(getattr(type(rng), name, None) is getattr(random.Random, name) and name not in own for name in names)


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
        *_, whole = accumulate(weights[i] for i in order)  # from left to right; `sum` is more exact from Python 3.12 on
        share, count = 0.0, 0
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
    samples_per_call: int | None = 1,
) -> Iterator[str]:
    """Yields `count` documents, each from BOS and the prompt until BOS comes again or the block is full.

    `count` and `temperature` are the configuration's where they are not given. A temperature of 0 takes the likeliest
    token each time. Only the `top_k` likeliest tokens (Fan, Lewis and Dauphin, 2018), and only the fewest that have a
    probability of `top_p` together (Holtzman et al., 2019), are drawn from. Makes one draw, `rng.choices` over the
    probabilities, a token, and none at temperature 0. With `replay` the positions are recorded once and computed in C;
    without, or when the model computes with scalar Values, every token records anew. The texts are the same.

    `samples_per_call` is how many are drawn, in one call of the core, before they are yielded: with 1 `rng` has the
    state after the text that was just yielded; with more it may be up to samples_per_call - 1 texts ahead, and a text
    costs less. None is as many as take some 20 milliseconds, after which an interrupt is noticed.

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
    if samples_per_call is not None and integer("samples_per_call", samples_per_call) < 1:
        raise ConfigError(f"samples_per_call must be at least 1, or None, not {samples_per_call}")
    greedy, model = temperature == 0, _at_temperature(model, temperature)
    beginning = _encode_prompt(model, tokenizer, prompt)
    count = model.config.samples if count is None else integer("count", count)
    if replay and model.operations is SPANS:
        return _in_core(model, tokenizer, rng, count, greedy, top_k, top_p, beginning, samples_per_call)
    return _texts(model, tokenizer, rng, replay, count, greedy, top_k, top_p, beginning)


def _in_core(
    model: GPT[Any],
    tokenizer: Tokenizer,
    rng: random.Random,
    count: int,
    greedy: bool,
    top_k: int | None,
    top_p: float | None,
    beginning: list[int],
    samples_per_call: int | None,
) -> Iterator[str]:
    core = None
    if count and tokenizer.vocab_size == model.state_dict["wte"].rows:
        core = _Core.of(model, tokenizer.bos, greedy, top_k, top_p, rng)
    prompt, size, taken = tokenizer.decode(beginning), 16 if samples_per_call is None else samples_per_call, 0
    while core is not None and taken < count:
        started = time.perf_counter()
        size = max(1, min(size, count - taken, MOST_TOKENS // model.config.block_size))
        tokens, lengths = core.draw(beginning, size, rng)
        text, start = "".join(map(tokenizer.chars.__getitem__, tokens)), 0
        seconds = time.perf_counter() - started
        for length in lengths:
            yield prompt + text[start : start + length]
            start += length
        taken += len(lengths)
        if len(lengths) < size:
            break
        if samples_per_call is None:
            size = max(1, min(4 * size, int(size * BLOCK_SECONDS / max(seconds, 1e-6))))
    yield from _texts(model, tokenizer, rng, True, count - taken, greedy, top_k, top_p, beginning)


def _texts(
    model: GPT[Any],
    tokenizer: Tokenizer,
    rng: random.Random,
    replay: bool,
    count: int,
    greedy: bool,
    top_k: int | None,
    top_p: float | None,
    beginning: list[int],
) -> Iterator[str]:
    tape = model.state_dict["wte"]._tape
    tokens = range(tokenizer.vocab_size)
    recorded = _Recorded(model) if replay and model.operations is SPANS else None
    for _ in range(count):
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
