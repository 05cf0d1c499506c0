"""The API reference is made from the docstrings: every public name has one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import microgpt

pdoc = pytest.importorskip("pdoc.doc", reason="the reference is made by pdoc, which is not installed")


def undocumented(of: object, path: str = "") -> Iterator[str]:
    """The public names in a module or class, and in its classes, that pdoc finds no docstring for."""
    for member in of.members.values():
        if member.name.startswith("_") or not member.taken_from[0].startswith("microgpt"):
            continue  # __init__ is described by its class
        if not member.docstring.strip():
            yield path + member.name
        if member.kind == "class":
            yield from undocumented(member, f"{path}{member.name}.")


def test_every_public_name_has_a_docstring():
    reference = pdoc.Module(microgpt)
    missing = [*undocumented(reference), *(set(microgpt.__all__) - set(reference.members))]
    # What is another module's variable, or a module, is in the table at the head of the package.
    assert [name for name in missing if f"`{name}`" not in microgpt.__doc__] == []


def test_the_check_finds_a_missing_docstring(monkeypatch):
    class Planted:
        def method(self):
            pass

    for planted, name in ((Planted, "Planted"), (Planted.method, "Planted.method")):
        planted.__module__, planted.__qualname__ = "microgpt", name
    monkeypatch.setattr(microgpt, "Planted", Planted, raising=False)
    monkeypatch.setattr(microgpt, "__all__", ["Planted"])
    assert list(undocumented(pdoc.Module(microgpt))) == ["Planted", "Planted.method"]
