"""Models that stay: what is kept is what the training had, and goes on as it would have."""

import os
import random
from array import array
from dataclasses import replace
from pathlib import Path

import pytest

import microgpt.saving as saving_module
from microgpt import (
    GPT,
    ConfigError,
    DataError,
    ModelFileError,
    ShapeError,
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

from .kept import SMALL, directory_with_documents, files_of, numbers_of, trained


@pytest.fixture(autouse=True)
def directory(tmp_path, monkeypatch):
    """All tests run in a directory of their own that holds some files."""
    return directory_with_documents(tmp_path, monkeypatch)


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
