"""Handles: how they are found, how seldom they are searched for, and that what they need is kept."""

from __future__ import annotations

import copy
import gc
import random

import pytest

import microgpt
from microgpt import (
    Index,
    Matrix,
    Tape,
    Value,
    Vector,
    record,
)

from .bits import all_bits


@pytest.fixture
def searches(monkeypatch):
    """How often all objects of Python have been looked through."""
    looked = []

    def get_referrers(*kinds):
        looked.append(len(kinds))
        return referrers(*kinds)

    referrers = gc.get_referrers
    monkeypatch.setattr(gc, "get_referrers", get_referrers)
    return looked


def test_children_of_the_first_values_are_not_searched_for(searches):
    """A tape knows the first that it makes, whoever holds it, however old they are."""
    with Tape() as tape:
        a, v = Value(2.0), Vector([1.0, 2.0])
        holders = [tape] * 3
        for _ in range(3):
            gc.collect()
            c = a * 3 + v[1]  # a * 3 has no handle any more, and 3 never had one
            assert (c._children[0].data, c._children[1]) == (6.0, v[1])
            assert c._children[0]._children[0] is a
            assert c._children[0] is c._children[0]
        assert (len(holders), searches) == (3, [])


def test_one_search_is_enough_for_long(searches):
    """The Values that nobody noted down are searched for, once; those that come after that are known."""
    with Tape() as tape:
        a = Value(2.0)
        kept = [a * k for k in range(5000)]
        gc.collect()  # they are old now
        c = kept[5] + kept[4999]
        assert c._children[0] is kept[5]
        assert c._children[1] is kept[4999]
        assert len(searches) == 1
        assert c._children[0]._children[0] is a
        for k in range(5000):
            d = kept[k] * 2 + a
            assert d._children[1] is a
            kept[k] = d
        gc.collect()
        for k in range(1, 5000):
            assert (kept[k] - kept[k - 1])._children[0] is kept[k]
        assert len(searches) == 1
        assert isinstance(tape, Tape)


def test_who_asks_seldom_is_answered_by_a_search_again(searches):
    """And ever more seldom, if there is much in between."""
    with Tape():
        a, asked = Value(2.0), 0
        for _ in range(12):
            kept = [a * 1.5 for _ in range(20_000)]
            c = kept[7] + a
            assert c._children[0] is kept[7]
            assert c._children[1] is a
            asked += 1
        assert 1 <= len(searches) < asked / 2


def test_operators_do_not_note_down_what_nobody_asks_for(searches):
    """Values that are gone leave nothing behind, known or not."""
    with Tape() as tape:
        a = Value(2.0)
        for k in range(1000):
            a = a * 1.0 + k
        known = len(tape._values)
        assert known <= 2
        kept = [a + k for k in range(1000)]
        assert len(tape._values) == known
        kept[0]._children  # noqa: B018
        assert len(tape._values) >= 1000
        del kept
        assert len(tape._values) <= known + 1
    assert len(searches) == 1


def test_a_search_that_is_refused_is_made_again(monkeypatch):
    """As when another thread is inside a call on the tape; nothing counts as known by then."""

    def refused(tape):
        raise microgpt.BusyTapeError("for once")

    with Tape():
        a = Value(2.0)
        kept = [a * k for k in range(1000)]
        c = kept[500] + a
        with monkeypatch.context() as patch:
            patch.setattr(Tape, "_now", refused)
            with pytest.raises(microgpt.BusyTapeError, match="for once"):
                c._children  # noqa: B018
        more = [a * k for k in range(40_000)]  # noted down, until nobody asks for long
        assert (kept[600] + a)._children[0] is kept[600]
        assert c._children[0] is kept[500]
        assert (more[39_000] + a)._children[0] is more[39_000]
        with monkeypatch.context() as patch:  # also at the moment when noting ends
            patch.setattr(Tape, "_now", refused)
            with pytest.raises(microgpt.BusyTapeError, match="for once"):
                more += [a * k for k in range(100_000)]
        more += [a * k for k in range(1000)]
        assert all((v + 1)._children[0] is v for v in more[::97])


def test_reading_lanes_asks_for_no_values(searches):
    """They are all known anyway: operators need not go on to note Values down."""
    with Tape() as tape:
        v, kept = Vector([1.0, 2.0]), []
        for _ in range(1000):
            kept.append(v[0] * v[1])
        assert len(tape._values) < 500
    assert searches == []


def test_finalizers_may_compute():
    """At any moment that Python's garbage collector chooses, as when a Value is noted down."""

    class Last:
        def __init__(self, value):
            self.value, self.me = value, self

        def __del__(self):
            out = self.value * 2 + 1
            assert out._children[1].data == 1.0
            out.backward()

    with Tape():
        a, kept = Value(2.0), []
        for k in range(3000):
            Last(a)
            kept.append(a * k)
            if k % 11 == 0:
                assert (kept[-1] + a)._children[0] is kept[-1]
        gc.collect()
        assert all((v + 1)._children[0] is v for v in kept)


def test_every_way_to_make_a_value_is_known(searches):
    """Leaves, constants, subclasses, functions, custom operations, copies, lanes."""

    class Named(Value):
        def __init__(self, data, name):
            super().__init__(data)
            self.name = name

    for unknown in (0, 3000):
        searches.clear()
        with Tape():
            spent = [Value(0.0) for _ in range(unknown)]
            a, b = Value(0.5), Value(0.25, label="b")
            made = [a, b, Named(1.0, "n"), a + b, a * 2, 2 + a, a.exp(), a**2, 2**a, a**b, a.max(b), a.min(0.1)]
            made += [a.detach(), abs(a), -a, a - b, a / b, 1 / a, a.gelu(), Value(1.0, (a, b), (1, 2)), copy.copy(a)]
            made += [Vector([1.0, 2.0])[1], Vector([1.0, 2.0]).sum(), Value(3.0, (a,), "op")]
            gc.collect()
            for v in made:
                assert (v + 1)._children[0] is v
                assert (1 * v)._children[0] is v
            assert len(searches) == (unknown > 0)
            assert len(spent) == unknown


def test_a_selected_lane_is_not_taken_for_the_lane():
    """What an Index selects is a handle of its own, which means nothing once the recording is over."""
    with Tape():
        v, kept = Vector([1.0, 2.0, 3.0]), []

        def f(i):
            kept.append(v[i])
            return kept[0] * 2

        record(f, Index(1))
        a = [Value(2.0) for _ in range(3000)]
        assert (a[2999] * 3)._children[0] is a[2999]  # by a search
        assert type(v[1]) is Value
        assert (v[1] + 1).data == 3.0


@pytest.mark.parametrize(("blocks", "searches"), [(0, range(3, 6)), (8 << 19, range(1, 2)), (8 << 21, range(1))])
def test_handles_are_searched_for_less_often_in_a_large_host(monkeypatch, blocks, searches):
    """All objects of Python are gone through for it; not again and again where a tape is small beside them."""
    found, look = 0, microgpt.tape.all_handles

    def all_handles():
        nonlocal found
        found += 1
        return look()

    monkeypatch.setattr("microgpt.tape.all_handles", all_handles)
    monkeypatch.setattr("sys.getallocatedblocks", lambda: blocks)
    with Tape() as tape:
        x = Value(0.5)
        for _ in range(1 << 20):
            x + x
        assert found in searches
        assert tape.memory().slots < max(1 << 19, 3 * blocks // 16)


def test_values_hidden_by_gc_freeze_are_safe():
    """While gc.freeze() hides values from the collector, nothing is forgotten."""
    with Tape() as tape:
        a = Value(1.0)
        gc.freeze()
        try:
            for _ in range(300_000):
                Value(2.0)
            tape.collect()
            assert a.data == 1.0
        finally:
            gc.unfreeze()


def test_handles_survive_a_random_history():
    """Values that are kept at random over many collections keep their numbers."""
    rng = random.Random(1)
    with Tape() as tape:
        kept = [(Value(1.0), 1.0)]
        for _ in range(3000):
            value, number = rng.choice(kept)
            k = rng.uniform(-1, 1)
            kept.append((value * k + 0.25, number * k + 0.25))
            if len(kept) > 60:
                del kept[rng.randrange(len(kept))]
            if rng.random() < 0.02:
                tape.collect()
        tape.collect()
        assert all_bits(v.data for v, _ in kept) == all_bits(number for _, number in kept)


def test_a_collection_while_a_matrix_is_made_keeps_all_of_it():
    """A run of leaves that is so long that recording it calls for a collection is kept, though it has no handle yet."""
    with Tape() as tape:
        for _ in range(3):
            w = Matrix(300, 1000, [0.5] * 300_000)
            assert sum(w.data) == 150_000.0
            assert w[299][999].data == 0.5
        tape.collect()
        assert w[0][0].data == 0.5
