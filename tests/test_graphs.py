"""Random graphs: Hypothesis draws a program of operations, and Value and the oracle play it."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from microgpt import Tape, Value

from . import oracle
from .bits import all_bits

BINARY = ["__add__", "__mul__", "__sub__", "__truediv__", "__pow__", *oracle.BINARY]
WITH_NUMBER = ["__add__", "__radd__", "__mul__", "__rmul__", "__sub__", "__rsub__", "__truediv__", "__rtruediv__"]
UNARY = ["__neg__", "__abs__", *(name for name in oracle.UNARY if name != "abs")]
numbers = st.floats(-4, 4, allow_nan=False) | st.sampled_from([0.0, -0.0, 1.0, 0.5, -1.0, 1e300, 5e-324])
place = st.integers(0, 10_000)
step = (
    st.tuples(st.just("binary"), st.sampled_from(BINARY), place, place)
    | st.tuples(st.just("number"), st.sampled_from(WITH_NUMBER), place, numbers | st.integers(-3, 3))
    | st.tuples(st.just("unary"), st.sampled_from(UNARY), place, st.none())
    | st.tuples(st.just("power"), st.just("__pow__"), place, st.sampled_from([-2, -1, -0.5, 0, 0.5, 1, 2, 3, 2.5]))
    | st.tuples(st.just("custom"), st.just(""), place, st.lists(numbers, max_size=5))
    | st.tuples(st.just("backward"), st.just(""), place, st.none())
    | st.tuples(st.just("write"), st.just(""), place, numbers)
)
programs = st.tuples(st.lists(numbers, min_size=1, max_size=4), st.lists(step, max_size=40))


def play(program, value):
    """Everything that the program computes: the type of the exception of each step, then data and gradients."""
    leaves, steps = program
    nodes = [value(x) for x in leaves]
    errors = []
    for kind, name, where, argument in steps:
        node = nodes[where % len(nodes)]
        error = None
        try:
            if kind == "backward":
                node.backward()
            elif kind == "write":
                node.data = argument
            elif kind == "custom":
                children = [nodes[(where + i) % len(nodes)] for i in range(len(argument))]
                nodes.append(value(0.25, children, argument))
            elif kind == "unary":
                nodes.append(getattr(node, name)())
            else:
                other = nodes[argument % len(nodes)] if kind == "binary" else argument
                nodes.append(getattr(node, name)(other))
        except (ValueError, ArithmeticError) as raised:
            error = type(raised)
        errors.append(error)
    nodes[-1].backward()
    return errors, all_bits(n.data for n in nodes), all_bits(n.grad for n in nodes)


@settings(max_examples=400, deadline=None)
@given(programs)
def test_random_programs_equal_the_oracle(program):
    """Every value, gradient and exception of a random program is the oracle's, bit for bit."""
    assert play(program, Value) == play(program, oracle.Value)


@settings(max_examples=100, deadline=None)
@given(st.lists(programs, min_size=1, max_size=5))
def test_random_programs_between_rewinds_equal_the_oracle(parts):
    """Programs played one after another, rewinding after each, give what each gives alone."""
    with Tape() as tape:
        for program in parts:
            mark = tape.mark()
            assert play(program, Value) == play(program, oracle.Value)
            tape.rewind(mark)


class Faulty(oracle.Value):
    """The oracle with one planted fault: its search takes operands from right to left.

    That is a valid chain rule, and differs only in the order of additions.
    """

    def backward(self):
        order, seen = [], set()

        def search(node):
            if id(node) not in seen:
                seen.add(id(node))
                for child in reversed(node._children):
                    search(child)
                order.append(node)

        search(self)
        self.grad = 1
        for node in reversed(order):
            for child, partial in zip(node._children, node._local_grads):
                child.grad += partial * node.grad


def three_uses(value):
    """The gradient of a leaf that is used three times: a sum of three numbers, whose order shows in the last bit."""
    x = value(1.0)
    products = [value(k, (x,), (k,)) for k in (0.1, 0.7, 0.3)]
    total = value(1.0, (value(0.3, (products[2], products[0]), (1, 1)), products[1]), (1, 1))
    total.backward()
    return all_bits([x.grad])


def test_the_comparison_finds_a_planted_fault():
    """A sweep that adds in another valid order fails the comparison: it can fail."""
    assert three_uses(Value) == three_uses(oracle.Value)
    assert three_uses(Value) != three_uses(Faulty)
