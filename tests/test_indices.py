"""Integer inputs of recorded functions: what they select, where they may stand, and that nothing is decided by them."""

from __future__ import annotations

import itertools
import random
import warnings

import pytest

import microgpt
import microgpt.program as program_module
from microgpt import (
    FrozenBranchWarning,
    Index,
    Matrix,
    ShapeError,
    Vector,
    linear,
    mean,
    record,
    rmsnorm,
    softmax,
)
from microgpt.core import lib
from microgpt.functions import surprisal
from microgpt.program import MOST_INDICES

from .bits import all_bits


def test_indices_select_rows_and_lanes():
    """Integer inputs select rows of a matrix and the target of a loss; the sweep's order follows the target."""
    rng = random.Random(3)
    wte, w = (Matrix(5, 4, [rng.gauss(0, 1) for _ in range(20)]) for _ in range(2))

    def function(token, target):
        x = wte[token] + wte[2]
        return surprisal(softmax(linear(rmsnorm(x), w))[target])

    program = record(function, Index(0), Index(1))
    for token in range(5):
        for target in range(5):
            found = []
            for run in (lambda t, u: (program(t, u), program.backward()), lambda t, u: function(t, u).backward()):
                wte.zero_grad()
                w.zero_grad()
                run(token, target)
                found.append(all_bits([g for m in (wte, w) for row in m for g in row.grad]))
            assert found[0] == found[1]
    with pytest.raises(IndexError, match="an index of 5 where there are 5"):
        program(5, 0)
    with pytest.raises(IndexError):
        program(0, -1)
    with pytest.raises(TypeError):
        program(0, 1.5)
    both = record(lambda x, i: surprisal(softmax(wte[i] + x)[Index(1)]), [0.0] * 4, Index(0))
    with pytest.raises(IndexError):
        both([9.0] * 4, 7)
    assert both.inputs[0].data == [0.0] * 4  # nothing was changed


def test_lanes_of_a_row_that_an_index_selects():
    """One by one, in a loop, as slices, and of slices: a program reads those of the row that is selected then."""
    rng = random.Random(3)
    w, x = Matrix(4, 5, [rng.gauss(0, 1) for _ in range(20)]), Vector([rng.gauss(0, 1) for _ in range(5)])

    def many(i, j):
        dot = sum(a * b for a, b in zip(w[i], x))
        parts = w[i][1:4] * w[j][2:] + w[j][4] * w[i][:3]
        return parts[0] + parts[1] * parts[2] + dot * w[i][4] + 2 ** w[j][1:][1:][0] + w[j][-1].max(w[i][0]) - w[i][3]

    def pairs(i, j):
        a, b, c = w[i][0], w[j][1], w[j]
        total = (a + b) * (b * a) - a / b + a**2 - b + a.max(b) + b.min(c[2]) + (c[0] + a) * (a + c[0])
        return total + w[i][2] ** w[j][3].exp() + x[i] * x[j] + (x[j] + x[i]) + x[j] * a + a * x[i]

    w.data = [abs(number) for number in w.data]
    for function, i, j in itertools.product((many, pairs), range(4), range(4)):
        program = record(function, Index(1), Index(2))
        outcomes = []
        for replayed in (True, False):
            w.zero_grad()
            x.zero_grad()
            result = program.result if replayed else function(i, j)
            if replayed:
                program(i, j)
                program.backward()
            else:
                result.backward()
            outcomes.append(all_bits([result.data, *w.grad, *x.grad]))
        assert outcomes[0] == outcomes[1]
    with pytest.raises(microgpt.TapeError, match="no other Index selects"):
        record(lambda i, j: w[i][j] * 2, Index(0), Index(0))


def test_there_are_only_so_many_indices(monkeypatch):
    """Of more, the program says how many it has; and the core allocates nothing for an input with a wild number."""
    w, other = Matrix(2, 1, [1.0, 2.0]), record(lambda x: x * 2, 1.0)
    assert MOST_INDICES == 1 << 20
    assert lib.mg_program_bind(other._pointer, MOST_INDICES, other.result._node, 0, 0, w._node, 1, 2) == lib.MG_SHAPE
    monkeypatch.setattr(program_module, "MOST_INDICES", 2)
    assert record(lambda i, j: w[i][0] + w[j][0], Index(0), Index(0))(1, 1) == 4.0
    with pytest.raises(ShapeError, match="selects by 3 Indices; a program has at most 2"):
        record(lambda i, j, k: w[i][0] + w[j][0] + w[k][0], Index(0), Index(0), Index(0))


def test_indices_that_select_nothing():
    """Are integers like any others, also beside those that do, and may be of any size."""
    w = Matrix(3, 2, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    for function, examples in (
        (lambda i, j, k: w[j].sum(), (Index(0), Index(0), Index(0))),
        (lambda i, j, x: w[j].sum() * x, (Index(0), Index(0), 1.0)),
        (lambda x, j, k: x[0] * w[j][1] + w[j][0], ([1.0], Index(0), Index(0))),
    ):
        program = record(function, *examples)
        others = [[1.0] if isinstance(x, list) else 1.0 if isinstance(x, float) else 10**30 for x in examples]
        for j in (2, 0, 1):
            assert program(others[0], j, others[2]) == sum(w[j].data)
            assert [index.value for index in program.inputs if isinstance(index, Index)].count(j) == 1
            with pytest.raises(IndexError, match="an index of 3 where there are 3"):
                program(others[0], 3, others[2])
            for place in range(3):
                with pytest.raises(TypeError):
                    program(*["a" if n == place else (others[0], j, others[2])[n] for n in range(3)])


def test_what_the_result_does_not_need_may_select_too():
    """A recurrence computes a last state that no loss reads, and an index may select nothing but that."""
    table = Matrix(3, 2, [1.0, 2.0, 3.0, -4.0, 5.0, 6.0])

    def loss(*tokens):
        state, losses = table[tokens[0]], []
        for token in tokens[1:]:
            losses.append(surprisal(softmax(state)[0]))
            state = (state + table[token]).tanh()
        return mean(losses)

    program = record(loss, *[Index(0) for _ in range(4)])
    for tokens in ([0, 1, 2, 0], [2, 2, 1, 1], [1, 0, 0, 2]):
        table.zero_grad()
        assert program(*tokens) == loss(*tokens).data
        program.backward()
        replayed = table.grad
        table.zero_grad()
        loss(*tokens).backward()
        assert all_bits(replayed) == all_bits(table.grad)


def test_a_recording_inside_a_recording():
    """What an Index of the outer function selects inside the inner one is selected anew by both programs."""
    w, inside = Matrix(3, 2, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), []

    def outer(i):
        inside.append(record(lambda x: w[i].sum() * x, 2.0))
        return inside[0].result * w[i][0]

    program = record(outer, Index(0))
    for i in (2, 0, 1):
        w.zero_grad()
        assert program(i) == sum(w[i].data) * 2.0 * w[i][0].data
        program.backward()
        found = w.grad
        w.zero_grad()
        (w[i].sum() * 2.0 * w[i][0]).backward()
        assert all_bits(found) == all_bits(w.grad)
    assert inside[0](3.0) == sum(w[1].data) * 3.0  # the same index, which is 1 since

    def frozen(i):
        return record(lambda j: w[j].sum(), i).result * 2

    with pytest.warns(FrozenBranchWarning, match="the integer of an Index") as caught:
        assert record(frozen, Index(1))(2) == sum(w[1].data) * 2
    assert [warning.filename for warning in caught] == [__file__]


def test_indices_belong_to_recordings():
    """An Index outside a recording is an error that says so; inside it selects for any operation."""
    w = Matrix(2, 2, [1.0] * 4)
    with pytest.raises(microgpt.TapeError, match="being recorded"):
        w[Index(0)] + w[1]
    with pytest.raises(microgpt.TapeError, match="being recorded"):
        Vector([1.0])[Index(0)]
    with pytest.raises(microgpt.ForeignValueError, match="on the tape that its function is recorded on"):
        record(lambda i: w[i].sum(), Index(0), tape=microgpt.Tape())
    rng = random.Random(4)
    w.data = [rng.gauss(0, 1) for _ in range(4)]
    three = Matrix(3, 2, [rng.gauss(0, 1) for _ in range(6)])

    def function(i, j, k):
        """Rows and lanes in many places; i, j and k may be integers too."""
        p, x = softmax(linear(three[i], three)), rmsnorm(three[j]) * three[j] - three[i]
        return (
            (surprisal(p[j]) * p[k] + p[i] ** 2 - 3 / p[j]) + (x[k] - x[0]) * 2 + (p[0] + p[j]).max(p[k]) + x[0] * x[k]
        )

    program = record(function, Index(0), Index(0), Index(0))
    for i, j, k in itertools.product(range(3), range(3), range(2)):
        three.zero_grad()
        found = program(i, j, k)
        program.backward()
        gradients = three.grad
        three.zero_grad()
        expected = function(i, j, k)
        expected.backward()
        assert all_bits([found, *gradients]) == all_bits([expected.data, *three.grad])


def test_an_index_has_no_integer_while_a_function_is_recorded():
    """What a function decides by it would be decided for good: comparing is refused, reading it warns."""
    w = Matrix(2, 2, [0.1, 0.2, 0.3, 0.4])
    decisions = [
        lambda i: i == 1,
        lambda i: i != 1,
        lambda i: i in (0, 1),
        lambda i: {0: 1, 1: 0}[i],
        lambda i: {i},
        lambda i: i or 1,
        lambda i: i < 1,
    ]
    for decide in decisions:
        with pytest.raises(TypeError, match="stands for any integer"):
            record(lambda i, decide=decide: (w[i] * (2.0 if decide(i) else 3.0)).sum(), Index(1))
    with pytest.warns(FrozenBranchWarning, match="the integer of an Index") as caught:
        record(lambda i: (w[i] * i.value).sum(), Index(1))
    assert [warning.filename for warning in caught] == [__file__]
    with pytest.warns(FrozenBranchWarning, match="read `data`") as caught:
        record(lambda i: (w[i] * w[0].data[0]).sum(), Index(1))
    assert [warning.filename for warning in caught] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Index(1).value == 1
