"""`mpiexec -n N python -m microgpt train ...`: one command line for all ranks, of which rank 0 does what it says.

Rank 0 reads the options and the files, prints, logs, keeps the model and draws the samples; the others are sent what
they need to take their part of the steps, and say nothing. mpi4py is imported where a launcher has started several
ranks, and nowhere else.
"""

from __future__ import annotations

import os
import signal
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, NoReturn

from ..communicator import BEGIN, END, hear, tell
from ..errors import DistributedError, MicrogptError
from ..model import GPT
from ..optimizers import OptimizerState
from ..terminal import complain, flush
from ..training import Training
from ..vector import Matrix

# What launchers call the number of a rank, the number of ranks, and that of a rank on its machine.
LAUNCHERS = (
    ("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID"),  # MPICH, Intel MPI, and Slurm with pmi2
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"),  # Open MPI
    ("PMIX_RANK", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID"),  # Slurm with pmix
)


class Place(NamedTuple):
    """Which of the ranks that a launcher started this process is."""

    rank: int
    ranks: int
    first_here: bool
    """Whether it is the first one on its machine, which speaks when they cannot find each other."""


def place() -> Place | None:
    """Where this process stands among several ranks; None where no launcher says so."""
    for names in LAUNCHERS:
        rank, ranks, here = (os.environ.get(name, "") for name in names)
        if rank.isdecimal() and ranks.isdecimal() and int(rank) < int(ranks) > 1:
            return Place(int(rank), int(ranks), int(here if here.isdecimal() else rank) == 0)
    return None


class Watch:
    """A process beside rank 0 that outlives it, and says so when rank 0 ends without having said that it will.

    Launchers kill all ranks when one of them dies, at once, so that none is left to say anything.
    """

    def __init__(self) -> None:
        ending, self._saying = os.pipe()
        if os.fork() == 0:
            self._watch(ending)
        os.close(ending)

    def _watch(self, ending: int) -> None:
        try:
            os.setsid()  # what ends the group of rank 0 does not end it
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            for first, last in ((0, 2), (3, ending), (ending + 1, os.sysconf("SC_OPEN_MAX"))):
                os.closerange(first, last)  # all but standard error: who waits for their end is not to wait for this
            if not os.read(ending, 1):
                os.write(2, b"microgpt: a rank died, or was ended from outside, and the others with it\n")
        finally:
            os._exit(0)

    def end(self) -> None:
        """Rank 0 ends by itself, or has said why."""
        with suppress(OSError):  # it may have been killed
            os.write(self._saying, b".")


class Job:
    """What rank 0 has the others do."""

    def __init__(self, comm: Any) -> None:
        self._comm = comm
        self._training: Training | None = None
        self._waiting = self._whole = True  # do the others wait to be told something; and if so, can they be?

    def training(
        self,
        model: GPT,
        documents: Sequence[Sequence[int]],
        replay: bool,
        fast: bool,
        held_out: Sequence[Sequence[int]],
        state: OptimizerState | None,
        threads: int,
    ) -> Training:
        """The training of all ranks, for rank 0, which the others follow from now on."""
        self._waiting = self._whole = False
        tell(self._comm, BEGIN)
        numbers = {name: (w.rows, w.columns, w.data) for name, w in model.state_dict.items()}
        self._comm.bcast((model.config, numbers, documents, fast, held_out, state, threads))
        try:
            self._training = Training(model, documents, replay, fast, held_out, state, threads, self._comm)
        except Exception:
            self._whole = True  # the others have not begun either
            raise
        self._whole = True
        return self._training

    def end(self) -> bool:
        """Let the others go; False where they wait in the middle of something, and can only be ended."""
        if self._training is not None:
            return self._training.dismiss()
        if self._waiting:
            tell(self._comm, END)
        return self._whole


def follow(comm: Any) -> None:
    """What the other ranks do: their part of rank 0's training."""
    if hear(comm)[0] != BEGIN:
        return
    config, numbers, documents, fast, held_out, state, threads = comm.bcast(None)
    try:
        model = GPT(config, {name: Matrix(*matrix) for name, matrix in numbers.items()})
        training = Training(model, documents, True, fast, held_out, state, threads, comm)
    except (MicrogptError, MemoryError):
        return  # rank 0 has the same error, or was told of this one
    training.follow()


def _mpi(ranks: int) -> Any:
    try:
        import mpi4py

        mpi4py.rc.thread_level = "funneled"  # one thread calls MPI, however many compute
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of another MPI than the launcher's, which is an error below
            from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise DistributedError(f"{ranks} ranks need MPI ({reason}): pip install 'microgpt-core[mpi]'") from None
    found = MPI.COMM_WORLD.Get_size()
    if found != ranks:
        raise DistributedError(
            f"{ranks} ranks were started, and mpi4py finds {found}: it was given another MPI than the launcher's"
        )
    return MPI


def _abort(comm: Any, status: int) -> int:
    """End all ranks; what MPI has to say of that nobody needs."""
    flush()
    _let_be_read(2)  # as a launcher that is told to abort does not look at what it has not read
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    comm.Abort(status)
    return status


def _let_be_read(pipe: int) -> None:
    """Wait until the launcher has read what was written, for a second at most, where it can be asked."""
    with suppress(ImportError, OSError):
        import fcntl
        import termios

        for _ in range(200):
            left = fcntl.ioctl(pipe, termios.FIONREAD, bytes(4))
            if not any(left):
                return
            time.sleep(0.005)


def _die() -> NoReturn:
    """End as the rank that has died. The launcher then ends the others and waits for what rank 0's watch says; where it
    is told to abort it does not wait."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise SystemExit(1)  # not reached


def take_part(place: Place, command: Callable[[Job], int]) -> int:
    """The exit status of this rank. `command` is what the command line says, for rank 0, which answers for all."""
    if place.rank > 0:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # rank 0 decides
    watch = Watch() if place.rank == 0 else None
    try:
        mpi = _mpi(place.ranks)
    except (DistributedError, KeyboardInterrupt) as error:
        if watch is not None:
            watch.end()
        if place.first_here:
            complain(str(error) or "interrupted")
        return 2 if place.first_here else 0
    comm = mpi.COMM_WORLD
    try:
        if watch is None:
            follow(comm)
            return 0
        return _lead(comm, watch, command)
    except mpi.Exception:
        _die()  # another rank has: rank 0's watch says so
    except Exception as error:
        if watch is not None:
            watch.end()
        complain(f"rank {place.rank}: {type(error).__name__}: {error}")
        return _abort(comm, 1)


def _lead(comm: Any, watch: Watch, command: Callable[[Job], int]) -> int:
    job, status = Job(comm), 0
    try:
        status = command(job)
    except SystemExit as end:  # --help, --version
        status = end.code if isinstance(end.code, int) else 0
    whole = job.end()
    watch.end()
    return status if whole else _abort(comm, status or 1)
