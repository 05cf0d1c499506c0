"""Pictures of graphs: what a Value was computed from, as text in graphviz's DOT language, and as SVG where that is.

draw(loss)                     in a notebook: the picture
print(draw(loss))              DOT
draw(loss).save("loss.svg")    or loss.dot, which needs nothing
"""

from __future__ import annotations

import ast
import operator
import os
import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from .arguments import integer, require
from .elementary import Functions
from .errors import ConfigError
from .files import replace_file
from .value import Value

METHODS = sorted(["abs", *(name for name in vars(Functions) if not name.startswith("_"))])


class Row(NamedTuple):
    """What a drawing says of one value: its number there, its label, data and gradient, its operation, the numbers of
    the operands that are drawn, and how many are not."""

    number: int
    label: str
    data: float
    grad: float
    operation: str
    operands: tuple[int, ...]
    missing: int


class Drawing:
    """The picture of a graph, as `draw` makes it. `str` gives its DOT text; a notebook shows it."""

    dot: str
    """The text in graphviz's DOT language."""
    rows: tuple[Row, ...]
    """The same as data, a row for each value, the result first."""

    def __init__(self, dot: str, rows: Sequence[Row] = ()) -> None:
        self.dot, self.rows = dot, tuple(rows)

    def __str__(self) -> str:
        return self.dot

    def svg(self) -> str:
        """The picture as SVG. ConfigError where there is no graphviz, whose program is `dot`."""
        import subprocess  # here, as few draw and it takes long to import

        program = _graphviz()
        if program is None:
            raise ConfigError("an SVG is drawn by graphviz, and there is no program 'dot': install it, or keep the DOT")
        done = subprocess.run([program, "-Tsvg"], input=self.dot.encode(), capture_output=True, check=False)
        if done.returncode:
            raise ConfigError(f"graphviz cannot draw this: {done.stderr.decode(errors='replace').strip()[:200]}")
        return done.stdout.decode()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a .dot or a .svg file, whichever the name says. ConfigError for another name, or an SVG without
        graphviz."""
        name = os.fspath(path)
        if not name.endswith((".dot", ".svg")):
            raise ConfigError(f"{name} must end in .dot or .svg, which says what to draw")
        text = self.svg() if name.endswith(".svg") else self.dot
        replace_file(name, text.encode())

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """For notebooks: the picture, or where there is no graphviz a table of the same."""
        if _graphviz():
            return {"image/svg+xml": self.svg()}
        return {"text/html": self.table(), "text/plain": self.dot}

    def table(self) -> str:
        """The picture as a table in HTML, a row for each value, the result first."""
        import html

        lines = ["<table>", "<tr><th></th><th>label</th><th>data</th><th>grad</th><th>operation</th><th>of</th></tr>"]
        for row in self.rows:
            operands = ", ".join([*map(str, row.operands), *([f"{row.missing} more"] if row.missing else [])])
            cells = (row.number, row.label, f"{row.data:.6g}", f"{row.grad:.6g}", row.operation, operands)
            lines.append("<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in cells) + "</tr>")
        return "\n".join([*lines, "</table>"])


def _graphviz() -> str | None:
    """The path of graphviz's program."""
    import shutil

    return shutil.which("dot")


def draw(value: Value, *, depth: int | None = None, nodes: int = 100) -> Drawing:
    """What a Value was computed from, the operands at the left: label, data and gradient of each, and the operations.

    Of a large graph the values nearest to this one: at most `nodes`, and at most `depth` operations away, with dashes
    where there is more.
    """
    require("what is drawn", value, Value)
    if integer("nodes", nodes) < 1 or (depth is not None and integer("depth", depth) < 0):
        raise ConfigError("a drawing has at least one node, and a depth of 0 or more")
    numbers, waiting = {value: 0}, deque([(value, 0)])
    lines = ["digraph {", "  rankdir=LR", '  node [fontname="Helvetica" fontsize=10]']
    rows: list[Row] = []
    while waiting:
        v, away = waiting.popleft()
        n = numbers[v]
        label = f"{_escaped(v.label)} | " if v.label else ""
        lines.append(f'  v{n} [shape=record label="{{ {label}data {v.data:.6g} | grad {v.grad:.6g} }}"]')
        if not v._op:
            rows.append(Row(n, str(v.label), v.data, v.grad, "", (), 0))
            continue
        lines += [f'  o{n} [shape=circle label="{_escaped(v._op)}"]', f"  o{n} -> v{n}"]
        missing, operands = 0, list[int]()
        for child in v._children:
            if child not in numbers and (away == depth or len(numbers) >= nodes):
                missing += 1
                continue
            if child not in numbers:
                numbers[child] = len(numbers)
                waiting.append((child, away + 1))
            operands.append(numbers[child])
            lines.append(f"  v{numbers[child]} -> o{n}")
        rows.append(Row(n, str(v.label), v.data, v.grad, v._op, tuple(operands), missing))
        if missing:
            lines += [f'  m{n} [shape=plaintext label="{missing} more"]', f"  m{n} -> o{n} [style=dashed]"]
    return Drawing("\n".join([*lines, "}", ""]), rows)


def _escaped(text: object) -> str:
    text = str(text)  # a label may be anything
    return "".join("\\" + c if c in '\\"{}|<>' else c if c.isprintable() else " " for c in text)


_OPERATORS: Mapping[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}


def evaluate(expression: str, names: Mapping[str, Value]) -> Value:
    """The Value of an expression of numbers, names, + - * / **, and a Value's methods, which may be written as
    functions too. ConfigError for anything else, and for arithmetic that Python refuses."""
    try:
        value = _evaluated(ast.parse(expression.strip(), mode="eval").body, names)
    except SyntaxError as error:
        raise ConfigError(f"{expression!r} is no expression: {error.msg}") from None
    except (ArithmeticError, ValueError, TypeError, RecursionError, MemoryError) as error:
        if isinstance(error, ConfigError):
            raise
        reason = re.sub(r"^\(\d+, '(.*)'\)$", r"\1", str(error))  # as Python says that a power is out of range
        raise ConfigError(f"{expression[:80]!r} cannot be computed: {reason}") from None
    return value if isinstance(value, Value) else Value(value)


def _evaluated(node: ast.expr, names: Mapping[str, Value]) -> Any:
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return float(node.value)  # type: ignore[arg-type]
    if isinstance(node, ast.Name):
        if node.id not in names:
            raise ConfigError(f"there is no value for {node.id!r}: give {node.id}=NUMBER")
        return names[node.id]
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        return _OPERATORS[type(node.op)](_evaluated(node.left, names), _evaluated(node.right, names))
    if isinstance(node, ast.UnaryOp) and type(node.op) in _OPERATORS:
        return _OPERATORS[type(node.op)](_evaluated(node.operand, names))
    if isinstance(node, ast.Call) and not node.keywords:
        arguments = [_evaluated(argument, names) for argument in node.args]
        if isinstance(node.func, ast.Attribute):
            arguments.insert(0, _evaluated(node.func.value, names))
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        if name not in METHODS:
            raise ConfigError(f"there is no function {name!r}: there are {', '.join(METHODS)}")
        if arguments:
            first = arguments[0] if isinstance(arguments[0], Value) else Value(arguments[0])
            return abs(first) if name == "abs" else getattr(first, name)(*arguments[1:])
    raise ConfigError(f"{ast.unparse(node)[:80]!r} is neither a number, a name, an operator nor a function")
