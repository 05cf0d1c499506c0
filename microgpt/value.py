"""The course's block 3, the autograd engine: `Value`, a number that remembers how it was computed.

It has everything that the course's class has and behaves the same, bit for bit; the numbers, the graph and `backward()`
are in the C core. A Value is a handle on one lane of a tape: the tape keeps what an existing Value was computed from.

The class is one file, longer than others: every operator that Python has is written out, the two busiest in full, as a
call less shows in every step. Its functions of one number, its comparisons and its graph stand in files of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NoReturn, SupportsFloat, SupportsIndex, TypeVar, Union, cast

from .comparing import Comparisons, plain
from .core import check, ffi, lib
from .custom import record_custom
from .elementary import Functions
from .errors import ShapeError
from .graph import Graph
from .handles import Handle
from .tape import Tape, default_tape

_Made = TypeVar("_Made")
Number = Union[int, float, SupportsFloat, SupportsIndex]

_value, _adjoint, _set_value, _set_adjoint = lib.mg_value, lib.mg_adjoint, lib.mg_set_value, lib.mg_set_adjoint
_add, _mul, _binary, _binary_with = lib.mg_add, lib.mg_mul, lib.mg_binary, lib.mg_binary_with
_unary, _unary_with = lib.mg_unary, lib.mg_unary_with
_ADD, _MUL, _POW, _EXPONENT = lib.MG_ADD, lib.MG_MUL, lib.MG_POW, lib.MG_EXPONENT


class _ValueType(type):
    """Makes `Value(...)` record. An operator makes its result's handle without coming here, and without an `__init__`,
    which saves a tenth; so only the classes that derive from Value have one."""

    def __call__(cls: type[_Made], *arguments: Any, **options: Any) -> _Made:
        if cls is not Value:
            return super().__call__(*arguments, **options)  # type: ignore[misc,no-any-return]
        if not arguments and "data" not in options:
            raise TypeError("Value() needs its data: Value(2.0)")
        out = _bare()
        if len(arguments) != 1 or options:
            _record(out, *arguments, **options)
            return out  # type: ignore[return-value]
        tape = default_tape()  # as `_record` does, without the call
        node = lib.mg_leaf(tape._pointer, arguments[0])
        if node > tape._limit:
            return _attended(tape, node)  # type: ignore[return-value]
        out._node = node
        out._tape = tape
        return out  # type: ignore[return-value]

    def mro(cls) -> list[type]:
        order = super().mro()
        for place, base in enumerate(order[1:], 1):
            if isinstance(base, _ValueType):  # Value, or what derives from it and has it already
                return order if _Initialized in order else [*order[:place], _Initialized, *order[place:]]
        return order


def _record(
    out: Value,
    data: Number,
    children: Iterable[Value] = (),
    local_grads: Iterable[Number] | str = (),
    label: str = "",
    *,
    _children: Iterable[Value] = (),
    _op: str = "",
) -> None:
    if isinstance(local_grads, str):  # micrograd's third argument
        _op, partials = local_grads, tuple[Number]()
    else:
        partials = tuple(local_grads)
    children, later = tuple(children), tuple(_children)
    if children and not (partials or _op):
        raise ShapeError(
            "a Value with children needs local_grads, the derivative with respect to each, in their order; "
            "or the name of its operation, Value(data, (a, b), '*'), and then a _backward"
        )
    children = children or later
    if children or partials:
        tape, node = record_custom(data, children, partials or [0.0] * len(children))
    else:
        tape = default_tape()
        node = lib.mg_leaf(tape._pointer, data)
    attended = node > tape._limit
    if attended:
        tape._attend(node)
    out._node = node
    out._tape = tape
    if attended:
        tape._values.add(out)
    if label:
        out.label = label
    if _op and children and lib.mg_lane_operation(tape._pointer, node) != lib.MG_CUSTOM:
        _op = ""  # in a no_grad() block, where nothing has children
    if _op:
        tape._operations[node] = _op


class _Initialized(Handle):
    """What stands before Value in the classes that derive from it."""

    __slots__ = ()

    def __init__(self, *arguments: Any, **options: Any) -> None:
        _record(cast(Value, self), *arguments, **options)


class Value(Functions, Comparisons, Graph, Handle, metaclass=_ValueType):
    """A number and its gradient, on a tape.

    Value(data) is a leaf. Value(data, children, local_grads) is the result of an operation of one's own: `backward()`
    adds `local_grad * grad` to the gradient of each child, in order. Value(data, children, "name"), or with
    `_children=` and `_op=`, is micrograd's way: its children get what its `_backward` adds to them, once that is set.
    Data is float64; whatever `float()` takes will do. Operators take numbers on either side, which become floats first,
    and raise what Python's floats raise. `label` is a name for drawing. A copy or a pickle of a leaf is a leaf of its
    own, with its data, gradient and label.

    StaleValueError for a value that its tape was rewound past, ForeignValueError for two of different tapes,
    WrongThreadError in another thread than the tape's.
    """

    _is_value = True
    __slots__ = ("__dict__",)  # attributes of one's own, as hand-written optimizers set them; made when one is

    if TYPE_CHECKING:  # what _ValueType.__call__ takes

        def __init__(
            self,
            data: Number,
            children: Iterable[Value] = (),
            local_grads: Iterable[Number] | str = (),
            label: str = "",
            *,
            _children: Iterable[Value] = (),
            _op: str = "",
        ) -> None: ...

    # ---- data and gradient

    @property
    def data(self) -> float:
        """The number, computed when the value was made; may be set."""
        tape = self._tape
        if tape._recorder is not None:
            tape._recorder.notice_reading()
        data: float = _value(tape._pointer, self._node)
        if data != data:  # a NaN of its own, or a refusal
            tape._raise_status()
        return data

    @data.setter
    def data(self, data: Number) -> None:
        tape = self._tape
        if tape._recorder is not None:
            tape._recorder.notice_writing()
        status = _set_value(tape._pointer, self._node, data)
        if status:
            check(status)

    @property
    def grad(self) -> float:
        """The derivative of the result of `backward()` with respect to this value; accumulates; may be set."""
        tape = self._tape
        if tape._recorder is not None:
            tape._recorder.notice_gradient()
        grad: float = _adjoint(tape._pointer, self._node)
        if grad != grad:
            tape._raise_status()
        return grad

    @grad.setter
    def grad(self, grad: Number) -> None:
        tape = self._tape
        if tape._additions is not None and tape._additions.noticed(self._node, grad):
            return
        if tape._recorder is not None:
            tape._recorder.notice_writing()
        status = _set_adjoint(tape._pointer, self._node, grad)
        if status:
            check(status)

    def backward(self) -> None:
        """Set this gradient to 1 and add to the gradients of all that this was computed from, by the chain rule.

        OverwrittenError where an operand of a sum of products, as `linear` records them, was written since.
        """
        if self._tape._recorder is not None:
            self._tape._recorder.notice_gradient()
        check(lib.mg_sweep(self._tape._pointer, self._node))

    # ---- operations

    # The two that a program spends its time in are written out; the others share `_result`.

    def __add__(self, other: Value | Number) -> Value:
        tape = self._tape
        if isinstance(other, Value):
            node = _add(tape._pointer, self._node, other._node)
        else:
            try:
                node = _binary_with(tape._pointer, _ADD, self._node, other)
            except TypeError:
                return NotImplemented
        if node > tape._limit:
            return _attended(tape, node, other)
        out = _bare()
        out._node = node
        out._tape = tape
        return out

    def __mul__(self, other: Value | Number) -> Value:
        tape = self._tape
        if isinstance(other, Value):
            node = _mul(tape._pointer, self._node, other._node)
        else:
            try:
                node = _binary_with(tape._pointer, _MUL, self._node, other)
            except TypeError:
                return NotImplemented
        if node > tape._limit:
            return _attended(tape, node, other)
        out = _bare()
        out._node = node
        out._tape = tape
        return out

    def __pow__(self, other: Value | Number) -> Value:
        if isinstance(other, Value):
            return self._with(lib.MG_POWER, other)
        try:
            return self._result(_unary_with(self._tape._pointer, _POW, self._node, other))
        except TypeError:
            return NotImplemented

    def __rpow__(self, other: Number) -> Value:
        try:
            return self._result(_unary_with(self._tape._pointer, _EXPONENT, self._node, other))
        except TypeError:
            return NotImplemented

    def __neg__(self) -> Value:
        return self * -1

    __radd__ = __add__
    __rmul__ = __mul__

    def __sub__(self, other: Value | Number) -> Value:
        if isinstance(other, Value):
            return self + (-other)
        number = plain(other)
        return NotImplemented if number is None else self + (-number)

    def __rsub__(self, other: Number) -> Value:
        return (-self) + other

    def __truediv__(self, other: Value | Number) -> Value:
        if isinstance(other, Value):
            return self * other**-1
        number = plain(other)
        return NotImplemented if number is None else self * number**-1

    def __rtruediv__(self, other: Number) -> Value:
        return self**-1 * other

    def __pos__(self) -> Value:
        """The value itself."""
        return self

    def __abs__(self) -> Value:
        """The absolute value; the derivative at 0 is 0."""
        return self._result(_unary(self._tape._pointer, lib.MG_ABS, self._node))

    def item(self) -> float:
        """The number: torch's name for `data`."""
        return self.data

    def zero_grad(self) -> None:
        """Set the gradient to 0."""
        self.grad = 0.0

    def _result(self, node: int, other: Handle | None = None) -> Value:
        """The handle of an operation on this, and on `other` if there is one."""
        tape = self._tape
        if node > tape._limit:
            return _attended(tape, node, other)
        out = _bare()
        out._node = node
        out._tape = tape
        return out

    def _with(self, operation: int, other: Value | Number) -> Value:
        """The handle of an operation on this and another."""
        pointer = self._tape._pointer
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
        return self._result(lib.mg_largest(self._tape._pointer, 1, 1, view))

    def __float__(self) -> NoReturn:
        raise TypeError("a Value does not become a float by itself, which would lose its derivative: use its data")

    def __format__(self, spec: str) -> str:
        """The number in a format for floats; without one, what `repr` gives."""
        return format(self.data, spec) if spec else repr(self)

    def __reduce__(self) -> Any:
        """For copy and pickle, of leaves."""
        if self._operation():
            raise TypeError(
                "a Value that was computed lives on its tape and cannot be copied or pickled: keep its data"
            )
        return _leaf, (self.data, self.grad, self.label, dict(self.__dict__))

    def _value_at(self, node: int) -> Value:
        return value_at(self._tape, node)

    def __repr__(self) -> str:
        return f"Value(data={self.data}, grad={self.grad})"


_bare: Callable[[], Value] = type.__call__.__get__(Value)  # a handle without a lane yet


def _attended(tape: Tape, node: int, other: object = None) -> Value:
    """The Value of a new lane that calls for its tape's attention."""
    tape._attend(node, other)
    out = _bare()
    out._node = node
    out._tape = tape
    tape._values.add(out)
    return out


def value_at(tape: Tape, node: int, lane: bool = False) -> Value:
    """The Value of a lane that has been recorded: always the same object while there is one."""
    handle = tape._find(node, lane)
    if handle is None:
        handle = _bare()
        handle._node = node
        handle._tape = tape
        tape._values.add(handle)
    return cast(Value, handle)


def _leaf(data: float, grad: float, label: str, attributes: dict[str, Any]) -> Value:
    leaf = Value(data, label=label)
    leaf.grad = grad
    leaf.__dict__.update(attributes)
    return leaf
