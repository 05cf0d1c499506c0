"""What the documentation points at is there: pages, headings, files, names of the core."""

from __future__ import annotations

import re

import pytest

from tests.pages import ROOT

PAGES = [path for where in ("*.md", "docs/**/*.md", "examples/*.md") for path in sorted(ROOT.glob(where))]
OF_OTHERS = {"microgpt.py"}  # what a user's script may be called

pytestmark = pytest.mark.skipif(not (ROOT / "docs").exists(), reason="the docs are in the checkout, not in the wheel")


def anchors(page: str) -> list[str]:
    """What a heading is linked by."""
    headings = re.findall(r"^#+ (.*)$", page, re.MULTILINE)
    return [re.sub(r"[^\w\s-]", "", heading).lower().replace(" ", "-") for heading in headings]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path):
    for target, _, anchor in re.findall(r"\]\(([^)#:\s]*)(#([^)\s]*))?\)", path.read_text(encoding="utf-8")):
        file = path.parent / target if target else path
        assert file.exists(), target
        assert not anchor or anchor in anchors(file.read_text(encoding="utf-8")), f"{target}#{anchor}"


@pytest.fixture(scope="module")
def sources():
    folders = ("csrc", "microgpt", "tests", "benchmarks", "examples")
    return [
        path
        for folder in folders
        for path in (ROOT / folder).rglob("*.*")
        if path.suffix in (".py", ".c", ".h", ".pyi")
    ]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_names_of_the_core_exist(path, sources):
    if path.name == "CHANGELOG.md":
        return  # it tells of the past too
    page = path.read_text(encoding="utf-8")
    for span in re.findall(r"`([^`\n]+)`", page):
        for name in set(re.findall(r"[\w./-]+\.(?:pyi?|c|h)\b", span)) - OF_OTHERS:
            assert any(str(source).endswith(f"/{name}") for source in sources), name
    core = "".join(source.read_text(encoding="utf-8") for source in sources if source.suffix in (".c", ".h"))
    for name in set(re.findall(r"\b(?:mg|MG)_\w+", page)):
        assert re.search(rf"\b{name}\b", core), name
