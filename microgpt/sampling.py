"""The course's block 7, inference: new documents, one token after another."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import cast

from .errors import DivergedError, MicrogptError
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
        self._programs: list[Program] = []

    def __call__(self, token_id: int, pos_id: int) -> list[float]:
        if pos_id < len(self._programs):
            return cast(list[float], self._programs[pos_id](token_id))
        tape = self._model.state_dict["wte"]._tape

        def function(token: Index) -> Vector:
            return cast(Vector, self._model.probabilities(token, pos_id, self._keys, self._values))

        program = record(function, Index(token_id), tape=tape, since=tape.mark())
        self._programs.append(program)
        return cast(list[float], program.result.data)


def _anew(model: GPT) -> Callable[[int, int], list[float]]:
    """The same for one sample, recorded as it goes."""
    keys, values = model.empty_cache(), model.empty_cache()
    return lambda token_id, pos_id: model.operations.data(model.probabilities(token_id, pos_id, keys, values))


def sample(model: GPT, tokenizer: Tokenizer, rng: random.Random, replay: bool = True) -> Iterator[str]:
    """Yields config.samples documents, each from BOS until BOS comes again or the block is full.

    Makes one draw, `rng.choices` over the probabilities at config.temperature, a token. With `replay` every position is
    recorded once and replayed in C; without, or when the model computes with scalar Values, every token records anew.
    DivergedError when the parameters are so large, or no numbers, that there are no probabilities.
    """
    tape = model.state_dict["wte"]._tape
    tokens = range(tokenizer.vocab_size)
    recorded = _Recorded(model) if replay and model.operations is SPANS else None
    for _ in range(model.config.samples):
        mark = tape.mark()
        probabilities = recorded or _anew(model)
        token_id = tokenizer.bos
        ids: list[int] = []
        for pos_id in range(model.config.block_size):
            try:
                token_id = rng.choices(tokens, weights=probabilities(token_id, pos_id))[0]
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
