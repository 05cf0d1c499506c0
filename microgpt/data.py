"""The course's block 2, first half: the documents, one a line."""

from __future__ import annotations

import codecs
import contextlib
import os
import zlib

from .errors import DataError
from .files import read_file, replace_file

COURSE_URL = "https://raw.githubusercontent.com/karpathy/makemore/refs/heads/master/names.txt"
COURSE_SHA256 = "0a30b5557f192f32ab962680889aac5f6fda0f4cecf40a6d0b5694f58ea8cc4d"
_LONGEST = 1 << 20  # bytes of an answer; the file has 228,145
_NAMES = os.path.join(os.path.dirname(__file__), "names", "ssa2017.txt.gz")


def embedded_names() -> list[str]:
    """The 32,469 first names of the US Social Security list of 2017, in the shape of the course's file."""
    with open(_NAMES, "rb") as file:
        return documents(zlib.decompress(file.read(), wbits=31).decode("ascii"))


def course_names() -> list[str]:
    """The 32,033 names of the course's own file, makemore's names.txt.

    It is downloaded when this is first called, checked, and kept in the user's cache directory. DataError when it
    cannot be had, or is not the file that the course uses.
    """
    cached = os.path.join(_cache_directory(), "names.txt")
    try:
        with open(cached, "rb") as file:
            raw = file.read()
        if sha256(raw) == COURSE_SHA256:
            return documents(raw.decode("ascii"))
    except OSError:
        pass
    raw = _download(COURSE_URL)
    if (found := sha256(raw)) != COURSE_SHA256:
        raise DataError(
            f"{COURSE_URL} gave {len(raw):,} bytes that are not the course's file, with the SHA-256 {found}: "
            "the download broke off, or the file has changed; try again, or give a file with --data"
        )
    with contextlib.suppress(OSError):  # a cache that cannot be written is only slower
        os.makedirs(os.path.dirname(cached), exist_ok=True)
        replace_file(cached, raw)
    return documents(raw.decode("ascii"))


def _cache_directory() -> str:
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(base, "microgpt")


def _download(url: str) -> bytes:
    from http.client import HTTPException  # here, as few need them and they take long to import
    from urllib.request import urlopen

    try:
        with urlopen(url, timeout=30) as answer:
            raw: bytes = answer.read(_LONGEST)
    except (OSError, HTTPException, ValueError) as error:
        reason = str(getattr(error, "reason", error)).strip() or type(error).__name__
        raise DataError(f"cannot download {url}: {reason}; try again, or give a file with --data") from error
    return raw


def sha256(raw: bytes) -> str:
    """The SHA-256 of some bytes, in hexadecimal."""
    import hashlib  # here, as most runs need no digest

    return hashlib.sha256(raw).hexdigest()


def read_documents(path: str | os.PathLike[str]) -> list[str]:
    """The documents of a UTF-8 text file, or of a pipe; a byte order mark is dropped. DataError when there are none,
    for a device, and for more bytes than a quarter of the memory."""
    try:
        raw = read_file(path)
    except OSError as error:
        raise DataError(f"cannot read {os.fspath(path)!r}: {error.strerror or error}") from error
    except ValueError as error:  # a name that no file can have
        raise DataError(f"cannot read {os.fspath(path)!r}: {error}") from error
    if raw.startswith(codecs.BOM_UTF8):
        del raw[: len(codecs.BOM_UTF8)]
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
