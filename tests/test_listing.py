"""A program as text: what it says is Python, and computes the program's numbers."""

import math
import random
import re

import pytest

from microgpt import (
    GPT,
    Config,
    Index,
    Matrix,
    Value,
    Vector,
    gelu,
    initial_parameters,
    layernorm,
    linear,
    mean,
    record,
    silu,
    softmax,
)

from . import oracle
from .bits import all_bits


def lane_by_lane(expression):
    """What the text says of all lanes of a map, of lane i."""
    expression = re.sub(r"\[(\d*):\d+(?::(\d+))?\]", lambda m: f"[{m[1] or 0} + {m[2] or 1}*i]", expression)
    return re.sub(r"(^|[ (])(\[.*?\])(?=[ ),]|$)", r"\1\2[i]", expression)


def evaluated(program):
    """The result that the text computes from the numbers of the leaves."""
    given = iter(x for x in program.inputs if not isinstance(x, Index))
    names = {name: value for name, (value, _) in oracle.UNARY.items()} | {"range": range, "sum": sum, "max": max}
    for line in program.text(most=10**6).splitlines():
        line = line.partition("    #")[0]
        if kind := re.fullmatch(r"(\w+): (Value|Vector of .*|Matrix of .*|Index)", line):
            if kind[2] != "Index":
                handle = next(given) if line.startswith("x") else LEAVES[kind[1]]
                names[kind[1]] = handle.data
        elif statement := re.fullmatch(r"(v\d+)(\[.*?\])? = (.*)", line):
            name, size, expression = statement.groups()
            groups, width = ([1] + [int(n) for n in re.findall(r"\d+", size or "[1]")])[-2:]
            if " for c in range(" not in expression:
                expression = lane_by_lane(expression)
            lanes = [eval(expression, names | {"g": g, "i": i}) for g in range(groups) for i in range(width)]
            names[name] = lanes if size else lanes[0]
        else:
            return eval(re.fullmatch(r"result: (.*)", line)[1], names)


LEAVES = {}


def leaves(**handles):
    """Labels by which the text can be evaluated: matrices have none, and are numbered as they come up."""
    LEAVES.clear()
    LEAVES.update(handles)


W, G, B = Matrix(3, 2, [0.3, -0.2, 0.5, 0.1, -0.7, 0.9]), Vector([1.5, 0.5, -1.0]), Vector([0.1, 0.2, 0.3])
S = Value(0.75, label="scale")


@pytest.mark.parametrize(
    ("function", "examples", "others", "handles"),
    [
        (lambda x, y: (x * y + 1).tanh() ** 2 / y - 2**x, (0.5, 2.0), (0.25, 3.0), {}),
        (lambda x: x.relu() + (x.sigmoid() * S).exp() + abs(x) + x.erf(), (0.5,), (-1.5,), {"scale": S}),
        (lambda x: linear(x, W) * S + 1.5, ([1.0, 2.0],), ([0.5, -3.0],), {"p0": W, "scale": S}),
        (lambda x: softmax(gelu(linear(x, W)))[1].log(), ([1.0, 2.0],), ([0.5, -3.0],), {"p0": W}),
        (lambda x: silu(layernorm(x, G, B)).sum(), ([1.0, 2.0, 4.0],), ([0.5, -3.0, 1.0],), {"p0": G, "p1": B}),
        (lambda i, x: W[i] * x + G[1:3] * G[0:2], (Index(0), 2.0), (2, 3.0), {"p0": W, "p1": G}),
        (lambda x: mean([x[2], x[0], x[1]]) * x[2], ([1.0, 2.0, 4.0],), ([0.5, -3.0, 1.0],), {}),
    ],
)
def test_the_text_computes_the_numbers(function, examples, others, handles):
    leaves(**handles)
    program = record(function, *examples)
    for numbers in (examples, others):
        program(*[x.value if isinstance(x, Index) else x for x in numbers])
        found, expected = evaluated(program), program.result.data
        assert all_bits(found if isinstance(found, list) else [found]) == all_bits(
            expected if isinstance(expected, list) else [expected]
        )


@pytest.mark.parametrize("sizes", [{"n_layer": 1}, {"n_layer": 2, "activation": "relu"}])
def test_a_whole_model(sizes):
    config = Config(n_embd=4, n_head=2, std=0.5, **sizes)
    model = GPT(config, initial_parameters(config, 3, random.Random(1)))
    program = record(lambda *tokens: model.loss(tokens), *[Index(0) for _ in range(4)])
    text = program.text(most=10**6)
    order = [m[1] for m in re.finditer(r"^(p\d+): Matrix of (\d+ by \d+)$", text, re.M)]
    assert len(order) == len(model.state_dict)
    shapes = {f"{w.rows} by {w.columns}" for w in model.state_dict.values()}
    assert {m[2] for m in re.finditer(r"^(p\d+): Matrix of (\d+ by \d+)$", text, re.M)} == shapes
    names = ["wte", "wpe"]
    for layer in range(config.n_layer):
        names += [f"layer{layer}.{w}" for w in ("attn_wq", "attn_wk", "attn_wv", "attn_wo", "mlp_fc1", "mlp_fc2")]
    leaves(**dict(zip(order, [model.state_dict[name] for name in [*names, "lm_head"]])))
    for tokens in ([0, 0, 0, 0], [2, 0, 1, 2]):
        program(*tokens)
        assert all_bits([evaluated(program)]) == all_bits([program.result.data])


def test_what_it_looks_like():
    a = Value(0.5, label="a")
    program = record(lambda x, row: (x * a + 1).tanh() * row, 2.0, [1.0, 2.0])
    assert str(program).splitlines() == [
        "x0: Value",
        "x1: Vector of 2",
        "a: Value",
        "v0 = x0 * a",
        "v1 = v0 + 1",
        "v2 = tanh(v1)",
        "v3[2] = x1[:2] * v2",
        "result: v3[:2]",
    ]
    page = program._repr_html_()
    assert page.startswith("<b>&lt;Program (Value, Vector) -&gt; Vector, ")
    assert "<pre>x0: Value\n" in page


def test_long_ones_are_shortened():
    program = record(lambda x: sum((x * k for k in range(2000)), x), 1.0)
    lines = str(program).splitlines()
    assert len(lines) == 1 + 40 + 1 + 1
    assert "... 3,960 statements" in lines
    assert lines[-2:] == ["v3999 = v3997 + v3998", "result: v3999"]
    assert len(program.text(most=7).splitlines()) == 10
    assert program.text(most=1).splitlines()[1:3] == ["v0 = x0 * 0", "... 3,999 statements"]
    wide = record(lambda x: mean([x[k] for k in (3, 0, 1, 2, 7, 5, 6, 4)]), [float(k) for k in range(8)])
    assert "sum((x0[3], x0[0], x0[1], ..., x0[6], x0[4])[c] for c in range(8))" in str(wide)
    assert math.isfinite(wide.result.data)
