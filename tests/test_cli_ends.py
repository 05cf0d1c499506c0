"""microgpt.cli: ends that come early, and outputs of all kinds."""

import io
import itertools
import os
import re
import signal
import subprocess
import sys
import time
import weakref
from contextlib import contextmanager, suppress
from types import SimpleNamespace

import pytest

from microgpt import Training
from microgpt import terminal as terminal_module
from microgpt.cli import main
from microgpt.errors import ConfigError

from .command import (
    DOCS,
    TINY,
    command,
    directory_with_files,
    not_on_windows,
    one_line,
    read_log,
)


@pytest.fixture(autouse=True)
def directory(tmp_path, monkeypatch):
    """All tests run in a directory of their own that holds some files."""
    return directory_with_files(tmp_path, monkeypatch)


@pytest.mark.parametrize("engine", ["span", "eager"])
def test_diverged(run, directory, engine):
    """A run that diverges ends with one line that names the step, status 1, and a log of what was reached."""
    words = [*TINY, "--engine", engine, "--learning-rate", "1e300", "--log", "run.jsonl"]
    status, out, err = run(*words)
    assert (status, one_line(err)) == (1, True), err
    reasons = "a token got probability 0|the loss is nan|a number grew too large for a float"
    assert re.fullmatch(
        rf"microgpt: step 3: ({reasons}); the --learning-rate of 1e\+300 may be too high: try 0.01\n", err
    )
    assert out.splitlines()[-1].startswith("step    2 /")
    assert [event["event"] for event in read_log(directory / "run.jsonl")] == ["run", "step", "step", "diverged"]


@pytest.mark.parametrize("engine", ["span", "eager"])
def test_diverged_at_the_last_step(run, directory, engine):
    """Parameters so large that nothing can be sampled are one line and status 1 as well, and the log says so."""
    words = [*TINY, "--engine", engine, "--learning-rate", "1e300", "--steps", "2", "--log", "run.jsonl"]
    status, out, err = run(*words)
    assert (status, one_line(err)) == (1, True), err
    assert out.splitlines()[-1] == "--- inference ---"
    assert [event["event"] for event in read_log(directory / "run.jsonl")] == ["run", "step", "step", "diverged"]


@not_on_windows
def test_interrupt(directory):
    """Ctrl-C ends a run with status 130, one line, and a log that is, as at any time, whole up to the step reached."""
    process = command(*TINY, "--n-embd=64", "--n-layer=2", "--steps=99999999", "--log=run.jsonl", PYTHONUNBUFFERED="1")
    try:
        next(line for line in process.stdout if line.startswith("step"))
        assert (directory / "run.jsonl").read_text().count("\n") >= 2
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=300)
    finally:
        process.kill()
    assert (process.returncode, one_line(err)) == (130, True), err
    reached = int(re.fullmatch(r"microgpt: interrupted after step (\d+) of 99999999\n", err)[1])
    events = read_log(directory / "run.jsonl")
    assert [event["event"] for event in events] == ["run"] + ["step"] * (len(events) - 1)
    assert [event["step"] for event in events[1:]] == list(range(1, len(events)))
    assert len(events) - 1 in (reached, reached - 1)


@not_on_windows
@pytest.mark.parametrize("times", [1, 2])
def test_interrupt_inside_a_step(times):
    """Ctrl-C is heard in the middle of a step of a million documents."""
    process = command(*TINY, "--n-embd=64", "--batch-size=1000000", PYTHONUNBUFFERED="1")
    try:
        next(line for line in process.stdout if line.startswith("num params"))
        time.sleep(0.5)
        for _ in range(times):
            process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=300)
    finally:
        process.kill()
    assert (process.returncode, one_line(err)) == (130, True), err
    assert err.startswith("microgpt: interrupted")


@not_on_windows
def test_a_second_interrupt_ends_what_does_not_hear():
    """Whatever holds Python up: the process ends when it has not answered for a while."""
    code = (
        "import os, signal, threading, time\n"
        "from microgpt import terminal\n"
        "terminal.PATIENCE = 0.1\n"
        "def press():\n"
        "    while True:\n"  # two that come together are one
        "        time.sleep(0.3); os.kill(os.getpid(), signal.SIGINT)\n"
        "with terminal.Interrupts():\n"
        "    threading.Thread(target=press, daemon=True).start()\n"
        "    while True:\n"
        "        try:\n"
        "            time.sleep(60)\n"
        "        except KeyboardInterrupt:\n"
        "            pass\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stderr) == (130, "microgpt: interrupted, in the middle of a step\n")


@not_on_windows
def test_the_first_interrupt_ends_the_setting_up(directory, run):
    """Calls of the core that take long for a large model need not be waited for, and nothing is half written."""
    code = (
        "import os, signal, sys, threading, time\n"
        "from microgpt.cli import main, train\n"
        "def training(*arguments):\n"
        "    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        "    time.sleep(60)\n"  # goes on after a signal whose handler raises nothing
        "train.Training = training\n"
        "sys.exit(main())\n"
    )

    def interrupted(*words):
        line = [sys.executable, "-c", code, *words]
        return subprocess.run(line, capture_output=True, text=True, timeout=30, check=False)

    done = interrupted(*TINY, "--steps=3", "--out=run")
    assert (done.returncode, done.stderr) == (130, "microgpt: interrupted after step 0 of 3\n")
    assert done.stdout.count("\n") == 3
    assert not (directory / "run").exists()  # nor a log without a model
    (directory / "run").mkdir()
    interrupted(*TINY, "--steps=3", "--out=run")
    assert list((directory / "run").iterdir()) == []
    assert run(*TINY, "--steps", 3, "--out", "run", "--stop-after", 2)[0] == 0
    before = (directory / "run" / "model.safetensors").read_bytes()
    done = interrupted("--resume=run")
    line = "microgpt: interrupted after step 2 of 3; go on with: microgpt train --resume run\n"
    assert (done.returncode, done.stderr) == (130, line)
    assert (directory / "run" / "model.safetensors").read_bytes() == before
    assert run("--resume", "run")[0] == 0


def test_out_that_cannot_be_written(run, directory, monkeypatch):
    """It is said before anything is computed, and by whoever may write everything, too."""
    (directory / "run").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda *arguments: False)
        status, out, err = run(*TINY, "--out", "run")
    name = os.path.join("run", "log.jsonl")
    assert (status, out, err) == (2, "", f"microgpt: cannot write {name}: Permission denied\n")
    assert list((directory / "run").iterdir()) == []


def test_what_fails_in_the_setting_up_leaves_nothing(run, directory, monkeypatch):
    """Neither a log nor a directory."""

    def training(*arguments):
        raise ConfigError("no")

    monkeypatch.setattr("microgpt.cli.train.Training", training)
    assert run(*TINY, "--out", "run")[0] == 2
    assert not (directory / "run").exists()


def test_interrupt_is_not_lost(run, directory, monkeypatch):
    """Ctrl-C also ends the run when it comes in the callback of a weak reference, out of which Python raises nothing.

    The tape keeps Values in a WeakValueDictionary, so a few of a hundred interrupts come there.
    """

    real_steps = Training.steps

    class Forgotten:
        pass

    def interrupt(reference):
        signal.raise_signal(signal.SIGINT)
        for _ in range(1000):
            pass

    def steps(*arguments, **options):
        for step in real_steps(*arguments, **options):
            if step.number == 2:
                forgotten = Forgotten()
                reference = weakref.ref(forgotten, interrupt)
                del forgotten
                assert reference() is None
            yield step

    dropped = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: dropped.append(unraisable.exc_type))
    monkeypatch.setattr(Training, "steps", steps)
    status, out, err = run(*TINY, "--log", "run.jsonl")
    assert (status, one_line(err)) == (130, True), err
    assert "inference" not in out
    assert read_log(directory / "run.jsonl")[-1]["event"] == "step"
    assert dropped == []  # Python prints a traceback of what it drops


@not_on_windows
def test_closed_pipe():
    """Standard output that nobody reads to its end, as in `| head -1`, is no error of ours: nothing is said."""
    process = command(*TINY, "--steps", "2000")
    assert process.stdout.readline() == f"num docs: {len(DOCS)}\n"
    process.stdout.close()
    assert process.stderr.read() == ""
    process.wait()
    process.stderr.close()


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_output_encoding(directory, monkeypatch, encoding):
    """Samples that standard output cannot encode are printed in some way, and logged as they are."""
    (directory / "docs.txt").write_text("日本\n本\n", encoding="utf-8")
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", out)
    assert main([*TINY, "--samples", "5", "--log", "run.jsonl"]) == 0
    out.flush()
    assert out.buffer.getvalue().decode(encoding).count("sample ") == 5
    texts = [event["text"] for event in read_log(directory / "run.jsonl") if event["event"] == "sample"]
    assert set("".join(texts)) == set("日本")


@pytest.mark.parametrize("closed", [["stdout"], ["stderr"], ["stdout", "stderr"]], ids=" ".join)
def test_no_outputs(directory, monkeypatch, closed):
    """Outputs that do not exist, as under pythonw or after `>&-`, change neither the run nor what is refused."""
    for name in closed:
        monkeypatch.setattr(sys, name, None)
    assert main([*TINY, "--log", "run.jsonl"]) == 0
    assert read_log(directory / "run.jsonl")[-1]["event"] == "done"
    assert main([*TINY, "--n-head", "3"]) == 2


@contextmanager
def terminal():
    """A terminal, and a list that in the end holds what was written to it."""
    import pty

    master, slave = pty.openpty()
    shown = []
    with open(slave, "w", encoding="utf-8") as file:
        yield file, shown
    with open(master, "rb", buffering=0) as file, suppress(OSError):  # Linux ends a terminal with EIO
        while chunk := file.read(4096):
            shown.append(chunk.decode())


@not_on_windows
@pytest.mark.parametrize(
    ("on_terminal", "tick", "steps"), [(True, 1, [2, 3, 4]), (True, 0, []), (False, 1, [])], ids=str
)
def test_progress(run, monkeypatch, on_terminal, tick, steps):
    """Progress appears on standard error only, only if that is a terminal, only in a run of some seconds.

    It stays on one line, which is empty again in the end.
    """
    expected = run(*TINY)
    monkeypatch.setattr(terminal_module, "time", SimpleNamespace(monotonic=itertools.count(0, tick).__next__))
    if on_terminal:
        with terminal() as (file, shown):
            monkeypatch.setattr(sys, "stderr", file)
            assert run(*TINY) == expected
        err = "".join(shown)
    else:
        status, out, err = run(*TINY)
        assert (status, out, "") == expected
    clear = "\r\x1b[K"
    drawn = "".join(f"{clear}{step}/5 steps, ..." for step in steps)
    told = "microgpt: 5 steps in ... s; mean loss of the last 1: ...\r\n" if on_terminal else ""
    err = re.sub(r"loss \d\.\d{4}, [\d.]+ steps/s, \d+ s left", "...", err)
    err = re.sub(r"in \d+\.\d\d s; mean loss of the last 1: \d\.\d{4}", "in ... s; mean loss of the last 1: ...", err)
    assert err == drawn + (clear if steps else "") + told


@not_on_windows
def test_remarks(run, monkeypatch, directory):
    """On a terminal, and only there, a run says what was cut, that its learning rate is high, and in the end its mean
    loss; none of it on standard output, and none of it in a quiet run."""
    words = [*TINY, "--block-size", "2", "--n-embd", "128", "--steps", "20", "--samples", "1"]
    monkeypatch.setattr(terminal_module, "time", SimpleNamespace(monotonic=lambda: 0.0))  # no time for a progress line
    status, expected, err = run(*words)
    assert (status, err) == (0, "")
    with terminal() as (file, shown):
        monkeypatch.setattr(sys, "stderr", file)
        assert run(*words) == (0, expected, "")
        assert run(*words, "--quiet")[1] == expected.splitlines(keepends=True)[-1]
    losses = re.findall(r"loss (\d\.\d{4})", expected)[-2:]
    first, second, third = "".join(shown).splitlines()
    assert first == "microgpt: 2 of 4 documents are longer than the block of 2, and are cut"
    assert second == "microgpt: --learning-rate 0.01 is high for --n-embd 128, where a training may diverge: try 0.004"
    assert (mean := re.fullmatch(r"microgpt: 20 steps in \d+\.\d\d s; mean loss of the last 2: (\S+)", third))
    assert float(mean[1]) == pytest.approx(sum(map(float, losses)) / 2, abs=2e-4)


@not_on_windows
@pytest.mark.parametrize(
    ("columns", "line"),
    [
        (80, "120/500 steps, loss 2.0000, 60 steps/s, 6 s left"),
        (40, "120/500 steps, loss 2.0000, 60 steps/s"),
        (30, "120/500 steps, loss 2.0000"),
        (20, "120/500 steps"),
        (8, "120/500"),
    ],
)
def test_progress_of_any_width(monkeypatch, columns, line):
    """What does not fit is left out, whole."""
    monkeypatch.setattr(terminal_module, "time", SimpleNamespace(monotonic=iter([0.0, 2.0]).__next__))
    monkeypatch.setattr(terminal_module, "_columns", lambda: columns)
    with terminal() as (file, shown):
        monkeypatch.setattr(sys, "stderr", file)
        output = terminal_module.Output([], 500)
        output._taken = 119
        output._progress(120, 2.0)
    assert "".join(shown).removeprefix("\r\x1b[K") == line
