"""Looking at the graph: what a Value was computed from, by the course's names and by micrograd's."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from .core import check, ffi, lib
from .custom import Operands, contribute, set_backward

if TYPE_CHECKING:
    from .tape import Tape
    from .value import Value


class Graph:
    """What Value inherits."""

    __slots__ = ()

    if TYPE_CHECKING:  # what these use of it
        _node: int
        _tape: Tape
        grad: Any

        def _value_at(self, node: int) -> Value: ...

    @property
    def _children(self) -> tuple[Value, ...]:
        """The operands, in order: the course's name."""
        return tuple(self._value_at(node) for node in self._operands()[0])

    @property
    def _local_grads(self) -> tuple[float, ...]:
        """The derivative of this value with respect to each operand: the course's name."""
        return tuple(self._operands()[1])

    @property
    def _prev(self) -> frozenset[Value]:
        """The operands as a set, which is walked in their order: micrograd's name."""
        return Operands(self._children)

    @property
    def _backward(self) -> Callable[[], None]:
        """Adds to the gradients of the operands what this gradient passes on to them: micrograd's name.

        May be set, of a Value that was made with its children, to a function that does so for an operation of one's
        own. It is called at once, with a gradient of 1, to see what it adds; the gradients stay what they were.
        """
        children, partials = self._children, self._local_grads
        return lambda: contribute(self, children, partials)

    @_backward.setter
    def _backward(self, function: Callable[[], object]) -> None:
        set_backward(self, self._operands()[0], function)

    def _operation(self) -> int:
        """The core's number of what made this value; MG_LEAF, which is 0, and MG_CONSTANT have made nothing."""
        operation: int = lib.mg_lane_operation(self._tape._pointer, self._node)
        if operation < 0:
            self._tape._raise_status()
        return 0 if operation == lib.MG_CONSTANT else operation

    @property
    def _op(self) -> str:
        """What made this value, for drawing; empty for a leaf: micrograd's name. May be set."""
        if name := self._tape._operations.get(self._node):
            return name
        pointer, operation = self._tape._pointer, self._operation()
        name = ffi.string(lib.mg_operation_name(operation)).decode()
        if operation in (lib.MG_POW, lib.MG_EXPONENT):
            k: float = lib.mg_lane_constant(pointer, self._node)
            constant = str(int(k)) if k.is_integer() and abs(k) < 1e15 else repr(k)
            return name + constant if operation == lib.MG_POW else constant + name
        return name

    @_op.setter
    def _op(self, name: str) -> None:
        self._tape._operations[self._node] = name

    @property
    def label(self) -> str:
        """A name for drawing; empty unless set."""
        return self._tape._labels.get(self._node, "")

    @label.setter
    def label(self, label: str) -> None:
        self._tape._labels[self._node] = label

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """For notebooks: the number, and what it was computed from, as `draw` shows it."""
        from .drawing import draw  # only notebooks come here, and drawing imports this

        return {**draw(cast("Value", self), nodes=25)._repr_mimebundle_(), "text/plain": repr(self)}

    def _operands(self) -> tuple[list[int], list[float]]:
        """The ids of the operands, and the partials with respect to them."""
        pointer = self._tape._pointer
        count: int = lib.mg_lane_operand_count(pointer, self._node)
        if not count:
            self._tape._raise_status()
            return [], []
        operands, partials = ffi.new("mg_id[]", count), ffi.new("double[]", count)
        check(lib.mg_lane_operands(pointer, self._node, operands, partials))
        return ffi.unpack(operands, count), ffi.unpack(partials, count)
