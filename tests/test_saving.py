"""Models that stay: what is kept is what the run had, whenever it stopped, and a damaged file can only be refused."""

import json
import os
import random
import signal
import subprocess
import sys
from array import array
from dataclasses import replace
from pathlib import Path

import pytest

import microgpt.saving as saving_module
import microgpt.terminal as terminal_module
from microgpt import (
    GPT,
    Config,
    ConfigError,
    DataError,
    ModelFileError,
    Saved,
    ShapeError,
    Tokenizer,
    Training,
    initial_parameters,
    load,
    next_probabilities,
    resume,
    sample,
    save,
    train,
)
from microgpt.config import CHOICES
from microgpt.safetensors import from_bytes

from .bits import bits

DOCS = ["ab", "bà", "abc", "caab", "aa", "cb", "bbb", "acà"]
SMALL = Config(n_embd=4, n_head=2, block_size=4, steps=9, samples=3, std=0.3)
TINY = [
    "--n-embd",
    "4",
    "--n-head",
    "2",
    "--block-size",
    "4",
    "--steps",
    "9",
    "--samples",
    "3",
    "--std",
    "0.3",
    "--data",
    "docs.txt",
]


@pytest.fixture(autouse=True)
def directory(tmp_path, monkeypatch):
    """All tests run in a directory of their own that holds some documents."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs.txt").write_text("".join(f"{doc}\n" for doc in DOCS), encoding="utf-8")
    (tmp_path / "other.txt").write_text("ab\nba\n", encoding="utf-8")
    return tmp_path


def trained(config=SMALL, fast=False, steps=None):
    """A model in the middle of its training, as it would be saved, and its documents."""
    rng, tokenizer = random.Random(7), Tokenizer(DOCS)
    model = GPT(config, initial_parameters(config, tokenizer.vocab_size, rng))
    documents = [tokenizer.encode(doc) for doc in DOCS]
    training = Training(model, documents, fast=fast)
    for _ in training.steps(stop=steps):
        pass
    return Saved(model, tokenizer, training.state, fast, rng), documents


def files_of(path):
    """Everything in a directory."""
    return {name: (path / name).read_bytes() for name in sorted(os.listdir(path))}


def numbers_of(model):
    return [bits(x) for w in model.parameters for x in w.data]


# ---- a file


@pytest.mark.parametrize("fast", [False, True])
def test_round_trip(fast):
    """Every number, setting and random draw comes back as it was; saved again, it is the same file."""
    saved, _ = trained(fast=fast, steps=4)
    save("m.safetensors", saved)
    again = load("m.safetensors")
    assert numbers_of(again.model) == numbers_of(saved.model)
    assert again.model.config == saved.model.config
    assert list(again.model.state_dict) == list(saved.model.state_dict)
    assert again.tokenizer.chars == saved.tokenizer.chars
    assert (again.step, again.fast) == (4, fast)
    assert (list(again.optimizer.m), list(again.optimizer.v)) == (list(saved.optimizer.m), list(saved.optimizer.v))
    assert any(again.optimizer.m)
    assert again.rng.getstate() == saved.rng.getstate()
    save("n.safetensors", again)
    with open("m.safetensors", "rb") as one, open("n.safetensors", "rb") as other:
        assert one.read() == other.read()
    assert "m.safetensors.tmp" not in os.listdir()


@pytest.mark.parametrize("optimizer", CHOICES["optimizer"])
@pytest.mark.parametrize("replay", [True, False])
def test_resume_in_python(optimizer, replay):
    """A training that stopped after any step goes on with the bits of one that did not, whichever engine goes on."""
    config = replace(SMALL, optimizer=optimizer, batch_size=3, warmup=2)
    whole, documents = trained(config)
    for stop in range(config.steps + 1):
        part, _ = trained(config, steps=stop)
        save("m.safetensors", part)
        again = load("m.safetensors")
        numbers = [step.number for step in resume(again, documents, replay).steps(steps_per_call=None)]
        assert numbers == list(range(stop + 1, config.steps + 1))
        assert numbers_of(again.model) == numbers_of(whole.model)


def test_model_alone():
    """A model may be kept without its optimizer, and samples; its training cannot go on, and it says so."""
    saved, documents = trained()
    saved.optimizer = None
    save("m.safetensors", saved)
    again = load("m.safetensors")
    assert list(sample(again.model, again.tokenizer, again.rng)) == list(
        sample(saved.model, saved.tokenizer, saved.rng)
    )
    with pytest.raises(ModelFileError, match="without its optimizer"):
        resume(again, documents)


def test_foreign_state_is_refused():
    saved, documents = trained(steps=2)
    state = saved.optimizer._replace(m=saved.optimizer.m[1:])
    with pytest.raises(ShapeError):
        Training(saved.model, documents, state=state)


def test_library_reads_it():
    """The library of the format reads the file: the course's names, shapes and the very bytes of the numbers."""
    library = pytest.importorskip("safetensors")
    saved, _ = trained(steps=3)
    save("m.safetensors", saved)
    with open("m.safetensors", "rb") as file:
        tensors = dict(library.deserialize(file.read()))
    for name, w in saved.model.state_dict.items():
        assert (tensors[name]["dtype"], tuple(tensors[name]["shape"])) == ("F64", w.shape)
        assert bytes(tensors[name]["data"]) == array("d", w.data).tobytes()
    assert len(tensors) == 3 * len(saved.model.state_dict)


def test_full_disk(monkeypatch):
    """Where writing fails the old file stays, and nothing else."""
    saved, _ = trained(steps=3)
    save("m.safetensors", saved)
    before = files_of(Path())
    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch:

            def fail(*arguments):
                raise OSError(28, "No space left on device")

            patch.setattr(saving_module.os, name, fail)
            with pytest.raises(OSError, match="No space"):
                save("m.safetensors", trained(steps=5)[0])
        assert files_of(Path()) == before


# ---- damaged, foreign and hostile files


def test_cut_and_flipped():
    """A file that is cut anywhere is refused; one with a byte changed is refused or has other numbers or words."""
    saved, _ = trained(steps=3)
    save("m.safetensors", saved)
    with open("m.safetensors", "rb") as file:
        raw = file.read()
    rng = random.Random(1)
    for length in [*range(64), *(rng.randrange(len(raw)) for _ in range(200)), len(raw) - 1]:
        with pytest.raises(ModelFileError):
            from_bytes(raw[:length])
    refused = 0
    for _ in range(600):
        place = rng.randrange(int.from_bytes(raw[:8], "little") + 8) if rng.random() < 0.8 else rng.randrange(len(raw))
        damaged = raw[:place] + bytes([raw[place] ^ 1 << rng.randrange(8)]) + raw[place + 1 :]
        with open("damaged.safetensors", "wb") as file:
            file.write(damaged)
        try:
            load("damaged.safetensors")
        except ModelFileError:
            refused += 1
    assert refused > 100


def of(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


HOSTILE = {
    "nothing": b"",
    "text": b"hello, world, I am not a model\n",
    "a long header": (1 << 40).to_bytes(8, "little") + b"{}",
    "the longest header": b"\xff" * 8 + b"{}",
    "100 MB of header": (100 << 20).to_bytes(8, "little") + b" " * (100 << 20),
    "no object": of([1, 2]),
    "no JSON": of(b"{"),
    "deep": of(b"[" * 100_000),
    "a number of a million digits": of(b'{"a":' + b"1" * 1_000_000 + b"}"),
    "two of one name": of(b'{"a":{"dtype":"F64","shape":[0],"data_offsets":[0,0]},"a":{}}'),
    "a NaN": of(b'{"a":{"dtype":"F64","shape":[NaN],"data_offsets":[0,0]}}'),
    "overlap": of({n: {"dtype": "F64", "shape": [1], "data_offsets": [0, 8]} for n in "ab"}, bytes(8)),
    "a hole": of({n: {"dtype": "F64", "shape": [1], "data_offsets": [8, 16]} for n in "a"}, bytes(16)),
    "backwards": of({"a": {"dtype": "F64", "shape": [1], "data_offsets": [8, 0]}}, bytes(8)),
    "beyond": of({"a": {"dtype": "F64", "shape": [9], "data_offsets": [0, 72]}}, bytes(8)),
    "negative": of({"a": {"dtype": "F64", "shape": [-1, -1], "data_offsets": [0, 8]}}, bytes(8)),
    "overflow": of({"a": {"dtype": "F64", "shape": [1 << 32, 1 << 32], "data_offsets": [0, 0]}}),
    "true": of({"a": {"dtype": "F64", "shape": [True], "data_offsets": [0, 8]}}, bytes(8)),
    "a type": of({"a": {"dtype": "BF16", "shape": [4], "data_offsets": [0, 8]}}, bytes(8)),
    "no type": of({"a": {"dtype": ["F64"], "shape": [1], "data_offsets": [0, 8]}}, bytes(8)),
    "infinite": of({"a": {"dtype": "F64", "shape": [1], "data_offsets": [0, 8]}}, b"\0" * 6 + b"\xf0\x7f"),
    "more": of({"a": {"dtype": "F64", "shape": [1], "data_offsets": [0, 8]}}, bytes(9)),
    "metadata": of({"__metadata__": {"microgpt": 3}}),
    "foreign": of({"__metadata__": {"format": "pt"}}),
    "other metadata": of({"__metadata__": {"microgpt": "[" * 100_000}}),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile(kind):
    with open("m.safetensors", "wb") as file:
        file.write(HOSTILE[kind])
    with pytest.raises(ModelFileError, match=r"^m\.safetensors [a-z]"):
        load("m.safetensors")


CHANGES = {
    "config": [
        None,
        {},
        {"n_layer": 10**9},
        {"n_layer": 2},
        {"n_embd": 8},
        {"steps": 1},
        {"n_head": 3},
        {"x": 1},
    ],
    "alphabet": [None, 3, "ba", "abb", "abcdef", ""],
    "mode": ["slow", None, "fast"],
    "step": [-1, 1.5, None, 10**30, 10, True],
    "random": [
        None,
        [],
        [3, [], None],
        [3, [1] * 624 + [700], None],
        [3, [-1] * 624 + [624], None],
        [3, [1] * 625, "x"],
    ],
    "data": [None, []],
    "validation": [[], {"best": 1.0}, {"best": "1", "waited": 0}, {"best": 1.0, "waited": "0"}],
    "version": [],
}


@pytest.mark.parametrize(("part", "value"), [(part, value) for part in CHANGES for value in CHANGES[part]], ids=repr)
def test_metadata_that_do_not_fit(part, value):
    saved, _ = trained(steps=3)
    save("m.safetensors", saved)
    with open("m.safetensors", "rb") as file:
        tensors, metadata = from_bytes(file.read())
    about = json.loads(metadata["microgpt"])
    about[part] = about[part] | value if part == "config" and value else value
    with open("m.safetensors", "wb") as file:
        file.write(saving_module.to_bytes(tensors, {"microgpt": json.dumps(about)}))
    with pytest.raises(ModelFileError, match=r"^m\.safetensors [a-z]"):
        load("m.safetensors")


# ---- the command line


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


# ---- sampling


def test_ways_to_sample():
    saved, _ = trained(replace(SMALL, steps=40))
    model, tokenizer = saved.model, saved.tokenizer

    def texts(seed=1, replay=True, **options):
        return list(sample(model, tokenizer, random.Random(seed), replay, **options))

    greedy = texts(temperature=0, count=2)
    assert greedy == texts(temperature=0, count=2, seed=5) == texts(top_k=1, count=2) == texts(top_p=1e-9, count=2)
    assert greedy[0] == greedy[1]
    assert texts(count=6) == texts(count=6, top_k=99, top_p=1) == texts(count=6, temperature=model.config.temperature)
    assert texts(count=6) == texts(count=6, replay=False)
    hot = GPT(replace(model.config, temperature=3.0), model.state_dict)
    assert texts(count=9, temperature=3.0) == list(sample(hot, tokenizer, random.Random(1), count=9))
    for prompt in ("a", "bà", "abc"):
        assert all(text.startswith(prompt) for text in texts(prompt=prompt, count=9))
        assert texts(prompt=prompt, count=5) == texts(prompt=prompt, count=5, replay=False)
    for options in ({"top_k": 0}, {"top_p": 0}, {"count": -1}, {"temperature": -1.0}):
        with pytest.raises(ConfigError):
            texts(**options)
    with pytest.raises(DataError, match="'é'"):
        texts(prompt="é")


def test_next_probabilities():
    saved, _ = trained(replace(SMALL, steps=40))
    model, tokenizer = saved.model, saved.tokenizer
    share = next_probabilities(model, tokenizer, "a")
    assert list(share) == [*tokenizer.chars, ""]
    assert sum(share.values()) == pytest.approx(1)
    rng = random.Random(2)
    drawn = [text[1:2] for text in sample(model, tokenizer, rng, count=3000, prompt="a")]
    for char, p in share.items():
        assert drawn.count(char) / 3000 == pytest.approx(p, abs=0.04)
    likeliest = max(share, key=share.get)
    assert next(iter(sample(model, tokenizer, rng, temperature=0, prompt="a")))[1:2] == likeliest
    assert next_probabilities(model, tokenizer, "a", temperature=9.0)[likeliest] < share[likeliest]


def test_training_stops_where_it_is_told():
    """`taken` and the parameters are those of the step, and `train` gives the same steps at once."""
    saved, documents = trained()
    model = GPT(SMALL, initial_parameters(SMALL, saved.tokenizer.vocab_size, random.Random(7)))
    training = Training(model, documents, held_out=documents[:3])
    steps = [*training.steps(steps_per_call=None, stop=4)]
    assert (training.taken, training.state.steps) == (4, 4)
    losses = [model.loss(tokens).data for tokens in documents[:3]]
    assert training.held_out_loss() == sum(losses) / 3
    steps += training.steps()
    other = GPT(SMALL, initial_parameters(SMALL, saved.tokenizer.vocab_size, random.Random(7)))
    assert steps == list(train(other, documents))
    assert numbers_of(model) == numbers_of(other) == numbers_of(saved.model)
