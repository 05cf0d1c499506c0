"""The exceptions of microgpt.

    MicrogptError
    |-- TapeError                 (RuntimeError)  the tape cannot do what was asked
    |   |-- StaleValueError                       the value was forgotten by a rewind
    |   |-- ForeignValueError                     the value is of another tape
    |   |-- OverwrittenError                      an operand was written before the sweep needed it
    |   |-- NotReplayableError                    a program cannot compute this value again
    |   |-- WrongThreadError                      the tape belongs to another thread
    |   |-- BusyTapeError                         the tape is in the middle of a call
    |   `-- ClosedTapeError                       the tape is closed
    |-- ShapeError                (ValueError)    sizes that do not fit together
    |-- ConfigError               (ValueError)    a setting that cannot work
    |-- DataError                 (ValueError)    a file of documents that cannot be used
    |-- ModelFileError            (ValueError)    a saved model that cannot be used
    |-- DistributedError          (RuntimeError)  ranks that cannot train together
    `-- DivergedError             (ArithmeticError)  training reached a loss that is not a finite number

    FrozenBranchWarning           (UserWarning)   a recorded function looked at a number, which a replay will not do

Arithmetic raises what Python's floats raise: ValueError, OverflowError, ZeroDivisionError. No memory is a MemoryError.
"""

from __future__ import annotations


class MicrogptError(Exception):
    """Base of all exceptions that microgpt defines."""


class TapeError(MicrogptError, RuntimeError):
    """The tape cannot do what was asked."""


class StaleValueError(TapeError):
    """The value is no longer on its tape: it was recorded after a mark that the tape was rewound to."""


class ForeignValueError(TapeError):
    """Values of two tapes were used in one operation."""


class OverwrittenError(TapeError):
    """An operand's data was written between recording and backward(): the partials of a sum of products are gone."""


class NotReplayableError(TapeError):
    """A value with children and local_grads of one's own was recorded into a program."""


class WrongThreadError(TapeError):
    """The tape belongs to another thread."""


class BusyTapeError(TapeError):
    """The tape is in the middle of a call in another thread, which did not end within a tenth of a second."""


class ClosedTapeError(TapeError):
    """The tape is closed."""


class ShapeError(MicrogptError, ValueError):
    """Sizes do not fit together."""


class ConfigError(MicrogptError, ValueError):
    """A setting cannot work; the message names it."""


class DataError(MicrogptError, ValueError):
    """A file of documents cannot be used; the message names the file, and the line if there is one."""


class ModelFileError(MicrogptError, ValueError):
    """A file does not hold a model that was saved here, or not one that fits; the message names the file."""


class DistributedError(MicrogptError, RuntimeError):
    """The ranks of a training cannot go on together; the message names the rank, and what is wrong with it."""


class FrozenBranchWarning(UserWarning):
    """A function that is being recorded compared Values, asked for the truth of one, or read `data`."""


class DivergedError(MicrogptError, ArithmeticError):
    """Training reached a loss that is not a finite number, or parameters that nothing can be sampled from."""

    step: int | None
    """The number of the step, counted from 1; the parameters are those before it. None when sampling."""

    def __init__(self, message: str, step: int | None) -> None:
        super().__init__(message)
        self.step = step
