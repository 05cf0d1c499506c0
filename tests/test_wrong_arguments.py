"""Every public name, called with wrong things, in other processes: see wrong_arguments.py, which CI runs whole."""

import subprocess
import sys
from pathlib import Path

import pytest

import microgpt

pytest.importorskip("resource", reason="processes are forked, and limited, where there is POSIX")
from . import wrong_arguments


def test_wrong_arguments():
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("wrong_arguments.py"), "--third"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout[-4000:] + done.stderr[-4000:]
    assert int(done.stdout.split()[-4]) > 2000


def test_every_public_name_is_called():
    """All functions and classes but errors, which are raised, and what cannot be made by hand."""
    source = Path(wrong_arguments.__file__).read_text(encoding="utf-8")
    errors = {name for name in microgpt.__all__ if name.endswith(("Error", "Warning"))}
    without = {"Program", "Drawing", "Step", "Trainable", "PRESETS"}  # arguments, or made by others
    without |= {"course_names", "embedded_names", "default_tape", "no_grad"}
    for name in set(microgpt.__all__) - errors - without:
        assert name in source, name


@pytest.mark.parametrize(
    ("kinds", "message", "sound", "wrong"),
    [
        ("", "", True, None),
        ("TypeError Exception", "the tape must be a Tape, not an int", True, None),
        ("AttributeError Exception", "it has no name", True, "is of no kind that is documented"),
        ("TypeError Exception", "a list has no _node", True, "speaks of the inside"),
        ("TypeError Exception", "", True, "is not a sentence"),
        ("died", "status 11", False, "did not come back, or left the library unfit"),
    ],
)
def test_the_verdict_can_fail(kinds, message, sound, wrong):
    assert wrong_arguments.fault({"kinds": kinds, "message": message, "sound": sound}) == wrong
