"""`Value` has everything that the course's class has, and behaves the same."""

from __future__ import annotations

import copy
import fractions
import math
import pickle

import pytest

import microgpt
from microgpt import Value

from . import oracle
from .bits import all_bits, bits


def both(function, *data):
    """The same function of leaves, on Value and on the oracle: the results and the leaves of each."""
    found, expected = [Value(x) for x in data], [oracle.Value(x) for x in data]
    return function(*found), function(*expected), found, expected


@pytest.mark.parametrize(
    "function",
    [
        lambda a, b: a + b,
        lambda a, b: a + 3,
        lambda a, b: 0.1 + a,
        lambda a, b: a - b,
        lambda a, b: a - 1.5,
        lambda a, b: 2 - a,
        lambda a, b: a * b,
        lambda a, b: a * 7,
        lambda a, b: 0.1 * a,
        lambda a, b: a / b,
        lambda a, b: a / 3,
        lambda a, b: 1 / a,
        lambda a, b: -a,
        lambda a, b: a * a,
        lambda a, b: a**2,
        lambda a, b: a**-1,
        lambda a, b: a**-0.5,
        lambda a, b: a**0,
        lambda a, b: a**b,
        lambda a, b: 2**a,
        lambda a, b: 0.3**a,
        lambda a, b: sum([a, b, a]),
        lambda a, b: (a * b + a).relu() ** 2 + b.log().exp() / (a - 9.0),
        lambda a, b: a.max(b) + a.min(b) + a.max(0.5) * b.min(100),
        lambda a, b: abs(-a) + a.tanh() + b.sigmoid() + a.sqrt() + a.sin() * b.cos(),
    ],
)
def test_operators_equal_the_oracle(function):
    """Value, gradients and partials of every operator have the oracle's bits, with numbers on either side."""
    out, expected, found_leaves, expected_leaves = both(function, 1.7, 2.3)
    out.backward()
    expected.backward()
    assert bits(out.data) == bits(expected.data)
    assert all_bits(x.grad for x in found_leaves) == all_bits(x.grad for x in expected_leaves)
    assert len(out._children) == len(expected._children)
    assert all_bits(c.data for c in out._children) == all_bits(c.data for c in expected._children)
    assert all_bits(out._local_grads) == all_bits(expected._local_grads)


def test_backward_accumulates_as_the_course_does():
    """A second backward() sets its result's gradient to 1 and adds to all others, those in between included."""
    out, expected, found, wanted = both(lambda a, b: (a * b) * (a + b), 1.3, -0.7)
    for _ in range(3):
        out.backward()
        expected.backward()
    assert all_bits(x.grad for x in found) == all_bits(x.grad for x in wanted)
    assert all_bits(c.grad for c in out._children) == all_bits(c.grad for c in expected._children)
    assert out.grad == 1


def test_data_and_grad_can_be_set():
    """Writing data changes later operations only; recorded partials stay, as they do in the course's class."""
    out, expected, found, wanted = both(lambda a, b: a * b, 3.0, 4.0)
    for leaf in (found[0], wanted[0]):
        leaf.data = 100
        leaf.grad = 5
    out.backward()
    expected.backward()
    assert out.data == expected.data == 12
    assert (found[0].grad, found[1].grad) == (wanted[0].grad, wanted[1].grad) == (9, 3)
    assert (found[0] + 1).data == 101


def test_custom_statement():
    """Value(data, children, local_grads) takes any value and partials, in the order given, also with a child twice."""
    a, b = Value(2.0), Value(3.0)
    out = Value(7.5, (a, b, a), (0.5, -2, 0.25))
    out.backward()
    assert (out.data, a.grad, b.grad) == (7.5, 0.75, -2.0)
    assert out._children == (a, b, a)
    assert out._local_grads == (0.5, -2.0, 0.25)
    assert Value(1, [a], [2])._children == (a,)


def test_custom_statement_needs_a_partial_for_each_child():
    """A missing partial is an error that says how many there are of each."""
    with pytest.raises(microgpt.ShapeError, match="2 children but 1 local_grads"):
        Value(1.0, (Value(1.0), Value(2.0)), (1.0,))
    with pytest.raises(microgpt.ShapeError, match="0 children but 1 local_grads"):
        Value(1.0, (), (1.0,))


def test_identity():
    """Values hash and compare by identity, and the graph gives back the very objects that made it."""
    a, b = Value(1.0), Value(1.0)
    assert a != b
    assert len({a, b, a}) == 2
    c = a * b
    assert c._children[0] is a
    assert c._children[1] is b
    assert c._prev == {a, b}
    d = c + 2
    assert d._children[0] is c
    assert d._children[1] is d._children[1]


def test_constants_are_children():
    """A number in an operation becomes a leaf, as in the course's class, and has a gradient."""
    a = Value(3.0)
    c = a * 4
    two = c._children[1]
    assert (two.data, two._children, two._op) == (4.0, (), "")
    c.backward()
    assert two.grad == 3.0


def test_operation_names():
    """`_op` names the operation in micrograd's way, and is empty for a leaf."""
    a, b = Value(2.0), Value(3.0)
    values = [
        a,
        a + b,
        a * b,
        a**2,
        a**-1,
        a**0.5,
        a**b,
        2**a,
        a.relu(),
        a.exp(),
        a.log(),
        a.tanh(),
        Value(1, (a,), (1,)),
    ]
    names = ["", "+", "*", "**2", "**-1", "**0.5", "**", "2**", "ReLU", "exp", "log", "tanh", "custom"]
    assert [value._op for value in values] == names


def test_label_and_repr():
    """A label stays with the value, also when the handle is made anew; repr is micrograd's."""
    a = Value(2.0)
    assert a.label == ""
    a.label = "a"
    b = a * 3
    del a
    assert b._children[0].label == "a"
    assert repr(b) == "Value(data=6.0, grad=0.0)"


def test_micrograd_drawing_walk():
    """The walk of micrograd's drawing code sees each node once, by `in` and by `id`."""
    a = Value(2.0)
    b = a * a + a
    root = b * b
    nodes, edges = set(), set()

    def build(v):
        if v not in nodes:
            nodes.add(v)
            for child in v._prev:
                edges.add((child, v))
                build(child)

    build(root)
    assert len(nodes) == 4
    assert {id(child) for child, _ in edges} <= {id(node) for node in nodes}
    assert a in nodes
    assert len(edges) == 4  # a -> a*a, a*a -> b, a -> b, b -> root


@pytest.mark.parametrize(
    ("function", "data"),
    [
        (lambda a: a.log(), 0.0),
        (lambda a: a.log(), -1.0),
        (lambda a: a.log(), -math.inf),
        (lambda a: a.exp(), 710.0),
        (lambda a: a**-1, 0.0),
        (lambda a: a**-1, -0.0),
        (lambda a: a**0.5, 0.0),
        (lambda a: a**0.5, -8.0),
        (lambda a: a**2.5, -1e300),
        (lambda a: a**2, 1e200),
        (lambda a: a**3, -1e200),
        (lambda a: 1 / a, 0.0),
        (lambda a: a / 0, 1.0),
        (lambda a: a / 0.0, 1.0),
        (lambda a: a.sqrt(), -1.0),
        (lambda a: a.sqrt(), 0.0),
        (lambda a: a.sin(), math.inf),
        (lambda a: a.cos(), -math.inf),
        (lambda a: 0**a, -1.0),
        (lambda a: (-2) ** a, 2.0),
        (lambda a: a ** (10**400), 2.0),
    ],
)
def test_errors_are_pythons(function, data):
    """Where the oracle raises, Value raises the same type, and the tape goes on working."""
    with pytest.raises((ValueError, OverflowError, ZeroDivisionError)) as expected:
        function(oracle.Value(data))
    with pytest.raises(expected.type) as found:
        function(Value(data))
    assert found.type is expected.type
    assert (Value(1.0) + 1).data == 2


@pytest.mark.parametrize("data", [math.nan, math.inf, -math.inf, -0.0, 5e-324, 1.7976931348623157e308])
@pytest.mark.parametrize(
    "function",
    [
        lambda a: a + a,
        lambda a: a * -1,
        lambda a: a * 0,
        lambda a: a.relu(),
        lambda a: a**0,
        lambda a: a**1,
        lambda a: a**3,
        lambda a: 1**a,
        lambda a: a.exp(),
        lambda a: a.log(),
        lambda a: a.tanh(),
        lambda a: a.sigmoid(),
        lambda a: abs(a),
        lambda a: a.max(0),
        lambda a: a.min(a + 1),
    ],
)
def test_special_numbers_flow_as_in_python(function, data):
    """NaN, infinities, zeros and extremes give what the oracle gives: a number of the same bits, or its exception."""
    try:
        expected = function(oracle.Value(data))
    except ArithmeticError as error:
        with pytest.raises(type(error)):
            function(Value(data))
    except ValueError:
        with pytest.raises(ValueError, match="domain"):
            function(Value(data))
    else:
        found = function(Value(data))
        assert bits(found.data) == bits(expected.data)
        assert all_bits(found._local_grads) == all_bits(expected._local_grads)


@pytest.mark.parametrize("other", ["3", None, [1.0], object(), 1j])
def test_what_is_not_a_number_is_a_type_error(other):
    """Operands that are not real numbers raise TypeError, on either side, and data refuses them too."""
    a = Value(1.0)
    for function in (lambda: a + other, lambda: other + a, lambda: a * other, lambda: a**other, lambda: other - a):
        with pytest.raises(TypeError):
            function()
    with pytest.raises(TypeError):
        Value(other)
    with pytest.raises(TypeError):
        a.data = other


def test_whatever_float_takes_is_a_number():
    """bool, Fraction and the like are numbers, as for math.exp."""
    a = Value(fractions.Fraction(1, 4))
    assert (a + fractions.Fraction(1, 2)).data == 0.75
    assert (a * True).data == 0.25
    assert Value(7).data == 7.0


def test_computed_values_are_not_copied():
    """A copy would be a second handle on one number, and a pickle a handle on nothing: TypeError says what to do."""
    for copied in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="lives on its tape"):
            copied(Value(1.0) + 1)


def test_deep_chain():
    """A million operations in a chain record and sweep without a recursion limit."""
    x = Value(1.0)
    y = x
    for _ in range(1_000_000):
        y = y + 1.0
    y.backward()
    assert (y.data, x.grad) == (1_000_001.0, 1.0)


def test_many_operands():
    """One statement with 100,000 operands."""
    leaves = [Value(i) for i in range(1000)]
    out = Value(0.0, leaves * 100, [0.5] * 100_000)
    out.backward()
    assert all(leaf.grad == 50.0 for leaf in leaves)
    assert len(out._children) == 100_000
