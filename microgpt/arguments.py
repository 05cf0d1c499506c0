"""What is said of wrong arguments, in the words of the caller."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any, SupportsFloat, SupportsIndex

from .errors import ShapeError


def require(what: str, x: object, *kinds: type) -> None:
    """TypeError, in the caller's words, unless something is of one of the kinds."""
    if not isinstance(x, kinds):
        names = " or ".join(_with_article(kind.__name__) for kind in kinds)
        raise TypeError(f"{what} must be {names}, not {described(x)}")


def integer(what: str, x: Any) -> int:
    """A whole number as Python's; TypeError for anything else."""
    try:
        return operator.index(x)
    except TypeError:
        raise TypeError(f"{what} must be a whole number, not {shown(x)}") from None


def shown(x: object) -> str:
    """A number or a short text as it is, and of anything else what it is."""
    if isinstance(x, (bool, int, float, str)):
        text = repr(x)
        return text if len(text) <= 60 else f"{text[:50]}..."
    return described(x)


def described(x: object) -> str:
    """What something is, for a message: `an int`, `a list`, `None`."""
    return "None" if x is None else _with_article(type(x).__name__)


def _with_article(name: str) -> str:
    return f"{'an' if name[0] in 'aeiouAEIO' else 'a'} {name}"


def numbers_of(what: str, numbers: Iterable[float]) -> list[float]:
    """The numbers that something is made of, as a list of their own; TypeError, naming the first that is none."""
    try:
        found = list(numbers)
    except TypeError:
        raise TypeError(
            f"{what} is made of a list of numbers, such as [1.0, 2.0], not of {described(numbers)}"
        ) from None
    if set(map(type, found)) <= {float, int}:
        return found
    for place, number in enumerate(found):
        if hasattr(number, "backward"):
            raise TypeError(f"{what} is made of numbers, and at place {place} is a Value: use its data")
        if not isinstance(number, (SupportsFloat, SupportsIndex)):
            raise TypeError(f"{what} is made of numbers, and at place {place} is {described(number)}")
    return [float(number) for number in found]


def rows_of(rows: Any) -> tuple[int, int, list[float]]:
    """How many rows, how many columns, and all numbers of a list of rows."""
    try:
        found = [list(row) for row in rows]
    except TypeError:
        raise TypeError(
            "a Matrix is made of a list of rows, each a list of numbers, or of rows, columns and all numbers: "
            f"Matrix(2, 1, [0.5, 0.5]); not of {described(rows)}"
        ) from None
    lengths = sorted({len(row) for row in found})
    if len(lengths) != 1:
        raise ShapeError(
            f"the rows of a Matrix have one length, not {lengths[0]} and {lengths[-1]}"
            if lengths
            else "a Matrix has at least one row"
        )
    return len(found), lengths[0], [number for row in found for number in row]


def place_of(what: str, index: Any, count: int, whole: object) -> int:
    """Where an index points to; IndexError and TypeError in the words of the user."""
    number = integer(f"the index of a {what}", index)
    if not -count <= number < count:
        raise IndexError(f"there is no {what} {number} in a {type(whole).__name__} of {count} {what}s")
    return number % count
