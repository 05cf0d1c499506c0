"""The examples run, learn, and are short."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))


@pytest.mark.skipif(not EXAMPLES, reason="the examples are in the checkout, not in the wheel")
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 60
    done = subprocess.run([sys.executable, path, "600"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    line = next(line for line in done.stdout.splitlines() if line.startswith("600 steps"))
    assert float(line.rpartition(" ")[2]) < 2.7  # 3.3 is what knows nothing
