"""`report DIR`: one page that shows a run, and its figures."""

from __future__ import annotations

import argparse
import os

from ..errors import ConfigError, MicrogptError
from ..files import replace_file
from ..saving import load
from ..terminal import flush
from .documents import documents_of
from .parsing import Parser

LARGEST = 1 << 26  # bytes of documents that are read without being asked for


def parser() -> argparse.ArgumentParser:
    """What the command takes."""
    parser = Parser(
        "report",
        "python -m microgpt report DIR [options]",
        "One page that shows a run: its curves, samples, attention, next letters, embeddings and weights.\n"
        "It is a single file, which needs no network.",
        "example: python -m microgpt report run --text maria -o maria.html",
    )
    parser.add_argument("model", metavar="DIR", help="the directory of a run, or a .safetensors file")
    parser.add_argument("-o", metavar="PAGE.html", dest="out", help="where to write it (default: DIR.html)")
    parser.add_argument(
        "--text",
        action="append",
        metavar="TEXT",
        help="what to look into, letter by letter; may be given several times (default: three samples)",
    )
    parser.add_argument(
        "--figures", metavar="DIR", help="also write the figures there, as SVG, and all numbers as JSON"
    )
    parser.add_argument(
        "--data", metavar="FILE", help="documents, to tell the samples that are among them (default: those of the run)"
    )
    parser.add_argument("--course-names", action="store_true", help="the course's own names, for the same")
    parser.add_argument("--no-speed", action="store_true", help="do not measure how fast the model trains and samples")
    return parser


def _documents_for(arguments: argparse.Namespace) -> list[str] | None:
    """The documents that were given, or those of the run, where they are still there. What a model names is read only
    if it is an ordinary file of an ordinary size: the model may be from elsewhere."""
    saved = load(arguments.model)
    if arguments.data is not None or arguments.course_names:
        return documents_of(arguments, saved, keeps=False)[0]
    path = saved.data.get("path")
    if saved.data.get("source") == "course" or not (path is None or isinstance(path, str)):
        return None  # these might have to be downloaded
    try:
        if path is not None and not (os.path.isfile(path) and os.path.getsize(path) <= LARGEST):
            return None
        return documents_of(arguments, saved, keeps=False)[0]
    except (MicrogptError, OSError, ValueError):
        return None


def run(arguments: argparse.Namespace) -> int:
    """Do it, and return the exit status."""
    from ..report import collect, page, write_figures  # here, as no other command needs them

    path = arguments.model.rstrip(os.sep) or arguments.model
    out = arguments.out or f"{os.path.basename(os.path.abspath(path)).removesuffix('.safetensors')}.html"
    if os.path.isdir(out):
        raise ConfigError(f"{out} is a directory: name the page with -o PAGE.html")
    report = collect(path, arguments.text or (), not arguments.no_speed, _documents_for(arguments))
    try:
        replace_file(out, page(report).encode())
        if arguments.figures is not None:
            write_figures(report, arguments.figures)
    except OSError as error:
        raise ConfigError(f"cannot write {error.filename or out}: {error.strerror or error}") from error
    figures = f", figures in {arguments.figures}" if arguments.figures else ""
    print(f"report: {out}{figures}; open it in a browser")
    flush()
    return 0
