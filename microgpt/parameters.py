"""The course's block 4, the parameters: named matrices of numbers that start random and are learned."""

from __future__ import annotations

import random
import struct
from collections.abc import Mapping

from .arguments import integer, require
from .config import Config
from .errors import ConfigError
from .tape import Tape
from .vector import Matrix

StateDict = dict[str, Matrix]
MOST = 1 << 31


def initial_parameters(config: Config, vocab_size: int, rng: random.Random, tape: Tape | None = None) -> StateDict:
    """The matrices in the course's order, each row by row from `rng.gauss(0, std)`.

    Embeddings are vocab_size (`wte`) and block_size (`wpe`) rows of n_embd; every other matrix maps its columns to its
    rows: n_embd to n_embd in attention, to 4 * n_embd and back in the MLP, to vocab_size in `lm_head`. The draws are
    made also where std is 0, as the course makes them. ConfigError when there are more numbers than a tape holds.
    """
    require("the configuration", config, Config)
    require("the random numbers", rng, random.Random)
    if integer("vocab_size", vocab_size) < 1:
        raise ConfigError(f"vocab_size must be at least 1, not {vocab_size}")
    if (count := _count(config, vocab_size)) > MOST:
        raise ConfigError(f"these sizes make {count:,} parameters, and a tape holds at most {MOST:,} values")
    n_embd, std, output_std = config.n_embd, config.std, 0 if config.zero_output else config.std

    def matrix(rows: int, columns: int, std: float) -> Matrix:
        return Matrix(rows, columns, [rng.gauss(0, std) for _ in range(rows * columns)], tape)

    state_dict = {
        "wte": matrix(vocab_size, n_embd, std),
        "wpe": matrix(config.block_size, n_embd, std),
        "lm_head": matrix(vocab_size, n_embd, std),
    }
    for i in range(config.n_layer):
        state_dict[f"layer{i}.attn_wq"] = matrix(n_embd, n_embd, std)
        state_dict[f"layer{i}.attn_wk"] = matrix(n_embd, n_embd, std)
        state_dict[f"layer{i}.attn_wv"] = matrix(n_embd, n_embd, std)
        state_dict[f"layer{i}.attn_wo"] = matrix(n_embd, n_embd, output_std)
        state_dict[f"layer{i}.mlp_fc1"] = matrix(4 * n_embd, n_embd, std)
        state_dict[f"layer{i}.mlp_fc2"] = matrix(n_embd, 4 * n_embd, output_std)
    return state_dict


def _count(config: Config, vocab_size: int) -> int:
    n_embd = config.n_embd
    return (2 * vocab_size + config.block_size) * n_embd + config.n_layer * 12 * n_embd * n_embd


def parameter_count(state_dict: Mapping[str, Matrix]) -> int:
    """How many numbers there are to learn."""
    return sum(w.rows * w.columns for w in matrices_of(state_dict))


def matrices_of(state_dict: Mapping[str, Matrix]) -> list[Matrix]:
    """The parameters, in order; TypeError for what is no dictionary of matrices."""
    require("the parameters", state_dict, Mapping)
    for w in state_dict.values():
        require("each of the parameters", w, Matrix)
    return list(state_dict.values())


def parameters_sha256(state_dict: Mapping[str, Matrix]) -> str:
    """The SHA-256 of all parameters in order, each as a little-endian float64."""
    import hashlib  # here, as it takes longer to import than the first Value to compute

    digest = hashlib.sha256()
    for w in matrices_of(state_dict):
        digest.update(struct.pack(f"<{w.rows * w.columns}d", *w.data))
    return digest.hexdigest()
