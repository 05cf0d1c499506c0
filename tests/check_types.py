"""Type-checks what users write, with mypy and pyright: the README's snippets, and the programs in tests/users.

    python tests/check_types.py

It is against the microgpt that this Python finds, so that a wheel and an editable install can both be asked; the files
are checked away from the checkout. wrong.py proves that the types say something: exactly its marked lines are refused.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
CHECKERS = {
    "mypy": [sys.executable, "-m", "mypy", "--strict", "--allow-untyped-defs", "--allow-untyped-calls"],
    "pyright": [sys.executable, "-m", "pyright", "--pythonpath", sys.executable],
}


def snippets() -> list[str]:
    """The README's pieces of Python."""
    return re.findall(r"```python\n(.*?)```", (HERE.parent / "README.md").read_text(encoding="utf-8"), re.DOTALL)


def refused(checker: str, directory: Path) -> tuple[set[tuple[str, int]], str]:
    """File and line of each error, and all that the checker said."""
    files = sorted(path.name for path in directory.glob("*.py"))
    settings = os.environ | {"PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}
    done = subprocess.run(
        [*CHECKERS[checker], *files], cwd=directory, capture_output=True, text=True, check=False, env=settings
    )
    if done.returncode not in (0, 1):
        raise SystemExit(f"{checker} did not run: {done.stdout}{done.stderr}")
    errors = re.findall(r"(\w+\.py):(\d+)(?::\d+)?(?: -|:) error", done.stdout)
    return {(file, int(line)) for file, line in errors}, done.stdout


def main() -> int:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        for path in (HERE / "users").glob("*.py"):
            shutil.copy(path, directory)
        for number, text in enumerate(snippets(), 1):
            (directory / f"readme{number}.py").write_text(text, encoding="utf-8")
        planted = (directory / "wrong.py").read_text(encoding="utf-8").splitlines()
        expected = {("wrong.py", number) for number, line in enumerate(planted, 1) if line.endswith("# wrong")}
        status = 0
        for checker in CHECKERS:
            found, said = refused(checker, directory)
            if found == expected:
                print(f"{checker}: {len(list(directory.glob('*.py')))} files are as they should be")
                continue
            status = 1
            for file, line in sorted(expected - found):
                print(f"{checker}: {file}, line {line} is not refused")
            for file, line in sorted(found - expected):
                print(f"{checker}: {file}, line {line} is refused")
            print(said)
    return status


if __name__ == "__main__":
    sys.exit(main())
