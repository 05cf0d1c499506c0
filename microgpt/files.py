"""Files that are whole at any moment."""

from __future__ import annotations

import os
from contextlib import suppress


def replace_file(path: str | os.PathLike[str], raw: bytes) -> None:
    """The bytes take the place of a file, at once: a kill or a full disk at any moment leaves the old or the new.

    OSError when that fails, with nothing left beside it.
    """
    name = os.fspath(path)
    beside = f"{name}.tmp"
    try:
        with open(beside, "wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, name)
    except BaseException:
        with suppress(OSError):
            os.remove(beside)
        raise
