"""The course's block 2, first half: the documents, one a line."""

from __future__ import annotations

import zlib
from importlib import resources
from pathlib import Path

from .errors import DataError


def embedded_names() -> list[str]:
    """The 32,469 first names of the US Social Security list of 2017, in the shape of the course's file."""
    packed = (resources.files(__package__) / "names" / "ssa2017.txt.gz").read_bytes()
    return documents(zlib.decompress(packed, wbits=31).decode("ascii"))


def read_documents(path: str | Path) -> list[str]:
    """The documents of a UTF-8 text file; a byte order mark is dropped. DataError when there are none to be had."""
    try:
        raw = Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        byte = raw[error.start]
        raise DataError(f"{path}, line {line}: byte 0x{byte:02x} is not UTF-8; save the file as UTF-8") from None
    docs = documents(text)
    if not docs:
        raise DataError(f"{path} holds no documents: give at least one line that is not blank")
    return docs


def documents(text: str) -> list[str]:
    """The lines of a text, stripped; blank ones are dropped."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return [stripped for line in lines if (stripped := line.strip())]
