"""The command line: `python -m microgpt` trains on the embedded names and prints samples, as the course's script does.

Only this module prints. Bad input is one line on standard error and exit status 2; Ctrl-C ends with status 130.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import NoReturn, TextIO

from . import __version__
from .config import PRESETS, Config
from .data import embedded_names, read_documents
from .errors import MicrogptError
from .model import GPT, SCALARS, SPANS
from .parameters import initial_parameters, parameter_count, parameters_sha256
from .sampling import sample
from .tokenizer import Tokenizer
from .training import train

ENGINES = {"span": SPANS, "eager": SCALARS}


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"microgpt: {message} (see --help)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="microgpt",
        description="Train a tiny GPT on the lines of a text and print samples, exactly as the 200-line program does.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"microgpt {__version__}")
    parser.add_argument("command", nargs="?", choices=["train"], default="train", help="what to do (default: train)")
    parser.add_argument(
        "--preset", choices=sorted(PRESETS), default="course", help="which revision of the program (default: course)"
    )
    parser.add_argument("--data", metavar="FILE", help="UTF-8 text, one document a line (default: 32,469 first names)")
    parser.add_argument("--steps", type=int, metavar="N", help="training steps, one document each")
    parser.add_argument("--seed", type=int, metavar="N", help="seed of the random numbers (default: 42)")
    parser.add_argument("--n-embd", type=int, metavar="N", help="embedding dimension")
    parser.add_argument("--n-head", type=int, metavar="N", help="attention heads; divides the embedding dimension")
    parser.add_argument("--n-layer", type=int, metavar="N", help="layers")
    parser.add_argument("--block-size", type=int, metavar="N", help="longest sequence of characters")
    parser.add_argument("--learning-rate", type=float, metavar="X", help="at the first step; it falls to 0")
    parser.add_argument("--temperature", type=float, metavar="T", help="of sampling: low is careful, high is wild")
    parser.add_argument("--samples", type=int, metavar="N", help="how many to print")
    parser.add_argument("--log", metavar="FILE", help="also write one JSON object a line: the run, its steps, samples")
    parser.add_argument(
        "--engine",
        choices=sorted(ENGINES),
        default="span",
        help="span operations, or one scalar Value at a time: slow, and the same bits (default: span)",
    )
    return parser


def _config(arguments: argparse.Namespace) -> Config:
    settings = ["steps", "seed", "n_embd", "n_head", "n_layer", "block_size", "learning_rate", "temperature", "samples"]
    given = {name: getattr(arguments, name) for name in settings if getattr(arguments, name) is not None}
    return replace(PRESETS[arguments.preset], **given)


class _Output:
    """The lines on standard output, the log, and a progress line on standard error when that is a terminal."""

    def __init__(self, log: TextIO | None, steps: int) -> None:
        self._log = log
        self._steps = steps
        self._terminal = sys.stderr.isatty()
        self._shown = False
        self._started = self._drawn = time.monotonic()

    def line(self, text: str) -> None:
        self.clear()
        print(text)

    def event(self, event: str, **fields: object) -> None:
        if self._log is not None:
            self._log.write(json.dumps({"event": event, **fields}, ensure_ascii=False) + "\n")

    def progress(self, step: int, loss: float) -> None:
        """Shown from the second second on, at most four times a second."""
        now = time.monotonic()
        if self._terminal and now - self._started > 1 and now - self._drawn > 0.25 and step < self._steps:
            self._drawn = now
            speed = step / (now - self._started)
            left = (self._steps - step) / speed
            sys.stdout.flush()
            sys.stderr.write(
                f"\r\x1b[K{step}/{self._steps} steps, loss {loss:.4f}, {speed:.0f} steps/s, {left:.0f} s left"
            )
            sys.stderr.flush()
            self._shown = True

    def clear(self) -> None:
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self._shown = False


def run(arguments: argparse.Namespace) -> int:
    """Do what the command line asks for; the exit status."""
    config = _config(arguments)
    rng = random.Random(config.seed)
    docs = embedded_names() if arguments.data is None else read_documents(arguments.data)
    rng.shuffle(docs)
    tokenizer = Tokenizer(docs)
    state_dict = initial_parameters(config, tokenizer.vocab_size, rng)
    model = GPT(config, state_dict, ENGINES[arguments.engine])
    log = None
    if arguments.log is not None:
        log = open(arguments.log, "w", encoding="utf-8", buffering=1)  # noqa: SIM115 (closed below)
    output = _Output(log, config.steps)
    reached = 0
    try:
        count = parameter_count(state_dict)
        output.event(
            "run",
            docs=len(docs),
            vocab=tokenizer.vocab_size,
            params=count,
            preset=arguments.preset,
            engine=arguments.engine,
            n_embd=config.n_embd,
            n_head=config.n_head,
            n_layer=config.n_layer,
            block_size=config.block_size,
            steps=config.steps,
            seed=config.seed,
            learning_rate=config.learning_rate,
            temperature=config.temperature,
        )
        output.line(f"num docs: {len(docs)}")
        output.line(f"vocab size: {tokenizer.vocab_size}")
        output.line(f"num params: {count}")
        for step in train(model, [tokenizer.encode(doc) for doc in docs[: config.steps]]):
            reached = step.number
            output.event("step", step=step.number, loss=step.loss)
            output.line(f"step {step.number:4d} / {config.steps:4d} | loss {step.loss:.4f}")
            output.progress(step.number, step.loss)
        output.line("\n--- inference ---")
        for index, text in enumerate(sample(model, tokenizer, rng), 1):
            output.event("sample", index=index, text=text)
            output.line(f"sample {index:2d}: {text}")
        if log is not None:
            output.event("done", params_sha256=parameters_sha256(state_dict))
        sys.stdout.flush()
    except KeyboardInterrupt:
        output.clear()
        sys.stdout.flush()
        print(f"microgpt: interrupted after step {reached} of {config.steps}", file=sys.stderr)
        return 130
    finally:
        output.clear()
        if log is not None:
            log.close()
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status of a command line: 0, 2 for input that cannot work, 130 when interrupted."""
    arguments = _parser().parse_args(argv)
    try:
        return run(arguments)
    except KeyboardInterrupt:
        print("microgpt: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads on; not an error of ours
        return 0
    except MicrogptError as error:
        message = str(error)
    except MemoryError as error:
        message = str(error) or "not enough memory"
    except OSError as error:
        message = f"cannot write {error.filename}: {error.strerror}" if error.filename else f"{error}"
    sys.stdout.flush()
    print(f"microgpt: {message}", file=sys.stderr)
    return 2
