"""What programs written for other classes named Value do with it."""

import copy
import math
import pickle
from fractions import Fraction

import pytest

from microgpt import ShapeError, Tape, Value, Vector, gelu

from . import oracle
from .bits import all_bits, bits


class Wrapping:
    """A number whose own arithmetic wraps around, as numpy's unsigned integers do."""

    def __init__(self, number):
        self._number = number

    def __float__(self):
        return float(self._number)

    def __neg__(self):
        return Wrapping(256 - self._number)

    def __pow__(self, exponent):
        raise ValueError("Integers to negative integer powers are not allowed.")


def test_numbers_become_floats_first():
    assert (Value(1.0) - Wrapping(3)).data == -2.0
    assert (Value(1.0) / Wrapping(2)).data == 0.5
    assert (Value(7.0) / 3).data == 7.0 * 3**-1
    assert (Value(1.0) - Fraction(1, 2)).data == 0.5
    with pytest.raises(ZeroDivisionError):
        Value(1.0) / 0


def test_numpy_numbers():
    np = pytest.importorskip("numpy")
    assert (Value(1.0) - np.uint8(3)).data == -2.0
    assert (Value(1.0) / np.int64(2)).data == 0.5
    assert (np.float64(2) * Value(3.0)).data == 6.0


@pytest.mark.parametrize("other", ["3", b"3", None, [1.0], object()])
def test_what_is_no_number(other):
    """Is left to the other operand, and so a TypeError, in comparing too."""
    for operation in ("__add__", "__sub__", "__mul__", "__truediv__", "__lt__", "__le__", "__gt__", "__ge__"):
        assert getattr(Value(5.0), operation)(other) is NotImplemented
    with pytest.raises(TypeError):
        assert Value(5.0) > other


def test_looks_like_a_number():
    v = Value(2.71828)
    assert f"{v:.2f}|{v:>8.3f}|{v}" == f"2.72|   2.718|{v!r}"
    assert (+v) is v
    assert (round(v), round(v, 2)) == (3, 2.72)
    assert v.item() == 2.71828
    with pytest.raises(TypeError, match="use its data"):
        float(v)
    with pytest.raises(TypeError, match="use its data"):
        math.sqrt(v)
    values = [Value(x) for x in (3.0, 1.0, 2.0)]
    assert [v.data for v in sorted(values)] == [1.0, 2.0, 3.0]


def test_attributes_of_ones_own():
    """Stay with the object for as long as it is held, also when it is reached through the graph."""
    p = Value(1.0, label="p")
    p.m, p.v = 0.5, 0.25
    q = p * 2
    q.visited = True
    assert (q._children[0] is p, q._children[0].m, p.label) == (True, 0.5, "p")


@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy, lambda v: pickle.loads(pickle.dumps(v))])
def test_copies_of_leaves(way):
    v = Value(0.1, label="w")
    (v * 3).backward()
    v.m = 7
    w = way(v)
    assert w is not v
    assert (bits(w.data), w.grad, w.label, w.m) == (bits(0.1), v.grad, "w", 7)
    w.data = 2
    assert v.data == 0.1
    with pytest.raises(TypeError, match="keep its data"):
        way(v * 2)


def test_deepcopy_of_parameters():
    parameters = {"w": [[Value(1.0), Value(2.0)], [Value(3.0)]]}
    parameters["w"][0][1].history = [5]
    parameters["again"] = parameters["w"][0][0]
    kept = copy.deepcopy(parameters)
    parameters["w"][0][1].history.append(6)
    assert kept["w"][0][1].history == [5]
    assert kept["again"] is kept["w"][0][0]
    parameters["w"][0][0].data = 9
    assert [[v.data for v in row] for row in kept["w"]] == [[1.0, 2.0], [3.0]]


def test_subclass():
    """May have an __init__ of its own, which calls that of Value."""

    class Parameter(Value):
        def __init__(self, name, data):
            super().__init__(data, label=name)
            self.name = name

    p = Parameter("w", 3.0)
    out = p * p + 1
    out.backward()
    assert (p.name, p.label, p.data, p.grad, type(out)) == ("w", "w", 3.0, 6.0, Value)


def test_subclasses_of_subclasses():
    """The one __init__ is called once, with or without one in between; a copy is of the same numbers."""

    class Plain(Value):
        pass

    class Named(Plain):
        def __init__(self, data):
            super().__init__(data)
            self.name = "x"

    assert (Plain(2.0) * Named(3.0)).data == 6.0
    assert (Named(3.0).name, Plain(1.0, label="p").label) == ("x", "p")
    with pytest.raises(TypeError):
        Plain()
    with pytest.raises(TypeError):
        Value()


def test_children_need_their_derivatives():
    a, b = Value(1.0), Value(2.0)
    with pytest.raises(ShapeError, match="local_grads"):
        Value(2.0, (a, b))
    out = Value(2.0, (a, b), (2.0, 1.0), label="a*b")
    out.backward()
    assert (a.grad, b.grad, out.label) == (2.0, 1.0, "a*b")


@pytest.mark.parametrize("name", oracle.UNARY)
@pytest.mark.parametrize("x", [-2.5, -0.3, 0.4, 1.2])
def test_functions_of_one_number(name, x):
    """Data, partial and exception are those of Python's math."""
    try:
        expected = abs(oracle.Value(x)) if name == "abs" else getattr(oracle.Value(x), name)()
    except (ArithmeticError, ValueError) as error:
        with pytest.raises(type(error)):
            getattr(Value(x), name)()
        return
    found = abs(Value(x)) if name == "abs" else getattr(Value(x), name)()
    assert (bits(found.data), bits(found._local_grads[0])) == (bits(expected.data), bits(expected._local_grads[0]))


COMPOSED = {
    "silu": lambda x: x * x.sigmoid(),
    "mish": lambda x: x * x.softplus().tanh(),
    "gelu": lambda x: x * 0.5 * ((x * math.sqrt(0.5)).erf() + 1),
    "leaky_relu": lambda x: x.max(x * 0.01),
    "elu": lambda x: x.relu() + x.min(0.0).expm1() * 1.0,
    "selu": lambda x: (x.relu() + x.min(0.0).expm1() * 1.6732632423543772) * 1.0507009873554805,
    "neg": lambda x: x * -1,
}
WITH_ARGUMENTS = [
    (lambda x: x.gelu(approximate="tanh"), lambda x: gelu(Vector([x.data]))[0]),
    (lambda x: x.softplus(beta=2.0), lambda x: (x * 2.0).softplus() / 2.0),
    (lambda x: x.elu(0.5), lambda x: x.relu() + x.min(0.0).expm1() * 0.5),
    (lambda x: x.leaky_relu(0.2), lambda x: x.max(x * 0.2)),
    (lambda x: x.pow(3), lambda x: x**3),
]
AT = [-30.0, -2.5, -0.3, 0.0, 0.4, 1.2, 30.0]


@pytest.mark.parametrize("name", COMPOSED)
@pytest.mark.parametrize("x", AT)
def test_functions_made_of_others(name, x):
    """The numbers are those of the operations that the docstring names, in pure Python."""
    found, expected = Value(x), oracle.Value(x)
    out, wanted = getattr(found, name)(), COMPOSED[name](expected)
    out.backward()
    wanted.backward()
    assert all_bits([out.data, found.grad]) == all_bits([wanted.data, expected.grad])


@pytest.mark.parametrize("x", AT)
def test_functions_with_arguments(x):
    for function, composed in WITH_ARGUMENTS:
        a, b = Value(x), Value(x)
        assert bits(function(a).data) == bits(composed(b).data)
    with pytest.raises(ValueError, match="'none' or 'tanh'"):
        Value(x).gelu("erf")


@pytest.mark.parametrize("name", COMPOSED)
@pytest.mark.parametrize("x", [-2.5, -0.3, 0.4, 1.2])
def test_composed_functions_have_the_derivative_of_what_they_compute(name, x):
    """Their gradients are not compared with themselves only: a difference of two results comes close."""
    v, h = Value(x), 1e-6
    getattr(v, name)().backward()
    slope = (getattr(Value(x + h), name)().data - getattr(Value(x - h), name)().data) / (2 * h)
    assert abs(v.grad - slope) < 1e-8


def test_the_derivative_of_tanh_is_a_call_of_pow():
    """1 - t ** 2, as most classes write it, which `1 - t * t` is not at this number."""
    v = Value(1.565)
    t = v.tanh()
    assert 1 - t.data**2 != 1 - t.data * t.data
    assert bits(t._local_grads[0]) == bits(1 - t.data**2)


def test_numpy_finds_the_functions():
    """np.log1p and the like call the methods, element by element."""
    np = pytest.importorskip("numpy")
    row = np.array([Value(0.25), Value(0.5)])
    names = [
        "exp",
        "exp2",
        "expm1",
        "log",
        "log2",
        "log10",
        "log1p",
        "sqrt",
        "sin",
        "cos",
        "tan",
        "sinh",
        "cosh",
        "tanh",
    ]
    for name in [*names, "arcsin", "arccos", "arctan"]:
        found = getattr(np, name)(row)
        assert [bits(v.data) for v in found] == [bits(getattr(v, name)().data) for v in row]
    weights = np.array([Value(2.0), Value(-3.0)])
    out = np.dot(row, weights)
    out.backward()
    assert (out.data, [v.grad for v in row], [v.grad for v in weights]) == (-1.0, [2.0, -3.0], [0.25, 0.5])


def test_names_of_inverse_functions():
    for short, long in (("asin", "arcsin"), ("acos", "arccos"), ("atan", "arctan")):
        assert getattr(Value, short) is getattr(Value, long)


def test_small_things():
    v = Value(3.0)
    assert v.pow(2).data == 9.0
    v.pow(2).backward()
    v.zero_grad()
    assert v.grad == 0.0
    with pytest.raises(ValueError, match="negative_slope"):
        v.leaky_relu(2)
    with Tape() as tape:
        w = copy.copy(Value(1.0))
    assert w._tape is tape
