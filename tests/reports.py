"""What the tests of reports have in common."""

import random
from html.parser import HTMLParser

from microgpt import (
    GPT,
    Config,
    Saved,
    Tokenizer,
    initial_parameters,
)

DOCS = ["ab", "bà", "abc", "caab", "aa", "cb", "bbb", "acà"]
HOSTILE = [
    "</script><script>alert(1)</script>",
    "\"'&<>`$data{{}}",
    "\u202e\u05d0\t\u0301\u200d\x1b\x07b",
    "]]>--!>",
    "𝒳🙂",
]
SMALL = Config(n_embd=8, n_head=2, n_layer=2, block_size=6, steps=9, samples=3, std=0.3, zero_output=False)
LIMIT = 2_000_000


def directory_with_texts(tmp_path, monkeypatch):
    """Goes to a directory that holds ordinary texts, and hostile ones."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs.txt").write_text("".join(f"{doc}\n" for doc in DOCS), encoding="utf-8")
    (tmp_path / "hostile.txt").write_text("".join(f"{doc}\n" for doc in HOSTILE), encoding="utf-8")
    return tmp_path


def untrained(config=SMALL, docs=DOCS, scale=1.0):
    tokenizer, rng = Tokenizer(docs), random.Random(3)
    state_dict = initial_parameters(config, tokenizer.vocab_size, rng)
    for w in state_dict.values():
        w.data = [x * scale for x in w.data]
    return Saved(GPT(config, state_dict), tokenizer, rng=rng)


class Page(HTMLParser):
    """The elements of a page, its texts, and whether every element is closed."""

    VOID = frozenset({"meta", "link", "br", "hr"})

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.elements, self.texts, self.open, self.scripts = [], [], [], {}
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("script", "style"):
            self.scripts[self.open[-1], self.elements[-1][1].get("type")] = data
        else:
            self.texts.append(data)

    def of(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]
