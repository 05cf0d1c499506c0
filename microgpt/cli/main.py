"""Which command a line is for, and what errors become: one line on standard error and an exit status."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from functools import partial
from typing import Protocol

from ..errors import ConfigError, MicrogptError
from ..terminal import complain, flush
from . import evaluate, graph, report, sample, train
from .options import as_options
from .parsing import COMMANDS, UsageError, parse, suggestion
from .ranks import Job, place, take_part


class Command(Protocol):
    """A module of a command."""

    def parser(self) -> argparse.ArgumentParser: ...

    def run(self, arguments: argparse.Namespace, /) -> int: ...


MODULES: dict[str, Command] = {"train": train, "sample": sample, "eval": evaluate, "report": report, "graph": graph}


def main(argv: Sequence[str] | None = None) -> int:
    """The exit status of a command line: 0, 1 for a training that diverged, 2 for input that cannot work, 130 when
    interrupted."""
    words = list(sys.argv[1:] if argv is None else argv)
    here = place()
    if here is None:
        return _answer(words, None)
    if words and words[0] in COMMANDS and words[0] != "train":
        return _answer(words, None) if here.rank == 0 else 0  # one rank is enough for it
    return take_part(here, partial(_answer, words))


def _answer(words: list[str], job: Job | None) -> int:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a sample may have letters that the terminal has not
    try:
        command, arguments = parsed(words)
        arguments.job = job
        return command.run(arguments)
    except KeyboardInterrupt:
        complain("interrupted")
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads on; not an error of ours
        return 0
    except ConfigError as error:
        message = as_options(str(error))
    except MicrogptError as error:
        message = str(error)
    except MemoryError as error:
        message = str(error) or "not enough memory"
    except OSError as error:
        message = f"cannot write: {error.strerror or error}"
    flush()
    complain(message)
    return 2


def parsed(words: list[str]) -> tuple[Command, argparse.Namespace]:
    """The command of a line, and its options; UsageError for what cannot be understood."""
    if words and not words[0].startswith("-"):
        _check_command(words[0])
    name = words[0] if words and words[0] in COMMANDS else "train"
    arguments = parse(
        MODULES[name].parser(),
        words[1:] if name != "train" else words,
        lambda command: list(MODULES[command].parser()._option_string_actions),
    )
    if name == "train" and arguments.command != "train":
        _check_command(arguments.command)
        raise UsageError(f"the command {arguments.command} stands before its options (see --help)")
    return MODULES[name], arguments


def _check_command(word: str) -> None:
    if word not in COMMANDS:
        *others, last = COMMANDS
        hint = suggestion(word, list(COMMANDS)) or f": there are {', '.join(others)} and {last}"
        raise UsageError(f"there is no command {word!r}{hint} (see --help)")
