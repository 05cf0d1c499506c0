"""The course's block 3, the autograd engine: `Value`, a number that remembers how it was computed.

It has everything that the course's class has and behaves the same, bit for bit; the numbers, the graph and `backward()`
are in the C core. A Value is a handle on one lane of a tape: the tape keeps what an existing Value was computed from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, SupportsFloat, SupportsIndex, Union, cast

from .errors import ShapeError
from .tape import NONE, Handle, Tape, check, default_tape, ffi, lib

Number = Union[int, float, SupportsFloat, SupportsIndex]

_value, _adjoint, _set_value, _set_adjoint = lib.mg_value, lib.mg_adjoint, lib.mg_set_value, lib.mg_set_adjoint
_add, _mul, _binary, _binary_with = lib.mg_add, lib.mg_mul, lib.mg_binary, lib.mg_binary_with
_unary, _unary_with = lib.mg_unary, lib.mg_unary_with
_ADD, _MUL, _POW, _EXPONENT = lib.MG_ADD, lib.MG_MUL, lib.MG_POW, lib.MG_EXPONENT


class _ValueType(type):
    """Makes `Value(...)` record. An operator makes its result's handle without coming here, which saves a tenth."""

    def __call__(cls, data: Number, children: Iterable[Value] = (), local_grads: Iterable[Number] = ()) -> Value:
        children, local_grads = tuple(children), tuple(local_grads)
        if children or local_grads:
            tape, node = _record_custom(data, children, local_grads)
        else:
            tape = default_tape()
            node = lib.mg_leaf(tape.pointer, data)
        if node > tape.limit:
            tape.attend(node)
        out: Value = super().__call__()
        out._node = node
        out._tape = tape
        return out


class Value(Handle, metaclass=_ValueType):
    """A number and its gradient, on a tape.

    Value(data) is a leaf. Value(data, children, local_grads) is the result of an operation of one's own: `backward()`
    adds `local_grad * grad` to the gradient of each child, in order. Data is float64; whatever `float()` takes will do.
    Operators take ints and floats on either side and raise what Python's floats raise.
    """

    __slots__ = ()

    if TYPE_CHECKING:  # what _ValueType.__call__ takes

        def __init__(
            self, data: Number, children: Iterable[Value] = (), local_grads: Iterable[Number] = ()
        ) -> None: ...

    # ---- data and gradient

    @property
    def data(self) -> float:
        """The number, computed when the value was made; may be set."""
        if self._tape.recorder is not None:
            self._tape.recorder.notice_reading()
        data: float = _value(self._tape.pointer, self._node)
        if data != data:  # a NaN of its own, or a refusal
            self._tape.raise_status()
        return data

    @data.setter
    def data(self, data: Number) -> None:
        status = _set_value(self._tape.pointer, self._node, data)
        if status:
            check(status)

    @property
    def grad(self) -> float:
        """The derivative of the result of `backward()` with respect to this value; accumulates; may be set."""
        grad: float = _adjoint(self._tape.pointer, self._node)
        if grad != grad:
            self._tape.raise_status()
        return grad

    @grad.setter
    def grad(self, grad: Number) -> None:
        status = _set_adjoint(self._tape.pointer, self._node, grad)
        if status:
            check(status)

    def backward(self) -> None:
        """Set this gradient to 1 and add to the gradients of all that this was computed from, by the chain rule."""
        check(lib.mg_sweep(self._tape.pointer, self._node))

    # ---- operations

    # The two that a program spends its time in are written out; the others share `_result`.

    def __add__(self, other: Value | Number) -> Value:
        tape = self._tape
        if isinstance(other, Value):
            node = _add(tape.pointer, self._node, other._node)
        else:
            try:
                node = _binary_with(tape.pointer, _ADD, self._node, other)
            except TypeError:
                return NotImplemented
        if node > tape.limit:
            tape.attend(node, other)
        out = _bare()
        out._node = node
        out._tape = tape
        return out

    def __mul__(self, other: Value | Number) -> Value:
        tape = self._tape
        if isinstance(other, Value):
            node = _mul(tape.pointer, self._node, other._node)
        else:
            try:
                node = _binary_with(tape.pointer, _MUL, self._node, other)
            except TypeError:
                return NotImplemented
        if node > tape.limit:
            tape.attend(node, other)
        out = _bare()
        out._node = node
        out._tape = tape
        return out

    def __pow__(self, other: Value | Number) -> Value:
        if isinstance(other, Value):
            return self._with(lib.MG_POWER, other)
        try:
            return self._result(_unary_with(self._tape.pointer, _POW, self._node, other))
        except TypeError:
            return NotImplemented

    def __rpow__(self, other: Number) -> Value:
        try:
            return self._result(_unary_with(self._tape.pointer, _EXPONENT, self._node, other))
        except TypeError:
            return NotImplemented

    def __neg__(self) -> Value:
        return self * -1

    __radd__ = __add__
    __rmul__ = __mul__

    def __sub__(self, other: Value | Number) -> Value:
        return self + (-other)  # type: ignore[operator]

    def __rsub__(self, other: Number) -> Value:
        return other + (-self)

    def __truediv__(self, other: Value | Number) -> Value:
        return self * other**-1  # type: ignore[operator]

    def __rtruediv__(self, other: Number) -> Value:
        return other * self**-1

    def __abs__(self) -> Value:
        """The absolute value; the derivative at 0 is 0."""
        return self._result(_unary(self._tape.pointer, lib.MG_ABS, self._node))

    def log(self) -> Value:
        """The natural logarithm; ValueError unless data > 0."""
        return self._result(_unary(self._tape.pointer, lib.MG_LOG, self._node))

    def exp(self) -> Value:
        """e to the power of this; OverflowError when the result is too large for a float."""
        return self._result(_unary(self._tape.pointer, lib.MG_EXP, self._node))

    def relu(self) -> Value:
        """max(0, self); the derivative at 0 is 0."""
        return self._result(_unary(self._tape.pointer, lib.MG_RELU, self._node))

    def tanh(self) -> Value:
        """The hyperbolic tangent."""
        return self._result(_unary(self._tape.pointer, lib.MG_TANH, self._node))

    def sigmoid(self) -> Value:
        """1 / (1 + exp(-self)), computed so that it never overflows."""
        return self._result(_unary(self._tape.pointer, lib.MG_SIGMOID, self._node))

    def sqrt(self) -> Value:
        """The square root; ValueError below 0, ZeroDivisionError at 0, where it has no derivative."""
        return self._result(_unary(self._tape.pointer, lib.MG_SQRT, self._node))

    def sin(self) -> Value:
        """The sine of an angle in radians."""
        return self._result(_unary(self._tape.pointer, lib.MG_SIN, self._node))

    def cos(self) -> Value:
        """The cosine of an angle in radians."""
        return self._result(_unary(self._tape.pointer, lib.MG_COS, self._node))

    def max(self, other: Value | Number) -> Value:
        """The larger of the two, this one if they are equal; the gradient goes to it alone."""
        return self._with(lib.MG_MAX, other)

    def min(self, other: Value | Number) -> Value:
        """The smaller of the two, this one if they are equal; the gradient goes to it alone."""
        return self._with(lib.MG_MIN, other)

    def _result(self, node: int, other: Handle | None = None) -> Value:
        """The handle of an operation on this, and on `other` if there is one."""
        tape = self._tape
        if node > tape.limit:
            tape.attend(node, other)
        out = _bare()
        out._node = node
        out._tape = tape
        return out

    def _with(self, operation: int, other: Value | Number) -> Value:
        """The handle of an operation on this and another."""
        pointer = self._tape.pointer
        if isinstance(other, Value):
            out = self._result(_binary(pointer, operation, self._node, other._node), other)
            other._used(out, 1)
            return out
        return self._result(_binary_with(pointer, operation, self._node, other))

    def _used(self, out: Value, operand: int) -> None:
        """This is an operand of `out`: for lanes that an index selects."""

    def detach(self) -> Value:
        """The same number without a derivative; a replay computes it anew."""
        view = ffi.new("mg_view *", [self._node, 0, 0, 0, ffi.NULL, 0, 0, False])
        return self._result(lib.mg_largest(self._tape.pointer, 1, 1, view))

    # ---- comparing: by the numbers of this moment, which no derivative and no replay can see

    def __lt__(self, other: Value | Number) -> bool:
        return self._noticed() < _number(other)

    def __le__(self, other: Value | Number) -> bool:
        return self._noticed() <= _number(other)

    def __gt__(self, other: Value | Number) -> bool:
        return self._noticed() > _number(other)

    def __ge__(self, other: Value | Number) -> bool:
        return self._noticed() >= _number(other)

    def __bool__(self) -> bool:
        """Always true, as for any object of the course's class."""
        self._noticed()
        return True

    def _noticed(self) -> float:
        if self._tape.recorder is not None:
            self._tape.recorder.notice_branch()
        data: float = _value(self._tape.pointer, self._node)
        if data != data:
            self._tape.raise_status()
        return data

    # ---- looking at the graph

    @property
    def _children(self) -> tuple[Value, ...]:
        """The operands, in order: the course's name."""
        return tuple(value_at(self._tape, node) for node in self._operands()[0])

    @property
    def _local_grads(self) -> tuple[float, ...]:
        """The derivative of this value with respect to each operand: the course's name."""
        return tuple(self._operands()[1])

    @property
    def _prev(self) -> set[Value]:
        """The operands as a set: micrograd's name."""
        return set(self._children)

    @property
    def _op(self) -> str:
        """What made this value, for drawing; empty for a leaf: micrograd's name."""
        pointer = self._tape.pointer
        operation: int = lib.mg_lane_operation(pointer, self._node)
        if operation < 0:
            self._tape.raise_status()
        name: str = ffi.string(lib.mg_operation_name(operation)).decode()
        if operation in (_POW, _EXPONENT):
            k: float = lib.mg_lane_constant(pointer, self._node)
            constant = str(int(k)) if k.is_integer() and abs(k) < 1e15 else repr(k)
            return name + constant if operation == _POW else constant + name
        return name

    @property
    def label(self) -> str:
        """A name for drawing; empty unless set."""
        return self._tape.labels.get(self._node, "")

    @label.setter
    def label(self, label: str) -> None:
        self._tape.labels[self._node] = label

    def __repr__(self) -> str:
        return f"Value(data={self.data}, grad={self.grad})"

    def _operands(self) -> tuple[list[int], list[float]]:
        """The ids of the operands, and the partials with respect to them."""
        pointer = self._tape.pointer
        count: int = lib.mg_lane_operand_count(pointer, self._node)
        if not count:
            self._tape.raise_status()
            return [], []
        operands, partials = ffi.new("mg_id[]", count), ffi.new("double[]", count)
        check(lib.mg_lane_operands(pointer, self._node, operands, partials))
        return ffi.unpack(operands, count), ffi.unpack(partials, count)


_bare: Callable[[], Value] = type.__call__.__get__(Value)  # a handle without a lane yet


def value_at(tape: Tape, node: int, lane: bool = False) -> Value:
    """The Value of a lane that has been recorded: always the same object while there is one."""
    handle = tape.find(node, lane)
    if handle is None:
        handle = _bare()
        handle._node = node
        handle._tape = tape
        tape.enlist(handle)
    return cast(Value, handle)


def _number(x: Value | Number) -> float:
    return x.data if isinstance(x, Value) else float(x)


def _record_custom(data: Number, children: tuple[Value, ...], local_grads: tuple[Number, ...]) -> tuple[Tape, int]:
    if len(children) != len(local_grads):
        raise ShapeError(f"{len(children)} children but {len(local_grads)} local_grads: give one for each child")
    tape = children[0]._tape
    operands = [child._node for child in children]
    node: int = lib.mg_custom(tape.pointer, data, operands, local_grads, len(children))
    if node == NONE:
        tape.raise_status(next((child for child in children if child._tape is not tape), None))
    return tape, node
