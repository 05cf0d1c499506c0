"""`report DIR`: one page that shows a run, and its figures."""

from __future__ import annotations

import argparse
import os

from ..errors import ConfigError
from ..files import replace_file
from ..terminal import flush
from .parsing import Parser


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
    parser.add_argument("--no-speed", action="store_true", help="do not measure how fast the model trains and samples")
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Do it, and return the exit status."""
    from ..report import collect, page, write_figures  # here, as no other command needs them

    path = arguments.model.rstrip(os.sep) or arguments.model
    out = arguments.out or f"{os.path.basename(os.path.abspath(path)).removesuffix('.safetensors')}.html"
    if os.path.isdir(out):
        raise ConfigError(f"{out} is a directory: name the page with -o PAGE.html")
    report = collect(path, arguments.text or (), not arguments.no_speed)
    try:
        replace_file(out, page(report).encode())
        if arguments.figures is not None:
            write_figures(report, arguments.figures)
    except OSError as error:
        raise ConfigError(f"cannot write {error.filename or out}: {error.strerror or error}") from error
    print(f"report: {out}" + (f", figures in {arguments.figures}" if arguments.figures else ""))
    flush()
    return 0
