"""The course's block 2, first half: the documents, one a line."""

from __future__ import annotations

import codecs
import os
import zlib

from .errors import DataError

_NAMES = os.path.join(os.path.dirname(__file__), "names", "ssa2017.txt.gz")


def embedded_names() -> list[str]:
    """The 32,469 first names of the US Social Security list of 2017, in the shape of the course's file."""
    with open(_NAMES, "rb") as file:
        return documents(zlib.decompress(file.read(), wbits=31).decode("ascii"))


def read_documents(path: str | os.PathLike[str]) -> list[str]:
    """The documents of a UTF-8 text file; a byte order mark is dropped. DataError when there are none to be had."""
    try:
        with open(path, "rb") as file:
            raw = file.read()
    except OSError as error:
        raise DataError(f"cannot read {os.fspath(path)!r}: {error.strerror or error}") from error
    except ValueError as error:  # a name that no file can have
        raise DataError(f"cannot read {os.fspath(path)!r}: {error}") from error
    raw = raw.removeprefix(codecs.BOM_UTF8)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = len(_lines(raw[: error.start].decode("utf-8")))
        byte = raw[error.start]
        raise DataError(f"{path}, line {line}: byte 0x{byte:02x} is not UTF-8; save the file as UTF-8") from None
    docs = documents(text)
    if not docs:
        raise DataError(f"{path} holds no documents: give at least one line that is not blank")
    return docs


def documents(text: str) -> list[str]:
    """The lines of a text, stripped; blank ones are dropped."""
    return [stripped for line in _lines(text) if (stripped := line.strip())]


def _lines(text: str) -> list[str]:
    """What stands between line ends: LF, CR LF or CR, as in Python's text files."""
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
