"""Models that stay, on the command line: the files are the same, whenever a run has stopped."""

import json
import os
import random
import signal
import subprocess
import sys

import pytest

import microgpt.saving as saving_module
import microgpt.terminal as terminal_module
from microgpt import (
    load,
    sample,
)

from .kept import DOCS, TINY, directory_with_documents, files_of


@pytest.fixture(autouse=True)
def directory(tmp_path, monkeypatch):
    """All tests run in a directory of their own that holds some files."""
    return directory_with_documents(tmp_path, monkeypatch)


@pytest.mark.parametrize(
    "options",
    [
        "",
        "--mode fast",
        "--batch-size 3",
        "--batch-size 3 --mode fast --optimizer sgd",
        "--val-fraction 0.3 --eval-every 2 --patience 2 --learning-rate 0.5",
        "--engine span",
        "--sample-every 4",
    ],
)
def test_stopped_at_every_step(run, directory, options):
    """Everything in the directory is, byte for byte, what it is of the run that was never stopped."""
    words = [*TINY, *options.split()]
    engine = ["--engine", "span"] if "span" in options else []
    status, out, err = run(*words, "--out", "whole")
    assert (status, err) == (0, "")
    expected = files_of(directory / "whole")
    assert sorted(expected) == ["log.jsonl", "model.safetensors"]
    for stop in range(1, 9):
        name = f"stopped{stop}"
        status, _, err = run(*words, "--out", name, "--stop-after", stop)
        status, second, err = run("train", "--resume", name, *engine)
        assert (status, err) == (0, "")
        assert files_of(directory / name) == expected
        head = out.split("step")[0]
        assert second.startswith(head)
        assert out.endswith(second[len(head) :])
    assert run("--resume", "whole")[0] == 0  # all steps taken: its samples once more
    assert files_of(directory / "whole") == expected


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("step", [2, 3, 4, 6, 9])
def test_interrupted_where_something_is_to_be_done(run, directory, monkeypatch, step):
    """A Ctrl-C at a step after which held-out documents are judged, or samples drawn, does not take these away."""
    words = [*TINY, "--val-fraction", "0.3", "--eval-every", "2", "--sample-every", "3"]
    assert run(*words, "--out", "whole")[0] == 0
    with monkeypatch.context() as patch:
        take = terminal_module.Output.step

        def interrupted(self, number, loss):
            take(self, number, loss)
            if number == step:
                os.kill(os.getpid(), signal.SIGINT)

        patch.setattr(terminal_module.Output, "step", interrupted)
        assert run(*words, "--out", "stopped")[0] == 130
    assert run("--resume", "stopped")[0] == 0
    assert files_of(directory / "stopped") == files_of(directory / "whole")


def test_samples_on_the_way(run, directory):
    """A kept run logs a few samples every so often, drawn each time with the same random numbers: those of the model as
    it then was. They change nothing of the run; other logs have none."""
    words = [*TINY, "--sample-every", "4"]
    out = run(*words, "--out", "run", "--log", "beside.jsonl")[1]
    assert run(*words, "--log", "alone.jsonl")[1] == out
    logs = {}
    for name in ("run/log.jsonl", "beside.jsonl", "alone.jsonl"):
        logs[name] = [json.loads(line) for line in (directory / name).read_text(encoding="utf-8").splitlines()]
    assert logs["run/log.jsonl"] == logs["beside.jsonl"]
    found = [event for event in logs["run/log.jsonl"] if event["event"] == "sample" and "step" in event]
    assert [event for event in logs["run/log.jsonl"] if event not in found] == logs["alone.jsonl"]
    assert [(event["step"], event["index"]) for event in found] == [(s, i) for s in (0, 4, 8, 9) for i in range(1, 6)]
    for step in (4, 8):
        run(*words, "--out", f"run{step}", "--stop-after", step)
        saved = load(f"run{step}")
        texts = [event["text"] for event in found if event["step"] == step]
        assert texts == list(sample(saved.model, saved.tokenizer, random.Random(42), count=5))
    assert texts != [event["text"] for event in found if event["step"] == 0]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_killed(run, directory, number):
    """Killed or interrupted at some moment, the run goes on to the same bytes."""
    words = [*TINY, "--steps", "6000", "--save-every", "50"]
    assert run(*words, "--out", "whole")[0] == 0
    for lines in (3, 400, 3000):
        name = f"killed{lines}"
        process = subprocess.Popen(
            [sys.executable, "-m", "microgpt", *words, "--out", name],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        for _ in range(lines):
            process.stdout.readline()
        process.send_signal(number)
        _, err = process.communicate()
        if number == signal.SIGINT and process.returncode == 130:
            assert f"--resume {name}" in err
        status, _, err = run("--resume", name)
        if "cannot read the model" in err:  # killed before there was one
            assert lines == 3
            continue
        assert (status, err) == (0, "")
        assert files_of(directory / name) == files_of(directory / "whole")


def test_sample_and_eval(run, directory):
    """Without options `sample` prints what training printed; what was asked for is in every sample."""
    out = run(*TINY, "--out", "run")[1]
    assert run("sample", "run") == (0, out.split("--- inference ---\n")[1], "")
    assert run("sample", "run/model.safetensors", "--count", 0) == (0, "", "")
    status, out, err = run("sample", "run", "--json", "--count", 2, "--prompt", "ab", "--seed", 3, "--top-k", 2)
    texts = [json.loads(line) for line in out.splitlines()]
    assert [text["index"] for text in texts] == [1, 2]
    assert all(text["text"].startswith("ab") for text in texts)
    status, out, err = run("sample", "run", "--unique", "--new", "--json", "--count", 4, "--temperature", 2)
    found = [json.loads(line)["text"] for line in out.splitlines()]
    assert len(set(found)) == len(found) == 4
    assert not set(found) & set(DOCS)
    status, out, err = run("sample", "run", "--unique", "--count", 3, "--temperature", 0)
    assert (status, len(out.splitlines())) == (0, 1)
    assert "found 1 of 3" in err
    assert run("eval", "run")[1].startswith(f"num docs: {len(DOCS)}\nloss: ")
    saved = load("run")
    losses = [saved.model.loss(saved.tokenizer.encode(doc)).data for doc in ("ab", "ba")]
    assert json.loads(run("eval", "run", "--data", "other.txt", "--json")[1]) == {"docs": 2, "loss": sum(losses) / 2}


def test_validation(run, directory):
    """Held-out documents are not trained on; their loss is in the log; the run ends when it does not fall any more."""
    words = [*TINY, "--steps", "40", "--val-fraction", "0.3", "--eval-every", "2", "--out", "run"]
    _, out, _ = run(*words, "--patience", "3", "--learning-rate", "0.5")
    events = [json.loads(line) for line in (directory / "run" / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    losses = [event["loss"] for event in events if event["event"] == "validation"]
    assert f"validation loss {losses[0]:.4f}" in out
    assert len(losses) < 20
    assert min(losses) == losses[-4]
    assert json.loads(run("eval", "run", "--json")[1]) == {"docs": 2, "loss": losses[-1]}


WRONG = {
    "--resume nowhere": "nowhere",
    "--resume empty": "cannot read the model",
    "--out docs.txt": "docs.txt",
    "--out run": "holds a model already",
    "--resume run --seed 3": "leave --seed away",
    "--resume run --batch-size 3": "leave --batch-size away",
    "--resume run --out other": "leave --out away",
    "--resume run --steps 2": "--steps 2 lies behind",
    "--resume run --data other.txt": "SHA-256",
    "--log other.txt": "no log",
    "--stop-after 3": "--out DIR",
    "--out new --stop-after 0": "at least 1",
    "--out new --save-every -1": "at least 1",
    "--val-fraction 0.3 --data other.txt": "leaves none",
    "--val-fraction 1": "less than 1",
    "--val-fraction nan": "--val-fraction must be a finite",
    "--config nowhere.toml": "nowhere.toml",
    "--config docs.txt": "not TOML",
    "--step 5": "is it --steps?",
    "train 5 words": "one word too many",
    "sample": "MODEL",
    "sample run --prompt x": "'x'",
    "sample run --prompt abab": "room",
    "sample run --temperature -1": "--temperature",
    "sample run --top-k 0": "--top-k",
    "sample run --top-p 1.5": "--top-p",
    "sample run --count -3": "--count",
    "sample docs.txt": "docs.txt is cut short",
    "eval run --data nowhere": "nowhere",
}


@pytest.mark.parametrize("words", WRONG)
def test_refused(run, directory, words):
    """One line that names what was wrong, status 2, and the directory as it was."""
    run(*TINY, "--out", "run")
    os.mkdir("empty")
    before = files_of(directory / "run")
    status, out, err = run(*words.split())
    assert (status, out, err.count("\n")) == (2, "", 1), err
    assert WRONG[words] in err
    assert files_of(directory / "run") == before
    assert not os.path.exists("new/model.safetensors")
    assert (directory / "other.txt").read_text(encoding="utf-8") == "ab\nba\n"


@pytest.mark.skipif(sys.platform == "win32", reason="locks of POSIX")
def test_two_processes(run, directory):
    run(*TINY, "--out", "run")
    holder = saving_module.Directory("run", new=False)
    status, out, err = run("--resume", "run")
    assert (status, out) == (2, "")
    assert "another process" in err
    holder.close()
    assert run("--resume", "run")[0] == 0


def test_config_file(run, directory):
    """Settings of a file are those of the options of the same names, which go before them."""
    pytest.importorskip("tomllib")
    (directory / "run.toml").write_text("n_embd = 4\nn_head = 2\nblock_size = 4\nsteps = 3\nsamples = 3\nstd = 1\n")
    expected = run(*TINY, "--steps", 9, "--std", 1)
    assert run("--config", "run.toml", "--steps", 9, "--data", "docs.txt") == expected
    (directory / "run.toml").write_text("n_embed = 4\n")
    assert "is it '--n-embd'" in run("--config", "run.toml")[2] or "n_embd" in run("--config", "run.toml")[2]
