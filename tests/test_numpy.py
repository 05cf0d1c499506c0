"""Values beside numpy's numbers, in arrays of objects, and where Python wants a number: format, round, sort, copy.

The gate has numpy, from the extra `test`; without it this is skipped.
"""

from __future__ import annotations

import copy
import math
import operator
import pickle

import pytest

from microgpt import Value

from . import oracle
from .bits import all_bits, bits

np = pytest.importorskip("numpy")

OPERATORS = [operator.add, operator.sub, operator.mul, operator.truediv, operator.pow]
NUMBERS = [np.float64(1.5), np.float32(0.25), np.float16(2), np.int64(3), np.int8(-2), np.uint8(3), np.bool_(True)]


@pytest.mark.parametrize("number", NUMBERS, ids=lambda x: type(x).__name__)
@pytest.mark.parametrize("function", OPERATORS)
def test_numbers_on_either_side(function, number):
    """They are floats from the first, as an unsigned integer's negative would not be."""
    x, y = 0.75, float(number)
    for found, leaf, expected, expected_leaf in (
        (function(a := Value(x), number), a, function(b := oracle.Value(x), y), b),
        (function(number, a := Value(x)), a, function(y, b := oracle.Value(x)), b) if y > 0 else [None] * 4,
    ):
        if found is None:
            continue
        assert type(found) is Value
        found.backward()
        expected.backward()
        assert all_bits([found.data, leaf.grad]) == all_bits([expected.data, expected_leaf.grad])


@pytest.mark.parametrize("number", NUMBERS, ids=lambda x: type(x).__name__)
def test_comparisons_and_methods(number):
    v, y = Value(1.75), float(number)
    assert (v < number, v <= number, v > number, v >= number) == (y > 1.75, y >= 1.75, y < 1.75, y <= 1.75)
    assert (bool(number < v), bool(number >= v)) == (y < 1.75, y >= 1.75)
    assert (v.max(number).data, v.min(number).data) == (max(1.75, y), min(1.75, y))
    assert Value(number).data == y
    v.data, v.grad = number, number
    assert (v.data, v.grad) == (y, y)


def test_arrays_of_objects():
    """Products, sums and functions are made of the Values' own operations."""
    numbers = [[0.5, -1.0, 2.0], [1.5, 0.25, -0.75]]
    w, x = np.array([[Value(k) for k in row] for row in numbers]), np.array([Value(0.3), Value(-0.7), Value(1.1)])
    w2, x2 = [[oracle.Value(k) for k in row] for row in numbers], [oracle.Value(k) for k in (0.3, -0.7, 1.1)]
    out = np.tanh(w @ x + np.array([1.0, -2.0])).sum()
    rows = [row[0] * x2[0] + row[1] * x2[1] + row[2] * x2[2] for row in w2]
    expected = (rows[0] + 1.0).tanh() + (rows[1] + -2.0).tanh()
    out.backward()
    expected.backward()
    assert bits(out.data) == bits(expected.data)
    assert all_bits(v.grad for v in [*x, *w.flat]) == all_bits(v.grad for v in [*x2, *w2[0], *w2[1]])
    assert np.dot(x, x).data == x2[0].data ** 2 + x2[1].data ** 2 + x2[2].data ** 2
    assert [v.data for v in 1 - x * 2] == [1 - k * 2 for k in (0.3, -0.7, 1.1)]
    assert [v.data for v in np.sort(x)] == [-0.7, 0.3, 1.1]
    assert (np.max(x), np.argmin(x)) == (x[2], 1)
    assert np.mean(x).data == ((0.3 + -0.7) + 1.1) * 3**-1
    assert [v.data for v in abs(-x)] == [0.3, 0.7, 1.1]
    assert [v.data for v in np.square(x)] == [k * k for k in (0.3, -0.7, 1.1)]


def test_arrays_of_floats():
    """A Value and an array of numbers give an array of Values, element by element."""
    v, numbers = Value(2.0), np.array([1.0, 2.0, 3.0])
    for out, expected in (
        (numbers * v, [2.0, 4.0, 6.0]),
        (numbers - v, [-1.0, 0.0, 1.0]),
        (numbers / v, [0.5, 1, 1.5]),
    ):
        assert [x.data for x in out] == expected
    (numbers * v).sum().backward()
    assert v.grad == 6.0


def test_no_float_by_itself():
    """It would lose the derivative without a word; the error says what to do."""
    v = Value(2.5)
    for convert in (float, math.sqrt, int, lambda v: np.array([v]).astype(float), lambda v: np.float64(v)):
        with pytest.raises(TypeError) as raised:
            convert(v)
        if convert is not int:
            assert "use its data" in str(raised.value) or "use its data" in str(raised.value.__cause__)
    assert np.array([w.data for w in [v, v]]).dtype == np.float64


def test_as_a_number_is_shown_and_sorted():
    v = Value(2.71828)
    assert [f"{v:.4f}", f"{v:10.2e}", f"{v:+g}", format(v, "%")] == ["2.7183", "  2.72e+00", "+2.71828", "271.828000%"]
    assert [round(v), round(v, 3), round(Value(-0.5)), round(Value(2.675), 2)] == [3, 2.718, 0, 2.67]
    values = [Value(x) for x in (3.0, -1.0, 2.0, -1.0)]
    assert sorted(values) == [values[1], values[3], values[2], values[0]]
    assert (max(values), min(values)) == (values[0], values[1])
    assert sorted(values, reverse=True)[0] is values[0]


def test_parameters_are_copied_and_pickled():
    """With data, gradients, labels and attributes, as often as they are held; the copies live by themselves."""
    parameters = [Value(0.1 * k, label=f"w{k}") for k in range(5)]
    sum(p * p for p in parameters).backward()
    parameters[0].m = 0.5
    nested = {"layers": [parameters[:2], parameters[2:]], "again": parameters[0]}
    for kept in (copy.deepcopy(nested), pickle.loads(pickle.dumps(nested))):
        found = [p for layer in kept["layers"] for p in layer]
        assert kept["again"] is found[0]
        assert found[0].m == 0.5
        assert [p.label for p in found] == [p.label for p in parameters]
        assert all_bits([*(p.data for p in found), *(p.grad for p in found)]) == all_bits(
            [*(p.data for p in parameters), *(p.grad for p in parameters)]
        )
        found[1].data = 9.0
        (found[1] * 2).backward()
    assert (parameters[1].data, parameters[1].grad) == (0.1, 0.2)
    with pytest.raises(TypeError, match="keep its data"):
        copy.deepcopy([parameters[0] * 2])
