"""The tutorial, word by word: its code runs, in the order of each page, and prints what the page says."""

from __future__ import annotations

import pytest

from microgpt import Tape
from tests.pages import ROOT, Block, blocks, run

TUTORIAL = ROOT / "docs" / "tutorial"
PAGES = sorted(TUTORIAL.glob("[0-9]*.md"))

pytestmark = pytest.mark.skipif(not PAGES, reason="the tutorial is in the checkout, not in the wheel")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_pages(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Tape():
        results = run(path)
    assert results, "a page without code"
    for block, printed, expected in results:
        assert printed == expected, f"{path.name}, line {block.line}"


def test_pages_are_short():
    assert all(len(path.read_text(encoding="utf-8").splitlines()) <= 220 for path in PAGES)


def test_a_wrong_page_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```python\nx = 1\nprint(x)\n```\n\n```output\n2\n```\n\n```python\nprint(x + 1)\n```\n")
    assert [(printed, expected) for _, printed, expected in run(page)] == [("1\n", "2\n"), ("2\n", "")]
    page.write_text("text\n\n```python\n1 / 0\n```\n")
    assert blocks(page) == [Block("python", "1 / 0\n", 4)]
    with pytest.raises(ZeroDivisionError) as raised:
        run(page)
    assert raised.traceback[-1].lineno == 3  # from 0
