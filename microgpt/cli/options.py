"""The options of `train`, and the configuration that they, a file and a preset make."""

from __future__ import annotations

import argparse
import re
from dataclasses import fields, replace
from typing import Any

from .. import __version__
from ..config import CHOICES, PRESETS, Config
from ..errors import ConfigError
from ..files import read_file
from ..model import SCALARS, SPANS, Operations
from .parsing import COMMANDS, Parser, suggestion

ENGINES: dict[str, tuple[Operations[Any], bool]] = {  # operations, replayed?
    "program": (SPANS, True),
    "span": (SPANS, False),
    "eager": (SCALARS, False),
}
SETTINGS = [setting.name for setting in fields(Config)]
# What messages name, and options give: settings, and what `sample` takes besides.
TYPED = [*SETTINGS, "top_k", "top_p"]


EXAMPLES = """examples:
  python -m microgpt
  python -m microgpt --data poems.txt --n-embd 32 --block-size 32 --steps 5000 --out poems
  python -m microgpt train --resume poems
  python -m microgpt sample poems --prompt "O " --count 5"""


def _default(option: str) -> str:
    """The default of a setting, in each preset where they differ."""
    name = option.lstrip("-").replace("-", "_")
    values = {preset: getattr(config, name) for preset, config in PRESETS.items()}
    if len(set(values.values())) == 1:
        return f" (default: {values['course']})"
    return f" (default: {', '.join(f'{preset} {value}' for preset, value in values.items())})"


def parser() -> argparse.ArgumentParser:
    """What `train` takes, which may stand without its name."""
    parser = Parser(
        "",
        "python -m microgpt [train] [options]\n       python -m microgpt COMMAND --help",
        "Train a tiny GPT on the lines of a text and print samples, exactly as the 200-line program does.\n\n"
        + "\n".join(["commands:", *(f"  {name:<8}{meaning}" for name, meaning in COMMANDS.items())]),
        EXAMPLES,
    )
    parser.add_argument("command", nargs="?", default="train", help=argparse.SUPPRESS)
    parser.add_argument("--version", action="version", version=f"microgpt {__version__}")
    parser.add_argument(
        "--preset",
        choices=sorted(PRESETS),
        help="which revision of the program: the settings that no option gives (default: course)",
    )

    data = parser.add_argument_group("data and output")
    data.add_argument("--data", metavar="FILE", help="UTF-8 text, one document a line (default: 32,469 first names)")
    data.add_argument(
        "--course-names", action="store_true", help="the course's own names, downloaded once and kept in the cache"
    )
    data.add_argument("--log", metavar="FILE", help="also write one JSON object a line: the run, its steps, samples")
    data.add_argument("--quiet", action="store_true", help="print the samples only")
    data.add_argument("--every", type=int, metavar="N", help="print each N-th step only (default: 1)")
    data.add_argument("--samples", type=int, metavar="N", help="how many to print" + _default("samples"))
    data.add_argument(
        "--temperature",
        type=float,
        metavar="T",
        help="of sampling: low is careful, high is wild" + _default("temperature"),
    )

    keeping = parser.add_argument_group("models that stay")
    keeping.add_argument("--out", metavar="DIR", help="keep the model and a log there")
    keeping.add_argument("--save-every", type=int, metavar="N", help="save after each N steps, besides at the end")
    keeping.add_argument(
        "--sample-every",
        type=int,
        metavar="N",
        help="steps between a few samples that the log keeps; 0 is a tenth of the run" + _default("sample_every"),
    )
    keeping.add_argument("--stop-after", type=int, metavar="N", help="end after step N, saved, to go on another time")
    keeping.add_argument("--resume", metavar="DIR", help="go on with the run that was kept there")
    keeping.add_argument("--config", metavar="FILE", help="settings from a TOML file; options go before them")

    model = parser.add_argument_group("the model")
    for option, meaning in (
        ("--n-embd", "embedding dimension"),
        ("--n-head", "attention heads; divides the embedding dimension"),
        ("--n-layer", "layers"),
        ("--block-size", "longest sequence of characters"),
    ):
        model.add_argument(option, type=int, metavar="N", help=meaning + _default(option))
    model.add_argument("--activation", choices=CHOICES["activation"], help="of the MLP" + _default("activation"))
    model.add_argument(
        "--std", type=float, metavar="X", help="standard deviation of the initial parameters" + _default("std")
    )
    model.add_argument(
        "--zero-output",
        action=argparse.BooleanOptionalAction,
        help="whether the two matrices that end a layer start at 0" + _default("zero_output"),
    )

    training = parser.add_argument_group("training")
    for option, meaning in (
        ("--steps", "training steps"),
        ("--batch-size", "documents a step, gradients averaged"),
        ("--seed", "seed of the random numbers"),
        ("--warmup", "steps over which the learning rate rises first"),
        ("--eval-every", "steps between losses of what is held out; 0 is a tenth of the run"),
        ("--patience", "losses of what is held out without a lowest one that end the run; 0 is never"),
    ):
        training.add_argument(option, type=int, metavar="N", help=meaning + _default(option))
    for option, meaning in (
        ("--learning-rate", "at the first step, or after the warm-up; above n_embd 64 try 0.5 / n_embd"),
        ("--beta1", "decay of adam's first moments"),
        ("--beta2", "decay of adam's second moments"),
        ("--epsilon", "what adam adds to the root that it divides by"),
        ("--weight-decay", "of adamw"),
        ("--momentum", "of sgd"),
        ("--val-fraction", "of the documents is held out, and not trained on"),
    ):
        training.add_argument(option, type=float, metavar="X", help=meaning + _default(option))
    training.add_argument("--optimizer", choices=CHOICES["optimizer"], help="the optimizer" + _default("optimizer"))
    training.add_argument("--decay", choices=CHOICES["decay"], help="of the learning rate" + _default("decay"))

    computing = parser.add_argument_group("how it computes")
    computing.add_argument(
        "--mode",
        choices=["exact", "fast"],
        help="exact: every bit as in pure Python; fast: trains in float32, with the same losses on average "
        "(default: exact)",
    )
    computing.add_argument(
        "--threads",
        type=int,
        metavar="N",
        default=1,
        help="processors that share a step, which is the same for any number; of use with a batch, or a large model "
        "(default: 1)",
    )
    computing.add_argument(
        "--engine",
        choices=list(ENGINES),
        default="program",
        help="program: the loss recorded once; span: vectors recorded anew in every step; eager: one scalar Value "
        "at a time, slowest; all give the same bits (default: program)",
    )
    return parser


def _file_settings(path: str) -> dict[str, Any]:
    """The settings of a TOML file, under the names of Config."""
    try:
        import tomllib
    except ImportError:
        raise ConfigError("--config needs Python 3.11 or newer, which reads TOML") from None
    try:
        settings = tomllib.loads(read_file(path).decode("utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read --config {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise ConfigError(f"--config {path} is not TOML: {error}") from None
    for name in settings:
        if name not in SETTINGS:
            hint = suggestion(name, SETTINGS, quote=chr(39))
            raise ConfigError(f"--config {path}: there is no setting '{name}'{hint}")
    return {k: float(v) if type(v) is int and type(getattr(Config(), k)) is float else v for k, v in settings.items()}


def config_of(arguments: argparse.Namespace) -> Config:
    """The configuration of a new run: options before the file of --config, and that before the preset."""
    config = PRESETS[arguments.preset or "course"]
    if arguments.config is not None:
        config = replace(config, **_file_settings(arguments.config))
    return with_settings(config, arguments)


def with_settings(config: Config, arguments: argparse.Namespace) -> Config:
    """The configuration with what the options set."""
    given = {name: getattr(arguments, name) for name in SETTINGS if getattr(arguments, name) is not None}
    return replace(config, **given)


def as_options(message: str) -> str:
    """A message about settings, which are called here as they are typed."""
    return re.sub(rf"(?<![-\w])({'|'.join(TYPED)})\b", lambda name: "--" + name[0].replace("_", "-"), message)
