"""Comparing Values: by their numbers of this moment, which no derivative and no replay can see."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .core import lib

if TYPE_CHECKING:
    from .tape import Tape
    from .value import Number, Value

_value = lib.mg_value


class Comparisons:
    """What Value inherits."""

    __slots__ = ()

    if TYPE_CHECKING:  # what these use of it
        _node: int
        _tape: Tape

        @property
        def data(self) -> float: ...

    def __lt__(self, other: Value | Number) -> bool:
        number = plain(other)
        return NotImplemented if number is None else self._noticed() < number

    def __le__(self, other: Value | Number) -> bool:
        number = plain(other)
        return NotImplemented if number is None else self._noticed() <= number

    def __gt__(self, other: Value | Number) -> bool:
        number = plain(other)
        return NotImplemented if number is None else self._noticed() > number

    def __ge__(self, other: Value | Number) -> bool:
        number = plain(other)
        return NotImplemented if number is None else self._noticed() >= number

    def __bool__(self) -> bool:
        """Always true, as for any object of the course's class."""
        self._noticed()
        return True

    def __round__(self, digits: int | None = None) -> float:
        """The number rounded, as a float or an int; it has no derivative."""
        return round(self._noticed(), digits)

    def _noticed(self) -> float:
        if self._tape._recorder is not None:
            self._tape._recorder.notice_branch()
        data: float = _value(self._tape._pointer, self._node)
        if data != data:  # a NaN of its own, or a refusal
            self._tape._raise_status()
        return data


def plain(x: Value | Number) -> float | None:
    """The number as Python's; None if it is none. Those of numpy have an arithmetic of their own, which may wrap."""
    if type(x) is float or type(x) is int:
        return x
    if isinstance(x, Comparisons):
        return x.data
    if isinstance(x, (str, bytes, bytearray)):
        return None
    try:
        return float(x)
    except TypeError:
        return None
