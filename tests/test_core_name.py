"""The package's second name, microgpt_core, for programs that are called microgpt.py."""

import subprocess
import sys
import textwrap

import microgpt
import microgpt_core

USES = """
from microgpt_core import Value, record
import microgpt_core, microgpt_core.value, pickle, copy

assert microgpt_core.value.Value is Value
a = Value(2.0, label="a")
(a * 3 + 1).backward()
assert (a.grad, copy.copy(a).label, pickle.loads(pickle.dumps(a)).grad) == (3.0, "a", 3.0)
assert record(lambda x: x * x, 2.0)(3.0) == 9.0
print("used", microgpt_core.__version__)
"""


def run(directory, *arguments):
    done = subprocess.run([sys.executable, *arguments], cwd=directory, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_it_is_the_same_package():
    assert microgpt_core is microgpt
    assert sys.modules["microgpt_core.value"] is sys.modules["microgpt.value"]
    assert microgpt_core.Value is microgpt.Value


def test_a_script_of_that_name(tmp_path):
    """Whether it is run, or imported by another before or after microgpt_core is."""
    (tmp_path / "microgpt.py").write_text(USES + "mine = 5\n", encoding="utf-8")
    used = f"used {microgpt.__version__}\n"
    assert run(tmp_path, "microgpt.py") == used
    for order in ("import microgpt, microgpt_core", "import microgpt_core, microgpt"):
        script = f"{order}\nassert microgpt.mine == 5\nassert microgpt_core.Value(1.0).data == 1.0\n"
        assert run(tmp_path, "-c", textwrap.dedent(script)) == used


def test_any_other_script(tmp_path):
    (tmp_path / "other.py").write_text(USES + "import microgpt\nassert microgpt.Value is Value\n", encoding="utf-8")
    assert run(tmp_path, "other.py") == f"used {microgpt.__version__}\n"


def test_the_command(tmp_path):
    """python -m microgpt_core is python -m microgpt, also beside a script of that name."""
    options = ["--steps", "2", "--samples", "1"]
    expected = run(tmp_path, "-m", "microgpt", *options)
    assert expected.startswith("num docs: ")
    assert run(tmp_path, "-m", "microgpt_core", *options) == expected
    (tmp_path / "microgpt.py").write_text("raise SystemExit('the script')\n", encoding="utf-8")
    assert run(tmp_path, "-m", "microgpt_core", *options) == expected
