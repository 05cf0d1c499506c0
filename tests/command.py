"""What the tests of the command line have in common."""

import json
import os
import re
import subprocess
import sys

import pytest

DOCS = ["ab", "bà", "abc", "caab"]
SETTINGS = {"n_embd": 4, "n_head": 2, "block_size": 4, "steps": 5, "samples": 3}
OPTIONS = [text for name, value in SETTINGS.items() for text in (f"--{name.replace('_', '-')}", str(value))]
TINY = [*OPTIONS, "--data", "docs.txt"]

not_on_windows = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and pipes")


def directory_with_files(tmp_path, monkeypatch):
    """Goes to a directory that holds some files."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs.txt").write_text("".join(f"{doc}\n" for doc in DOCS), encoding="utf-8")
    (tmp_path / "empty.txt").write_bytes(b"")
    (tmp_path / "blank.txt").write_bytes(b"\n  \n")
    (tmp_path / "latin1.txt").write_bytes(b"ab\nb\xe0\n")
    return tmp_path


def command(*arguments, **options):
    """`python -m microgpt` in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "microgpt", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env=os.environ | {"PYTHONIOENCODING": "utf-8"} | options,
    )


def one_line(text):
    """Whether this is one line of ours."""
    return re.fullmatch(r"microgpt: [^\n]+\n", text) is not None


def lines_of(config, result):
    """What the course's script prints for a run of the oracle."""
    count = len(result.parameters)
    yield from (f"num docs: {len(DOCS)}", f"vocab size: {result.vocab_size}", f"num params: {count}")
    for number, loss in enumerate(result.losses, 1):
        yield f"step {number:4d} / {config.steps:4d} | loss {loss:.4f}"
    yield from ("", "--- inference ---")
    for index, text in enumerate(result.samples, 1):
        yield f"sample {index:2d}: {text}"


def read_log(path):
    """The events of a log: whole lines, each a JSON object."""
    text = path.read_text(encoding="utf-8")
    assert text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]
