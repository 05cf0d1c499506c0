"""The course's block 1, the settings: what a run is made of, and the two presets that circulate."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, fields
from typing import Literal

from .errors import ConfigError

MOST_DOCUMENTS = 1_000_000  # a step; one cannot be interrupted
CHOICES = {
    "activation": ("relu", "relu_squared"),
    "optimizer": ("adam", "adamw", "sgd"),
    "decay": ("cosine", "linear", "constant"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything that determines a run, besides the documents. The defaults are the `course` preset.

    A setting that cannot work raises ConfigError, naming it.
    """

    n_embd: int = 16  # embedding dimension
    n_head: int = 4  # attention heads; divides n_embd
    n_layer: int = 1  # layers
    block_size: int = 8  # positions, the longest sequence
    steps: int = 500  # training steps
    batch_size: int = 1  # documents a step, whose gradients are averaged
    seed: int = 42  # of the one random number generator
    std: float = 0.02  # standard deviation of the initial parameters
    zero_output: bool = True  # attn_wo and mlp_fc2 start at 0
    activation: Literal["relu", "relu_squared"] = "relu_squared"
    learning_rate: float = 0.01
    beta1: float = 0.9
    beta2: float = 0.95
    epsilon: float = 1e-8
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    weight_decay: float = 0.01  # of adamw
    momentum: float = 0.9  # of sgd
    decay: Literal["cosine", "linear", "constant"] = "cosine"  # of the learning rate, to 0 at the last step
    warmup: int = 0  # steps over which the learning rate rises first
    val_fraction: float = 0.0  # of the documents is held out
    eval_every: int = 0  # steps between two losses of what is held out; 0 is a tenth of the run
    patience: int = 0  # such losses without a new lowest one end the run; 0 does not
    temperature: float = 0.5  # of sampling; low is careful, high is wild
    samples: int = 20

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type == "int" and (not isinstance(value, int) or isinstance(value, bool)):
                raise ConfigError(f"{field.name} must be a whole number, not {value!r}")
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if field.type == "float" and not (number and -math.inf < value < math.inf):
                raise ConfigError(f"{field.name} must be a finite number, not {value!r}")
            if field.type == "float" and abs(value) > sys.float_info.max:
                raise ConfigError(f"{field.name} must fit into a float64; {str(value)[:8]}... is too large")
        for name in ("n_embd", "n_head", "n_layer", "block_size", "batch_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.batch_size > MOST_DOCUMENTS:
            raise ConfigError(f"batch_size must be at most {MOST_DOCUMENTS:,} documents, not {self.batch_size:,}")
        for name in ("steps", "samples", "std", "learning_rate", "weight_decay", "warmup", "eval_every", "patience"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} must not be negative, as {getattr(self, name)} is")
        for name in ("temperature", "epsilon"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name} must be greater than 0, not {getattr(self, name)}")
        if 1 / self.temperature == math.inf:
            raise ConfigError(f"temperature must be large enough to divide by, which {self.temperature} is not")
        for name in ("beta1", "beta2", "momentum"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 0 and less than 1, not {getattr(self, name)}")
        if not 0 <= self.val_fraction < 1:
            raise ConfigError(f"val_fraction must be at least 0 and less than 1, not {self.val_fraction}")
        if self.n_embd % self.n_head:
            raise ConfigError(f"n_head must divide n_embd: {self.n_embd} lanes do not split into {self.n_head} heads")
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise ConfigError(f"{name} must be {' or '.join(choices)}, not {getattr(self, name)!r}")


PRESETS: dict[str, Config] = {
    "course": Config(),
    "gist": Config(
        block_size=16,
        steps=1000,
        std=0.08,
        zero_output=False,
        activation="relu",
        beta1=0.85,
        beta2=0.99,
        decay="linear",
    ),
}
