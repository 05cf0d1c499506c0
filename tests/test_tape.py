"""The tape: marks, memory without freeing, threads, and misuse, which is always a named error."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import copy
import gc
import random
import threading
from pathlib import Path

import pytest

import microgpt
from microgpt import (
    GPT,
    Config,
    Index,
    Matrix,
    Tape,
    Value,
    Vector,
    default_tape,
    initial_parameters,
    linear,
    record,
    rmsnorm,
)
from microgpt.core import lib

from .bits import all_bits


def test_collect_frees_a_long_chain_at_once():
    """Also the part of it that was recorded last."""
    with Tape() as tape:
        kept = x = Value(1.0)
        for _ in range(100_000):
            x = x * 1.0001
        del x
        tape.collect()
        assert tape.memory().slots <= 512
        assert kept.data == 1.0


def test_rewind_forgets_what_came_after_the_mark():
    """Values from before the mark stay; those from after it raise StaleValueError in every use, and never alias."""
    with Tape() as tape:
        a = Value(2.0)
        mark = tape.mark()
        b = a * 3
        v = Vector([1.0, 2.0])
        tape.rewind(mark)
        later = [Value(float(i)) for i in range(2000)]
        uses = [
            lambda: b.data,
            lambda: b.grad,
            lambda: b + 1,
            lambda: 1 / b,
            lambda: a * b,
            lambda: b.exp(),
            lambda: b.max(a),
            lambda: b.backward(),
            lambda: b._children,
            lambda: b._local_grads,
            lambda: b._op,
            lambda: repr(b),
            lambda: setattr(b, "data", 1.0),
            lambda: setattr(b, "grad", 1.0),
            lambda: Value(1.0, (a, b), (1, 1)),
            lambda: v.data,
            lambda: v + v,
            lambda: rmsnorm(v),
            lambda: v[0].data,
        ]
        for use in uses:
            with pytest.raises(microgpt.StaleValueError):
                use()
        assert (a + 1).data == 3
        assert [x.data for x in later] == [float(i) for i in range(2000)]


def test_marks_nest():
    """An inner rewind keeps what the outer mark covers; an outer one forgets both."""
    with Tape() as tape:
        outer = tape.mark()
        a = Value(1.0)
        inner = tape.mark()
        b = a + 1
        tape.rewind(inner)
        c = a + 2
        assert c.data == 3
        tape.rewind(outer)
        for x in (a, b, c):
            with pytest.raises(microgpt.StaleValueError):
                _ = x.data


def test_values_of_two_tapes_do_not_mix():
    """An operation on values of different tapes is ForeignValueError, and leaves both tapes as they were."""
    a = Value(1.0)
    with Tape():
        b = Value(2.0)
        w = Matrix(1, 1, [3.0])
        mixed = [
            lambda: a + b,
            lambda: b * a,
            lambda: a**b,
            lambda: a.max(b),
            lambda: Value(1.0, (a, b), (1, 1)),
            lambda: linear(Vector([1.0], a._tape), w),
            lambda: Vector([1.0]) + Vector([1.0], a._tape),
        ]
        for mix in mixed:
            with pytest.raises(microgpt.ForeignValueError, match="different tapes"):
                mix()
    assert (a + 1).data == 2
    assert (b + 1).data == 3


def test_closed_tape():
    """Everything on a closed tape raises ClosedTapeError; closing twice is fine."""
    with Tape() as tape:
        a, v = Value(1.0), Vector([1.0, 2.0])
        tape.close()
        tape.close()
        for use in (
            lambda: a.data,
            lambda: a + a,
            lambda: a.backward(),
            lambda: v.data,
            lambda: Value(1.0),
            tape.collect,
        ):
            with pytest.raises(microgpt.ClosedTapeError):
                use()
        with pytest.raises(microgpt.ClosedTapeError):
            tape.rewind(0)
    assert Value(1.0).data == 1.0


def in_thread(function):
    """The result of the function in another thread, or the exception that it raised there."""
    results = []

    def work():
        try:
            results.append(function())
        except Exception as error:
            results.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return results[0]


def test_another_thread_is_refused_until_it_adopts_the_tape():
    """A tape says so when a thread uses it that does not own it; adopt() hands it over."""
    tape = Tape()
    with tape:
        a = Value(2.0)
    for use in (lambda: a.data, lambda: a + 1, lambda: a.backward(), lambda: tape.rewind(0), tape.close, tape.collect):
        assert isinstance(in_thread(use), microgpt.WrongThreadError)
    assert in_thread(lambda: (tape.adopt(), (a * 5).data)[1]) == 10.0
    with pytest.raises(microgpt.WrongThreadError):
        a + 1
    tape.adopt()
    assert (a + 1).data == 3.0


@pytest.mark.parametrize("own", [True, False])
def test_threads_get_the_same_bits(own):
    """Threads that record in parallel, on a tape each or all on the default tape, get what one gets alone."""

    def work():
        config = Config(n_embd=8, n_head=2, std=0.3)
        model = GPT(config, initial_parameters(config, 4, random.Random(0)))
        for _ in range(50):
            model.loss([3, 0, 1, 2, 3]).backward()
        return [g for w in model.state_dict.values() for row in w for g in row.grad]

    expected = all_bits(work())
    results = [None] * 4

    def store(i):
        with Tape() if own else contextlib.nullcontext():
            results[i] = all_bits(work())

    threads = [threading.Thread(target=store, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 4


def test_memory_is_bounded_without_rewinding():
    """A loop that keeps nothing but its parameters runs in bounded memory, though it never rewinds."""
    with Tape() as tape:
        weights = [Value(0.1 * i) for i in range(100)]
        peak = 0
        for _ in range(200):
            loss = sum(w * w + 0.5 for w in weights) / 100
            for _ in range(50):
                loss = loss * 0.99 + sum(weights) * 0.01
            loss.backward()
            peak = max(peak, tape.memory().bytes)
        assert peak < 60_000_000
        assert [w.data for w in weights] == [0.1 * i for i in range(100)]


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


def test_collect_keeps_what_existing_values_need():
    """A collection forgets dead values, keeps the whole graph of live ones, and gives its memory back."""
    with Tape() as tape:
        x, v = Value(3.0), Matrix(2, 2, [1.0, 2.0, 3.0, 4.0])
        y = x
        for _ in range(20_000):
            y = y * 1.0
        lanes = linear(v[0], v)
        lane = lanes[1]
        del lanes
        for _ in range(200_000):
            Value(1.0)
        before = tape.memory()
        tape.collect()
        after = tape.memory()
        assert after.slots < before.slots / 4
        Value(1.0)
        tape.collect()  # the page that was being filled then can go now
        assert tape.memory().bytes < before.bytes / 2
        y.backward()
        assert x.grad == 1.0
        lane.backward()
        assert v[0].grad == [3.0, 4.0]
        assert v[1].grad == [1.0, 2.0]
        del y
        tape.collect()
        assert tape.memory().slots <= 2048


def test_labels_go_with_their_values():
    """A collection forgets the labels of values that it forgets, and keeps the others."""
    with Tape() as tape:
        kept = Value(1.0)
        kept.label = "kept"
        for _ in range(2000):
            Value(2.0).label = "gone"
        for _ in range(2):
            tape.collect()
        assert list(tape._labels.values()) == ["kept"]
        assert kept.label == "kept"
        assert (kept + 1).data == 2.0


def test_a_collection_while_a_matrix_is_made_keeps_all_of_it():
    """A run of leaves that is so long that recording it calls for a collection is kept, though it has no handle yet."""
    with Tape() as tape:
        for _ in range(3):
            w = Matrix(300, 1000, [0.5] * 300_000)
            assert sum(w.data) == 150_000.0
            assert w[299][999].data == 0.5
        tape.collect()
        assert w[0][0].data == 0.5


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


@pytest.mark.parametrize("vectors", [False, True])
def test_every_failed_allocation_is_a_memory_error(vectors):
    """Whichever allocation fails, Python sees a MemoryError, older values are intact, and the tape goes on."""

    def work(start):
        if vectors:
            w = Matrix(40, 40, [0.01 * i for i in range(1600)])
            x = start
            for _ in range(20):
                x = rmsnorm(linear(x, w) + x)
            total = sum(x)
        else:
            total = start[0]
            for _ in range(2000):
                total = total * 1.001 + start[1]
        total.backward()
        return all_bits([total.data, *start.grad])

    with Tape() as tape:
        start = Vector([0.1 * i for i in range(40)])
        expected = work(start)
    for k in range(1, 1000):
        with Tape() as tape:
            start = Vector([0.1 * i for i in range(40)])
            lib.mg_tape_fail_allocation(tape._pointer, k)
            try:
                found = work(start)
            except MemoryError:
                pass
            else:
                assert found == expected
                break
            lib.mg_tape_fail_allocation(tape._pointer, 0)
            assert start.data == [0.1 * i for i in range(40)]
            start.zero_grad()
            assert work(start) == expected
    else:
        pytest.fail("there is no end of allocations")
    assert k > 5


def test_the_stub_matches_the_library():
    """_core.pyi names what the compiled core has, no more and no less, with the same number of parameters."""
    stub = ast.parse((Path(microgpt.__file__).parent / "_core.pyi").read_text(encoding="utf-8"))
    body = next(node for node in stub.body if isinstance(node, ast.ClassDef) and node.name == "_Lib").body
    constants = {node.target.id for node in body if isinstance(node, ast.AnnAssign)}
    functions = {node.name: len(node.args.args) - 1 for node in body if isinstance(node, ast.FunctionDef)}
    assert constants | set(functions) == set(dir(lib))
    for name, parameters in functions.items():
        signature = getattr(lib, name).__doc__.split("(", 1)[1].split(")", 1)[0]
        found = 0 if signature in ("", "void") else signature.count(",") + 1
        assert (name, found) == (name, parameters)
    assert all(isinstance(getattr(lib, name), int) for name in constants)


def test_blocks_belong_to_their_task():
    """`with Tape()` across an await: each task has the tape of its own block, and the thread its own afterwards."""
    outside = default_tape()

    async def task(number):
        with Tape() as mine:
            for _ in range(number):
                await asyncio.sleep(0)
                assert default_tape() is mine
                assert Value(1.0)._tape is mine
        assert default_tape() is outside

    async def tasks():
        await asyncio.gather(*(task(number) for number in (3, 1, 2)))

    asyncio.run(tasks())
    assert default_tape() is outside


def test_one_tape_entered_by_two_threads():
    """Each thread leaves its own block; the other's default stays."""
    shared, entered, left = Tape(), threading.Event(), threading.Event()
    found = []

    def other():
        mine = default_tape()
        with shared:
            entered.set()
            left.wait()
            found.append(default_tape() is shared)
        found.append(default_tape() is mine)

    thread = threading.Thread(target=other)
    outside = default_tape()
    with shared:
        thread.start()
        entered.wait()
    assert default_tape() is outside
    left.set()
    thread.join()
    assert found == [True, True]


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
