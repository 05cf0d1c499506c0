"""Equality of bits: what the tests compare with. 0.0 and -0.0 differ, and a NaN equals itself."""

from __future__ import annotations

import struct
from collections.abc import Iterable


def bits(x: float) -> bytes:
    """The eight bytes of a float64; all NaNs are one, as their payload depends on the processor."""
    return struct.pack("<d", x) if x == x else b"nan"


def all_bits(numbers: Iterable[float]) -> list[str]:
    """The numbers in hexadecimal, exact and readable when a comparison fails."""
    return [float(x).hex() if x == x else "nan" for x in numbers]
