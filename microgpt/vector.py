"""Span operations: one call of the core records all scalar operations of a `linear`, a `softmax`, a `rmsnorm`, ...

A Vector is a run of lanes on a tape, a Matrix one of leaves, in rows. Every lane can be had as a Value: `x[3].grad`.
Each function says what scalar operations it stands for; the numbers and the gradients are theirs, bit for bit.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

from .errors import ShapeError, TapeError
from .tape import NONE, Handle, Tape, check, default_tape, ffi, lib
from .value import Value, value_at

_new = object.__new__


class Index:
    """An integer input of a recorded function: `w[index]` is a row of a Matrix, `x[index]` a lane of a Vector.

    A program selects another row or lane when it is given another integer. A selected row may be added to a vector; a
    selected lane may be given to `surprisal`.
    """

    __slots__ = ("value",)

    def __init__(self, value: int) -> None:
        self.value = operator.index(value)


@dataclass(frozen=True, slots=True)
class Selector:
    """How an index selects: `size` lanes from `first + index.value * size`, for 0 <= index.value < count."""

    index: Index
    first: int
    size: int
    count: int


class Lanes(Handle):
    """What a Vector and a Matrix have in common: lanes of one tape, in a row, their numbers and gradients."""

    __slots__ = ("_size",)

    @property
    def data(self) -> list[float]:
        """The numbers of all lanes, of a Matrix row by row; may be set."""
        return self._tape.read(self._node, self._size)

    @data.setter
    def data(self, numbers: Iterable[float]) -> None:
        self._tape.write(self._node, _fitting(numbers, self._size))

    @property
    def grad(self) -> list[float]:
        """The gradients of all lanes, of a Matrix row by row; may be set."""
        return self._tape.read(self._node, self._size, adjoints=True)

    @grad.setter
    def grad(self, numbers: Iterable[float]) -> None:
        self._tape.write(self._node, _fitting(numbers, self._size), adjoints=True)

    def zero_grad(self) -> None:
        """Set the gradients of all lanes to 0."""
        check(lib.mg_clear_adjoints(self._tape.pointer, self._node, self._size))


class Vector(Lanes):
    """`len(x)` lanes of one tape, in a row. Vector(numbers) records leaves."""

    __slots__ = ("_selector",)

    _selector: Selector | None

    def __init__(self, numbers: Iterable[float], tape: Tape | None = None) -> None:
        tape = tape or default_tape()
        _leaves(self, tape, numbers)
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
            lane = self[index.value]
            _recorder(self._tape).select_lane(lane, Selector(index, self._node, 1, self._size))
            return lane
        if isinstance(index, slice):
            start, stop, step = index.indices(self._size)
            if step != 1 or stop <= start:
                raise ShapeError("a slice of a Vector is at least one lane, in steps of 1")
            return _view(self._tape, self._node + start, stop - start)
        return value_at(self._tape, self._node + range(self._size)[index], lane=True)

    def __iter__(self) -> Iterator[Value]:
        return (self[i] for i in range(self._size))

    def __add__(self, other: Vector) -> Vector:
        """[a + b for a, b in zip(self, other)], two vectors of one length."""
        if isinstance(other, Matrix):
            raise ShapeError(
                f"cannot add a matrix, of {other.rows} by {other.columns}, to a vector: add one of its rows"
            )
        if not isinstance(other, Vector):
            return NotImplemented
        if len(other) != len(self):
            raise ShapeError(f"cannot add a vector of {len(other)} to one of {len(self)}")
        node = lib.mg_span_add(self._tape.pointer, self._node, other._node, self._size)
        out = _complete(_new(Vector), self._tape, node, self._size, (other,))
        for operand, vector in enumerate((self, other)):
            if vector._selector is not None:
                _recorder(self._tape).select(node, operand, vector._selector)
        return out

    def __mul__(self, k: float) -> Vector:
        """[x * k for x in self], k a number."""
        try:
            return _record(self, lib.mg_span_scale_by(self._tape.pointer, self._node, self._size, k), self._size)
        except TypeError:
            return NotImplemented

    __rmul__ = __mul__

    def __truediv__(self, k: float) -> Vector:
        """[x / k for x in self], k a number."""
        return self * k**-1

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.data})"


class Matrix(Lanes):
    """Parameters: `rows` times `columns` leaves, row by row. `w[i]` is a row, a Vector; `len(w)` is the number of rows.

    A Matrix is no Vector: `linear` multiplies by it, and its rows are what can be added.
    """

    __slots__ = ("_rows", "columns", "rows")

    def __init__(self, rows: int, columns: int, numbers: Iterable[float], tape: Tape | None = None) -> None:
        numbers = list(numbers)
        if rows < 1 or columns < 1 or rows * columns != len(numbers):
            raise ShapeError(f"{len(numbers)} numbers do not make a matrix of {rows} by {columns}")
        _leaves(self, tape or default_tape(), numbers)
        self.rows, self.columns = rows, columns
        self._rows = [_view(self._tape, self._node + i * columns, columns) for i in range(rows)]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.rows, self.columns

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, index: int | Index) -> Vector:
        """A row; nothing is recorded."""
        if isinstance(index, Index):
            row = _view(self._tape, self._rows[index.value]._node, self.columns)
            row._selector = Selector(index, self._node, self.columns, self.rows)
            return row
        return self._rows[index]

    def __iter__(self) -> Iterator[Vector]:
        return iter(self._rows)

    def __repr__(self) -> str:
        return f"Matrix({self.rows}, {self.columns}, {self.data})"


# ---- the model's functions; scalar.py has the same on lists of Values


def matrix(w: Matrix) -> Matrix:
    """A parameter as `linear` takes it."""
    return w


def data(x: Vector) -> list[float]:
    """The numbers of all lanes."""
    return x.data


def add(a: Vector, b: Vector) -> Vector:
    """[ai + bi for ai, bi in zip(a, b)]."""
    return a + b


def divide(x: Vector, k: float) -> Vector:
    """[xi / k for xi in x]."""
    return x / k


def linear(x: Vector, w: Matrix) -> Vector:
    """[sum(wi * xi for wi, xi in zip(row, x)) for row in w]: x of w.columns lanes to w.rows lanes."""
    _expect("linear", Vector, x)
    _expect("linear", Matrix, w)
    if len(x) != w.columns:
        raise ShapeError(f"linear: the matrix is {w.rows} by {w.columns}, but x has {len(x)} lanes")
    node = lib.mg_span_linear(x._tape.pointer, x._node, w._node, w.rows, w.columns)
    return _record(x, node, w.rows, w)


def softmax(logits: Vector) -> Vector:
    """exps = [(val - max_val).exp() for val in logits]; total = sum(exps); [e / total for e in exps]."""
    _expect("softmax", Vector, logits)
    return _record(logits, lib.mg_span_softmax(logits._tape.pointer, logits._node, logits._size), logits._size)


def rmsnorm(x: Vector) -> Vector:
    """scale = (sum(xi * xi for xi in x) / len(x) + 1e-5) ** -0.5; [xi * scale for xi in x]."""
    _expect("rmsnorm", Vector, x)
    return _record(x, lib.mg_span_rmsnorm(x._tape.pointer, x._node, x._size), x._size)


def relu(x: Vector) -> Vector:
    """[xi.relu() for xi in x]."""
    _expect("relu", Vector, x)
    return _record(x, lib.mg_span_relu(x._tape.pointer, x._node, x._size, False), x._size)


def relu_squared(x: Vector) -> Vector:
    """[xi.relu() ** 2 for xi in x]."""
    _expect("relu_squared", Vector, x)
    return _record(x, lib.mg_span_relu(x._tape.pointer, x._node, x._size, True), x._size)


def attention(q: Vector, keys: Sequence[Vector], values: Sequence[Vector], n_head: int) -> Vector:
    """Multi-head attention of the query q to all keys, weighing all values; all have len(q) lanes, split into heads.

    For each head, with its slices of q, keys and values:
    logits = [sum(q[j] * k[j] for j in range(head_dim)) / head_dim ** 0.5 for k in keys]; weights = softmax(logits);
    [sum(weights[u] * values[u][j] for u in range(len(values))) for j in range(head_dim)].
    """
    _expect("attention", Vector, q, *keys, *values)
    if n_head < 1 or len(q) % n_head:
        raise ShapeError(f"attention: {len(q)} lanes do not split into {n_head} heads")
    if not keys or len(keys) != len(values) or any(len(v) != len(q) for v in (*keys, *values)):
        raise ShapeError("attention: as many keys as values, at least one, each as long as the query")
    node = lib.mg_span_attention(
        q._tape.pointer,
        q._node,
        [key._node for key in keys],
        [value._node for value in values],
        len(keys),
        n_head,
        len(q) // n_head,
    )
    return _record(q, node, len(q), *keys, *values)


def surprisal(p: Value) -> Value:
    """-p.log()."""
    out = p._result(lib.mg_span_surprisal(p._tape.pointer, p._node))
    if p._tape.recorder is not None:
        p._tape.recorder.use_lane(out, p)
    return out


def mean(losses: Sequence[Value]) -> Value:
    """(1 / n) * sum(losses), n their number."""
    if not losses:
        raise ShapeError("mean: of at least one value")
    tape = losses[0]._tape
    node: int = lib.mg_span_mean(tape.pointer, [loss._node for loss in losses], len(losses))
    if node == NONE:
        _refuse(tape, losses)
    return losses[0]._result(node)


# ---- handles


def _expect(function: str, kind: type[Lanes], *operands: object) -> None:
    """Refuse operands that are not what a function takes, before the core sees their lanes."""
    for operand in operands:
        if not isinstance(operand, kind):
            found = f"a Matrix of {operand.rows} by {operand.columns}" if isinstance(operand, Matrix) else operand
            name = found if isinstance(found, str) else f"a {type(found).__name__}"
            raise ShapeError(f"{function} takes a {kind.__name__} here, not {name}")


def _leaves(lanes: Lanes, tape: Tape, numbers: Iterable[float]) -> None:
    """Record the leaves of a new Vector or Matrix."""
    data = ffi.new("double[]", list(numbers))
    node = lib.mg_span_leaves(tape.pointer, data, len(data))
    if node > tape.limit:
        if node == NONE:
            _refuse(tape, ())
        tape.attend(node, size=len(data))
    lanes._node = node
    lanes._size = len(data)
    lanes._tape = tape


def _complete(vector: Vector, tape: Tape, node: int, size: int, others: Iterable[Handle] = ()) -> Vector:
    """The vector, as the handle of `size` new lanes, or the error that the core left behind."""
    if node > tape.limit:
        if node == NONE:
            _refuse(tape, others)
        tape.attend(node, size=size)
    vector._node = node
    vector._size = size
    vector._selector = None
    vector._tape = tape
    return vector


def _view(tape: Tape, node: int, size: int) -> Vector:
    """A Vector of lanes that have been recorded."""
    vector = _new(Vector)
    vector._node = node
    vector._size = size
    vector._selector = None
    vector._tape = tape
    return vector


def _record(x: Vector, node: int, size: int, *others: Handle) -> Vector:
    """The Vector of a new statement on x and others."""
    if x._selector is not None:
        raise ShapeError("a row that an Index selects can only be added to a vector")
    return _complete(_new(Vector), x._tape, node, size, others)


def _recorder(tape: Tape) -> Any:
    if tape.recorder is None:
        raise TapeError("an Index means something only inside a function that is being recorded")
    return tape.recorder


def _refuse(tape: Tape, operands: Iterable[Handle]) -> None:
    tape.raise_status(next((operand for operand in operands if operand._tape is not tape), None))


def _fitting(numbers: Iterable[float], size: int) -> list[float]:
    """The numbers as a list of their own: a sequence may say another length than it has."""
    found = list(numbers)
    if len(found) != size:
        raise ShapeError(f"{len(found)} numbers for {size} lanes")
    return found
