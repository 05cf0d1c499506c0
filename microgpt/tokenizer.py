"""The course's block 2, second half: characters to token ids and back."""

from __future__ import annotations

from collections.abc import Iterable

from .arguments import integer, require
from .errors import DataError


class Tokenizer:
    """A token for each character of the documents, in sorted order, and BOS, the last id, for either end."""

    __slots__ = ("_ids", "bos", "chars")

    chars: list[str]
    """The characters in sorted order: token i is chars[i]."""
    bos: int
    """The id of BOS, len(chars)."""

    def __init__(self, docs: Iterable[str]) -> None:
        docs = list(docs)
        for doc in docs:
            require("each of the documents", doc, str)
        self.chars = sorted(set("".join(docs)))
        self.bos = len(self.chars)
        self._ids = {char: i for i, char in enumerate(self.chars)}

    @property
    def vocab_size(self) -> int:
        """The number of tokens, BOS included."""
        return len(self.chars) + 1

    def __repr__(self) -> str:
        chars = "".join(self.chars)
        return f"<Tokenizer of {len(chars)} characters and BOS: {chars if len(chars) <= 60 else chars[:57] + '...'}>"

    def encode(self, doc: str) -> list[int]:
        """BOS, the ids of the characters, BOS. DataError for a character that was in none of the documents."""
        require("a document", doc, str)
        try:
            return [self.bos, *(self._ids[char] for char in doc), self.bos]
        except KeyError as error:
            raise DataError(f"the character {error.args[0]!r} is in none of the documents") from None

    def decode(self, ids: Iterable[int]) -> str:
        """The text of some ids; BOS has none. DataError for what is no token's id."""
        chars = []
        for i in ids:
            if not 0 <= integer("a token", i) <= self.bos:
                raise DataError(f"there is no token {i}: they are 0 to {self.bos}")
            chars += self.chars[i : i + 1]
        return "".join(chars)
