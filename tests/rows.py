"""Which rows of the table of kernels this processor can run, by what the system says of it and not the core; and tests
in each of them, in a process of its own, as a process takes one row for good."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

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


in_every_row = pytest.mark.parametrize("row", [*FLAGS, "neon"])
"""For a test with an argument `row`."""


def printed_in_row(row: str, function: Callable[[], None]) -> str:
    """What a function of a test's module prints, in a new process that is told to take this row of kernels. The process
    must end well in any case. Where the processor has no such row it takes its own choice, as all other tests do: the
    function is not called then, and the test skipped."""
    code = (
        "from microgpt.core import ffi, lib; name = ffi.string(lib.mg_kernels_name()).decode(); print(name)\n"
        f"if name == {row!r}: from {function.__module__} import {function.__name__}; {function.__name__}()"
    )
    environment = {**os.environ, "MICROGPT_KERNELS": row}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    name, _, printed = done.stdout.partition("\n")
    if name != row:
        assert not processor_has(row), "a row that this processor has did not run"
        pytest.skip(f"this processor has no row {row}")
    return printed
