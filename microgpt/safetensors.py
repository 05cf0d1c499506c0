"""The safetensors format: named tensors in one file, a JSON header before their numbers.

https://huggingface.co/docs/safetensors says what the format is. Written here rather than by its library, as that gives
the texts of the metadata another order in every process, and a file here has one form, byte for byte. What is read is
checked before it is used: a file from elsewhere can do nothing but fail.
"""

from __future__ import annotations

import json
import math
import sys
from array import array
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

from .errors import ModelFileError

TYPES = {"F64": "d", "F32": "f"}
LONGEST_HEADER = 1 << 24


class Tensor(NamedTuple):
    """Numbers of a type, "F64" or "F32", in the order of rows."""

    type: str
    shape: tuple[int, ...]
    numbers: array[float]


def tensor(numbers: Sequence[float], shape: Sequence[int], type_: str) -> Tensor:
    """Some numbers as a tensor."""
    return Tensor(type_, tuple(shape), array(TYPES[type_], numbers))


def to_bytes(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """The file of some tensors, which it holds in their order, without holes."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    parts, end = [], 0
    for name, (type_, shape, numbers) in tensors.items():
        if sys.byteorder == "big":
            numbers = numbers[:]
            numbers.byteswap()
        parts.append(numbers.tobytes())
        begin, end = end, end + len(parts[-1])
        header[name] = {"dtype": type_, "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode("ascii")
    text += b" " * (-len(text) % 8)
    return b"".join([len(text).to_bytes(8, "little"), text, *parts])


def from_bytes(raw: bytes | bytearray) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a file, and its metadata. ModelFileError, with a sentence without a subject, when it is not what
    the format says, or has anything but finite numbers."""
    length = int.from_bytes(raw[:8], "little")
    if len(raw) < 8 or length > len(raw) - 8:
        raise ModelFileError("is cut short, or no safetensors file")
    if length > LONGEST_HEADER:
        raise ModelFileError(f"has a header of {length:,} bytes, which none of a model here has")
    header = _header(raw[8 : 8 + length])
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        raise ModelFileError("has metadata that are not texts")
    tensors, end, data = {}, 0, memoryview(raw)[8 + length :]
    for name, entry in sorted(header.items(), key=_begin):
        tensors[name], end = _tensor(name, entry, data, end)
    if end != len(data):
        raise ModelFileError("is cut short, or has bytes that belong to no tensor")
    return tensors, metadata


def _header(raw: bytes | bytearray) -> dict[str, Any]:
    def pairs(entries: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(entries)) < len(entries):
            raise ValueError("two entries of one name")
        return dict(entries)

    def constant(text: str) -> NoReturn:
        raise ValueError(f"a number {text}")

    try:
        header = json.loads(raw.decode("utf-8"), object_pairs_hook=pairs, parse_constant=constant)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"has a header that cannot be read: {str(error)[:80]}") from None
    if not isinstance(header, dict):
        raise ModelFileError("has a header that is not a JSON object")
    return header


def _is_count(number: Any) -> bool:
    return type(number) is int and 0 <= number < 1 << 48


def _begin(item: tuple[str, Any]) -> tuple[int, int]:
    name, entry = item
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise ModelFileError(f"does not say of {name[:40]!r} what type, shape and place it has")
    offsets = entry["data_offsets"]
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(map(_is_count, offsets)):
        raise ModelFileError(f"does not say where the numbers of {name[:40]!r} are")
    return offsets[0], offsets[1]


def _tensor(name: str, entry: dict[str, Any], data: memoryview, end: int) -> tuple[Tensor, int]:
    """The tensor that begins where the one before ended, and its end."""
    type_, shape, (begin, last) = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(type_, str) or type_ not in TYPES:
        raise ModelFileError(f"has numbers of the type {str(type_)[:10]!r} in {name[:40]!r}, not {' or '.join(TYPES)}")
    if not isinstance(shape, list) or len(shape) > 8 or not all(map(_is_count, shape)):
        raise ModelFileError(f"has a shape of {name[:40]!r} that is not a list of sizes")
    numbers: array[float] = array(TYPES[type_])
    if begin != end or last > len(data) or last - begin != math.prod(shape) * numbers.itemsize:
        raise ModelFileError(f"is cut short, or its sizes do not fit together, at {name[:40]!r}")
    numbers.frombytes(data[begin:last])
    if sys.byteorder == "big":
        numbers.byteswap()
    if not all(map(math.isfinite, numbers)):
        raise ModelFileError(f"has numbers in {name[:40]!r} that are not finite")
    return Tensor(type_, tuple(shape), numbers), last
