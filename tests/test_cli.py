"""microgpt.cli: printed lines, the log, and help."""

import hashlib
import re
import struct
from dataclasses import fields, replace

import pytest

from microgpt import PRESETS, Config, __version__, sample
from microgpt.cli import train
from microgpt.cli.main import MODULES
from microgpt.cli.parsing import COMMANDS

from . import program
from .command import (
    DOCS,
    SETTINGS,
    TINY,
    command,
    directory_with_files,
    lines_of,
    read_log,
)


@pytest.fixture(autouse=True)
def directory(tmp_path, monkeypatch):
    """All tests run in a directory of their own that holds some files."""
    return directory_with_files(tmp_path, monkeypatch)


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


def test_every_and_quiet(run):
    """--every N prints each N-th step and the last, --quiet the samples alone; both train as ever."""
    _, out, _ = run(*TINY)
    lines = out.splitlines()
    assert run(*TINY, "--every", "2")[1].splitlines() == [*lines[:3], lines[4], lines[6], *lines[7:]]
    assert run(*TINY, "--quiet")[1].splitlines() == lines[-3:]


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
