"""What users write runs: the README's pieces of Python and its commands, and the programs in tests/users.

check_types.py has them checked by mypy and pyright.
"""

import runpy
import shlex
from pathlib import Path

import pytest

from microgpt.cli.main import parsed

from .check_types import HERE, snippets

README = (HERE.parent / "README.md").read_text(encoding="utf-8")
COMMANDS = [line.strip() for line in README.splitlines() if line.startswith("    python -m microgpt")]


@pytest.mark.parametrize("number", range(len(snippets())))
def test_snippets(number, capsys):
    """Each stands by itself."""
    exec(compile(snippets()[number], f"README.md, snippet {number + 1}", "exec"), {"__name__": "snippet"})


@pytest.mark.parametrize("program", ["names", "neuron", "bigram"])
def test_programs(program, capsys):
    runpy.run_path(str(Path(__file__).parent / "users" / f"{program}.py"), run_name="__main__")
    assert capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS)
def test_commands(command):
    """The options of each are options that there are."""
    parsed(shlex.split(command)[3:])


def test_there_is_something_to_run():
    assert len(snippets()) >= 4
    assert len(COMMANDS) >= 6
