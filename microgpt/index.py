"""Index: an integer input of a recorded function, and what it selects.

What is computed from a row or a lane that an index selects belongs to whichever the index selects. The recorder of the
tape takes note of it, operand by operand.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from .arguments import integer
from .errors import ForeignValueError, TapeError
from .handles import Handle
from .tape import Tape, default_tape
from .value import Number, Value


class Index:
    """An integer input of a recorded function: `w[index]` is a row of a Matrix, `x[index]` a lane of a Vector.

    A program selects another row or lane when it is given another integer. Outside a function that is being recorded
    there is nothing to select for: TapeError.
    """

    __slots__ = ("_value",)

    def __init__(self, value: int) -> None:
        self._value = integer("the value of an Index", value)

    @property
    def value(self) -> int:
        """The integer of now. A recorded function that reads it is frozen with it, which a FrozenBranchWarning says."""
        recorder = default_tape()._recorder
        if recorder is not None:
            recorder.notice_integer()
        return self._value

    @value.setter
    def value(self, value: int) -> None:
        self._value = integer("the value of an Index", value)

    def _refused(self, *_: object) -> NoReturn:
        raise TypeError(
            "an Index stands for any integer, which is not known while a function is being recorded: w[index] selects, "
            "but it cannot be compared, looked up or asked for its truth; train(replay=False) computes with integers"
        )

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __bool__ = __hash__ = _refused

    def __repr__(self) -> str:
        return f"Index({self._value})"


@dataclass(frozen=True, slots=True, eq=False)
class Selector:
    """How an index selects: `size` lanes from lane index.value * size of the table on, for 0 <= index.value < count;
    of these, what lies from `offset` on."""

    index: Index
    table: Handle
    size: int
    count: int
    offset: int = 0

    def moved(self, by: int) -> Selector:
        return replace(self, offset=self.offset + by) if by else self


class SelectedValue(Value):
    """A lane that an Index selects: what is computed from it belongs to whatever lane the index selects."""

    __slots__ = ("_selector",)
    _is_value = False

    _selector: Selector

    def _note(self, out: Value, operand: int) -> Value:
        if isinstance(out, Value):
            recorder_of(self._tape).select(out._node, operand, 0, self._selector)
        return out

    def _used(self, out: Value, operand: int) -> None:
        self._note(out, operand)

    def _result(self, node: int, other: Handle | None = None) -> Value:
        return self._note(super()._result(node, other), 0)

    def __add__(self, other: Value | Number) -> Value:
        return self._both(super().__add__(other), other)

    def __mul__(self, other: Value | Number) -> Value:
        return self._both(super().__mul__(other), other)

    def _both(self, out: Value, other: Value | Number) -> Value:
        if isinstance(other, SelectedValue):  # Python asks the first of two of a class only
            other._note(out, 1)
        return self._note(out, 0)

    def __radd__(self, other: Value | Number) -> Value:
        if isinstance(other, Value):
            return self._note(Value.__add__(other, self), 1)
        return self + other

    def __rmul__(self, other: Value | Number) -> Value:
        if isinstance(other, Value):
            return self._note(Value.__mul__(other, self), 1)
        return self * other


def selected(tape: Tape, node: int, selector: Selector) -> SelectedValue:
    """The lane that the selector selects now."""
    recorder_of(tape)
    lane: SelectedValue = object.__new__(SelectedValue)
    lane._node = node
    lane._selector = selector
    lane._tape = tape
    return lane


def recorder_of(tape: Tape) -> Any:
    """What takes note of indices while a function is being recorded."""
    if tape._recorder is None or tape._recorder.thread != threading.get_ident():
        if default_tape()._recorder is not None and default_tape() is not tape:
            raise ForeignValueError("an Index selects from what is on the tape that its function is recorded on, alone")
        raise TapeError("an Index means something only inside a function that is being recorded")
    return tape._recorder
