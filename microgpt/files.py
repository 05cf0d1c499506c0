"""Files that are whole at any moment, and files that end."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from typing import BinaryIO

_CHUNK = 1 << 20
_OF_CONTAINERS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def memory() -> int:
    """The bytes of memory that this machine has, or this container may take."""
    try:
        most = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # a system that does not say
        most = 1 << 34
    for path in _OF_CONTAINERS:
        with suppress(OSError, ValueError), open(path, encoding="ascii") as file:
            most = min(most, int(file.read()))
    return most


def read_file(path: str | os.PathLike[str]) -> bytearray:
    """All bytes of a file, or of a pipe or a terminal until its end.

    OSError when it cannot be read, is another device, which may have no end, or larger than a quarter of the memory:
    what is made of the bytes takes several times their size.
    """
    raw, most = bytearray(), memory() // 4
    with open(path, "rb") as file:
        about = os.fstat(file.fileno())
        if (stat.S_ISCHR(about.st_mode) or stat.S_ISBLK(about.st_mode)) and not file.isatty():
            raise OSError(errno.EINVAL, "it is a device, and neither a file nor a pipe")
        if about.st_size > most:
            few = f"no more than {most:,} of them, a quarter of this machine's memory, are read"
            raise OSError(errno.EFBIG, f"it has {about.st_size:,} bytes, and {few}")
        while chunk := file.read(_CHUNK):
            raw += chunk
            if len(raw) > most:
                raise OSError(errno.EFBIG, f"it has more than {most:,} bytes, a quarter of this machine's memory")
    return raw


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
    except BaseException as error:
        with suppress(OSError):
            os.remove(beside)
        if isinstance(error, OSError):
            error.filename = name  # which the caller knows
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
