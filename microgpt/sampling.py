"""The course's block 7, inference: new documents, one token after another."""

from __future__ import annotations

import random
from collections.abc import Iterator

from .errors import DivergedError
from .model import GPT
from .tokenizer import Tokenizer


def sample(model: GPT, tokenizer: Tokenizer, rng: random.Random) -> Iterator[str]:
    """Yields config.samples documents, each from BOS until BOS comes again or the block is full.

    Makes one draw, `rng.choices` over the probabilities at config.temperature, a token. DivergedError when the
    parameters are so large, or no numbers, that there are no probabilities.
    """
    tape = model.state_dict["wte"]._tape
    for _ in range(model.config.samples):
        mark = tape.mark()
        keys, values = model.empty_cache(), model.empty_cache()
        token_id = tokenizer.bos
        ids: list[int] = []
        for pos_id in range(model.config.block_size):
            try:
                weights = model.probabilities(token_id, pos_id, keys, values, model.config.temperature)
                token_id = rng.choices(range(tokenizer.vocab_size), weights=weights)[0]
            except (ArithmeticError, ValueError) as error:
                raise DivergedError(f"nothing can be sampled from these parameters: {error}", None) from error
            if token_id == tokenizer.bos:
                break
            ids.append(token_id)
        tape.rewind(mark)
        yield tokenizer.decode(ids)
