"""The compiled core: the only module that imports it, and what its statuses are in Python.

`lib` has the functions of csrc/microgpt.h, and `ffi` is cffi's.
"""

from __future__ import annotations

import os
import sys
import warnings

from . import errors

try:
    from ._core import ffi as ffi
    from ._core import lib as lib
except ImportError as error:
    _why = "the C core of microgpt is not built for this Python; in a checkout, run: pip install ."
    if error.name == "_cffi_backend":
        _why = "the C core of microgpt needs the package cffi; run: pip install cffi"
    if sys.argv[:1] == ["-m"]:  # `python -m microgpt`, which is about to begin: one line for whoever typed it
        raise SystemExit(f"microgpt: {_why}") from None
    raise ImportError(_why) from None

if (_wanted := os.environ.get("MICROGPT_KERNELS")) and ffi.string(lib.mg_kernels_name()).decode() != _wanted:
    warnings.warn(
        f"MICROGPT_KERNELS is {_wanted!r}, which this processor has no kernels of: "
        f"it computes with {ffi.string(lib.mg_kernels_name()).decode()}",
        RuntimeWarning,
        stacklevel=2,
    )

NONE: int = lib.MG_NONE

_EXCEPTIONS: dict[int, type[BaseException]] = {
    lib.MG_NO_MEMORY: MemoryError,
    lib.MG_STALE: errors.StaleValueError,
    lib.MG_WRONG_THREAD: errors.WrongThreadError,
    lib.MG_CLOSED: errors.ClosedTapeError,
    lib.MG_BUSY: errors.BusyTapeError,
    lib.MG_SHAPE: errors.ShapeError,
    lib.MG_OPERATION: errors.TapeError,
    lib.MG_OVERWRITTEN: errors.OverwrittenError,
    lib.MG_NOT_REPLAYABLE: errors.NotReplayableError,
    lib.MG_NOT_FINITE: ArithmeticError,
    lib.MG_DOMAIN: ValueError,
    lib.MG_RANGE: OverflowError,
    lib.MG_POWER_RANGE: OverflowError,
    lib.MG_POWER_ZERO: ZeroDivisionError,
    lib.MG_POWER_COMPLEX: ValueError,
    lib.MG_DIVISION: ZeroDivisionError,
    lib.MG_INTERRUPTED: KeyboardInterrupt,
}


def check(status: int) -> None:
    """Raise the exception that belongs to a status of the core, if it is not MG_OK."""
    if status != lib.MG_OK:
        raise _EXCEPTIONS[status](ffi.string(lib.mg_status_text(status)).decode())


def error_of(status: int) -> Exception | None:
    """The exception that belongs to a status; None for MG_OK."""
    try:
        check(status)
    except (ArithmeticError, ValueError, MemoryError, errors.MicrogptError) as error:
        return error
    return None
