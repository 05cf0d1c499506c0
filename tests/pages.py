"""The code in the pages of the documentation, and what it prints: for the tests that run it word by word.

A block of Python, or of commands that begin with `$`, is followed by a block named `output` with what it prints; one
that prints nothing is followed by none.
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parent.parent
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """Fenced code: what it is, its text, and its first line in the page."""

    kind: str
    text: str
    line: int


def blocks(path: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    page = path.read_text(encoding="utf-8")
    found = [Block(m[1], m[2], page.count("\n", 0, m.start(2)) + 1) for m in FENCE.finditer(page)]
    fences = re.findall(r"^ *```", page, re.MULTILINE)
    assert len(fences) == 2 * len(found), f"{path.name}: a fence that does not close, or is indented"
    return found


def run_python(block: Block, path: Path, names: dict[str, Any]) -> str:
    """Run a block of Python in a namespace; what it prints. A traceback names the page and the line."""
    code = compile("\n" * (block.line - 1) + block.text, str(path), "exec", dont_inherit=True)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(code, names)
    return printed.getvalue()


def run_command(command: str) -> str:
    """Run a command line with this Python as `python`; what it prints."""
    words = [sys.executable if word == "python" else word for word in shlex.split(command)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stderr}"
    return done.stdout


def run(path: Path) -> list[tuple[Block, str, str]]:
    """Run all blocks of a page in the working directory, those of Python in one namespace.

    Of each its block, what it printed, and what the page says that it prints.
    """
    names: dict[str, Any] = {"__name__": "__main__"}
    results, page = [], blocks(path)
    for before, block, after in zip([None, *page], page, [*page[1:], None]):
        if block.kind == "python":
            printed = run_python(block, path, names)
        elif block.kind == "console":
            commands = re.findall(r"^\$ (.*)$", block.text, re.MULTILINE)
            printed = "".join(map(run_command, commands))
        else:
            shown = block.kind == "output" and before is not None and before.kind in ("python", "console")
            assert shown or block.kind in ("text", "mermaid"), f"{path.name}, line {block.line}: of no code"
            continue
        results.append((block, printed, after.text if after is not None and after.kind == "output" else ""))
    return results
