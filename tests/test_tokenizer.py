"""microgpt.tokenizer: characters to token ids and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microgpt import DataError, Tokenizer

TEXT = st.text(st.characters(exclude_categories=["Cs"]))


def test_ids():
    """Characters get ids in sorted order, whatever the order of the documents; BOS is the last id, on both sides."""
    tokenizer = Tokenizer(["emma", "bea"])
    assert tokenizer.chars == ["a", "b", "e", "m"]
    assert (tokenizer.bos, tokenizer.vocab_size) == (4, 5)
    assert tokenizer.encode("beam") == [4, 1, 2, 0, 3, 4]
    assert tokenizer.encode("") == [4, 4]
    assert tokenizer.decode([3, 0]) == "ma"
    assert Tokenizer(doc for doc in ["bea", "emma"]).chars == tokenizer.chars


@pytest.mark.parametrize(
    ("docs", "chars"),
    [
        (["aaa", "a"], ["a"]),
        (["😀é", "z\U0010ffff"], ["z", "é", "😀", "\U0010ffff"]),
        (["\uffff\U00010000"], ["\uffff", "\U00010000"]),
        (["bB a-"], [" ", "-", "B", "a", "b"]),
    ],
)
def test_alphabets(docs, chars):
    """One letter is an alphabet; order is that of code points, also beyond 16 bits, one token each."""
    tokenizer = Tokenizer(docs)
    assert tokenizer.chars == chars
    assert tokenizer.vocab_size == len(chars) + 1
    assert tokenizer.encode("".join(chars)) == [len(chars), *range(len(chars)), len(chars)]


@given(st.lists(TEXT, min_size=1), st.data())
def test_round_trip(docs, data):
    """Any text in the alphabet of the documents comes back from its ids, which are all below BOS."""
    tokenizer = Tokenizer(docs)
    text = "".join(data.draw(st.lists(st.sampled_from(tokenizer.chars)))) if tokenizer.chars else ""
    first, *ids, last = tokenizer.encode(text)
    assert first == last == tokenizer.bos == tokenizer.vocab_size - 1
    assert all(0 <= token < tokenizer.bos for token in ids)
    assert len(ids) == len(text)
    assert tokenizer.decode(ids) == text


@pytest.mark.parametrize(("text", "unknown"), [("abc", "c"), ("A", "A"), ("a\nb", "\n"), ("😀", "😀")])
def test_unknown_character(text, unknown):
    """A character that was in none of the documents is a DataError that names it."""
    with pytest.raises(DataError) as caught:
        Tokenizer(["ab", "ba"]).encode(text)
    assert isinstance(caught.value, ValueError)
    assert repr(unknown) in str(caught.value)


def test_decoding():
    """BOS has no text; what is no token is refused, also counted from the end."""
    tokenizer = Tokenizer(["abc"])
    assert tokenizer.decode(tokenizer.encode("cab")) == "cab"
    for wrong in (-1, 4):
        with pytest.raises(DataError, match=f"no token {wrong}"):
            tokenizer.decode([0, wrong])
