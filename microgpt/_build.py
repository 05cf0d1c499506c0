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

# Calls that take a few nanoseconds, and are made for every operation of a Value. cffi gives up the interpreter's lock
# around each call and takes it again, which takes longer than these do; so they keep it, unless they would have to wait
# for another thread's call on the tape, their first argument.
BRIEF = ["leaf", "unary", "unary_with", "binary", "binary_with", "add", "mul"]
BRIEF += ["value", "adjoint", "set_value", "set_adjoint", "lane_operation"]
IS_BRIEF = " || ".join(f'!strcmp(function, "_cffi_f_mg_{name}")' for name in BRIEF)

# What cffi writes for a call is made of these macros. The core leaves errno alone, and nobody asks for it. Ids are
# Python integers nearly always, which Python itself turns into C's sooner than cffi's general function does.
SOURCE = f"""
#include <string.h>

#include "microgpt.h"

static void *const x0 = NULL; /* for calls without an argument, and were cffi to name arguments otherwise */
__attribute__((always_inline)) static inline bool keeps_lock(const char *function, uintptr_t tape) {{
    return tape != 0 && ({IS_BRIEF}) && !mg_tape_would_wait((mg_tape *)tape);
}}
#undef Py_BEGIN_ALLOW_THREADS
#undef Py_END_ALLOW_THREADS
#define Py_BEGIN_ALLOW_THREADS \\
    {{ PyThreadState *const lock = keeps_lock(__func__, (uintptr_t)x0) ? NULL : PyEval_SaveThread();
#define Py_END_ALLOW_THREADS \\
    if (lock != NULL) PyEval_RestoreThread(lock); }}

#undef _cffi_restore_errno
#undef _cffi_save_errno
#define _cffi_restore_errno() ((void)0)
#define _cffi_save_errno() ((void)0)

static uint64_t any_to_u64(PyObject *number) {{ return _cffi_to_c_u64(number); }}
#undef _cffi_to_c_u64
#define _cffi_to_c_u64(number) \\
    (PyLong_CheckExact(number) ? PyLong_AsUnsignedLongLong(number) : any_to_u64(number))
"""


def in_core(pattern: str) -> list[str]:
    """The files of csrc and its folders (tape, programs, kernels), relative to the checkout."""
    return sorted(path.relative_to(root).as_posix() for path in (root / "csrc").rglob(pattern))


ffibuilder = FFI()
ffibuilder.cdef(header[header.index(BEGIN) : header.index(END)])
ffibuilder.set_source(
    "microgpt._core",
    SOURCE,
    sources=in_core("*.c"),
    include_dirs=["csrc"],
    depends=["microgpt/_build.py", *in_core("*.h")],
    extra_compile_args=COMPILE_ARGS,
    extra_link_args=["-Wl,-s"] if sys.platform == "linux" and not debug else [],
    libraries=[] if sys.platform == "win32" else ["m"],
    py_limited_api=True,
)
