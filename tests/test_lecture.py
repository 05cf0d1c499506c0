"""A first lecture on backpropagation, step by step, on three classes: one in pure Python, as such lectures write it;
`Value`; and a class on `Value` whose operators are the lecture's own, closures and all. Every number has the same bits.
"""

from __future__ import annotations

import itertools
import math
import random

import pytest

from microgpt import ShapeError, TapeError, Value, no_grad

from .bits import all_bits, bits


class Operators:
    """The lecture's operators: each makes its result with its children, and then says how to go back."""

    def lift(self, x):
        return x if isinstance(x, Operators) else type(self)(x)

    def __add__(self, other):
        other = self.lift(other)
        out = type(self)(self.data + other.data, (self, other), "+")

        def _backward():
            self.grad += 1.0 * out.grad
            other.grad += 1.0 * out.grad

        out._backward = _backward
        return out

    def __mul__(self, other):
        other = self.lift(other)
        out = type(self)(self.data * other.data, (self, other), "*")

        def _backward():
            self.grad += other.data * out.grad
            other.grad += self.data * out.grad

        out._backward = _backward
        return out

    def __pow__(self, k):
        out = type(self)(self.data**k, (self,), f"**{k}")

        def _backward():
            self.grad += k * self.data ** (k - 1) * out.grad

        out._backward = _backward
        return out

    def tanh(self):
        t = math.tanh(self.data)
        out = type(self)(t, (self,), "tanh")

        def _backward():
            self.grad += (1 - t**2) * out.grad

        out._backward = _backward
        return out

    def exp(self):
        out = type(self)(math.exp(self.data), (self,), "exp")

        def _backward():
            self.grad += out.data * out.grad

        out._backward = _backward
        return out

    def __neg__(self):
        return self * -1

    def __sub__(self, other):
        return self + (-other)

    def __rsub__(self, other):
        return (-self) + other

    def __truediv__(self, other):
        return self * other**-1

    def __radd__(self, other):
        return self + other

    def __rmul__(self, other):
        return self * other


class Pure(Operators):
    def __init__(self, data, _children=(), _op="", label=""):
        self.data, self.grad, self.label, self._op = data, 0.0, label, _op
        self._prev = tuple(dict.fromkeys(_children))  # a set, but in one order
        self._backward = lambda: None

    def __repr__(self):
        return f"Value(data={self.data}, grad={self.grad})"

    def backward(self):
        self.grad = 1.0
        for node in reversed(ordered(self)):
            node._backward()


class OnTape(Operators, Value):
    """The same operators on microgpt's class."""


classes = pytest.mark.parametrize("cls", [Value, OnTape], ids=["Value", "OnTape"])


def ordered(root):
    """The topological sort that the lecture writes by hand."""
    topo, visited = [], set()

    def build(v):
        if v not in visited:
            visited.add(v)
            for child in v._prev:
                build(child)
            topo.append(v)

    build(root)
    return topo


def expression(cls):
    a, b, c = cls(2.0, label="a"), cls(-3.0, label="b"), cls(10.0, label="c")
    e = a * b
    e.label = "e"
    d = e + c
    d.label = "d"
    f = cls(-2.0, label="f")
    out = d * f
    out.label = "out"
    return [out, d, f, e, c, a, b]


@classes
def test_an_expression_and_what_it_remembers(cls):
    for found, expected in zip(expression(cls), expression(Pure)):
        assert (found.label, found._op, bits(found.data)) == (expected.label, expected._op, bits(expected.data))
        assert [v.label for v in found._prev] == [v.label for v in expected._prev]
        assert repr(found) == repr(expected)
    out, d, f, *_ = expression(cls)
    assert out._prev == {d, f}
    assert {d} != out._prev
    assert repr(out._prev) == "{Value(data=4.0, grad=0.0), Value(data=-2.0, grad=0.0)}"


@classes
def test_gradients_by_hand(cls):
    """Each set by the chain rule, and a small step along them, as in the lecture; nothing but numbers moves."""

    def work(cls):
        out, d, f, e, c, a, b = nodes = expression(cls)
        out.grad = 1.0
        d.grad, f.grad = f.data, d.data
        e.grad = c.grad = 1.0 * d.grad
        a.grad, b.grad = b.data * e.grad, a.data * e.grad
        for v in (a, b, c, f):
            v.data += 0.01 * v.grad
        return all_bits([v.grad for v in nodes]), bits(((a * b + c) * f).data)

    assert work(cls) == work(Pure)


def neuron(cls, tanh=lambda n: n.tanh()):
    x1, x2 = cls(2.0, label="x1"), cls(0.0, label="x2")
    w1, w2, b = cls(-3.0, label="w1"), cls(1.0, label="w2"), cls(6.8813735870195432, label="b")
    x1w1, x2w2 = x1 * w1, x2 * w2
    total = x1w1 + x2w2
    n = total + b
    return [tanh(n), n, b, total, x2w2, x1w1, w1, w2, x1, x2]


@classes
def test_backward_node_by_node(cls):
    """o.grad = 1.0, and then each `_backward` by hand, from the result down."""

    def work(cls):
        o, n, b, total, x2w2, x1w1, *leaves = nodes = neuron(cls)
        o.grad = 1.0
        grads = []
        for v in (o, n, b, total, x2w2, x1w1, *leaves):
            v._backward()
            grads.append(all_bits(w.grad for w in nodes))
        return grads

    assert work(cls) == work(Pure)


@classes
def test_backward_down_a_topological_sort(cls):
    def work(cls):
        nodes = neuron(cls)
        nodes[0].grad = 1.0
        topo = ordered(nodes[0])
        for v in reversed(topo):
            v._backward()
        return [v.label or v._op for v in topo], all_bits(v.grad for v in nodes)

    assert work(cls) == work(Pure)


@classes
def test_backward(cls):
    def work(cls, tanh=lambda n: n.tanh()):
        nodes = neuron(cls, tanh)
        nodes[0].backward()
        return all_bits(v.grad for v in nodes)

    def from_exponentials(n):
        e = (2 * n).exp()
        return (e - 1) / (e + 1)

    assert work(cls) == work(Pure)
    assert work(cls, from_exponentials) == work(Pure, from_exponentials)


@classes
def test_values_that_are_used_twice(cls):
    """The fault of the lecture's first version: gradients that are set, and not added to."""

    def work(cls):
        a, b = cls(3.0), cls(-2.0)
        both = (a + a) * (a * b) - b * b
        both.backward()
        first = [a.grad, b.grad]
        both.backward()
        return all_bits([*first, a.grad, b.grad])

    assert work(cls) == work(Pure)


class Neuron:
    def __init__(self, cls, rng, n_in):
        self.w = [cls(rng.uniform(-1, 1)) for _ in range(n_in)]
        self.b = cls(rng.uniform(-1, 1))

    def __call__(self, x):
        return sum((wi * xi for wi, xi in zip(self.w, x)), self.b).tanh()

    def parameters(self):
        return [*self.w, self.b]


class Layer:
    def __init__(self, cls, rng, n_in, n_out):
        self.neurons = [Neuron(cls, rng, n_in) for _ in range(n_out)]

    def __call__(self, x):
        outs = [n(x) for n in self.neurons]
        return outs[0] if len(outs) == 1 else outs

    def parameters(self):
        return [p for n in self.neurons for p in n.parameters()]


class MLP:
    def __init__(self, cls, rng, sizes):
        self.layers = [Layer(cls, rng, n_in, n_out) for n_in, n_out in itertools.pairwise(sizes)]

    def __call__(self, x):
        for layer in self.layers:
            x = layer(x)
        return x

    def parameters(self):
        return [p for layer in self.layers for p in layer.parameters()]


@classes
def test_training(cls):
    """Forward, zero the gradients, backward, update: every loss and every parameter on the way."""
    xs = [[2.0, 3.0, -1.0], [3.0, -1.0, 0.5], [0.5, 1.0, 1.0], [1.0, 1.0, -1.0]]
    ys = [1.0, -1.0, -1.0, 1.0]

    def work(cls):
        mlp, numbers = MLP(cls, random.Random(1337), [3, 4, 4, 1]), []
        for _ in range(20):
            loss = sum((out - y) ** 2 for y, out in zip(ys, map(mlp, xs)))
            for p in mlp.parameters():
                p.grad = 0.0
            loss.backward()
            for p in mlp.parameters():
                p.data += -0.1 * p.grad
            numbers += [loss.data, *(p.grad for p in mlp.parameters()), *(p.data for p in mlp.parameters())]
        return numbers

    found, expected = work(cls), work(Pure)
    assert all_bits(found) == all_bits(expected)
    assert found[-84] < 0.2 * found[0]  # it learns: the last loss, before 41 gradients and 41 numbers, and the first


# ---- what one may do with `_backward`, and what not


def test_the_ways_to_name_children_and_operation():
    a, b = Value(2.0), Value(3.0)
    for out in (
        Value(6.0, (a, b), "*", "out"),
        Value(6.0, (a, b), _op="*", label="out"),
        Value(6.0, _children=(a, b), _op="*", label="out"),
        Value(data=6.0, children=[a, b], _op="*", label="out"),
    ):
        assert (out.data, out._children, out._op, out.label) == (6.0, (a, b), "*", "out")
        assert out._prev == {a, b}
    leaf = Value(1.0, (), "", "x")
    assert (leaf._children, leaf._op, leaf.label) == ((), "", "x")
    leaf._op = "input"
    assert leaf._op == "input"
    assert Value(1.0, _children=(a,))._local_grads == (0.0,)


def test_a_backward_is_called_once_and_leaves_no_trace():
    a, b, calls = Value(2.0), Value(3.0), []
    a.grad, b.grad = 5.0, -0.0
    out = Value(6.0, (a, b), "*")

    def _backward():
        calls.append(out.grad)
        a.grad += b.data * out.grad
        b.grad += a.data * out.grad

    out._backward = _backward
    assert (calls, out.grad, a.grad, bits(b.grad)) == ([1.0], 0.0, 5.0, bits(-0.0))
    assert out._local_grads == (3.0, 2.0)
    (out * 2).backward()
    assert (calls, a.grad, b.grad) == ([1.0], 11.0, 4.0)
    out._backward = lambda: setattr(a, "grad", a.grad + 7.0 * out.grad)  # another one in its place
    assert out._local_grads == (7.0, 0.0)


def test_additions_to_one_child_stay_apart():
    """A child that stands twice gets two additions, in the order of the function; more than that are added up."""
    x = Value(1.0)
    out = Value(1.0, (x, x), "f")

    def _backward():
        for k in (0.1, 0.7, 0.3):
            x.grad += k * out.grad

    out._backward = _backward
    assert all_bits(out._local_grads) == all_bits([0.1, 0.7 + 0.3])
    assert Value(1.0, (x,), "g")._local_grads == (0.0,)


def test_what_a_backward_cannot_be():
    a, b = Value(2.0), Value(3.0)
    out = Value(6.0, (a,), "*")

    def to_a_stranger():
        a.grad += out.grad
        b.grad += out.grad

    with pytest.raises(TapeError, match="not among the children"):
        out._backward = to_a_stranger
    assert (a.grad, b.grad, out._local_grads) == (0.0, 0.0, (0.0,))
    product = a * b

    def of_the_product():
        a.grad += b.data * product.grad
        b.grad += a.data * product.grad

    product._backward = of_the_product  # what it is already
    with pytest.raises(TapeError, match="cannot be replaced"):
        product._backward = lambda: None
    a._backward = lambda: None  # a leaf has nothing to pass on
    with pytest.raises(TapeError, match="not among the children"):
        a._backward = to_a_stranger
    with pytest.raises(TypeError, match="without arguments"):
        out._backward = 5
    with pytest.raises(ZeroDivisionError):
        out._backward = lambda: 1 / 0
    a._backward()
    (out + a).backward()
    assert a.grad == 1.0
    with pytest.raises(ShapeError, match="_backward"):
        Value(6.0, (a, b))
    with pytest.raises(TypeError, match="the children of a Value are Values, not float"):
        Value(6.0, (a, 3.0), "*")


def test_without_gradients():
    """In a no_grad() block the lecture's own operators give leaves too, and their functions are not called."""
    a, b = OnTape(2.0), OnTape(3.0)
    with no_grad():
        out = (a * b + 1.0).tanh()
    assert (out.data, out._children, out._op) == (math.tanh(7.0), (), "")
    out._backward()
    assert (a.grad, b.grad) == (0.0, 0.0)
    (a * b).backward()
    assert (a.grad, b.grad) == (3.0, 2.0)
