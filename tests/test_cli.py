"""microgpt.cli: printed lines, the log, refusal of bad input, and ends that come early."""

import hashlib
import io
import itertools
import json
import os
import re
import resource
import signal
import struct
import subprocess
import sys
import time
import weakref
from contextlib import contextmanager, suppress
from dataclasses import fields, replace
from functools import partial
from types import SimpleNamespace

import pytest

from microgpt import PRESETS, Config, Training, __version__, sample
from microgpt import terminal as terminal_module
from microgpt.cli import main, train
from microgpt.cli.main import MODULES
from microgpt.cli.parsing import COMMANDS
from microgpt.errors import ConfigError

from . import program

DOCS = ["ab", "bà", "abc", "caab"]
SETTINGS = {"n_embd": 4, "n_head": 2, "block_size": 4, "steps": 5, "samples": 3}
OPTIONS = [text for name, value in SETTINGS.items() for text in (f"--{name.replace('_', '-')}", str(value))]
TINY = [*OPTIONS, "--data", "docs.txt"]

not_on_windows = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and pipes")


@pytest.fixture(autouse=True)
def directory(tmp_path, monkeypatch):
    """All tests run in a directory of their own that holds some files."""
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


# ---- what is printed and logged


@pytest.mark.parametrize("preset", ["course", "gist"])
@pytest.mark.parametrize("words", [[], ["train"], ["--engine", "span"], ["--engine", "eager"]], ids=" ".join)
def test_lines(run, preset, words):
    """The lines are the script's, digit for digit, in both presets and on either engine; `train` may be left out."""
    config = replace(PRESETS[preset], **SETTINGS)
    expected = "".join(f"{line}\n" for line in lines_of(config, program.expected(config, *DOCS)))
    assert run(*words, *TINY, "--preset", preset) == (0, expected, "")
    assert run(*TINY, "--preset", preset, *words) == (0, expected, "")


@pytest.mark.parametrize(
    "changes",
    [
        {"steps": 0},
        {"samples": 0},
        {"steps": 0, "samples": 0},
        {"seed": -7},
        {"n_embd": 6, "n_head": 3, "n_layer": 2, "block_size": 2, "batch_size": 3},
        {"learning_rate": 0.5, "temperature": 2.5},
    ],
    ids=str,
)
def test_options(run, changes):
    """Each option sets its setting; no steps and no samples are nothing special."""
    config = replace(PRESETS["course"], **SETTINGS | changes)
    options = [f"--{name.replace('_', '-')}={value}" for name, value in changes.items()]
    expected = "".join(f"{line}\n" for line in lines_of(config, program.expected(config, *DOCS)))
    assert run(*TINY, *options) == (0, expected, "")


@pytest.mark.parametrize("preset", ["course", "gist"])
def test_log(run, directory, preset):
    """The log is one JSON object a line: the run, its steps with all digits, its samples, the digest of the parameters.

    What was in an older log is gone, and the printed lines are the same as without a log.
    """
    config = replace(PRESETS[preset], **SETTINGS)
    result = program.expected(config, *DOCS)
    count = len(result.parameters)
    log = directory / "run.jsonl"
    log.write_text('{"event": "run", "older": "and longer"}\n' * 1000)
    status, out, err = run(*TINY, "--preset", preset, "--log", str(log))
    assert (status, out.splitlines(), err) == (0, list(lines_of(config, result)), "")

    events = read_log(log)
    assert [*events[0].items()][:4] == [("event", "run"), ("docs", len(DOCS)), ("vocab", 5), ("params", count)]
    for name in ("n_embd", "n_head", "n_layer", "block_size", "batch_size", "steps", "seed", "learning_rate"):
        assert events[0][name] == getattr(config, name)
    digest = hashlib.sha256(struct.pack(f"<{count}d", *result.parameters)).hexdigest()
    assert log.read_text(encoding="utf-8").splitlines()[1:] == [
        *(f'{{"event": "step", "step": {i}, "loss": {loss!r}}}' for i, loss in enumerate(result.losses, 1)),
        *(f'{{"event": "sample", "index": {i}, "text": "{text}"}}' for i, text in enumerate(result.samples, 1)),
        f'{{"event": "done", "params_sha256": "{digest}"}}',
    ]
    assert [event["loss"].hex() for event in events[1:6]] == [loss.hex() for loss in result.losses]


def test_fast_mode(run, directory):
    """--mode fast prints what the exact mode prints, but for the last digits of its losses; the log names the mode."""
    config = replace(PRESETS["course"], **SETTINGS)
    expected = program.expected(config, *DOCS)
    status, out, err = run(*TINY, "--mode", "fast", "--log", "run.jsonl")
    lines = list(lines_of(config, expected))
    assert (status, err, out.splitlines()[:3], len(out.splitlines())) == (0, "", lines[:3], len(lines))
    events = read_log(directory / "run.jsonl")
    assert (events[0]["mode"], events[0]["engine"]) == ("fast", "program")
    losses = [event["loss"] for event in events if event["event"] == "step"]
    assert losses != expected.losses
    assert losses == pytest.approx(expected.losses, rel=1e-3)
    run(*TINY, "--log", "run.jsonl")
    assert read_log(directory / "run.jsonl")[0]["mode"] == "exact"


@pytest.mark.parametrize(("preset", "count", "steps"), [("course", 4064, 500), ("gist", 4192, 1000)])
def test_default_run(preset, count, steps):
    """A run on the embedded names has the numbers that the course prints, learns, and ends with 20 samples."""
    process = command(*["--preset", preset][: 2 * (preset != "course")])
    out, err = process.communicate()
    lines = out.splitlines()
    assert (process.returncode, err) == (0, "")
    assert lines[:3] == ["num docs: 32469", "vocab size: 27", f"num params: {count}"]
    matches = [re.fullmatch(rf"step ([ \d]{{4}}) / {steps:4d} \| loss (\d\.\d{{4}})", line) for line in lines[3:-22]]
    assert [int(match[1]) for match in matches] == list(range(1, steps + 1))
    losses = [float(match[2]) for match in matches]
    assert sum(losses[-100:]) < 0.9 * sum(losses[:100])
    assert lines[-22:-20] == ["", "--- inference ---"]
    longest = PRESETS[preset].block_size
    for index, line in enumerate(lines[-20:], 1):
        assert re.fullmatch(rf"sample {index:2d}: [a-z]{{0,{longest}}}", line)


def test_help_and_version(run):
    """--help names every option and --version the version, on standard output with exit status 0."""
    status, out, err = run("--help")
    assert (status, err) == (0, "")
    options = (
        "preset data steps seed n-embd n-head n-layer block-size learning-rate temperature samples log mode engine"
    )
    assert all(f"--{name} " in out for name in options.split())
    assert run("--version") == (0, f"microgpt {__version__}\n", "")


# ---- bad input

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


# ---- ends that come early, and outputs of other kinds


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


def test_every_and_quiet(run):
    """--every N prints each N-th step and the last, --quiet the samples alone; both train as ever."""
    _, out, _ = run(*TINY)
    lines = out.splitlines()
    assert run(*TINY, "--every", "2")[1].splitlines() == [*lines[:3], lines[4], lines[6], *lines[7:]]
    assert run(*TINY, "--quiet")[1].splitlines() == lines[-3:]


# ---- words that are misspelt

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


def test_help(run):
    """Every command is in the help, and every command's help has an example; all settings are options, with their
    defaults."""
    _, out, _ = run("--help")
    for name in COMMANDS:
        assert re.search(rf"^  {name} +\w", out, re.MULTILINE)
        status, text, err = run(name, "--help")
        assert (status, err) == (0, "")
        assert "\nexample" in text
    assert list(MODULES) == list(COMMANDS)
    text = " ".join(out.split())
    for setting in fields(Config):
        option = "--" + setting.name.replace("_", "-")
        assert re.search(rf"{option}[ ,][^()]*(\([^()]*\)[^()]*)?\(default: ", text), option


def test_samples_leave_nothing_on_the_tape(run, directory, monkeypatch):
    """What was recorded for samples on the way is given back after them, and the training before those of the end."""
    slots = []

    def drawn(model, *arguments, **options):
        slots.append(model.state_dict["wte"]._tape.memory().slots)
        return sample(model, *arguments, **options)

    monkeypatch.setattr(train, "sample", drawn)
    monkeypatch.setattr(train, "MANY_SLOTS", 0)
    assert run("--steps", 5, "--data", "docs.txt", "--out", "run", "--sample-every", 1)[0] == 0
    _, *on_the_way, last = slots  # there may be something of other tests at first
    assert len(on_the_way) == 5
    assert len(set(on_the_way)) == 1
    assert last < on_the_way[0]


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
