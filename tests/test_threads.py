"""Threads that serve: the default tape follows the calling thread, and loses no number. Without gradients: no_grad."""

from __future__ import annotations

import gc
import os
import random
import signal
import sys
import threading
import time
import warnings
from contextlib import suppress
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

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
    handles,
    initial_parameters,
    no_grad,
    parameters_sha256,
    record,
    softmax,
    train,
)
from microgpt.core import lib
from microgpt.tape import COLLECT_FROM

from .bits import all_bits, bits


@pytest.fixture
def switching():
    """Python switches threads as often as it can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def together(work, n):
    """work(0), ..., work(n - 1) in a thread each, begun at the same moment; their results, or what they raised."""
    results, gate = [None] * n, threading.Barrier(n)

    def run(i):
        gate.wait()
        try:
            results[i] = work(i)
        except Exception as error:
            results[i] = error

    threads = [threading.Thread(target=run, args=(i,)) for i in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def patiently(step):
    """step(), again where a machine with much else to do leaves another thread in the middle of a call for long."""
    while True:
        with suppress(microgpt.BusyTapeError):
            return step()


def test_the_default_tape_is_every_threads():
    tape = default_tape()
    assert together(lambda i: default_tape() is tape, 3) == [True] * 3
    own = Tape()
    with own:
        assert together(lambda i: default_tape() is tape, 1) == [True]  # a block is its thread's


def test_a_server_with_a_thread_for_each_request():
    """What every handler computes with one model is what one thread computes."""
    rng = random.Random(1)
    weights = [[Value(rng.uniform(-1, 1)) for _ in range(8)] for _ in range(4)]

    def answer(x):
        inputs = [Value(x * k) for k in range(8)]
        return sum(sum(w * xi for w, xi in zip(row, inputs)).tanh() for row in weights).data

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            body = answer(float(self.path[1:])).hex().encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    expected = [answer(i / 7).hex() for i in range(24)]
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()

        def ask(i):
            connection = HTTPConnection(*server.server_address, timeout=60)
            connection.request("GET", f"/{i / 7!r}")
            response = connection.getresponse()
            return response.read().decode() if response.status == 200 else response.status

        assert together(ask, 24) == expected
        server.shutdown()
        thread.join()


def test_many_threads_on_one_tape(switching):
    """Each computes with parameters of all and with leaves of its own, deep enough to collect many times over."""
    shared = [Value(0.01 * k) for k in range(20)]

    def work(i):
        x, found = Value(1.0 + i), []
        for k in range(6000):
            y = x * 0.5 + shared[k % 20]
            z = y * y + shared[(k + i) % 20]
            x = z.tanh() + 1
            if k % 10 == 9:
                found.append(x.data)
                x = Value(x.data)
        x = Value(0.25)
        out = x
        for _ in range(300):
            out = out * 1.001 + x
        out.backward()
        return all_bits([*found, out.data, x.grad])

    expected = [work(i) for i in range(6)]
    before = default_tape().memory().slots
    assert together(work, 6) == expected
    assert default_tape().memory().slots < before + 3 * COLLECT_FROM
    assert [v.data for v in shared] == [0.01 * k for k in range(20)]


def test_collections_while_others_record(switching):
    """A result whose handle is still being made, in another thread, is kept by a collection."""
    tape, done = default_tape(), threading.Event()

    def work(i):
        if i == 0:
            for _ in range(25):
                patiently(tape.collect)
            done.set()
            return []

        def computed():
            a = Value(float(i))
            b = (a + 1.0) * (a * 2.0) + Vector([a.data, 1.0]).sum()
            return b.data

        wrong = []
        while not done.is_set():
            found = patiently(computed)
            if found != (i + 1.0) * (i * 2.0) + (0 + float(i) + 1.0):
                wrong.append(found)
        return wrong

    assert together(work, 4) == [[]] * 4


def test_who_looks_for_handles_is_not_in_the_way(switching):
    """Another thread may be in the middle of making a tuple, which Python lets nobody else refer to then."""
    tape, done = default_tape(), threading.Event()

    def work(i):
        made = 0
        if i == 0:
            for _ in range(60):
                patiently(tape.collect)
            done.set()
        while not done.is_set():
            made += len(tuple(k for k in range(100)))
        return made % 100

    assert together(work, 3) == [0, 0, 0]


def test_errors_stay_with_their_thread(switching):
    """An operation that Python refuses raises in the thread that asked for it, and in no other."""

    def work(i):
        raised = 0
        for k in range(2000):
            if i % 2:
                with pytest.raises(ValueError, match="math domain error"):
                    Value(-1.0).log()
                raised += 1
            else:
                assert (Value(float(k)) + i).data == k + i
        return raised

    assert together(work, 4) == [0, 2000, 0, 2000]


def test_real_overlap_is_refused():
    """A call that finds another thread's in progress waits a little, and is then refused; nothing is changed."""
    a, done = Value(2.0), threading.Event()

    def trained():
        config = Config(n_embd=8, n_head=1, block_size=2, steps=60_000)
        model = GPT(config, initial_parameters(config, 3, random.Random(0)))
        losses = [step.loss for step in train(model, [[0, 1, 2], [2, 1, 0]], steps_per_call=60_000)]
        return parameters_sha256(model.state_dict), losses[-1].hex()

    def work(i):
        if i == 0:
            found = trained()
            done.set()
            return found
        raised = []
        while not done.is_set():
            try:
                assert (a * 3).data == 6.0
            except microgpt.BusyTapeError as error:
                raised.append(str(error))
        return raised

    expected = trained()
    found, raised = together(work, 2)
    assert found == expected
    assert raised
    assert all("in the middle of a call" in message for message in raised)
    assert (a * 3).data == 6.0


def test_an_operation_keeps_the_interpreters_lock():
    """It takes less time than to give the lock up: another thread that is ready to run does not, in the midst of it."""
    turns, done = [], threading.Event()

    def work(i):
        if i == 1:
            while not done.is_set():
                turns.append(i)
                time.sleep(1e-5)
            return None
        while not turns:
            time.sleep(1e-3)
        with Tape():  # of its own, which is not about to collect
            a, b = [Value(float(k)) for k in range(1000)][-2:]  # nor to stop noting Values down
            before = len(turns)
            for _ in range(20_000):
                c = a * b + 1.0
                c.data = a.data + c.grad
            found = len(turns) - before
        done.set()
        return found

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    gc.collect()
    gc.disable()  # what is freed may take its time
    try:
        assert together(work, 2) == [0, None]
    finally:
        gc.enable()
        sys.setswitchinterval(interval)


def test_who_waits_for_a_tape_lets_others_run():
    a, turns, done = Value(2.0), [], threading.Event()

    def work(i):
        if i == 0:
            config = Config(n_embd=8, n_head=1, block_size=2, steps=60_000)
            model = GPT(config, initial_parameters(config, 3, random.Random(0)))
            for _ in train(model, [[0, 1, 2], [2, 1, 0]], steps_per_call=60_000):
                pass
            done.set()
        while i == 1 and not done.is_set():
            turns.append(i)
            time.sleep(1e-3)
        found = []
        while i == 2 and not done.is_set():
            before = len(turns)
            try:
                assert (a * 3).data == 6.0
                time.sleep(1e-3)
            except microgpt.BusyTapeError:
                found.append(len(turns) - before)
        return found

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    try:
        found = together(work, 3)[2]
    finally:
        sys.setswitchinterval(interval)
    assert found
    assert min(found) > 0


def test_an_explicit_tape_stays_with_its_thread():
    """Unless it is adopted; what it is refused then is not on its conscience."""
    with Tape() as tape:
        a = Value(2.0)

    def elsewhere(i):
        for use in (lambda: a * 2, lambda: a.data, lambda: a.backward()):
            with pytest.raises(microgpt.WrongThreadError, match="adopt"):
                use()
        tape.adopt()
        b = a * 2
        return b.data, repr(tape).startswith("<Tape: ")

    assert together(elsewhere, 1) == [(4.0, True)]
    with pytest.raises(microgpt.WrongThreadError):
        a + 1
    assert repr(tape) == "<Tape of another thread>"
    tape.adopt()
    assert (a + 1).data == 3.0


def test_children_asked_for_while_others_record_and_collect(switching):
    """Each gets its own Values back, also those that have not been noted down."""

    def computed(a, b, k):
        c = a * 0.5 + b
        if k % 7 == 0:
            assert c._children[1] is b
            assert (b + c)._children[0] is b
        return c

    def work(i):
        rng, kept = random.Random(i), [Value(float(i))]
        for k in range(1500):
            a, b = rng.choice(kept), rng.choice(kept)
            kept.append(patiently(lambda a=a, b=b, k=k: computed(a, b, k)))
            if len(kept) > 50:
                del kept[rng.randrange(50)]
            if k % 500 == 0:
                patiently(default_tape().collect)
        return i

    assert together(work, 4) == [0, 1, 2, 3]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_fork_while_another_thread_searches(monkeypatch):
    """The child searches too, and does not wait for a thread that it has not."""
    searching = threading.Event()

    def slow(_):
        searching.set()
        time.sleep(0.3)
        return []

    with monkeypatch.context() as patched:
        patched.setattr(handles, "handles_of", slow)
        other = threading.Thread(target=lambda: handles.Registry().search(Tape()))
        other.start()
        assert searching.wait(60)
        child = os.fork()
        if child == 0:
            signal.alarm(60)
            patched.setattr(handles, "handles_of", lambda _: [])
            handles.Registry().search(Tape())
            os._exit(0)
        other.join()
    assert os.waitpid(child, 0)[1] == 0


def test_recordings_do_not_mix(switching):
    """Two threads that record, with an index each, and one that computes meanwhile."""
    table = Matrix(4, 2, [float(k) for k in range(8)])

    def recorded(i, k):
        program = record(lambda j, x: table[j].sum() * x, microgpt.Index(0), 2.0)
        assert (Value(float(k)) * 2).data == k * 2.0
        return [program(j, float(i)) for j in range(4)]

    def work(i):
        return [patiently(lambda k=k: recorded(i, k)) for k in range(60)]

    assert together(work, 3) == [[[i * 1.0, i * 5.0, i * 9.0, i * 13.0]] * 60 for i in range(3)]


# ---- without gradients


def test_results_are_leaves():
    a, b = Value(2.0), Vector([1.0, 2.0, 3.0])

    def results():
        return [
            a * 3 + 1,
            a.tanh(),
            a**2,
            2**a,
            a.max(1.0),
            Value(1.0, (a,), (2.0,)),
            b.sum(),
            (b * 2.0)[1],
            softmax(b)[0],
        ]

    with no_grad():
        outs = results()
    expected = results()
    assert all_bits(v.data for v in outs) == all_bits(v.data for v in expected)
    assert [(v._children, v._op) for v in outs] == [((), "")] * len(outs)
    assert all(v._children for v in expected)
    sum(outs).backward()
    assert (a.grad, b.grad, [v.grad for v in outs]) == (0.0, [0.0] * 3, [1.0] * len(outs))
    default_tape().collect()
    assert all_bits(v.data for v in outs) == all_bits(v.data for v in expected)


def test_blocks_and_functions():
    a = Value(3.0)

    @no_grad()
    def triple(x):
        return x * 3

    with no_grad(), no_grad():
        assert not (a * 2)._children
    assert (a * 2)._children
    assert not triple(a)._children
    with pytest.raises(ValueError, match="math domain"), no_grad():
        Value(-1.0).log()
    assert (a * 2)._children
    with no_grad():
        out = a * 2
        a.data = 5.0
    assert ((out * a).data, out.data) == (30.0, 6.0)


def test_no_grad_is_its_threads(switching):
    def work(i):
        a, found = Value(2.0), set()
        for _ in range(3000):
            if i % 2:
                with no_grad():
                    found.add(len((a * 3 + 1)._op))
            else:
                found.add(len((a * 3 + 1)._op))
        return found

    assert together(work, 4) == [{1}, {0}, {1}, {0}]
    with Tape(), no_grad():
        assert not (Value(1.0) + 1)._children


def test_recording_inside_and_blocks_inside_recordings():
    with no_grad():
        program = record(lambda x: x * x + 1, 2.0)
    assert program(3.0) == 10.0
    program.backward()
    assert program.inputs[0].grad == 6.0

    def frozen(x):
        with no_grad():
            y = x * 2
        return x * y

    with pytest.warns(microgpt.FrozenBranchWarning, match="no_grad"):
        program = record(frozen, 2.0)
    assert program(3.0) == 12.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        record(lambda x: x * x, 2.0)


def test_the_switch_says_what_it_was():
    assert lib.mg_no_grad(True) is False
    assert lib.mg_no_grad(False) is True
    assert bits((Value(0.1) * 3).data) == bits(0.1 * 3)
