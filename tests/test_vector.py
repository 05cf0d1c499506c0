"""Span operations are, bit for bit, the scalar operations that they stand for."""

from __future__ import annotations

import math
import random

import pytest

import microgpt
from microgpt import Matrix, Tape, Value, Vector, attention, linear, relu, relu_squared, rmsnorm, softmax
from microgpt.errors import ShapeError
from microgpt.functions import mean, surprisal

from . import oracle, program
from .bits import all_bits

rng = random.Random(7)


def numbers(n, spread=1.0):
    return [rng.gauss(0, spread) for _ in range(n)]


def oracle_rows(rows, columns, data):
    return [[oracle.Value(x) for x in data[i * columns : (i + 1) * columns]] for i in range(rows)]


def weigh(lanes, weights):
    """A scalar with every lane in it, so that every lane gets a gradient of its own."""
    return sum(lane * weight for lane, weight in zip(lanes, weights))


ELEMENTWISE = {
    "add": (lambda a, b: a + b, lambda a, b: [x + y for x, y in zip(a, b)]),
    "add to itself": (lambda a, b: a + a, lambda a, b: [x + x for x in a]),
    "times": (lambda a, b: a * 0.3, lambda a, b: [x * 0.3 for x in a]),
    "divide": (lambda a, b: a / 0.7, lambda a, b: [x / 0.7 for x in a]),
    "relu": (lambda a, b: relu(a), lambda a, b: [x.relu() for x in a]),
    "relu squared": (lambda a, b: relu_squared(a), lambda a, b: [x.relu() ** 2 for x in a]),
    "rmsnorm": (lambda a, b: rmsnorm(a), lambda a, b: program.rmsnorm(a)),
    "rmsnorm twice": (
        lambda a, b: rmsnorm(rmsnorm(a)) + a,
        lambda a, b: [x + y for x, y in zip(program.rmsnorm(program.rmsnorm(a)), a)],
    ),
    "softmax": (lambda a, b: softmax(a), lambda a, b: program.softmax(a)),
    "softmax of a sum": (
        lambda a, b: softmax(a + b) + a,
        lambda a, b: [p + x for p, x in zip(program.softmax([x + y for x, y in zip(a, b)]), a)],
    ),
}


@pytest.mark.parametrize("name", ELEMENTWISE)
@pytest.mark.parametrize("n", [1, 2, 3, 16, 33])
def test_elementwise_operations_equal_their_scalars(name, n):
    """Data and gradients of each, mixed with scalar operations on the lanes, for several lengths."""
    function, scalars = ELEMENTWISE[name]
    data, weights = (numbers(n), numbers(n)), numbers(n)
    found, expected = [Vector(x) for x in data], [[oracle.Value(x) for x in xs] for xs in data]
    out, wanted = function(*found), scalars(*expected)
    assert all_bits(out.data) == all_bits(x.data for x in wanted)
    weigh(out, weights).backward()
    weigh(wanted, weights).backward()
    assert all_bits(out.grad) == all_bits(x.grad for x in wanted)
    for vector, lanes in zip(found, expected):
        assert all_bits(vector.grad) == all_bits(x.grad for x in lanes)


@pytest.mark.parametrize("order", ["up", "down", "some", "twice"])
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 5), (7, 3), (16, 16), (5, 1)])
def test_linear_equals_its_scalars(rows, columns, order):
    """Whatever order the rows are used in, and however often, also when x was computed by another linear."""
    w_data, v_data, x_data = numbers(rows * columns), numbers(columns * columns), numbers(columns)
    w, v, x = Matrix(rows, columns, w_data), Matrix(columns, columns, v_data), Vector(x_data)
    ow, ov = oracle_rows(rows, columns, w_data), oracle_rows(columns, columns, v_data)
    ox = [oracle.Value(a) for a in x_data]
    y, oy = linear(rmsnorm(linear(x, v)), w), program.linear(program.rmsnorm(program.linear(ox, ov)), ow)
    picks = {"up": range(rows), "down": range(rows)[::-1], "some": range(0, rows, 2), "twice": [*range(rows)] * 2}[
        order
    ]
    sum(y[i] * (i + 0.5) for i in picks).backward()
    sum(oy[i] * (i + 0.5) for i in picks).backward()
    assert all_bits(y.data) == all_bits(a.data for a in oy)
    assert all_bits(w[0].grad) == all_bits(a.grad for a in ow[0])
    assert all_bits(g for row in w for g in row.grad) == all_bits(a.grad for row in ow for a in row)
    assert all_bits(g for row in v for g in row.grad) == all_bits(a.grad for row in ov for a in row)
    assert all_bits(x.grad) == all_bits(a.grad for a in ox)


@pytest.mark.parametrize(("n_head", "size", "positions"), [(1, 1, 1), (1, 4, 3), (4, 4, 8), (3, 5, 2), (2, 1, 6)])
def test_attention_equals_its_scalars(n_head, size, positions):
    """Queries, keys and values, which may be the same vectors, for several shapes."""
    n = n_head * size
    data = [numbers(n) for _ in range(1 + 2 * positions)]
    found, expected = [Vector(x) for x in data], [[oracle.Value(x) for x in xs] for xs in data]
    weights = numbers(n)
    for q, keys, values in (
        (0, range(1, 1 + positions), range(1 + positions, 1 + 2 * positions)),
        (1, range(1, 1 + positions), range(1, 1 + positions)),
    ):
        out = attention(found[q], [found[k] for k in keys], [found[v] for v in values], n_head)
        wanted = program.attention(expected[q], [expected[k] for k in keys], [expected[v] for v in values], n_head)
        assert all_bits(out.data) == all_bits(x.data for x in wanted)
        weigh(out, weights).backward()
        weigh(wanted, weights).backward()
        for vector, lanes in zip(found, expected):
            assert all_bits(vector.grad) == all_bits(x.grad for x in lanes)


@pytest.mark.parametrize("target", [0, 3, 5])
def test_loss_equals_its_scalars(target):
    """-log of one probability, and the mean of several losses."""
    data = [numbers(6) for _ in range(3)]
    found, expected = [Vector(x) for x in data], [[oracle.Value(x) for x in xs] for xs in data]
    loss = mean([surprisal(softmax(x)[target]) for x in found])
    losses = [-program.softmax(x)[target].log() for x in expected]
    wanted = (1 / len(losses)) * sum(losses)
    loss.backward()
    wanted.backward()
    assert all_bits([loss.data]) == all_bits([wanted.data])
    for vector, lanes in zip(found, expected):
        assert all_bits(vector.grad) == all_bits(x.grad for x in lanes)


def test_lanes_are_values():
    """A lane is a Value: the same object each time, usable in any operation; its children are its operands."""
    x, w = Vector([1.0, 2.0]), Matrix(2, 2, [3.0, 4.0, 5.0, 6.0])
    y = linear(x, w)
    assert isinstance(y[1], Value)
    assert y[1] is y[1]
    assert y[-1] is y[1]
    assert y[1]._op == "sum"
    assert y[1]._children == (w[1][0], x[0], w[1][1], x[1])
    assert y[1]._local_grads == (1.0, 5.0, 2.0, 6.0)
    (y[1] * 2).backward()
    assert x.grad == [10.0, 12.0]
    assert [lane.data for lane in y] == y.data == [11.0, 17.0]
    assert y[0:1].data == [11.0]


@pytest.mark.parametrize(
    "make",
    [
        lambda x: x + x,
        lambda x: x * 3.0,
        rmsnorm,
        relu,
        relu_squared,
        softmax,
        lambda x: attention(x, [x, x * 2.0], [x, x], 2),
    ],
)
def test_partials_are_the_derivatives(make):
    """`_local_grads` of a lane is what backward() through that one statement gives its operands, up to rounding."""
    x = Vector([0.3, -0.2, 0.5, 0.1])
    lane = make(x)[2]
    children, partials = lane._children, lane._local_grads
    totals: dict = {}
    for child, partial in zip(children, partials):
        totals[child] = totals.get(child, 0.0) + partial
    for child in totals:
        child.grad = 0.0
    lane.backward()

    def leads_to(other, child):
        return child in other._children or any(leads_to(x, child) for x in other._children)

    for child in totals:
        if not any(leads_to(other, child) for other in totals):
            assert math.isclose(child.grad, totals[child], rel_tol=1e-12)


def test_shapes_are_checked():
    """Sizes that do not fit raise ShapeError, a ValueError, that says which."""
    x, w = Vector([1.0, 2.0, 3.0]), Matrix(2, 2, [1.0] * 4)
    for wrong in (
        lambda: linear(x, w),
        lambda: x + Vector([1.0]),
        lambda: attention(x, [x], [x], 2),
        lambda: attention(x, [], [], 1),
        lambda: attention(x, [x], [x, x], 1),
        lambda: attention(x, [Vector([1.0])], [x], 1),
        lambda: Matrix(2, 2, [1.0] * 3),
        lambda: Vector([]),
        lambda: x[2:2],
        lambda: x[::2],
        lambda: mean([]),
        lambda: setattr(x, "data", [1.0]),
        lambda: setattr(x, "grad", [1.0] * 4),
    ):
        with pytest.raises(microgpt.ShapeError):
            wrong()
    with pytest.raises(IndexError):
        x[3]
    with pytest.raises(TypeError):
        x + "1"


def test_arithmetic_errors_leave_nothing_behind():
    """A map whose scalars would raise raises the same, and records nothing."""
    with Tape() as tape:
        x, zero = Vector([1e200, 1.0]), Vector([0.0])
        before = tape.memory().slots
        with pytest.raises(OverflowError):
            x**2
        with pytest.raises(ValueError, match="math domain error"):
            surprisal(zero[0])
        assert tape.memory().slots == before
        assert (x + x).data == [2e200, 2.0]


def test_writing_an_operand_before_backward_is_refused():
    """A sum of products reads its operands again in the sweep: a write in between is an error, not a wrong gradient."""
    x, w, other = Vector([1.0, 2.0]), Matrix(1, 2, [3.0, 4.0]), Value(1.0)
    y = linear(x, w)
    other.data = 5.0
    y[0].backward()
    assert x.grad == [3.0, 4.0]
    w[0][1].data = 7.0
    with pytest.raises(microgpt.OverwrittenError, match="record the computation again"):
        y[0].backward()
    assert x.grad == [3.0, 4.0]
    linear(x, w)[0].backward()
    assert x.grad == [6.0, 11.0]


def test_sweep_over_a_copied_row():
    """x may be a row of w itself: the product's two operands are one lane, which is added to twice."""
    w, ow = Matrix(2, 3, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), oracle_rows(2, 3, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    y, oy = linear(w[0], w), program.linear(ow[0], ow)
    weigh(y, [0.1, 0.7]).backward()
    weigh(oy, [0.1, 0.7]).backward()
    assert all_bits(g for row in w for g in row.grad) == all_bits(a.grad for row in ow for a in row)


def test_a_matrix_is_no_vector():
    """Its lanes are more than its length: what takes vectors would read what stands after them."""
    m, v = Matrix(2, 2, [1.0, 2.0, 3.0, 4.0]), Vector([10.0, 20.0])
    assert m.shape == (2, 2)
    assert not isinstance(m, Vector)
    for mix in (
        lambda: m + v,
        lambda: v + m,
        lambda: m + m,
        lambda: linear(m, m),
        lambda: linear(v, v),
        lambda: softmax(m),
        lambda: rmsnorm(m),
        lambda: relu(m),
        lambda: relu_squared(m),
        lambda: attention(m, [v], [v], 1),
        lambda: attention(v, [m], [v], 1),
        lambda: attention(v, [v], [m], 1),
        lambda: m * 2,
        lambda: m / 2,
    ):
        with pytest.raises((ShapeError, TypeError), match=r"Matrix|matrix"):
            mix()
    assert (m[0] + v).data == [11.0, 22.0]


class LyingSequence(list):
    """Says it has more than it has."""

    def __len__(self):
        return super().__len__() + 1000


@pytest.mark.parametrize("attribute", ["data", "grad"])
def test_the_length_that_a_sequence_claims_is_not_believed(attribute):
    x = Vector([1.0, 2.0])
    setattr(x, attribute, LyingSequence([3.0, 4.0]))
    assert getattr(x, attribute) == [3.0, 4.0]
    with pytest.raises(ShapeError, match=r"3 numbers for 2 lanes"):
        setattr(x, attribute, LyingSequence([1.0, 2.0, 3.0]))
    setattr(x, attribute, iter([5.0, 6.0]))
    assert getattr(x, attribute) == [5.0, 6.0]
