"""The course's program in C with gradients by hand, from benchmarks/: compiled, and called from Python."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

SOURCES = Path(__file__).resolve().parent.parent / "benchmarks"
TUNED = ["-march=native", "-fno-math-errno"]  # on top of a plain `cc -O3`


def compiled(name: str, directory: Path, n_embd: int, block_size: int, options: Sequence[str]) -> Any:
    """The library of benchmarks/NAME.c; skips the test where there is no compiler, or no source beside the tests."""
    compiler, source = shutil.which("cc"), SOURCES / f"{name}.c"
    if compiler is None:
        pytest.skip("there is no C compiler")
    if not source.exists():
        pytest.skip(f"{source.name} is in the checkout only")
    library = directory / f"{name}.so"
    macros = [f"-DN_EMBD={n_embd}", f"-DBLOCK={block_size}"]
    command = [compiler, "-O3", "-shared", "-fPIC", *options, *macros, str(source), "-lm", "-o", str(library)]
    subprocess.run(command, check=True)
    return ctypes.CDLL(str(library))


def flattened(documents: Sequence[Sequence[int]]) -> tuple[Any, Any]:
    """All tokens, and where each document starts, as C takes them."""
    tokens, starts = array("i"), array("i", [0])
    for document in documents:
        tokens.extend(document)
        starts.append(len(tokens))
    return tuple((ctypes.c_int * len(numbers)).from_buffer(numbers) for numbers in (tokens, starts))


class Exact:
    """A training by by_hand_exact.c, of the course's model with the given numbers as parameters."""

    def __init__(
        self,
        directory: Path,
        n_embd: int,
        block_size: int,
        parameters: Sequence[float],
        documents: Sequence[Sequence[int]],
        total: int,
        learning_rate: float,
        options: Sequence[str] = (),
    ) -> None:
        exact = ["-ffp-contract=off", "-fno-builtin-pow", *options]
        self._library = compiled("by_hand_exact", directory, n_embd, block_size, exact)
        self._count, self._total = len(parameters), total
        self._documents = (*flattened(documents), len(documents))
        self._library.begin((ctypes.c_double * self._count)(*parameters), ctypes.c_double(learning_rate))

    def take(self, steps: int) -> list[float]:
        """So many more steps of the total, which the learning rate depends on; their losses."""
        losses = (ctypes.c_double * steps)()
        self._library.train(*self._documents, steps, self._total, losses)
        return list(losses)

    def parameters(self) -> list[float]:
        """In the order of the course's matrices."""
        numbers = (ctypes.c_double * self._count)()
        self._library.parameters(numbers)
        return list(numbers)
