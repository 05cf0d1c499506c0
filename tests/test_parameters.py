"""microgpt.parameters: names, shapes, the order of the random draws, and the digest."""

import hashlib
import random
import struct
from dataclasses import replace

import pytest

from microgpt import PRESETS, Config, Tape, initial_parameters, parameter_count, parameters_sha256

TINY = Config(n_embd=4, n_head=2, block_size=3)


def flat(state_dict):
    """All parameters, row by row, matrix by matrix, read one Value at a time."""
    return [p.data for w in state_dict.values() for row in w for p in row]


@pytest.mark.parametrize("n_layer", [1, 3])
def test_names_and_shapes(n_layer):
    """The matrices are the course's, in its order: rows are outputs, columns inputs."""
    state_dict = initial_parameters(replace(TINY, n_layer=n_layer), 6, random.Random(1), Tape())
    expected = [("wte", 6, 4), ("wpe", 3, 4), ("lm_head", 6, 4)]
    for i in range(n_layer):
        expected += [(f"layer{i}.attn_{name}", 4, 4) for name in ("wq", "wk", "wv", "wo")]
        expected += [(f"layer{i}.mlp_fc1", 16, 4), (f"layer{i}.mlp_fc2", 4, 16)]
    assert [(name, w.rows, w.columns) for name, w in state_dict.items()] == expected
    assert [(len(w), {len(row) for row in w}) for w in state_dict.values()] == [(m, {n}) for _, m, n in expected]
    assert parameter_count(state_dict) == len(flat(state_dict)) == sum(m * n for _, m, n in expected)


@pytest.mark.parametrize(("preset", "count"), [("course", 4_064), ("gist", 4_192)])
def test_count(preset, count):
    """The presets have the numbers of parameters that the course prints for 27 tokens."""
    assert parameter_count(initial_parameters(PRESETS[preset], 27, random.Random(42), Tape())) == count


@pytest.mark.parametrize("zero_output", [True, False])
@pytest.mark.parametrize("std", [0.08, 0])
def test_draws(zero_output, std):
    """One gauss(0, std) a parameter in order, drawn also where std is 0, and not one draw more."""
    config = replace(TINY, n_layer=2, std=std, zero_output=zero_output)
    rng, same = random.Random(7), random.Random(7)
    state_dict = initial_parameters(config, 5, rng, Tape())
    expected = []
    for name, w in state_dict.items():
        zero = zero_output and name.endswith(("attn_wo", "mlp_fc2"))
        expected += [same.gauss(0, 0 if zero else std) for _ in range(w.rows * w.columns)]
        assert any(w.data) == (std > 0 and not zero)
    assert [p.hex() for p in flat(state_dict)] == [p.hex() for p in expected]
    assert rng.getstate() == same.getstate()


def test_tape():
    """Parameters are recorded on the tape that is given, or else on the default one."""
    first, second = Tape(), Tape()
    with first:
        state_dict = initial_parameters(TINY, 5, random.Random(1))
        assert (first.memory().slots, second.memory().slots) == (parameter_count(state_dict), 0)
        state_dict = initial_parameters(TINY, 5, random.Random(1), second)
        assert second.memory().slots == parameter_count(state_dict)


def test_sha256():
    """The digest is that of all parameters in order as little-endian float64; it follows a change of one bit."""
    state_dict = initial_parameters(TINY, 5, random.Random(3), Tape())
    digests = []
    for value in (0.0, -0.0, 5e-324, float("inf")):
        state_dict["layer0.mlp_fc2"][3][15].data = value
        numbers = flat(state_dict)
        digests.append(hashlib.sha256(struct.pack(f"<{len(numbers)}d", *numbers)).hexdigest())
        assert parameters_sha256(state_dict) == digests[-1]
    assert len(set(digests)) == 4
