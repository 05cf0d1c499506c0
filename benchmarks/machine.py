"""What the figures of a run were measured on."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

from microgpt.core import ffi, lib

# What the kernels can use, in the names of /proc/cpuinfo; AArch64 calls its vectors asimd.
USED = ("sse2", "avx", "avx2", "fma", "avx512f", "avx512dq", "avx512vl", "avx512bw", "asimd", "sve")


def _cpuinfo() -> dict[str, str]:
    """The first processor's lines, where the system has such a file."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().split("\n\n")[0].splitlines() if path.exists() else []
    return {name.strip(): text.strip() for name, _, text in (line.partition(":") for line in lines)}


def _compiler() -> str:
    try:
        done = subprocess.run(["cc", "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "no cc"
    return done.stdout.splitlines()[0]


def description() -> dict[str, str]:
    """The processor and what it can do, the row of kernels that runs, the C library, the compiler, Python."""
    cpuinfo = _cpuinfo()
    flags = (cpuinfo.get("flags") or cpuinfo.get("Features") or "").split()
    name = cpuinfo.get("model name") or platform.processor() or platform.machine()
    numbers = [
        f"{what} {cpuinfo[key]}" for what, key in (("family", "cpu family"), ("model", "model")) if key in cpuinfo
    ]
    return {
        "processor": ", ".join([name, *numbers, f"{os.cpu_count()} cores"]),
        "vectors": " ".join(flag for flag in USED if flag in flags) or "unknown",
        "kernels": ffi.string(lib.mg_kernels_name()).decode(),
        "C library": " ".join(platform.libc_ver()).strip() or platform.system(),
        "cc": _compiler(),
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
    }
