"""Models that stay: a damaged, foreign or hostile file can only be refused."""

import json
import random

import pytest

import microgpt.saving as saving_module
from microgpt import (
    ModelFileError,
    load,
    save,
)
from microgpt.safetensors import from_bytes

from .kept import directory_with_documents, trained


@pytest.fixture(autouse=True)
def directory(tmp_path, monkeypatch):
    """All tests run in a directory of their own that holds some files."""
    return directory_with_documents(tmp_path, monkeypatch)


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
