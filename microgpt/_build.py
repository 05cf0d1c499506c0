"""Builds the compiled core, microgpt._core, with cffi in API mode. setup.py names this file; nothing imports it.

The declarations are the marked part of csrc/microgpt.h, so the binding cannot drift from the header.
"""

import os
import sys
from pathlib import Path

from cffi import FFI

BEGIN, END = "/* [cffi begin] */", "/* [cffi end] */"

# Every addition rounds by itself (no fused multiply-add), and ** stays a call of the C library's pow, as in CPython.
# That no operation traps changes no number, and lets loops with a choice in them become vectors.
EXACT = ["-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-fno-builtin-pow"]
# CFLAGS with -g, as sanitizers and debuggers want it, are the builder's own: they say how far to optimize, and the
# symbols stay. Without symbols the core has a quarter of the size.
debug = "-g" in os.environ.get("CFLAGS", "").split()
COMPILE_ARGS = ["-std=c11", *([] if debug else ["-O3"]), *EXACT, "-fvisibility=hidden"]

root = Path(__file__).resolve().parent.parent
header = (root / "csrc" / "microgpt.h").read_text(encoding="utf-8")


def in_core(pattern: str) -> list[str]:
    """The files of csrc and its folders (tape, programs, kernels), relative to the checkout."""
    return sorted(path.relative_to(root).as_posix() for path in (root / "csrc").rglob(pattern))


ffibuilder = FFI()
ffibuilder.cdef(header[header.index(BEGIN) : header.index(END)])
ffibuilder.set_source(
    "microgpt._core",
    '#include "microgpt.h"',
    sources=in_core("*.c"),
    include_dirs=["csrc"],
    depends=["microgpt/_build.py", *in_core("*.h")],
    extra_compile_args=COMPILE_ARGS,
    extra_link_args=["-Wl,-s"] if sys.platform == "linux" and not debug else [],
    libraries=[] if sys.platform == "win32" else ["m"],
    py_limited_api=True,
)
