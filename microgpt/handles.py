"""Handles: the Python objects that keep lanes of a tape alive; how they are found. And a tape's register of Values."""

from __future__ import annotations

import gc
import os
import sys
import threading
import weakref
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from types import FrameType

    from .tape import Tape

FIRST = 256  # Values of a tape that are noted down without having been asked for
ASKED = 1 << 14  # and how many are since one was last asked for; twice as many after each search
CLEAR_FROM = 1 << 10  # the first time that those which are gone are thrown out
EVERY, ALWAYS = 1 << 64, -1  # greater than any id; less than any

# Whether the Values of a tape are noted down does not change in the middle of a change. One lock for all tapes, as a
# process that forks has to hold it: otherwise another thread's hold of it would last for ever in the child.
_lock = threading.RLock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)


class Handle:
    """What keeps lanes alive: `_size` lanes of a tape, from the id `_node` on. Base of Value, Vector and Matrix.

    A tape finds the handles that exist by asking Python's garbage collector for instances of this class. `_tape` is set
    last, so that a handle with a tape is complete.
    """

    __slots__ = ("__weakref__", "_node", "_tape")

    _node: int
    _size: int = 1
    _tape: Tape
    _is_value: bool = False
    """Is it the one Value of its lane?"""

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} lives on its tape and cannot be copied or pickled: keep its data")


class Registry:
    """The Values of a tape by their lanes, so that a lane never has two.

    Operators are not to pay for it, and few programs ask. So Values are noted down only for a while: the first of a
    tape, and many more whenever somebody asks. When one is asked for that may exist without having been noted down, all
    are searched for, among all objects of Python.
    """

    __slots__ = ("_clear_at", "_complete", "_known", "_left", "_unsure", "_window")

    def __init__(self) -> None:
        self._known: dict[int, weakref.ref[Handle]] = {}  # by id; also of Values that are gone, for a while
        self._clear_at = CLEAR_FROM
        self._left = FIRST  # so many are still to be noted down
        self._window = ASKED
        self._complete = EVERY  # all Values on lanes below this id are known,
        self._unsure: set[int] = set()  # but perhaps those on these: other threads were about to make them

    def __len__(self) -> int:
        return sum(known() is not None for known in self._known.copy().values())

    def add(self, value: Handle) -> None:
        """Note a Value down."""
        self._known[value._node] = weakref.ref(value)
        if len(self._known) >= self._clear_at:
            self._clear_at = 2 * len(self._known)  # for what is noted down meanwhile, by a finalizer
            for node, known in self._known.copy().items():
                if known() is None and self._known.get(node) is known:
                    self._known.pop(node, None)
            self._clear_at = CLEAR_FROM + 2 * len(self._known)

    def take_turn(self) -> bool:
        """A Value is about to be noted down. Is the next one to be, too? If it seems not, see `settle`."""
        if self._left > 1:
            self._left -= 1
            return True
        return False

    def settle(self, tape: Tape, node: int) -> None:
        """After the last turn, which is that of `node`: let the next Values be made without the tape's attention."""
        with _lock:
            if self._left > 1:
                return
            if self._left == 1:
                self._unsure |= _about_to_be_made(tape)  # may be refused, and is then asked for again
                self._left = 0
                self._complete = min(self._complete, node + 1)
            tape._limit = tape._look_at

    def find(self, node: int, lane: bool) -> Handle | None:
        """The Value of a lane, if it is known. Who asks, but for a lane of a vector, may ask for others soon."""
        if self._left and not lane:
            self._left = self._window
        known = self._known.get(node)
        return None if known is None else known()

    def knows(self, node: int) -> bool:
        """Is a Value of this lane known if there is one?"""
        return node < self._complete and node not in self._unsure

    def search(self, tape: Tape) -> None:
        """Note down all Values of the tape that there are, and those that will be made from now on."""
        with _lock:
            self._left = self._window
            tape._limit = ALWAYS
            unsure = _about_to_be_made(tape)
            for handle in handles_of(tape):
                if type(handle)._is_value and self.find(handle._node, True) is None:
                    self.add(handle)
            self._complete, self._unsure = EVERY, unsure
            self._window *= 2


def _about_to_be_made(tape: Tape) -> set[int]:
    """The lanes whose Values other threads may be making at this moment: those of scalar operations, which have one
    lane, or two with a constant."""
    return {node + k for node, size in tape._now()[1] if size <= 2 for k in range(size)}


def handles_of(tape: Tape) -> list[Handle]:
    """All handles that there are on the tape."""
    return on_tape(all_handles(), tape)


def on_tape(handles: list[Handle], tape: Tape) -> list[Handle]:
    """Those on the tape, among handles that may still be in the making."""
    return [handle for handle in handles if getattr(handle, "_tape", None) is tape]


def all_handles() -> list[Handle]:
    """All handles that Python's garbage collector knows of; `witness` among them, but after gc.freeze().

    An object refers to its class. To ask for all objects instead, and pick the handles, would be seen by other threads:
    Python does not make a tuple larger that somebody else refers to, but gives up with a SystemError.
    """
    kinds = set(_with_subclasses(Handle))
    return [item for item in gc.get_referrers(*kinds) if type(item) in kinds]


def _with_subclasses(kind: type[Handle]) -> list[type[Handle]]:
    return [kind, *(below for subclass in kind.__subclasses__() for below in _with_subclasses(subclass))]


witness = Handle()  # gc.freeze() hides every object; while it hides this one, it may hide others


def threads_inside() -> list[int]:
    """The other threads that are in a function of this package, and may have recorded what has no handle yet."""
    package, found = __name__.partition(".")[0], []
    for thread, frame in sys._current_frames().items():
        inside: FrameType | None = frame if thread != threading.get_ident() else None
        while inside is not None and str(inside.f_globals.get("__name__")).partition(".")[0] != package:
            inside = inside.f_back
        if inside is not None:
            found.append(thread)
    return found
