"""microgpt.config: the two presets, and refusal of settings that cannot work."""

import dataclasses
from dataclasses import asdict, replace
from typing import get_args, get_type_hints

import pytest

from microgpt import PRESETS, Config, ConfigError, MicrogptError
from microgpt.config import CHOICES

COURSE = {
    "n_embd": 16,
    "n_head": 4,
    "n_layer": 1,
    "block_size": 8,
    "steps": 500,
    "seed": 42,
    "std": 0.02,
    "zero_output": True,
    "activation": "relu_squared",
    "learning_rate": 0.01,
    "beta1": 0.9,
    "beta2": 0.95,
    "epsilon": 1e-8,
    "optimizer": "adam",
    "weight_decay": 0.01,
    "momentum": 0.9,
    "warmup": 0,
    "decay": "cosine",
    "temperature": 0.5,
    "samples": 20,
    "batch_size": 1,
    "val_fraction": 0.0,
    "eval_every": 0,
    "sample_every": 0,
    "patience": 0,
}
GIST = COURSE | {
    "block_size": 16,
    "steps": 1000,
    "std": 0.08,
    "zero_output": False,
    "activation": "relu",
    "beta1": 0.85,
    "beta2": 0.99,
    "decay": "linear",
}
WHOLE = ["n_embd", "n_head", "n_layer", "block_size", "batch_size", "steps", "seed", "samples", "warmup"]
WHOLE += ["eval_every", "sample_every", "patience"]
REAL = ["std", "learning_rate", "beta1", "beta2", "epsilon", "temperature", "weight_decay", "momentum"]
NAN, INFINITY = float("nan"), float("inf")


@pytest.mark.parametrize(("name", "settings"), [("course", COURSE), ("gist", GIST)])
def test_presets(name, settings):
    """Each preset holds the settings of its column in the design's table, and no others."""
    assert asdict(PRESETS[name]) == settings


def test_default_is_the_course():
    """There are two presets; the settings that nobody gives are the course's."""
    assert sorted(PRESETS) == ["course", "gist"]
    assert Config() == PRESETS["course"] != PRESETS["gist"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, value) for name in WHOLE for value in (1.5, 2.0, "3", None, True, NAN)),
        *((name, value) for name in REAL for value in (NAN, INFINITY, -INFINITY, "0.5", None)),
        *(pytest.param(name, 10**400, id=f"{name}-huge") for name in REAL),
        *((name, value) for name in ("n_embd", "n_head", "n_layer", "block_size", "batch_size") for value in (0, -1)),
        *((name, -1) for name in ("steps", "samples", "std", "learning_rate", "eval_every", "sample_every")),
        *((name, value) for name in ("temperature", "epsilon") for value in (0, 0.0, -0.0, -0.5)),
        *((name, value) for name in ("beta1", "beta2") for value in (-0.1, 1, 1.5)),
        *(("n_head", value) for value in (3, 5, 32)),
        *((name, value) for name in ("activation", "decay") for value in ("gelu", "", None, ["relu"])),
        ("temperature", 1e-320),  # 1 / temperature overflows
    ],
)
def test_bad_setting(name, value):
    """A setting that cannot work is a ConfigError, of the package and a ValueError too, in one line that names it."""
    with pytest.raises(ConfigError, match=rf"\A{name} [^\n]+\Z") as caught:
        Config(**{name: value})
    assert isinstance(caught.value, ValueError)
    assert isinstance(caught.value, MicrogptError)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, 0) for name in ("steps", "samples", "std", "learning_rate", "beta1", "beta2")),
        *((name, 1) for name in REAL if not name.startswith("beta") and name != "momentum"),
        *((name, 1) for name in ("n_head", "n_layer", "block_size")),
        ("n_embd", 4),
        ("n_head", 16),
        ("seed", -1),
        ("seed", 0),
        ("seed", 2**100),
        ("temperature", 1e-300),
    ],
)
def test_setting_at_its_edge(name, value):
    """The smallest settings that can work are taken, and a whole number where a real one is meant."""
    assert getattr(Config(**{name: value}), name) == value


def test_refused_by_replace_too():
    """dataclasses.replace, which the command line uses, checks as the constructor does."""
    assert replace(PRESETS["gist"], n_head=8).n_head == 8
    with pytest.raises(ConfigError, match="n_head must divide n_embd"):
        replace(PRESETS["gist"], n_head=3)


def test_frozen():
    """A Config cannot be changed, by no name that it has; a name that it has not cannot be added or given."""
    config = Config()
    for name in COURSE:
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(config, name, 1)
    with pytest.raises((AttributeError, TypeError)):
        config.dropout = 0.1
    with pytest.raises(TypeError, match="dropout"):
        Config(dropout=0.1)
    with pytest.raises(TypeError, match="positional"):
        Config(16)
    assert asdict(config) == COURSE


def test_types_are_the_choices():
    """What a type checker lets pass is what the configuration takes."""
    types = get_type_hints(Config)
    assert {name: get_args(types[name]) for name in CHOICES} == CHOICES
