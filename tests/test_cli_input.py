"""microgpt.cli: what is wrong is answered in one line, in the words of the command line."""

import json
import os
import resource
import subprocess
import sys
from functools import partial

import pytest

from .command import DOCS, OPTIONS, SETTINGS, TINY, command, directory_with_files, one_line


@pytest.fixture(autouse=True)
def directory(tmp_path, monkeypatch):
    """All tests run in a directory of their own that holds some files."""
    return directory_with_files(tmp_path, monkeypatch)


BAD_INPUT = [
    (["--nope"], "--nope"),
    (["--nope", "3"], "--nope"),
    (["--step=3"], "--step"),
    (["sing"], "sing"),
    (["train", "train"], "train"),
    (["--a\nb"], "--a"),
    (["--steps"], "--steps"),
    (["--temperature", "-inf"], "--temperature"),
    *(([option, "many"], option) for option in OPTIONS[::2]),
    *(([option, ""], option) for option in ("--steps", "--temperature")),
    (["--steps", "1.5"], "--steps"),
    (["--temperature", "warm"], "--temperature"),
    (["--preset", "none"], "--preset"),
    (["--engine", "gpu"], "--engine"),
    (["--mode", "quick"], "--mode"),
    (["--mode", "fast", "--engine", "span"], "--mode fast"),
    (["--mode", "fast", "--engine", "eager"], "--mode fast"),
    (["--n-head", "3"], "--n-head"),
    *(([f"--{name}=0"], f"--{name}") for name in ("n-embd", "n-head", "n-layer", "block-size", "batch-size")),
    *(([f"--{name.replace('_', '-')}=-1"], f"--{name.replace('_', '-')}") for name in (*SETTINGS, "learning_rate")),
    *(
        ([f"--{name}=-1"], f"--{name}")
        for name in ("n-layer", "temperature", "warmup", "momentum", "weight-decay", "std")
    ),
    (["--batch-size", "10000000000"], "--batch-size"),
    (["--optimizer", "none"], "--optimizer"),
    (["--decay", "none"], "--decay"),
    *(([f"--temperature={value}"], "temperature") for value in ("0", "-0.0", "nan", "inf", "1e-320", "1e999")),
    *(([f"--learning-rate={value}"], "--learning-rate") for value in ("nan", "-inf")),
    (["--data", "missing.txt"], "missing.txt"),
    (["--data", "missing/docs.txt"], "missing/docs.txt"),
    (["--data", "a\nb.txt"], "b.txt"),
    (["--data", ""], "cannot read"),
    (["--data", "."], "directory"),
    (["--data", "empty.txt"], "empty.txt"),
    (["--data", "blank.txt"], "blank.txt"),
    (["--data", "latin1.txt"], "latin1.txt, line 2: byte 0xe0"),
]


@pytest.mark.parametrize(("words", "named"), BAD_INPUT, ids=[" ".join(words) for words, _ in BAD_INPUT])
def test_bad_input(run, directory, words, named):
    """Bad input is one line on standard error that names it, and status 2; no log is made, or emptied."""
    (directory / "old.jsonl").write_text("kept")
    before = sorted(directory.iterdir())
    for log in ("old.jsonl", "new.jsonl"):
        status, out, err = run(*TINY, "--log", log, *words)
        assert (status, out, one_line(err)) == (2, "", True), err
        assert named in err
    assert sorted(directory.iterdir()) == before
    assert (directory / "old.jsonl").read_text() == "kept"


@pytest.mark.parametrize("words", [["--nope"], ["--n-head", "3"], ["--data", "latin1.txt"]], ids=" ".join)
def test_bad_input_in_a_process(words):
    """The exit status of the process is 2, and the interpreter adds nothing to the one line."""
    process = command(*TINY, *words)
    out, err = process.communicate()
    assert (process.returncode, out, one_line(err)) == (2, "", True), err


@pytest.mark.parametrize("log", ["missing/run.jsonl", ".", "", "docs.txt", "./docs.txt", "link.txt"])
def test_bad_log(run, directory, log):
    """A log that cannot be written, or that is the data, is refused before anything is done or lost."""
    if log == "link.txt":
        os.link("docs.txt", log)
    before = sorted(directory.iterdir())
    status, out, err = run(*TINY, "--log", log)
    assert (status, out, one_line(err)) == (2, "", True), err
    assert log in err
    assert sorted(directory.iterdir()) == before
    assert (directory / "docs.txt").read_text(encoding="utf-8").split() == DOCS


def test_full_disk(directory):
    """What a log could not take of an event is not in it."""
    done = subprocess.run(
        [sys.executable, "-m", "microgpt", *TINY, "--steps", "1000", "--log", "run.jsonl"],
        capture_output=True,
        text=True,
        preexec_fn=partial(resource.setrlimit, resource.RLIMIT_FSIZE, (2000, 2000)),
    )
    assert (done.returncode, one_line(done.stderr)) == (2, True)
    assert "run.jsonl: File too large" in done.stderr
    log = (directory / "run.jsonl").read_text()
    assert 1900 < len(log) < 2000
    first, *rest = [json.loads(line)["event"] for line in log.splitlines()]
    assert (first, set(rest), log[-2:]) == ("run", {"step"}, "}\n")


HINTS = {
    "smaple run": "there is no command 'smaple'; is it sample?",
    "trian": "there is no command 'trian'; is it train?",
    "help": "there is no command 'help': there are train, ",
    "--steps 5 sample": "the command sample stands before its options",
    "--stpes 5": "there is no option --stpes; is it --steps?",
    "--learning_rate=1": "there is no option --learning_rate; is it --learning-rate?",
    "--n_embd 8": "there is no option --n_embd; is it --n-embd?",
    "--top-k 3": "--top-k is an option of sample",
    "train --text a": "--text is an option of report",
    "sample run --steps=3": "--steps is an option of train",
    "sample --hlep": "there is no option --hlep; is it --help?",
    "sample run --tempreature 1": "there is no option --tempreature; is it --temperature?",
    "eval run --jsno": "there is no option --jsno; is it --json?",
    "graph a a=1 --output x.dot": "there is no option --output",
    "--steps 5 words": "there is no command 'words': there are train, ",
    "--steps 5 extra words": "there is one word too many: words",
    "smaple run --prompt x": "there is no command 'smaple'; is it sample?",
    "train extra": "there is one word too many: extra",
}


@pytest.mark.parametrize("line", HINTS)
def test_hints(run, line):
    status, out, err = run(*line.split())
    assert (status, out, one_line(err)) == (2, "", True)
    assert err.startswith(f"microgpt: {HINTS[line]}"), err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--steps 99999999999999999999", "--steps must be at most 9,007,199,254,740,992"),
        ("--samples 99999999999999999999 --steps 1", "--samples must be at most 9,007,199,254,740,992"),
        ("--save-every 99999999999999999999 --out out --steps 1", ""),
        ("--stop-after 99999999999999999999 --out out --steps 1", ""),
        ("--every 99999999999999999999 --steps 1", ""),
        ("--eval-every 99999999999999999999 --steps 1", "--eval-every must be at most 9,007,199,254,740,992"),
        ("--sample-every 99999999999999999999 --steps 1", "--sample-every must be at most 9,007,199,254,740,992"),
        ("--patience 99999999999999999999 --steps 1", "--patience must be at most 9,007,199,254,740,992"),
        ("--warmup 99999999999999999999 --steps 1", "--warmup must be at most 9,007,199,254,740,992"),
        ("sample run --top-p 0", "microgpt: --top-p must be greater than 0"),
        ("sample run --top-k 0", "microgpt: --top-k must be at least 1"),
        ("sample run --top-k 99999999999999999999 --count 1", ""),
        ("report run -o nowhere/x.html", "cannot write nowhere/x.html: No such file"),
        ("graph a**b a=1e308 b=9", "'a**b' cannot be computed: Numerical result out of range"),
    ],
)
def test_said_in_the_words_of_the_line(run, directory, words, said):
    """Options as they are typed, files as they were named, the reason alone. "": nothing is wrong."""
    small = ("--n-embd", 4, "--data", "docs.txt")
    if " run " in words:
        run(*small, "--steps", 1, "--samples", 0, "--out", "run")
    status, out, err = run(*words.split(), *(small if words.startswith("-") else ()))
    if not said:
        assert (status, err) == (0, "")
    else:
        assert (status, out, err.count("\n")) == (2, "", 1), err
        assert said in err
