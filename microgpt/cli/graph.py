"""`graph EXPRESSION name=value ...`: an expression, its gradients, and the picture of its graph."""

from __future__ import annotations

import argparse

from ..drawing import draw, evaluate
from ..errors import ConfigError
from ..terminal import flush
from ..value import Value
from .parsing import Parser


def parser() -> argparse.ArgumentParser:
    """What the command takes."""
    parser = Parser(
        "graph",
        "python -m microgpt graph EXPRESSION name=value ... [-o FILE.svg|.dot]",
        "Compute an expression and its gradients, and draw the graph: DOT, or with graphviz SVG.",
        'example:\n  python -m microgpt graph "a*b + c.tanh()" a=2 b=-3 c=10 -o graph.dot',
    )
    parser.add_argument("expression", metavar="EXPRESSION", help="of numbers, names, + - * / ** and functions")
    parser.add_argument("values", metavar="name=value", nargs="*", help="the number of each name")
    parser.add_argument("-o", metavar="FILE", dest="out", help="a .dot or a .svg file (default: DOT is printed)")
    return parser


def run(arguments: argparse.Namespace) -> int:
    """Do it, and return the exit status."""
    names = {}
    for word in arguments.values:
        name, _, number = word.partition("=")
        try:
            names[name] = Value(float(number), label=name)
        except ValueError:
            raise ConfigError(f"{word!r} gives no number to a name: write it as a=2") from None
    result = evaluate(arguments.expression, names)
    result.backward()
    picture = draw(result)
    if arguments.out is None:
        print(picture, end="")
        flush()
        return 0
    try:
        picture.save(arguments.out)
    except OSError as error:
        raise ConfigError(f"cannot write {arguments.out}: {error.strerror or error}") from error
    return 0
