"""Files that are whole at any moment."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import BinaryIO


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


def keep_whole_lines(path: str | os.PathLike[str]) -> None:
    """Take away what a file has after its last line, as a full disk leaves it; nothing of what is no ordinary file."""
    if not os.path.isfile(path):
        return
    with open(path, "rb+") as file:
        size = end = file.seek(0, os.SEEK_END)
        while end > 0 and _byte_before(file, end) != b"\n":
            end -= 1
        if end < size:
            file.truncate(end)


def _byte_before(file: BinaryIO, place: int) -> bytes:
    file.seek(place - 1)
    return file.read(1)
