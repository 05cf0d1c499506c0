"""Vectors and matrices: lanes of a tape in a row, and the statements that record many lanes with one call of the core.

A map is one scalar operation for each lane; a sum is Python's `sum`, of lanes or of products, for each lane. Both
stand for the scalar operations that `Value` would record, in the same order: the numbers and the gradients are theirs,
bit for bit. Every lane can be had as a Value: `x[3].grad`. functions.py has the model's functions, made of these two.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, overload

from .arguments import described, integer, numbers_of, place_of, rows_of
from .core import NONE, check, ffi, lib
from .errors import ShapeError, TapeError
from .handles import Handle
from .index import Index, Selector, recorder_of, selected
from .tape import Tape, tape_for
from .value import Number, Value, value_at

_new = object.__new__


class Lanes(Handle):
    """What a Vector and a Matrix have in common: lanes of one tape, in a row, their numbers and gradients."""

    __slots__ = ("_size",)

    @property
    def data(self) -> list[float]:
        """The numbers of all lanes, of a Matrix row by row; may be set, to as many, otherwise ShapeError."""
        if self._tape._recorder is not None:
            self._tape._recorder.notice_reading()
        return self._tape._read(self._node, self._size)

    @data.setter
    def data(self, numbers: Iterable[float]) -> None:
        if self._tape._recorder is not None:
            self._tape._recorder.notice_writing()
        self._tape._write(self._node, _fitting(numbers, self._size))

    @property
    def grad(self) -> list[float]:
        """The gradients of all lanes, of a Matrix row by row; may be set, to as many, otherwise ShapeError."""
        if self._tape._recorder is not None:
            self._tape._recorder.notice_gradient()
        return self._tape._read(self._node, self._size, adjoints=True)

    @grad.setter
    def grad(self, numbers: Iterable[float]) -> None:
        if self._tape._recorder is not None:
            self._tape._recorder.notice_writing()
        self._tape._write(self._node, _fitting(numbers, self._size), adjoints=True)

    def zero_grad(self) -> None:
        """Set the gradients of all lanes to 0."""
        if self._tape._recorder is not None:
            self._tape._recorder.notice_writing()
        check(lib.mg_clear_adjoints(self._tape._pointer, self._node, self._size))


class Vector(Lanes):
    """`len(x)` lanes of one tape, at least one, in a row. Vector(numbers) records leaves.

    Operators work lane by lane, on two vectors of one length, otherwise ShapeError, or on a vector and a number or a
    Value. `x[i]` is a lane, a Value, and `x[i:j]` some lanes, a Vector. Arithmetic raises what that of Values does.
    """

    __slots__ = ("_selector",)

    _selector: Selector | None

    def __init__(self, numbers: Iterable[float], tape: Tape | None = None) -> None:
        found = numbers_of("a Vector", numbers)
        if not found:
            raise ShapeError("a Vector has at least one lane")
        _leaves(self, tape_for(tape), found)
        self._selector = None

    def __len__(self) -> int:
        return self._size

    @overload
    def __getitem__(self, index: int | Index) -> Value: ...
    @overload
    def __getitem__(self, index: slice) -> Vector: ...
    def __getitem__(self, index: int | Index | slice) -> Value | Vector:
        """A lane as a Value, or some lanes in a row as a Vector; nothing is recorded."""
        if isinstance(index, Index):
            lane = place_of("lane", index._value, self._size, self)
            if self._selector is not None:
                raise TapeError("an Index selects a lane of a row that no other Index selects")
            return selected(self._tape, self._node + lane, Selector(index, self, 1, self._size))
        if isinstance(index, slice):
            start, stop, step = index.indices(self._size)
            if step != 1 or stop <= start:
                raise ShapeError("a slice of a Vector is at least one lane, in steps of 1")
            part = view(self._tape, self._node + start, stop - start)
            part._selector = self._selector and self._selector.moved(start)
            return part
        if type(index) is not int or not 0 <= index < self._size:
            index = place_of("lane", index, self._size, self)
        if self._selector is not None:
            return selected(self._tape, self._node + index, self._selector.moved(index))
        return value_at(self._tape, self._node + index, lane=True)

    def __iter__(self) -> Iterator[Value]:
        return (self[i] for i in range(self._size))

    def __add__(self, other: Vector | Value | Number) -> Vector:
        out: Vector = _lane_by_lane(lib.MG_ADD, self, other)
        return out

    def __mul__(self, other: Vector | Value | Number) -> Vector:
        out: Vector = _lane_by_lane(lib.MG_MUL, self, other)
        return out

    __radd__ = __add__
    __rmul__ = __mul__

    def __neg__(self) -> Vector:
        return self * -1

    def __sub__(self, other: Vector | Value | Number) -> Vector:
        return self + (-other)  # type: ignore[operator]

    def __rsub__(self, other: Number) -> Vector:
        return other + (-self)

    def __truediv__(self, other: Vector | Value | Number) -> Vector:
        return self * other**-1  # type: ignore[operator]

    def __rtruediv__(self, other: Number) -> Vector:
        return other * self**-1

    def __pow__(self, k: Number) -> Vector:
        return record_map(lib.MG_POW, 1, self._size, View(self, lane=1), constant=float(k))

    def map(self, operation: int) -> Vector:
        """One of the core's scalar operations of one operand, such as lib.MG_EXP, on every lane."""
        return record_map(operation, 1, self._size, View(self, lane=1))

    def exp(self) -> Vector:
        """[xi.exp() for xi in self]; OverflowError as there."""
        return self.map(lib.MG_EXP)

    def log(self) -> Vector:
        """[xi.log() for xi in self]; ValueError unless all are above 0."""
        return self.map(lib.MG_LOG)

    def relu(self) -> Vector:
        """[xi.relu() for xi in self]."""
        return self.map(lib.MG_RELU)

    def tanh(self) -> Vector:
        """[xi.tanh() for xi in self]."""
        return self.map(lib.MG_TANH)

    def sigmoid(self) -> Vector:
        """[xi.sigmoid() for xi in self]."""
        return self.map(lib.MG_SIGMOID)

    def sqrt(self) -> Vector:
        """[xi.sqrt() for xi in self]; ValueError below 0, ZeroDivisionError at 0."""
        return self.map(lib.MG_SQRT)

    def sum(self) -> Value:
        """sum(self): from 0, left to right."""
        return record_sum(1, 1, self._size, View(self, term=1))[0]

    def mean(self) -> Value:
        """sum(self) / len(self)."""
        return self.sum() / self._size

    def largest(self) -> Value:
        """max(xi.data for xi in self), computed anew by a replay; it has no derivative."""
        return record_largest(1, self._size, View(self, term=1))[0]

    def detach(self) -> Vector:
        """The same numbers without a derivative, computed anew by a replay."""
        return record_largest(self._size, 1, View(self, group=1))

    def __repr__(self) -> str:
        numbers = self.data
        return f"Vector({numbers})" if len(numbers) <= 12 else f"<Vector of {len(numbers):,}: {_shortened(numbers)}>"


class Matrix(Lanes):
    """Parameters: `rows` times `columns` leaves, row by row. `w[i]` is a row, a Vector; `len(w)` is the number of rows.

    Matrix([[1.0, 2.0], [3.0, 4.0]]) and Matrix(2, 2, [1.0, 2.0, 3.0, 4.0]) are the same. A Matrix is no Vector:
    `linear` multiplies by it, and its rows are what can be added. ShapeError unless there are rows * columns numbers,
    at least one.
    """

    __slots__ = ("_rows", "columns", "rows")

    rows: int
    """How many rows."""
    columns: int
    """How many lanes a row has."""

    @overload
    def __init__(self, rows: Iterable[Iterable[float]], /, *, tape: Tape | None = None) -> None: ...
    @overload
    def __init__(self, rows: int, columns: int, numbers: Iterable[float], tape: Tape | None = None) -> None: ...
    def __init__(self, rows: Any, columns: Any = None, numbers: Any = None, tape: Tape | None = None) -> None:
        if columns is None and numbers is None:
            rows, columns, numbers = rows_of(rows)
        numbers = numbers_of("a Matrix", numbers)
        rows, columns = integer("the number of rows", rows), integer("the number of columns", columns)
        if rows < 1 or columns < 1 or rows * columns != len(numbers):
            raise ShapeError(f"{len(numbers)} numbers do not make a matrix of {rows} by {columns}")
        _leaves(self, tape_for(tape), numbers)
        self.rows, self.columns = rows, columns
        self._rows = [view(self._tape, self._node + i * columns, columns) for i in range(rows)]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.rows, self.columns

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, index: int | Index) -> Vector:
        """A row; nothing is recorded."""
        if isinstance(index, Index):
            recorder_of(self._tape)
            row = view(self._tape, self._rows[place_of("row", index._value, self.rows, self)]._node, self.columns)
            row._selector = Selector(index, self, self.columns, self.rows)
            return row
        if type(index) is not int or not 0 <= index < self.rows:
            index = place_of("row", index, self.rows, self)
        return self._rows[index]

    def __iter__(self) -> Iterator[Vector]:
        return iter(self._rows)

    def __repr__(self) -> str:
        numbers = self.data
        if len(numbers) > 12:
            return f"<Matrix of {self.rows:,} by {self.columns:,}: {_shortened(numbers)}>"
        return f"Matrix({[numbers[i : i + self.columns] for i in range(0, len(numbers), self.columns)]})"


def _shortened(numbers: Sequence[float]) -> str:
    """The ends of a long list of numbers."""
    return f"[{', '.join(map(repr, numbers[:3]))}, ..., {', '.join(map(repr, numbers[-3:]))}]"


# ---- statements


class View(NamedTuple):
    """What a statement reads: for lane i of group g, at term c, lane `g * group + i * lane + c * term` of x. A list of
    vectors is read one after the other, by lane or by term, as if they were one; or, with one lane or term of each, all
    at the same place."""

    x: Lanes | Value | Sequence[Lanes | Value]
    group: int = 0
    lane: int = 0
    term: int = 0
    start: int = 0
    by_term: bool = False
    block: int = 1


if TYPE_CHECKING:
    Operand = Lanes | Value


def _core_view(tape: Tape, of: View, keep: list[Any]) -> Any:
    if isinstance(of.x, Handle):
        return ffi.new("mg_view *", [of.x._node + of.start, of.group, of.lane, of.term, ffi.NULL, 0, 0, False])
    nodes = ffi.new("mg_id[]", [x._node + of.start for x in of.x])
    keep.append(nodes)
    return ffi.new("mg_view *", [0, of.group, of.lane, of.term, nodes, len(nodes), of.block, of.by_term])


def _operands(of: View) -> Sequence[Any]:
    return (of.x,) if isinstance(of.x, Handle) else of.x


def _tape_of(of: View) -> Tape:
    tape: Tape = _operands(of)[0]._tape
    return tape


def _finish(tape: Tape, node: int, size: int, views: Sequence[View]) -> Vector:
    """The Vector of a new statement; tells the recorder which of its operands indices select."""
    if node > tape._limit:
        if node == NONE:
            tape._raise_status(next((x for of in views for x in _operands(of) if x._tape is not tape), None))
        tape._attend(node, size=size)
    for number, of in enumerate(views):
        for entry, x in enumerate(_operands(of)):
            selector = getattr(x, "_selector", None)
            if selector is not None:
                recorder_of(tape).select(node, number, entry, selector.moved(of.start))
    return view(tape, node, size)


def record_map(
    operation: int, groups: int, width: int, a: View, b: View | None = None, constant: float = 0.0
) -> Vector:
    """A scalar operation for each of groups * width lanes, on a and b, or on a and the constant."""
    tape, keep = _tape_of(a), list[Any]()
    first, second = _core_view(tape, a, keep), ffi.NULL if b is None else _core_view(tape, b, keep)
    node = lib.mg_map(tape._pointer, operation, groups, width, first, second, constant)
    return _finish(tape, node, groups * width, (a,) if b is None else (a, b))


def record_sum(groups: int, width: int, terms: int, a: View, b: View | None = None) -> Vector:
    """For each of groups * width lanes the sum over the terms of a, or of the products a * b."""
    tape, keep = _tape_of(a), list[Any]()
    first, second = _core_view(tape, a, keep), ffi.NULL if b is None else _core_view(tape, b, keep)
    node = lib.mg_sum(tape._pointer, groups, width, terms, first, second)
    return _finish(tape, node, groups * width, (a,) if b is None else (a, b))


def record_largest(groups: int, terms: int, a: View) -> Vector:
    """For each group the largest of its terms, which has no derivative."""
    tape, keep = _tape_of(a), list[Any]()
    node = lib.mg_largest(tape._pointer, groups, terms, _core_view(tape, a, keep))
    return _finish(tape, node, groups, (a,))


def _lane_by_lane(operation: int, x: Vector, other: Vector | Value | Number) -> Any:
    """An addition or a multiplication: a Vector, or NotImplemented."""
    if isinstance(other, Vector):
        if len(other) != len(x):
            raise ShapeError(f"a vector of {len(x)} and one of {len(other)} do not go together lane by lane")
        return record_map(operation, 1, len(x), View(x, lane=1), View(other, lane=1))
    if isinstance(other, Value):
        return record_map(operation, 1, len(x), View(x, lane=1), View(other))
    if isinstance(other, Matrix):
        raise ShapeError(f"a Matrix, of {other.rows} by {other.columns}, and a Vector: take one of its rows")
    try:
        return record_map(operation, 1, len(x), View(x, lane=1), constant=other)  # type: ignore[arg-type]
    except TypeError:
        return NotImplemented


def expect(function: str, kind: type[Lanes], *operands: object) -> None:
    """Refuse operands that are not what a function takes, before the core sees their lanes."""
    for operand in operands:
        if not isinstance(operand, kind):
            found = f"a Matrix of {operand.rows} by {operand.columns}" if isinstance(operand, Matrix) else None
            raise ShapeError(f"{function} takes a {kind.__name__} here, not {found or described(operand)}")


# ---- handles


def _leaves(lanes: Lanes, tape: Tape, numbers: list[float]) -> None:
    """Record the leaves of a new Vector or Matrix."""
    data = ffi.new("double[]", numbers)
    node = lib.mg_leaves(tape._pointer, data, len(data))
    if node > tape._limit:
        if node == NONE:
            tape._raise_status()
        tape._attend(node, size=len(data))
    lanes._node = node
    lanes._size = len(data)
    lanes._tape = tape


def view(tape: Tape, node: int, size: int) -> Vector:
    """A Vector of lanes that have been recorded."""
    vector: Vector = _new(Vector)
    vector._node = node
    vector._size = size
    vector._selector = None
    vector._tape = tape
    return vector


def _fitting(numbers: Iterable[float], size: int) -> list[float]:
    """The numbers as a list of their own: a sequence may say another length than it has."""
    found = numbers_of("the lanes", numbers)
    if len(found) != size:
        raise ShapeError(f"{len(found)} numbers for {size} lanes")
    return found
