"""A program as text: what it was called with, what else it reads, and its statements one by one.

    x0: Value
    p0: Matrix of 2 by 2
    v0[2] = sum(p0[2*i + c] * v1[c] for c in range(2))
    v1[2] = tanh(v0[:2])
    result: v1

`v0[2]` is a statement of two lanes. In a sum `i` is the lane, `c` the term, and `g` the group of a statement of several
groups of lanes. What stands on the right is Python, lane by lane.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .core import check, ffi, lib
from .handles import Handle, handles_of
from .index import Index
from .tape import Tape
from .value import Value
from .vector import Matrix


@dataclass(slots=True)
class _Run:
    """Lanes with a name, from the id `first` on; `kind` is what they are, where they are leaves."""

    first: int
    size: int
    name: str
    single: bool  # always one lane
    kind: str = ""


class _Names:
    """What lanes are called: `v` and a number for statements, `x` for inputs, their labels or `p` for other leaves that
    somebody holds, in the order in which they come up. Other leaves are their numbers."""

    def __init__(self, tape: Tape, runs: Iterable[_Run]) -> None:
        self.used: list[_Run] = []
        self._tape = tape
        self._runs = sorted(runs, key=lambda run: run.first)
        self._firsts = [run.first for run in self._runs]

    def find(self, node: int) -> tuple[_Run | None, int]:
        """The run of a lane, and its place there."""
        run = self._runs[place] if (place := bisect(self._firsts, node) - 1) >= 0 else None
        if run is None or node >= run.first + run.size:
            return None, 0
        if run.kind and run not in self.used:
            run.name = run.name or f"p{sum(other.name.startswith('p') for other in self.used)}"
            self.used.append(run)
        return run, node - run.first

    def lane(self, node: int) -> str:
        run, place = self.find(node)
        if run is None:
            return _number(lib.mg_value(self._tape._pointer, node))
        return run.name if run.single else f"{run.name}[{place}]"

    def lanes(self, nodes: Sequence[int]) -> str:
        """Lanes in the order of a map's: one for all, a slice of a run, or one by one."""
        if len(set(nodes)) == 1:
            return self.lane(nodes[0])
        run, place = self.find(nodes[0])
        step = nodes[1] - nodes[0] if len(nodes) > 1 else 0
        last = place + step * (len(nodes) - 1)
        if (
            run is not None
            and step > 0
            and last < run.size
            and list(nodes) == list(range(nodes[0], nodes[-1] + 1, step))
        ):
            return f"{run.name}[{place or ''}:{last + 1}{f':{step}' if step > 1 else ''}]"
        times = next(k for k, node in enumerate(nodes) if node != nodes[0])  # each so often, one after the other
        if run is not None and list(nodes) == [nodes[0] + k // times for k in range(len(nodes))]:
            return self.at(nodes[0], f"i // {times}")
        return f"[{', '.join(map(self.lane, nodes)) if len(nodes) <= 6 else _shortened(list(map(self.lane, nodes)))}]"

    def at(self, node: int, offset: str) -> str:
        """The lane that is `offset`, an expression, after another."""
        run, place = self.find(node)
        if run is None or run.single or not offset:
            return self.lane(node) if not offset else f"{self.lane(node)} + {offset}"
        return f"{run.name}[{f'{place} + ' if place else ''}{offset}]"


def listing(inputs: Sequence[Handle | Index], result: Handle, pointer: Any, selections: Any, most: int) -> str:
    """The text of a program; of one with more than `most` statements the first and the last."""
    tape = result._tape
    count = lib.mg_program_lanes(pointer, 0, ffi.NULL, 0)
    nodes = ffi.new("mg_id[]", max(count, 1))
    lib.mg_program_lanes(pointer, 0, nodes, count)
    shapes = [_shape(tape, nodes[k]) for k in range(count)]
    runs = [_Run(s.first, s.groups * s.width, f"v{k}", s.groups * s.width == 1) for k, s in enumerate(shapes)]
    given = [f"x{number}: {_kind(handle)}" for number, handle in enumerate(inputs)]
    for number, handle in enumerate(inputs):
        if isinstance(handle, Handle):
            runs.append(_Run(handle._node, handle._size, f"x{number}", isinstance(handle, Value)))
    taken = _Names(tape, runs)
    end = 0
    for handle in sorted(
        handles_of(tape), key=lambda handle: (handle._node, -handle._size, not isinstance(handle, Matrix))
    ):
        if handle._node >= end and taken.find(handle._node)[0] is None:
            label = handle.label if isinstance(handle, Value) else ""
            runs.append(_Run(handle._node, handle._size, label, isinstance(handle, Value), _kind(handle)))
            end = handle._node + handle._size
    names = _Names(tape, runs)
    chosen = {(node, operand): f"x{_place(inputs, selector.index)}" for node, operand, _, selector in selections}
    half = count if count <= most else max(most // 2, 1)
    shown = [*range(half), *range(max(half, count - (most - half)), count)]
    body = []
    for before, k in zip([-1, *shown], [*shown, count]):
        if k != before + 1:
            body.append(f"... {k - before - 1:,} statements")
        if k < count:
            body.append(_statement(tape, names, f"v{k}", shapes[k], chosen))
    results = (
        names.lane(result._node)
        if isinstance(result, Value)
        else names.lanes(range(result._node, result._node + result._size))
    )
    reads = [f"{run.name}: {run.kind}" for run in names.used]
    return "\n".join([*_few(given, most), *_few(reads, most), *body, f"result: {results}"])


def _statement(tape: Tape, names: _Names, name: str, shape: Any, chosen: dict[tuple[int, int], str]) -> str:
    lanes = shape.groups * shape.width
    size = "" if lanes == 1 else f"[{shape.groups}, {shape.width}]" if shape.groups > 1 else f"[{lanes}]"
    by = [chosen[shape.first, k] for k in range(2) if (shape.first, k) in chosen]
    note = f"    # selected by {', '.join(dict.fromkeys(by))}" if by else ""
    if shape.operation in (lib.MG_SUM, lib.MG_LARGEST):
        terms = " * ".join(_viewed(tape, names, shape, factor) for factor in range(shape.factors))
        function = "sum" if shape.operation == lib.MG_SUM else "max"
        return f"{name}{size} = {function}({terms} for c in range({shape.terms})){note}"
    operands: list[list[int]] = [[] for _ in range(shape.factors)]
    found, partials = ffi.new("mg_id[2]"), ffi.new("double[2]")
    for lane in range(shape.first, shape.first + lanes):
        check(lib.mg_lane_operands(tape._pointer, lane, found, partials))
        for factor in range(shape.factors):
            operands[factor].append(found[factor])
    texts = [names.lanes(nodes) for nodes in operands]
    operation = ffi.string(lib.mg_operation_name(shape.operation)).decode()
    if lib.mg_operation_constant(shape.operation):
        k = _number(lib.mg_lane_constant(tape._pointer, shape.first))
        return (
            f"{name}{size} = "
            + (f"{texts[0]} ** {k}" if shape.operation == lib.MG_POW else f"{k} ** {texts[0]}")
            + note
        )
    if not operation.isalnum():
        return f"{name}{size} = {f' {operation} '.join(texts)}{note}"
    return f"{name}{size} = {operation.lower()}({', '.join(texts)}){note}"


def _viewed(tape: Tape, names: _Names, shape: Any, factor: int) -> str:
    """What a sum reads at term c, for lane i of group g."""
    view = ffi.new("mg_view *")
    check(lib.mg_lane_view(tape._pointer, shape.first, factor, view, ffi.NULL, 0))
    i, c = "i", "c"
    if view.entries and view.block > 1:
        i, c = (i, f"c % {view.block}") if view.by_term else (f"i % {view.block}", c)
    steps = [(view.group, "g", shape.groups), (view.lane, i, shape.width), (view.term, c, shape.terms)]
    if view.entries and view.block == 1:
        del steps[2 if view.by_term else 1]
    offset = " + ".join(
        (f"{step}*({index})" if "%" in index else f"{step}*{index}") if step > 1 else index
        for step, index, size in steps
        if step and size > 1
    )
    if not view.entries:
        return names.at(view.first, offset)
    listed = ffi.new("mg_id[]", view.entries)
    check(lib.mg_lane_view(tape._pointer, shape.first, factor, view, listed, view.entries))
    index = ("c" if view.by_term else "i") + (f" // {view.block}" if view.block > 1 else "")
    entries = [names.find(node) for node in ffi.unpack(listed, view.entries)]
    if offset and all(run is not None and place == 0 for run, place in entries):
        return f"({_shortened([run.name for run, _ in entries if run is not None])})[{index}][{offset}]"
    return f"({_shortened([names.at(node, offset) for node in ffi.unpack(listed, view.entries)])})[{index}]"


def _shape(tape: Tape, node: int) -> Any:
    shape = ffi.new("mg_shape *")
    check(lib.mg_lane_statement(tape._pointer, node, shape))
    return shape


def _place(inputs: Sequence[Handle | Index], index: Index) -> int | str:
    return next((number for number, handle in enumerate(inputs) if handle is index), "?")


def _kind(handle: Handle | Index) -> str:
    if isinstance(handle, Matrix):
        return f"Matrix of {handle.rows} by {handle.columns}"
    return type(handle).__name__ if isinstance(handle, (Value, Index)) else f"Vector of {handle._size}"


def _number(x: float) -> str:
    return str(int(x)) if x.is_integer() and abs(x) < 1e15 else repr(x)


def _shortened(texts: list[str]) -> str:
    """The insides of brackets: the ends of what is long. A comma makes a tuple of one."""
    return ", ".join(texts if len(texts) <= 6 else [*texts[:3], "...", *texts[-2:]]) + ("," if len(texts) == 1 else "")


def _few(lines: list[str], most: int) -> Iterator[str]:
    yield from lines[:most]
    if len(lines) > most:
        yield f"... {len(lines) - most:,} more"
