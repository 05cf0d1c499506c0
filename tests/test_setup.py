"""setup.py: what is said where the core cannot be built."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parent.parent
if not (CHECKOUT / "setup.py").exists():
    pytest.skip("these tests are of the checkout", allow_module_level=True)
pytest.importorskip("setuptools", minversion="77", reason="pip brings it along, and does not keep it")
WITHOUT_HEADERS = """
import runpy, sys, sysconfig
before = sysconfig.get_path
sysconfig.get_path = lambda name, *rest: "/nowhere" if "include" in name else before(name, *rest)
sys.argv = ["setup.py", "build_ext"]
runpy.run_path("setup.py", run_name="__main__")
"""


@pytest.mark.parametrize(
    ("options", "compiler", "said"),
    [
        (["setup.py", "build_ext"], "no-such-compiler", "there is no compiler 'no-such-compiler' here: install one"),
        (["-c", WITHOUT_HEADERS], None, "there is no Python.h in /nowhere, which"),
    ],
    ids=["no compiler", "no headers"],
)
def test_what_is_missing(tmp_path, options, compiler, said):
    """One sentence, and no traceback."""
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(CHECKOUT / name, tmp_path)
    for name in ("csrc", "microgpt", "microgpt_core"):
        shutil.copytree(CHECKOUT / name, tmp_path / name, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    environment = os.environ | ({"CC": compiler} if compiler else {})
    done = subprocess.run(
        [sys.executable, *options], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert said in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
