"""microgpt.sampling: how many samples, how long, and how many random draws they take."""

import random
from dataclasses import replace

import pytest

from microgpt import (
    GPT,
    SCALARS,
    SPANS,
    Config,
    Tape,
    Tokenizer,
    initial_parameters,
    next_probabilities,
    parameters_sha256,
    sample,
)

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
