"""How the words of a command line are read, and what is said of those that cannot be."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import NoReturn

from ..errors import MicrogptError

COMMANDS = {
    "train": "train a model and print samples: what is done without a command",
    "sample": "print samples of a model that was kept",
    "eval": "print the mean loss of documents",
    "report": "write one page that shows a run",
    "graph": "draw the graph of an expression, with its gradients",
}


class UsageError(MicrogptError):
    """A command line that cannot be understood."""


class Parser(argparse.ArgumentParser):
    """The options of a command: says what is wrong in one line, and keeps the lines of its text as they are."""

    def __init__(self, command: str, usage: str, description: str, example: str) -> None:
        super().__init__(
            prog=f"microgpt {command}".rstrip(),
            usage=usage,
            description=description,
            epilog=example,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see --help)")


def parse(
    parser: argparse.ArgumentParser, words: Sequence[str], options_of: Callable[[str], Sequence[str]]
) -> argparse.Namespace:
    """The options and words of a command; UsageError for what it has not, with the option that is meant, or the command
    that has it, by what `options_of` tells of each."""
    known = list(parser._option_string_actions)
    for word in words[: words.index("--")] if "--" in words else words:
        option = word.split("=")[0]
        if word.startswith("--") and option not in known:
            for command in COMMANDS:
                if option in options_of(command):
                    parser.error(f"{option} is an option of {command}")
            parser.error(f"there is no option {option}{suggestion(option, known)}")
    arguments, unknown = parser.parse_known_args(words)
    if not unknown:
        return arguments
    if unknown[0].startswith("-"):
        parser.error(f"there is no option {unknown[0]}")
    parser.error(f"there is one word too many: {unknown[0]}")


def suggestion(word: str, known: Sequence[str], quote: str = "") -> str:
    """What a misspelt word may stand for, as the end of a sentence; empty where nothing is near."""
    near = get_close_matches(word, known, 1)
    return f"; is it {quote}{near[0]}{quote}?" if near else ""


def model_parser(command: str, meaning: str, example: str) -> argparse.ArgumentParser:
    """The parser of a command that reads a saved model, with the options that all of them have."""
    parser = Parser(command, f"python -m microgpt {command} MODEL [options]", meaning, example)
    parser.add_argument("model", metavar="MODEL", help="the directory of a run, or a .safetensors file")
    parser.add_argument("--data", metavar="FILE", help="documents, one a line (default: those of the run)")
    parser.add_argument("--course-names", action="store_true", help="the course's own names")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    return parser
