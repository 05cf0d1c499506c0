"""The tape: marks, memory without freeing, threads, and misuse, which is always a named error."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import random
import threading
from pathlib import Path

import pytest

import microgpt
from microgpt import (
    GPT,
    Config,
    Matrix,
    Tape,
    Value,
    Vector,
    default_tape,
    initial_parameters,
    linear,
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
