"""The tape: where values are recorded.

A tape is a list of recorded operations in C (see csrc/microgpt.h). There is a default tape, which `Value(3.0)` uses in
every thread; `with Tape():` makes another one the default inside the block. A tape belongs to one thread at a time; the
default tape to whichever calls.

Nobody has to free anything: when a tape has grown, it asks Python which Values still exist, and uses the storage of
what they do not need again (see `collect`). A loop that wants to give back all that it recorded at once takes a `mark`
and calls `rewind`.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

from . import errors
from .arguments import require
from .core import NONE, check, ffi, lib
from .handles import ALWAYS, Handle, Registry, all_handles, on_tape, threads_inside, witness

if TYPE_CHECKING:
    from types import TracebackType

COLLECT_FROM = 1 << 18  # slots; a smaller tape (11 MB) is not worth a collection
BLOCKS_A_SLOT = 8  # nor is one that has less than a slot for so many blocks of Python's memory, which are gone through


class Memory(NamedTuple):
    """What a tape holds: slots in use (one is a value with its gradient, operands and partials), slots allocated, and
    bytes allocated in all."""

    slots: int
    capacity: int
    bytes: int


class Tape:
    """A list of recorded operations, with the numbers and the gradients of their results.

    It belongs to the thread that made it, until another one adopts it: any other gets WrongThreadError. The default
    tape is every thread's: it follows the one that calls. A call that finds another thread's in progress waits for it,
    a tenth of a second, and is then a BusyTapeError. Threads that are to compute side by side have a tape each.
    """

    __slots__ = (
        "__weakref__",
        "_additions",
        "_collect_at",
        "_labels",
        "_limit",
        "_look_at",
        "_operations",
        "_pointer",
        "_recorder",
        "_recording",
        "_values",
    )

    _pointer: Any
    """The core's tape, for the modules that record on it."""
    _limit: int
    """An id above it calls for attention: it is NONE, the id of nothing, or it is time to collect, or its Value is to
    be noted down (then all are above it)."""
    _look_at: int
    """Above it it is time to collect."""
    _labels: dict[int, str]
    """The labels of Values, by id."""
    _operations: dict[int, str]
    """The names that were given to operations of one's own, by id."""
    _additions: Any
    """A custom.Additions, while somebody's `_backward` is looked at."""
    _recorder: Any
    """What takes notes while a function is being recorded; None otherwise."""

    def __init__(self) -> None:
        tape = lib.mg_tape_new()
        if tape == ffi.NULL:
            raise MemoryError("no memory for a tape")
        self._pointer = ffi.gc(tape, lib.mg_tape_free)
        self._limit, self._look_at = ALWAYS, lib.mg_tape_mark(tape) + COLLECT_FROM
        self._values = Registry()
        self._labels = {}
        self._operations = {}
        self._additions = None
        self._recorder = None
        self._recording = threading.RLock()  # one thread records a function at a time
        self._collect_at = COLLECT_FROM

    def __repr__(self) -> str:
        try:
            memory = self.memory()
        except (errors.WrongThreadError, errors.BusyTapeError):
            return "<Tape of another thread>"
        return f"<Tape: {memory.slots} slots in use, {memory.bytes} bytes>"

    def __enter__(self) -> Tape:
        """Make this the default tape until the block ends, in this thread and asyncio task."""
        _entered.set((*_entered.get(), self))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        tapes = _entered.get()
        last = max((i for i, tape in enumerate(tapes) if tape is self), default=None)
        if last is not None:
            _entered.set(tapes[:last] + tapes[last + 1 :])

    def mark(self) -> int:
        """This moment, for `rewind`."""
        return lib.mg_tape_mark(self._pointer)

    def rewind(self, mark: int) -> None:
        """Forget everything recorded since the mark, which `mark` gave. A Value made since then raises StaleValueError
        when it is used."""
        check(lib.mg_tape_rewind(self._pointer, mark))

    def collect(self) -> None:
        """Forget everything that no existing Value was computed from.

        A tape does this by itself when it has doubled since the last time, and is not small beside all that Python
        holds, which is gone through. Values that `gc.freeze()` has hidden from Python's garbage collector cannot be
        seen, so after gc.freeze() nothing is forgotten until gc.unfreeze().
        """
        # The first time leaves the page that was being filled, which protects a result whose handle is still being made
        # when a collection comes up in the middle of it. The page is then closed; what it held is left to the second.
        self._collect([], [])
        self._collect([], [])

    def memory(self) -> Memory:
        """What the tape holds now."""
        memory = lib.mg_tape_memory(self._pointer)
        if not memory.bytes:
            self._raise_status()
        return Memory(memory.slots, memory.capacity, memory.bytes)

    def adopt(self) -> None:
        """Take the tape over for the calling thread. BusyTapeError while another one is inside a call on it."""
        check(lib.mg_tape_adopt(self._pointer))

    def close(self) -> None:
        """Free the tape's storage now. Its Values raise ClosedTapeError from then on."""
        check(lib.mg_tape_close(self._pointer))

    # ---- for value.py and vector.py

    def _attend(self, node: int, other: object = None, size: int = 1) -> None:
        """Raise the error that the core left behind if there is no node; else collect if it is time to. A new Value is
        to be noted down after this.

        `other` is the second operand, if there is one: a handle that may be of another tape, or a number. `size` lanes
        have been recorded from `node` on, and have no handle yet.
        """
        if node == NONE:
            self._raise_status(other)
        if node > self._look_at:
            enough = max(COLLECT_FROM, sys.getallocatedblocks() // BLOCKS_A_SLOT)
            if self.memory().slots >= max(self._collect_at, enough):
                self._collect([node], [size])
                self._collect_at = 2 * self.memory().slots
            self._collect_at = max(self._collect_at, enough)
            self._look_at = node + max(self._collect_at - self.memory().slots, COLLECT_FROM // 4)
        if not self._values.take_turn():
            self._values.settle(self, node)

    def _raise_status(self, other: object = None) -> None:
        """Raise the error that the core left behind, if any, and clear it."""
        status = lib.mg_tape_take_status(self._pointer)
        if status == lib.MG_STALE and isinstance(other, Handle) and other._tape is not self:
            raise errors.ForeignValueError("the two values are of different tapes: record them on one, in `with tape:`")
        check(status)

    def _find(self, node: int, lane: bool) -> Handle | None:
        """The Value of a lane, if there is one, so that a lane never has two. Those of a vector's lanes (`lane`) are
        all known."""
        value = self._values.find(node, lane)
        if value is None and not lane and not self._values.knows(node):
            self._values.search(self)
            value = self._values.find(node, lane)
        return value

    def _read(self, node: int, size: int, adjoints: bool = False) -> list[float]:
        """The data, or the gradients, of `size` lanes from `node`."""
        buffer = ffi.new("double[]", size)
        check((lib.mg_read_adjoints if adjoints else lib.mg_read_values)(self._pointer, node, size, buffer))
        numbers: list[float] = ffi.unpack(buffer, size)
        return numbers

    def _write(self, node: int, numbers: Sequence[float], adjoints: bool = False) -> None:
        """Set the data, or the gradients, of the lanes from `node`."""
        buffer = ffi.new("double[]", list(numbers))
        check((lib.mg_write_adjoints if adjoints else lib.mg_write_values)(self._pointer, node, len(buffer), buffer))

    def _collect(self, roots: list[int], sizes: list[int]) -> None:
        since, unseen = self._now()  # other threads may record while the handles are looked for
        handles = all_handles()
        if witness not in handles:
            return
        mine = on_tape(handles, self)
        roots += [handle._node for handle in mine]
        sizes += [handle._size for handle in mine]
        roots += [node for node, _ in unseen]
        sizes += [size for _, size in unseen]
        check(lib.mg_tape_collect_since(self._pointer, roots, sizes, len(roots), since))
        for names in (self._labels, self._operations):
            for node in list(names):
                if not self._holds(node):
                    names.pop(node, None)

    def _now(self) -> tuple[int, list[tuple[int, int]]]:
        """This moment; and the lanes that other threads have recorded last, and may have no handle of yet."""
        mark, count, room = ffi.new("mg_mark *"), ffi.new("size_t *"), 16
        while True:
            last, sizes, threads = ffi.new("mg_id[]", room), ffi.new("size_t[]", room), ffi.new("uint64_t[]", room)
            check(lib.mg_tape_now(self._pointer, mark, last, sizes, threads, room, count))
            if count[0] <= room:
                break
            room = count[0]
        inside = threads_inside() if count[0] else []
        return mark[0], [(last[k], sizes[k]) for k in range(count[0]) if threads[k] in inside]

    def _holds(self, node: int) -> bool:
        if lib.mg_lane_operation(self._pointer, node) >= 0:
            return True
        lib.mg_tape_take_status(self._pointer)
        return False


_entered: ContextVar[tuple[Tape, ...]] = ContextVar("_entered", default=())  # the blocks that are open, innermost last


_everybodys: list[Tape] = []
_making = threading.Lock()


def default_tape() -> Tape:
    """The tape of the innermost `with` block, or the one that all threads share, made when it is first asked for."""
    if tapes := _entered.get():
        return tapes[-1]
    if not _everybodys:
        with _making:
            if not _everybodys:
                tape = Tape()
                check(lib.mg_tape_follow(tape._pointer, True))
                _everybodys.append(tape)
    return _everybodys[0]


def tape_for(tape: Tape | None) -> Tape:
    """The tape that is given, or the default one; TypeError for what is no tape."""
    if tape is None:
        return default_tape()
    require("the tape", tape, Tape)
    return tape


@contextmanager
def no_grad() -> Iterator[None]:
    """A block, or a function, whose operations are not remembered: their results are leaves, of no use to backward().

    `with no_grad():`, or `@no_grad()` before a function. For the calling thread, on every tape. What `record` calls
    inside is remembered all the same. torch's name.
    """
    if (recorder := default_tape()._recorder) is not None:
        recorder.notice_no_grad()
    before = lib.mg_no_grad(True)
    try:
        yield
    finally:
        lib.mg_no_grad(before)
