"""Statements of one's own: Value(data, children, local_grads) as the course writes them, and micrograd's way, with a
function `_backward` that adds to the gradients of the children.

Such a function is called once, when it is set, with a gradient of 1: what it adds to the gradient of a child is the
derivative with respect to that child, and is kept as the course keeps `local_grads`. All gradients are put back.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

from .core import NONE, check, ffi, lib
from .errors import ShapeError, TapeError
from .handles import Handle
from .tape import Tape


class Node(Protocol):
    """What this module asks of a Value."""

    _node: int
    _tape: Tape
    grad: float


class Operands(frozenset[Any]):
    """A set that is walked in the order it was made from, so that a search over it is the same in every run."""

    __slots__ = ("_ordered",)

    _ordered: tuple[Any, ...]

    def __new__(cls, values: Iterable[Any]) -> Operands:
        out = super().__new__(cls, values)
        out._ordered = tuple(dict.fromkeys(values))
        return out

    def __iter__(self) -> Iterator[Any]:
        return iter(self._ordered)

    def __repr__(self) -> str:
        return f"{{{', '.join(map(repr, self))}}}"


def record_custom(data: Any, children: Sequence[Handle], local_grads: Sequence[Any]) -> tuple[Tape, int]:
    """Record the statement; without local_grads its children get nothing from it, until its `_backward` is set."""
    for child in children:
        if not isinstance(child, Handle):
            raise TypeError(f"the children of a Value are Values, not {type(child).__name__}: Value({child!r}) is one")
    if len(children) != len(local_grads):
        raise ShapeError(f"{len(children)} children but {len(local_grads)} local_grads: give one for each child")
    tape = children[0]._tape
    operands = [child._node for child in children]
    node: int = lib.mg_custom(tape._pointer, data, operands, local_grads, len(children))
    if node == NONE:
        tape._raise_status(next((child for child in children if child._tape is not tape), None))
    return tape, node


def contribute(out: Node, children: Iterable[Node], partials: Iterable[float]) -> None:
    """What micrograd's `_backward` does: add to the gradient of each child what `out` passes on to it."""
    for child, partial in zip(children, partials):
        child.grad += partial * out.grad


class Additions:
    """What is added to gradients by the calling thread while a function runs: a tape's `additions`.

    The gradients that it reads are 0, so that what it writes is what it adds, also where it adds to one several times.
    """

    def __init__(self) -> None:
        self.of: dict[int, list[float]] = {}
        self._thread = threading.get_ident()

    def noticed(self, node: int, grad: Any) -> bool:
        """Is this one of the additions? Then it is kept, and not to be written."""
        if threading.get_ident() != self._thread:
            return False
        self.of.setdefault(node, []).append(float(grad))
        return True


def set_backward(out: Node, operands: Sequence[int], function: Callable[[], object]) -> None:
    """Let `function` say what the derivatives of `out` are with respect to its operands."""
    if not callable(function):
        raise TypeError(f"_backward is a function without arguments, not {type(function).__name__}")
    if not operands and _without_gradients():
        return  # the Value was made a leaf, whatever children it was given
    additions = _additions(out, sorted(set(operands)), function)
    if strange := set(additions) - set(operands):
        raise TapeError(
            f"_backward adds to the gradient of {len(strange)} Values that are not among the children: "
            "name them when the Value is made, as in Value(data, (a, b), '*')"
        )
    partials = [_next_partial(additions.get(node, []), operands[k:].count(node)) for k, node in enumerate(operands)]
    pointer = out._tape._pointer
    if operands and lib.mg_set_partials(pointer, out._node, partials, len(partials)) == lib.MG_OPERATION:
        found = ffi.new("double[]", len(operands))
        check(lib.mg_lane_operands(pointer, out._node, ffi.new("mg_id[]", len(operands)), found))
        if ffi.unpack(found, len(operands)) != partials:
            raise TapeError(
                "the derivative of an operation of microgpt cannot be replaced: "
                "make the Value with its children, Value(data, (a, b), 'name'), and set the _backward of that"
            )


def _without_gradients() -> bool:
    """Is the calling thread in a no_grad() block?"""
    before: bool = lib.mg_no_grad(True)
    lib.mg_no_grad(before)
    return before


def _next_partial(additions: list[float], uses: int) -> float:
    """What an operand gets that is used `uses` times from here on: one addition a use, the last all that remain."""
    if not additions:
        return 0.0
    return additions.pop(0) if uses > 1 else sum(additions)


def _additions(out: Node, operands: list[int], function: Callable[[], object]) -> dict[int, list[float]]:
    """Call the function with a gradient of 1 and say what it adds to which; the gradients stay what they were."""
    tape, nodes = out._tape, [out._node, *operands]
    outer, before = tape._additions, [tape._read(node, 1, adjoints=True) for node in nodes]
    for node in nodes:
        tape._write(node, [float(node == out._node)], adjoints=True)
    tape._additions = additions = Additions()
    try:
        function()
    finally:
        tape._additions = outer
        for node, grad in zip(nodes, before):
            tape._write(node, grad, adjoints=True)
    return additions.of
