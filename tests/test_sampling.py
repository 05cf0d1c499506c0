"""microgpt.sampling: how many samples, how long, and how many random draws they take."""

import math
import random
from dataclasses import replace

import pytest

from microgpt import (
    GPT,
    PRESETS,
    SCALARS,
    SPANS,
    Config,
    ConfigError,
    DivergedError,
    Matrix,
    Tape,
    Tokenizer,
    initial_parameters,
    mean,
    next_probabilities,
    parameters_sha256,
    sample,
    softmax,
    surprisal,
)
from microgpt.core import check, ffi, lib
from microgpt.index import Index
from microgpt.program import record_with
from microgpt.sampling import _Core

from .bits import all_bits
from .rows import in_every_row, printed_in_row

TINY = Config(n_embd=4, n_head=2, block_size=3, samples=6, zero_output=False, std=0.5)
TOKENIZER = Tokenizer(["ab", "éb"])

both = pytest.mark.parametrize("operations", [SPANS, SCALARS], ids=["spans", "scalars"])


class Counting(random.Random):
    """Counts its draws."""

    draws = 0

    def random(self):
        self.draws += 1
        return super().random()


class Constant(Counting):
    """Draws always the same number."""

    drawn = 0.0

    def random(self):
        self.draws += 1
        return self.drawn


def fresh(config=TINY, operations=SPANS):
    """A model on a tape of its own, always with the same parameters."""
    return GPT(config, initial_parameters(config, TOKENIZER.vocab_size, random.Random(1), Tape()), operations)


def draws_of(text):
    """One a character, and one for BOS where the block did not end the document."""
    return min(len(text) + 1, TINY.block_size)


@both
def test_draws(operations):
    """A sample takes one draw a token, BOS included, and is at most block_size characters of the alphabet."""
    rng, same = Counting(3), random.Random(3)
    texts = []
    for text in sample(fresh(replace(TINY, samples=60, temperature=2.0), operations), TOKENIZER, rng):
        texts.append(text)
        assert rng.draws == sum(map(draws_of, texts))
        assert set(text) <= set(TOKENIZER.chars)
    assert {len(text) for text in texts} == {0, 1, 2, 3}
    for _ in range(rng.draws):
        same.random()
    assert rng.getstate() == same.getstate()


@both
@pytest.mark.parametrize(("drawn", "text", "draws"), [(0.0, "aaa", 3), (1 - 2**-53, "", 1)])
def test_the_ends_of_a_sample(operations, drawn, text, draws):
    """A sample stops when the block is full, or at BOS, which may come first: then it is empty, and yielded too."""
    rng = Constant()
    rng.drawn = drawn
    assert list(sample(fresh(operations=operations), TOKENIZER, rng)) == [text] * TINY.samples
    assert rng.draws == draws * TINY.samples


def test_choices_follow_the_probabilities():
    """Tokens are `rng.choices` over the probabilities at the temperature, fed back with their keys and values."""
    model = fresh(replace(TINY, temperature=0.7))
    rng = random.Random(11)
    for text in sample(model, TOKENIZER, random.Random(11)):
        keys, values = model.empty_cache(), model.empty_cache()
        tokens = TOKENIZER.encode(text)
        for position in range(draws_of(text)):
            weights = model.probabilities(tokens[position], position, keys, values).data
            assert len(weights) == TOKENIZER.vocab_size
            assert rng.choices(range(len(weights)), weights=weights) == [tokens[position + 1]]


def test_temperature():
    """At a low temperature all samples are the most probable one; at a high one they differ."""
    cold = set(sample(fresh(replace(TINY, temperature=1e-6, samples=30)), TOKENIZER, random.Random(1)))
    hot = set(sample(fresh(replace(TINY, temperature=1e6, samples=30)), TOKENIZER, random.Random(1)))
    assert len(cold) == 1
    assert len(hot) > 5


def test_no_samples():
    """samples=0 yields nothing and draws nothing."""
    rng = Counting(1)
    assert list(sample(fresh(replace(TINY, samples=0)), TOKENIZER, rng)) == []
    assert rng.draws == 0


@both
def test_nothing_is_left_behind(operations):
    """Sampling, also when left half way, leaves nothing on the tape and does not touch the parameters.

    Recorded positions are left to a collection.
    """
    model = fresh(operations=operations)
    tape = model.state_dict["wte"]._tape
    slots, digest = tape.memory().slots, parameters_sha256(model.state_dict)
    texts = sample(model, TOKENIZER, random.Random(2), replay=False)
    begun = [(next(texts), tape.memory().slots) for _ in range(2)]
    assert {used for _, used in begun} == {slots}
    texts.close()
    again = list(sample(model, TOKENIZER, random.Random(2), replay=False))
    assert again[:2] == [text for text, _ in begun]
    assert tape.memory().slots == slots
    assert list(sample(model, TOKENIZER, random.Random(2))) == again
    for _ in range(2):  # the page that was being filled at the first goes at the second
        tape.collect()
    assert tape.memory().slots == slots
    assert parameters_sha256(model.state_dict) == digest
    assert not any(g for w in model.state_dict.values() for row in w for g in row.grad)


@both
def test_next_probabilities_at_temperature_0(operations):
    """What a temperature of 0 takes is certain, as `sample` takes it."""
    model = fresh(operations=operations)
    certain = next_probabilities(model, TOKENIZER, temperature=0)
    assert sorted(certain.values()) == [0.0] * TOKENIZER.bos + [1.0]
    likeliest = max(certain, key=certain.get)
    learned = next_probabilities(model, TOKENIZER, temperature=1.0)
    assert learned[likeliest] == max(learned.values())
    assert next(sample(model, TOKENIZER, random.Random(1), temperature=0))[:1] == likeliest


# ---- in the core: many texts in one call


ALPHABETS = ["ab", "abcdefg", "abcdefghijklmnopqrstuvwxyz", "".join(map(chr, range(33, 123)))]


def random_model(rng):
    """A model of any form and size, and its tokenizer."""
    heads = rng.choice([1, 2, 3, 4])
    config = replace(
        PRESETS[rng.choice(["course", "gist"])],
        n_embd=heads * rng.choice([1, 2, 3, 4, 5, 8]),
        n_head=heads,
        n_layer=rng.choice([1, 1, 2, 3]),
        block_size=rng.choice([1, 2, 3, 7, 8, 9, 17]),
        temperature=rng.choice([0.3, 0.5, 1.0, 2.5]),
        std=rng.choice([0.02, 0.3, 1.0]),
        zero_output=rng.random() < 0.2,
    )
    tokenizer = Tokenizer([rng.choice(ALPHABETS)])
    return GPT(config, initial_parameters(config, tokenizer.vocab_size, rng, Tape())), tokenizer


def random_settings(rng, model, tokenizer):
    """Settings of `sample` that fit."""
    size = rng.randrange(min(3, model.config.block_size))
    return {
        "temperature": rng.choice([None, None, None, 0, 0.7]),
        "top_k": rng.choice([None, None, 1, 2, 5, 1000]),
        "top_p": rng.choice([None, None, 1.0, 0.9, 0.4, 1e-9]),
        "prompt": "".join(rng.choices(tokenizer.chars, k=size)),
    }


def check_in_core(seeds):
    """Texts and states of the core and of Python's own choices, and probabilities."""
    for seed in seeds:
        rng = random.Random(seed)
        model, tokenizer = random_model(rng)
        settings = random_settings(rng, model, tokenizer)
        count = rng.choice([1, 5, 30])
        one_by_one, in_core = random.Random(seed), random.Random(seed)
        wanted = []
        texts = sample(model, tokenizer, in_core, count=count, **settings)
        for text in sample(model, tokenizer, one_by_one, False, count=count, **settings):
            wanted.append(text)
            assert next(texts) == text
            assert in_core.getstate() == one_by_one.getstate()  # after every text
        assert list(texts) == []
        for calls in (3, None):
            in_core = random.Random(seed)
            assert list(sample(model, tokenizer, in_core, count=count, samples_per_call=calls, **settings)) == wanted
            assert in_core.getstate() == one_by_one.getstate()
        check_probabilities(model, tokenizer, rng)


def check_more_in_core():
    """For a test below, in a process of its own."""
    check_in_core(range(100, 112))


def check_probabilities(model, tokenizer, rng):
    core = _Core.of(model, tokenizer.bos, False, None, None, random.Random(1))
    found = ffi.new("double[]", tokenizer.vocab_size)
    for _ in range(3):
        ids = rng.choices(range(tokenizer.vocab_size), k=rng.randint(1, model.config.block_size))
        keys, values = model.empty_cache(), model.empty_cache()
        for pos_id, token_id in enumerate(ids):
            wanted = model.probabilities(token_id, pos_id, keys, values).data
            check(lib.mg_sampler_probabilities(core._pointer, ids, pos_id + 1, found, len(wanted)))
            assert all_bits(found) == all_bits(wanted)


def test_in_core():
    """The texts of the core, block by block or one by one, are those of Python's choices, and so is the state."""
    check_in_core(range(24))


@in_every_row
def test_in_core_in_every_row(row):
    """Likewise, with each kind of kernels."""
    printed_in_row(row, check_more_in_core)


def test_the_tree_of_prefixes():
    """Texts that begin alike, far more than their prefixes; the parameters may change between two blocks."""
    model, one_by_one, in_core = fresh(replace(TINY, block_size=5, temperature=0.8)), random.Random(4), random.Random(4)
    wanted = list(sample(model, TOKENIZER, one_by_one, False, count=400))
    texts = sample(model, TOKENIZER, in_core, count=600, samples_per_call=400)
    assert [next(texts) for _ in range(400)] == wanted
    model.state_dict["lm_head"].data = model.state_dict["wte"].data
    assert list(texts) == list(sample(model, TOKENIZER, one_by_one, False, count=200))
    assert in_core.getstate() == one_by_one.getstate()


def test_a_tree_without_room():
    """An alphabet of thousands of characters, whose prefixes soon fill the tree's memory."""
    config = Config(n_embd=4, n_head=2, block_size=3, zero_output=False, std=0.5, temperature=3.0)
    tokenizer = Tokenizer(["".join(map(chr, range(0x4E00, 0x4E00 + 3000)))])
    model = GPT(config, initial_parameters(config, tokenizer.vocab_size, random.Random(1), Tape()))
    one_by_one, in_core = random.Random(4), random.Random(4)
    wanted = list(sample(model, tokenizer, one_by_one, False, count=150))
    assert list(sample(model, tokenizer, in_core, count=150, samples_per_call=None)) == wanted
    assert in_core.getstate() == one_by_one.getstate()


def until_it_fails(texts):
    found = []
    try:
        for text in texts:
            found.append(text)
    except DivergedError as error:
        found.append(error)
    return found


@pytest.mark.parametrize("calls", [1, 50, None])
def test_parameters_that_are_too_large(calls):
    """After some texts a square overflows: the texts before it, the error and the state are those of Python."""
    model = fresh(replace(TINY, block_size=6, zero_output=True))
    w, tokens = model.state_dict, TOKENIZER.vocab_size
    w["wpe"].data = [0.0] * (6 * 4)
    w["wte"].data = [float(i == (token == 1)) for token in range(tokens) for i in range(4)]
    w["layer0.mlp_fc1"].data = [0.1, 1e160, 0.0, 0.0] * 16  # after the token "b"
    failed = 0
    for seed in range(12):
        one_by_one, in_core = random.Random(seed), random.Random(seed)
        wanted = until_it_fails(sample(model, TOKENIZER, one_by_one, False, count=50))
        found = until_it_fails(sample(model, TOKENIZER, in_core, count=50, samples_per_call=calls))
        assert list(map(str, found)) == list(map(str, wanted))
        assert in_core.getstate() == one_by_one.getstate()
        failed += isinstance(found[-1], DivergedError) and len(found) > 1
    assert failed > 2


@pytest.mark.parametrize("number", [math.nan, math.inf, 1e308])
def test_parameters_that_are_no_numbers(number):
    """An error that says so, with nothing drawn."""
    model, rng = fresh(), Counting(1)
    model.state_dict["lm_head"].data = [number] * (TOKENIZER.vocab_size * TINY.n_embd)
    wanted = until_it_fails(sample(model, TOKENIZER, rng, False))
    plain = random.Random(1)
    found = until_it_fails(sample(model, TOKENIZER, plain))
    assert list(map(str, found)) == list(map(str, wanted))
    assert plain.getstate() == rng.getstate()


def test_other_generators():
    """Random numbers that are not of Python's own generator are drawn by Python."""

    class Reversed(random.Random):
        def random(self):
            return 1 - super().random()

    model = fresh(replace(TINY, samples=30))
    assert list(sample(model, TOKENIZER, Reversed(3), samples_per_call=None)) == list(
        sample(model, TOKENIZER, Reversed(3), False)
    )
    patched, same = random.Random(3), random.Random(3)
    patched.random = same.random = lambda: 0.25
    assert list(sample(model, TOKENIZER, patched, samples_per_call=None)) == list(sample(model, TOKENIZER, same, False))
    assert len(list(sample(model, TOKENIZER, random.SystemRandom(), samples_per_call=None))) == 30


def test_samples_per_call():
    """A call for no texts is refused, at once."""
    with pytest.raises(ConfigError, match="samples_per_call"):
        sample(fresh(), TOKENIZER, random.Random(1), samples_per_call=0)


def test_what_a_sampler_refuses():
    """Tokens that there are not, sizes that do not fit: a status, and nothing drawn."""
    model = fresh()
    core = _Core.of(model, TOKENIZER.bos, False, None, None, random.Random(1))
    settings, done = ffi.new("mg_sampling *", [False, 0, 0.0, TOKENIZER.bos]), ffi.new("size_t *")
    state, tokens, lengths = (
        ffi.new("uint32_t[]", random.Random(1).getstate()[1]),
        ffi.new("int32_t[]", 9),
        ffi.new("int32_t[]", 3),
    )

    def run(given, count=3, words=625, room=9):
        return lib.mg_sampler_run(
            core._pointer, settings, given, len(given), count, state, words, tokens, room, lengths, done
        )

    bos = TOKENIZER.bos
    before = list(state)
    for refused in (run([]), run([bos + 1]), run([-1]), run([bos] * 4), run([bos], words=624), run([bos], room=8)):
        assert refused == lib.MG_SHAPE
    for top_p in (-0.1, 1.1, math.nan):
        settings.top_p = top_p
        assert run([bos]) == lib.MG_SHAPE
    settings.top_p = 0
    state[624] = 625
    assert run([bos]) == lib.MG_SHAPE
    state[624] = 624
    assert list(state) == before
    assert lib.mg_sampler_probabilities(core._pointer, [bos], 1, ffi.new("double[]", 3), 3) == lib.MG_SHAPE
    assert run([bos]) == lib.MG_OK
    assert done[0] == 3
    model.state_dict["wte"]._tape.close()
    assert run([bos]) == lib.MG_CLOSED


def test_programs_that_are_no_models():
    """A sampler is refused for a program of another form: a status, and a reason to draw one by one."""
    table = Matrix(3, 3, [0.0] * 9)

    def twice(a, b):
        return mean([surprisal(softmax(table[a])[b]), surprisal(softmax(table[b])[a])])

    def nothing(a):
        return table[a][0] * 2

    for function, examples in ((twice, 2), (nothing, 1)):
        program = record_with(function, [Index(0) for _ in range(examples)], table._tape, quiet=True, plan=False)
        assert lib.mg_sampler_new(program._pointer) == ffi.NULL
        assert lib.mg_tape_take_status(table._tape._pointer) == lib.MG_OPERATION
