"""What the ranks of an MPI communicator say to each other. Rank 0 says what comes next: it alone looks at clocks and
listens to the user."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from .errors import DistributedError

SPIN_SECONDS = 0.002  # a rank that waits longer for rank 0 sleeps between two looks
END, BEGIN, STEPS, HELD_OUT = range(4)  # what rank 0 may ask for

_Made = TypeVar("_Made")


class Request(Protocol):
    """What has been begun (mpi4py.MPI.Request)."""

    def Test(self) -> bool: ...

    def Wait(self) -> Any: ...


class Communicator(Protocol):
    """What training needs of a communicator, as mpi4py.MPI.Comm has it."""

    def Get_rank(self) -> int: ...

    def Get_size(self) -> int: ...

    def Ibcast(self, buf: Any, root: int = 0) -> Request: ...

    def Iallgatherv(self, sendbuf: Any, recvbuf: Any) -> Request: ...

    def Allgatherv(self, sendbuf: Any, recvbuf: Any) -> None: ...

    def Alltoallv(self, sendbuf: Any, recvbuf: Any) -> None: ...

    def bcast(self, obj: Any, root: int = 0) -> Any: ...

    def allgather(self, sendobj: Any) -> list[Any]: ...


def tell(comm: Communicator, command: int, *numbers: int) -> None:
    """Rank 0 asks the others for something; at most two numbers go with it."""
    comm.Ibcast(array("q", [command, *numbers, 0, 0][:3]), 0).Wait()


def hear(comm: Communicator) -> tuple[int, int, int]:
    """What rank 0 asks for, when it does. Who waits long leaves the processor to others."""
    words = array("q", [END, 0, 0])
    request = comm.Ibcast(words, 0)
    started = time.perf_counter()
    while not request.Test():
        if time.perf_counter() - started > SPIN_SECONDS:
            time.sleep(SPIN_SECONDS / 4)
    return words[0], words[1], words[2]


def together(comm: Communicator, make: Callable[[], _Made]) -> _Made:
    """What every rank makes for itself. Where one fails, all raise: it the error, and the others DistributedError."""
    made, error = None, None
    try:
        made = make()
    except Exception as caught:
        error = caught
    texts = comm.allgather(None if error is None else str(error) or type(error).__name__)
    if error is not None:
        raise error
    for rank, text in enumerate(texts):
        if text is not None:
            raise DistributedError(f"rank {rank}: {text}")
    assert made is not None
    return made
