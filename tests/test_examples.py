"""The examples run, do what they say, and are short."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.pages import ROOT

EXAMPLES = ROOT / "examples"

pytestmark = pytest.mark.skipif(not EXAMPLES.is_dir(), reason="the examples are in the checkout, not in the wheel")


def last_loss(most: float) -> Callable[[str], bool]:
    """Whether the last mean loss that was printed is below `most`: 3.3 is what a model of names begins with."""
    return lambda printed: float(re.findall(r"mean loss of the last: (.*)", printed)[-1]) < most


# The argument that each is run with, and what must hold of what it prints.
CASES: dict[str, tuple[str, Callable[[str], bool]]] = {
    "custom_operation": ("", lambda printed: re.findall(r"3\.407606 (.*)", printed).count(SOFTMAX) == 2),
    "layernorm_gelu": ("600", last_loss(2.7)),
    "makemore": ("600", last_loss(2.7)),
    "moons": ("100", lambda printed: int(re.findall(r"accuracy (\d+)%", printed)[-1]) >= 90),
    "poem": ("300", last_loss(1.5)),
    "record_and_replay": ("1000", lambda printed: "the same: True" in printed),
    "resume": ("101", lambda printed: "the same bytes: True" in printed and "step 50, " in printed),
    "tied_embeddings": ("600", last_loss(2.7)),
}
SOFTMAX = "[0.090031, 0.244728, 0.665241]"


@pytest.mark.parametrize("name", CASES)
def test_examples_run(name):
    argument, holds = CASES[name]
    command = [sys.executable, EXAMPLES / f"{name}.py", *argument.split()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert holds(done.stdout), done.stdout


def test_examples_are_short_and_say_what_they_show():
    files = sorted(EXAMPLES.glob("*.py"))
    assert [path.stem for path in files] == sorted(CASES)
    index = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    for path in files:
        text = path.read_text(encoding="utf-8")
        about = ast.get_docstring(ast.parse(text))
        assert len(text.splitlines()) <= 60, path
        assert f"python examples/{path.name}" in about, path
        assert "Prints" in about, path
        assert f"({path.name})" in index, path
