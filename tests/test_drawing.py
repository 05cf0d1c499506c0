"""microgpt.drawing: the picture has every value, operand and operation once, and says where there is more."""

import re
import shutil

import pytest

from microgpt import ConfigError, Value, draw
from microgpt.cli import main
from microgpt.drawing import METHODS, evaluate

from . import oracle


def parts(dot):
    """The values with their records, the operations, the edges."""
    values = dict(re.findall(r'^  (v\d+) \[shape=record label="\{ (.*) \}"\]$', dot, re.M))
    operations = dict(re.findall(r'^  (o\d+) \[shape=circle label="(.*)"\]$', dot, re.M))
    return values, operations, re.findall(r"^  (\w+) -> (\w+)", dot, re.M)


def test_every_value_once():
    a, b = Value(2.0, label="a"), Value(-3.0, label="b")
    c = a * b
    d = c + a
    d.label = 'd "{x|y}"'
    d.backward()
    values, operations, edges = parts(str(draw(d)))
    assert values == {
        "v0": r"d \"\{x\|y\}\" | data -4 | grad 1",
        "v1": "data -6 | grad 1",
        "v2": "a | data 2 | grad -2",
        "v3": "b | data -3 | grad 2",
    }
    assert operations == {"o0": "+", "o1": "*"}
    assert sorted(edges) == [("o0", "v0"), ("o1", "v1"), ("v1", "o0"), ("v2", "o0"), ("v2", "o1"), ("v3", "o1")]


def test_squares_have_two_edges():
    a = Value(3.0)
    assert parts(draw(a * a).dot)[2].count(("v1", "o0")) == 2


def test_large_graphs_are_cut():
    x = Value(1.0)
    for _ in range(100_000):
        x = x * 0.5 + 1
    dot = draw(x).dot
    assert len(parts(dot)[0]) == 100
    assert "1 more" in dot
    assert len(parts(draw(x, depth=2).dot)[0]) == 5  # the two constants are values too
    assert len(parts(draw(x, depth=0).dot)[0]) == 1
    for options in ({"nodes": 0}, {"depth": -1}):
        with pytest.raises(ConfigError):
            draw(x, **options)


def test_files(tmp_path):
    picture = draw(Value(1.0) + 2)
    picture.save(tmp_path / "a.dot")
    assert (tmp_path / "a.dot").read_text(encoding="utf-8") == picture.dot
    with pytest.raises(ConfigError, match=r"\.dot or \.svg"):
        picture.save(tmp_path / "a.png")
    if shutil.which("dot"):
        picture.save(tmp_path / "a.svg")
        assert "<svg" in (tmp_path / "a.svg").read_text(encoding="utf-8")
    else:
        with pytest.raises(ConfigError, match="graphviz"):
            picture.save(tmp_path / "a.svg")
        assert picture._repr_mimebundle_() == {"text/html": picture.table(), "text/plain": picture.dot}


def test_a_table_of_the_same():
    """Rows as data, and as HTML for notebooks where there is no graphviz."""
    a, b = Value(2.0, label="a"), Value(-3.0, label="<b>")
    out = a * b + a
    out.backward()
    assert [tuple(row) for row in draw(out).rows] == [
        (0, "", -4.0, 1.0, "+", (1, 2), 0),
        (1, "", -6.0, 1.0, "*", (2, 3), 0),
        (2, "a", 2.0, -2.0, "", (), 0),
        (3, "<b>", -3.0, 2.0, "", (), 0),
    ]
    table = draw(out, nodes=2).table()
    assert "<tr><td>0</td><td></td><td>-4</td><td>1</td><td>+</td><td>1, 1 more</td></tr>" in table
    assert "<td>&lt;b&gt;</td>" in draw(out).table()


def test_a_value_shows_itself(monkeypatch):
    """In a notebook: text, and the picture of what is nearest to it, or the table."""
    x = Value(0.5, label="x")
    out = x
    for _ in range(100):
        out = out * 0.9 + x
    monkeypatch.setattr(shutil, "which", lambda program: None)
    shown = out._repr_mimebundle_()
    assert shown["text/plain"] == repr(out)
    assert shown["text/html"].count("<tr>") == 1 + 25
    assert "1 more" in shown["text/html"]


def test_every_function_can_be_drawn():
    assert {*oracle.UNARY, *oracle.BINARY} <= set(METHODS)


def test_expressions():
    names = {name: Value(number) for name, number in (("a", 2.0), ("b", -3.0), ("c", 10.0))}
    a, b, c = names.values()
    two = ["pow", *oracle.BINARY]
    assert evaluate("a*b + c.tanh()", names).data == (a * b + c.tanh()).data
    assert evaluate("-(a - 2**3) / b ** 2", names).data == (-(a - 8.0) / b**2).data
    assert evaluate("max(a, b) + exp(1)", names).data == (a.max(b) + Value(1.0).exp()).data
    assert evaluate("3", names).data == 3.0
    assert all(evaluate(f"{name}(0.5{', 2' if name in two else ''})", {}).data for name in METHODS)


@pytest.mark.parametrize(
    "expression",
    ["", "a +", "q", "a.data", "a.backward()", "__import__('os')", "a if a else a", "'x'", "a(1)", "1/0", "log(-1)",
     "9.0**9**9**9", "exp(1000)", "[a]", "tanh()", "max(1)", "a.tanh(1)", "True", "(" * 5000, "-" * 5000 + "1"],
)  # fmt: skip
def test_what_is_no_expression(expression, capsys):
    """One line, status 2."""
    assert main(["graph", expression, "a=2"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1), err


def test_command(capsys, tmp_path):
    assert main(["graph", "a*b + c.tanh()", "a=2", "b=-3", "c=10", "-o", str(tmp_path / "g.dot")]) == 0
    text = (tmp_path / "g.dot").read_text(encoding="utf-8")
    assert capsys.readouterr() == ("", "")
    assert main(["graph", "a*b + c.tanh()", "a=2", "b=-3", "c=10"]) == 0
    assert capsys.readouterr().out == text
    assert "a | data 2 | grad -3" in text
    for words in (["graph"], ["graph", "a", "a"], ["graph", "a", "a=x"], ["graph", "a", "a=1", "-o", str(tmp_path)]):
        assert main(words) == 2
        assert capsys.readouterr().err.count("\n") == 1
