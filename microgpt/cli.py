"""The command line: `python -m microgpt` trains on the embedded names and prints samples, as the course's script does.

Only this module prints. Bad input is one line on standard error and exit status 2; a training that diverges has status
1, and Ctrl-C ends with status 130.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import re
import signal
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, NoReturn, TextIO

from . import __version__
from .config import CHOICES, PRESETS, Config
from .data import course_names, embedded_names, read_documents
from .errors import ConfigError, DivergedError, MicrogptError
from .model import GPT, SCALARS, SPANS
from .parameters import initial_parameters, parameter_count, parameters_sha256
from .sampling import sample
from .tokenizer import Tokenizer
from .training import train

ENGINES = {"program": (SPANS, True), "span": (SPANS, False), "eager": (SCALARS, False)}  # operations, replayed?
# What options set, in the order of the log.
SETTINGS = ["n_embd", "n_head", "n_layer", "block_size", "steps", "batch_size", "seed"]
SETTINGS += ["learning_rate", "temperature", "samples"]
SETTINGS += ["std", "activation", "optimizer", "beta1", "beta2", "weight_decay", "momentum", "decay", "warmup"]


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        raise _UsageError(f"{message} (see --help)")


class _UsageError(MicrogptError):
    """A command line that cannot be understood."""


def _default(option: str) -> str:
    """The default of a setting, in each preset where they differ."""
    name = option.lstrip("-").replace("-", "_")
    values = {preset: getattr(config, name) for preset, config in PRESETS.items()}
    if len(set(values.values())) == 1:
        return f" (default: {values['course']})"
    return f" (default: {', '.join(f'{preset} {value}' for preset, value in values.items())})"


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="microgpt",
        usage="python -m microgpt [train] [options]",
        description="Train a tiny GPT on the lines of a text and print samples, exactly as the 200-line program does.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"microgpt {__version__}")
    parser.add_argument("command", nargs="?", default="train", help="what to do: train, which is also the default")
    parser.add_argument(
        "--preset",
        choices=sorted(PRESETS),
        default="course",
        help="which revision of the program: the settings that no option gives (default: course)",
    )

    data = parser.add_argument_group("data and output")
    data.add_argument("--data", metavar="FILE", help="UTF-8 text, one document a line (default: 32,469 first names)")
    data.add_argument(
        "--course-names", action="store_true", help="the course's own names, downloaded once and kept in the cache"
    )
    data.add_argument("--log", metavar="FILE", help="also write one JSON object a line: the run, its steps, samples")
    data.add_argument("--samples", type=int, metavar="N", help="how many to print" + _default("samples"))
    data.add_argument(
        "--temperature",
        type=float,
        metavar="T",
        help="of sampling: low is careful, high is wild" + _default("temperature"),
    )

    model = parser.add_argument_group("the model")
    for option, meaning in (
        ("--n-embd", "embedding dimension"),
        ("--n-head", "attention heads; divides the embedding dimension"),
        ("--n-layer", "layers"),
        ("--block-size", "longest sequence of characters"),
    ):
        model.add_argument(option, type=int, metavar="N", help=meaning + _default(option))
    model.add_argument("--activation", choices=CHOICES["activation"], help="of the MLP" + _default("activation"))
    model.add_argument("--std", type=float, metavar="X", help="of the initial parameters" + _default("std"))

    training = parser.add_argument_group("training")
    for option, meaning in (
        ("--steps", "training steps"),
        ("--batch-size", "documents a step, gradients averaged"),
        ("--seed", "seed of the random numbers"),
        ("--warmup", "steps over which the learning rate rises first"),
    ):
        training.add_argument(option, type=int, metavar="N", help=meaning + _default(option))
    for option, meaning in (
        ("--learning-rate", "at the first step, or after the warm-up"),
        ("--beta1", "decay of adam's first moments"),
        ("--beta2", "decay of adam's second moments"),
        ("--weight-decay", "of adamw"),
        ("--momentum", "of sgd"),
    ):
        training.add_argument(option, type=float, metavar="X", help=meaning + _default(option))
    training.add_argument("--optimizer", choices=CHOICES["optimizer"], help="the optimizer" + _default("optimizer"))
    training.add_argument("--decay", choices=CHOICES["decay"], help="of the learning rate" + _default("decay"))

    computing = parser.add_argument_group("how it computes")
    computing.add_argument(
        "--mode",
        choices=["exact", "fast"],
        default="exact",
        help="exact: every bit as in pure Python; fast: trains in float32, with the same losses on average "
        "(default: exact)",
    )
    computing.add_argument(
        "--engine",
        choices=list(ENGINES),
        default="program",
        help="recorded programs, vectors recorded anew in every step, or one scalar Value at a time, "
        "slowest; all give the same bits (default: program)",
    )
    return parser


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = _parser()
    arguments, unknown = parser.parse_known_args(argv)
    if unknown:
        parser.error(f"there is no option {unknown[0]}")
    if arguments.command != "train":
        parser.error(f"there is no command {arguments.command!r}: it is train, or nothing")
    return arguments


def _config(arguments: argparse.Namespace) -> Config:
    given = {name: getattr(arguments, name) for name in SETTINGS if getattr(arguments, name) is not None}
    return replace(PRESETS[arguments.preset], **given)


class _Interrupts:
    """Ctrl-C while the block runs: `check`, between two steps, raises KeyboardInterrupt; a second Ctrl-C does at once.

    Raised at once, the first could come up inside a callback of the garbage collector, where Python drops it.
    """

    def __init__(self) -> None:
        self._come = False
        self._before: Any = None

    def __enter__(self) -> _Interrupts:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, *exception: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _handle(self, number: int, frame: object) -> None:
        if self._come:
            raise KeyboardInterrupt
        self._come = True

    def check(self) -> None:
        if self._come:
            raise KeyboardInterrupt


class _Output:
    """The lines on standard output, the log, and a progress line on standard error when that is a terminal."""

    def __init__(self, log: TextIO | None, steps: int) -> None:
        self._log = log
        self._steps = steps
        self._terminal = sys.stderr is not None and sys.stderr.isatty()
        self._shares = sys.stdout is not None and sys.stdout.isatty()  # its lines come where the progress stands
        self._text = ""
        self._shown = False
        self._started = self._drawn = time.monotonic()

    def line(self, text: str) -> None:
        if self._shares:
            self.clear()
        print(text)

    def event(self, event: str, **fields: object) -> None:
        if self._log is not None:
            try:
                self._log.write(json.dumps({"event": event, **fields}, ensure_ascii=False) + "\n")
            except OSError as error:
                raise ConfigError(f"cannot write --log {self._log.name}: {error.strerror}") from error

    def progress(self, step: int, loss: float) -> None:
        """Shown from the second second on, made anew at most four times a second, the last line of a terminal."""
        if not self._terminal or step == self._steps:
            return
        now = time.monotonic()
        if now - self._started <= 1:
            return
        if now - self._drawn > 0.25:
            speed = step / (now - self._started)
            left = (self._steps - step) / speed
            self._text = f"{step}/{self._steps} steps, loss {loss:.4f}, {speed:.0f} steps/s, {left:.0f} s left"
            self._drawn = now
        elif self._shown:
            return
        _flush()
        sys.stderr.write(f"\r\x1b[K{self._text}")
        sys.stderr.flush()
        self._shown = True

    def clear(self) -> None:
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self._shown = False


def _flush() -> None:
    if sys.stdout is not None:
        sys.stdout.flush()


def _documents(arguments: argparse.Namespace) -> list[str]:
    if arguments.data is not None and arguments.course_names:
        raise ConfigError("--data and --course-names are two sources of documents: give one")
    if arguments.course_names:
        return course_names()
    return embedded_names() if arguments.data is None else read_documents(arguments.data)


def _open_log(path: str | None, data: str | None) -> TextIO | None:
    if path is None:
        return None
    if data is not None and os.path.exists(path) and os.path.samefile(path, data):
        raise ConfigError(f"--log {path} would overwrite the data: give it another name")
    try:
        return open(path, "w", encoding="utf-8", buffering=1)
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot write --log {path}: {getattr(error, 'strerror', None) or error}") from error


def run(arguments: argparse.Namespace) -> int:
    """Do what the command line asks for; the exit status."""
    config = _config(arguments)
    fast = arguments.mode == "fast"
    if fast and arguments.engine != "program":
        raise ConfigError(f"--mode fast is part of --engine program, and --engine {arguments.engine} is exact")
    rng = random.Random(config.seed)
    docs = _documents(arguments)
    rng.shuffle(docs)
    tokenizer = Tokenizer(docs)
    state_dict = initial_parameters(config, tokenizer.vocab_size, rng)
    operations, replay = ENGINES[arguments.engine]
    model = GPT(config, state_dict, operations)
    log = _open_log(arguments.log, arguments.data)
    output = _Output(log, config.steps)
    reached = 0
    try:
        with _Interrupts() as interrupts:
            count = parameter_count(state_dict)
            sizes = {name: getattr(config, name) for name in SETTINGS}
            run_of = {"preset": arguments.preset, "engine": arguments.engine, "mode": arguments.mode, **sizes}
            cut = sum(len(doc) > config.block_size for doc in docs)  # their ends are not learned
            output.event("run", docs=len(docs), vocab=tokenizer.vocab_size, params=count, **run_of, cut=cut)
            output.line(f"num docs: {len(docs)}")
            output.line(f"vocab size: {tokenizer.vocab_size}")
            output.line(f"num params: {count}")
            encoded = [tokenizer.encode(doc) for doc in docs[: config.steps * config.batch_size]]
            for step in train(model, encoded, replay, block=None, fast=fast):
                reached = step.number
                output.event("step", step=step.number, loss=step.loss)
                output.line(f"step {step.number:4d} / {config.steps:4d} | loss {step.loss:.4f}")
                output.progress(step.number, step.loss)
                interrupts.check()
            output.clear()
            output.line("\n--- inference ---")
            for index, text in enumerate(sample(model, tokenizer, rng, replay), 1):
                output.event("sample", index=index, text=text)
                output.line(f"sample {index:2d}: {text}")
                interrupts.check()
            if log is not None:
                output.event("done", params_sha256=parameters_sha256(state_dict))
            _flush()
    except DivergedError as error:
        output.clear()
        output.event("diverged", step=error.step, message=str(error))
        _flush()
        _complain(str(error))
        return 1
    except KeyboardInterrupt:
        output.clear()
        _flush()
        _complain(f"interrupted after step {reached} of {config.steps}")
        return 130
    finally:
        output.clear()
        if log is not None:
            with suppress(OSError):  # what could not be written has been said
                log.close()
    return 0


def _complain(message: str) -> None:
    """One line on standard error, whatever the message holds."""
    line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in message)
    if sys.stderr is not None:
        print(f"microgpt: {line}", file=sys.stderr)


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status of a command line: 0, 1 for a training that diverged, 2 for input that cannot work, 130 when
    interrupted."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a sample may have letters that the terminal has not
    try:
        return run(_arguments(argv))
    except KeyboardInterrupt:
        _complain("interrupted")
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads on; not an error of ours
        return 0
    except ConfigError as error:
        message = re.sub(rf"\b({'|'.join(SETTINGS)})\b", lambda name: "--" + name[0].replace("_", "-"), str(error))
    except MicrogptError as error:
        message = str(error)
    except MemoryError as error:
        message = str(error) or "not enough memory"
    except OSError as error:
        message = f"cannot write: {error.strerror or error}"
    _flush()
    _complain(message)
    return 2
