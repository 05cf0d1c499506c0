"""What the tests of models that stay have in common."""

import os
import random

from microgpt import (
    GPT,
    Config,
    Saved,
    Tokenizer,
    Training,
    initial_parameters,
)

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


def directory_with_documents(tmp_path, monkeypatch):
    """Goes to a directory that holds some documents."""
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
