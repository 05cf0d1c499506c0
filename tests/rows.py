"""Which rows of the table of kernels this processor can run, by what the system says of it and not the core."""

from __future__ import annotations

import platform
from pathlib import Path

FLAGS = {"plain": "", "avx2": "avx2 fma", "avx512": "avx512f avx512dq avx512vl avx512bw"}


def processor_has(row: str) -> bool:
    """Whether it is known to."""
    machine = platform.machine().lower()
    if row == "neon":
        return machine in ("aarch64", "arm64")
    cpuinfo = Path("/proc/cpuinfo")
    if row == "plain" or machine not in ("x86_64", "amd64") or not cpuinfo.exists():
        return row == "plain"
    found = next((line for line in cpuinfo.read_text().splitlines() if line.startswith("flags")), "").split()
    return set(FLAGS[row].split()) <= set(found)
