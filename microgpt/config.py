"""The course's block 1, the settings: what a run is made of, and the two presets that circulate."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, fields
from typing import Literal, get_args

from .arguments import shown
from .errors import ConfigError

MOST_DOCUMENTS = 1_000_000  # a step; one cannot be interrupted
MOST_STEPS = 1 << 53  # a float64 counts no further
Activation = Literal["relu", "relu_squared"]
OptimizerName = Literal["adam", "adamw", "sgd"]
Decay = Literal["cosine", "linear", "constant"]
CHOICES = {"activation": get_args(Activation), "optimizer": get_args(OptimizerName), "decay": get_args(Decay)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything that determines a run, besides the documents. The defaults are the `course` preset.

    A setting that cannot work raises ConfigError, naming it.
    """

    n_embd: int = 16
    """The embedding dimension: lanes of every vector between layers; at least 1."""
    n_head: int = 4
    """Attention heads; divides n_embd."""
    n_layer: int = 1
    """Layers, each attention and an MLP; at least 1."""
    block_size: int = 8
    """Positions: the longest sequence of tokens that the model reads; at least 1."""
    steps: int = 500
    """Training steps of the whole run, which the decay of the learning rate is spread over."""
    batch_size: int = 1
    """Documents a step, whose gradients are averaged; 1 to 1,000,000."""
    seed: int = 42
    """Of the one random number generator: order of documents, parameters, samples."""
    std: float = 0.02
    """Standard deviation of the initial parameters."""
    zero_output: bool = True
    """Whether attn_wo and mlp_fc2 start at 0."""
    activation: Activation = "relu_squared"
    """Of the MLP."""
    learning_rate: float = 0.01
    """At the first step, or after the warm-up."""
    beta1: float = 0.9
    """Decay of Adam's first moments, 0 to less than 1."""
    beta2: float = 0.95
    """Decay of Adam's second moments, 0 to less than 1."""
    epsilon: float = 1e-8
    """What Adam adds to the root that it divides by; greater than 0."""
    optimizer: OptimizerName = "adam"
    """What changes the parameters."""
    weight_decay: float = 0.01
    """Of adamw: this part of each parameter, times the learning rate, is taken away in each step."""
    momentum: float = 0.9
    """Of sgd, 0 to less than 1."""
    decay: Decay = "cosine"
    """How the learning rate falls; cosine and linear reach 0 at the end of the run."""
    warmup: int = 0
    """Steps over which the learning rate rises first."""
    val_fraction: float = 0.0
    """The part of the documents that is held out, 0 to less than 1."""
    eval_every: int = 0
    """Steps between two losses of what is held out; 0 is a tenth of the run."""
    sample_every: int = 0
    """Steps between the few samples that a kept run logs; 0 is a tenth of the run."""
    patience: int = 0
    """So many of these losses without a new lowest one end the run; 0 never does."""
    temperature: float = 0.5
    """Of sampling, greater than 0; low is careful, high is wild."""
    samples: int = 20
    """How many documents are sampled after training."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type == "int" and (not isinstance(value, int) or isinstance(value, bool)):
                raise ConfigError(f"{field.name} must be a whole number, not {shown(value)}")
            if field.type == "bool" and not isinstance(value, bool):
                raise ConfigError(f"{field.name} must be true or false, not {shown(value)}")
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if field.type == "float" and not (number and -math.inf < value < math.inf):
                raise ConfigError(f"{field.name} must be a finite number, not {shown(value)}")
            if field.type == "float" and abs(value) > sys.float_info.max:
                raise ConfigError(f"{field.name} must fit into a float64; {str(value)[:8]}... is too large")
        for name in ("n_embd", "n_head", "n_layer", "block_size", "batch_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.batch_size > MOST_DOCUMENTS:
            raise ConfigError(f"batch_size must be at most {MOST_DOCUMENTS:,} documents, not {self.batch_size:,}")
        counts = ("steps", "samples", "warmup", "eval_every", "sample_every", "patience")
        for name in (*counts, "std", "learning_rate", "weight_decay"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} must not be negative, as {getattr(self, name)} is")
        for name in counts:
            if getattr(self, name) > MOST_STEPS:
                raise ConfigError(f"{name} must be at most {MOST_STEPS:,}, not {shown(getattr(self, name))}")
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
                raise ConfigError(f"{name} must be {' or '.join(choices)}, not {shown(getattr(self, name))}")


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
"""The two revisions of the program that circulate: `course`, the default, and `gist`."""
