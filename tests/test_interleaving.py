"""Programs that share statements, leaves and selections, and what is between their moves: every number is that of plain
scalars, or the exception that is documented."""

from __future__ import annotations

import gc
import random
import threading
from collections import Counter

import pytest

from microgpt import (
    Index,
    Matrix,
    Model,
    OverwrittenError,
    Tape,
    Vector,
    WrongThreadError,
    linear,
    mean,
    record,
    softmax,
    surprisal,
    train,
)

from .bits import all_bits
from .interleaving import World


def test_two_programs_over_one_statement():
    """Each goes down the order of its own selection, or says that its numbers are gone."""
    with Tape():
        w = Matrix(3, 3, [0.1 * i for i in range(9)])
        p = record(lambda i: surprisal(softmax(w[0])[i]), Index(0))
        q = record(lambda: p.result * 2.0)
        for target in (2, 1, 0, 2):
            p(target)
            w.zero_grad()
            q.forward()
            q.backward()
            found = w.grad
            w.zero_grad()
            (surprisal(softmax(w[0])[target]) * 2.0).backward()
            assert all_bits(found) == all_bits(w.grad)
        q.forward()
        p(0)
        with pytest.raises(OverwrittenError):
            q.backward()


def test_a_program_keeps_the_tables_of_its_indices():
    with Tape() as tape:
        rng = random.Random(1)
        program = record(lambda i: Matrix(4, 2, [rng.random() for _ in range(8)])[i] + Vector([1.0, 2.0]), Index(0))
        first = program(3)
        gc.collect()
        tape.collect()
        assert program(3) == first


def test_a_cycle_of_a_program_and_its_tape_is_collected():
    """Finalizers run in any order in a cycle; the storage goes with the last of them."""
    for _ in range(20):
        with Tape() as tape:
            w = Matrix(3, 3, [0.1 * i for i in range(9)])
            program = record(lambda i, w=w: surprisal(softmax(w[i])[i]), Index(0))
            steps = train(Model(lambda t, w=w: mean([surprisal(softmax(w[a])[a]) for a in t[:-1]]), [w]), [[0, 1, 2]])
            next(steps)
        cycle = [tape, program, steps]
        cycle.append(cycle)
        del cycle, tape, program, steps, w
        gc.collect()


def test_recording_over_what_was_overwritten():
    """A program computes anew what it shares with others: it can be recorded, and goes backward after a forward."""
    with Tape():
        w, b = Matrix(2, 2, [1.0, 2.0, 3.0, 4.0]), Vector([0.5, 0.25])
        shared = linear(b, w)
        w.data = [5.0, 6.0, 7.0, 8.0]
        program = record(lambda x: (shared * x).sum(), 2.0)
        with pytest.raises(OverwrittenError):
            program.backward()
        assert program(3.0) == (0.5 * 5.0 + 0.25 * 6.0 + 0.5 * 7.0 + 0.25 * 8.0) * 3.0
        program.backward()
        assert b.grad == [3.0 * (5.0 + 7.0), 3.0 * (6.0 + 8.0)]


def test_what_was_recorded_before_since():
    """Is not computed anew, and has no derivative any more once an operand of a sum of products was written."""
    with Tape() as tape:
        w, b = Matrix(2, 2, [1.0, 2.0, 3.0, 4.0]), Vector([0.5, 0.25])
        before = linear(b, w)
        other = record(lambda i: (w[i] * b).sum(), Index(0))
        program = record(lambda x: (before * x).sum() * other.result, 2.0, since=tape.mark())
        assert program(3.0) == 3.5 * 3.0
        program.backward()
        w.data = [5.0, 6.0, 7.0, 8.0]
        assert program(3.0) == 3.5 * 3.0
        for _ in range(2):
            with pytest.raises(OverwrittenError):
                program.backward()
    with Tape() as tape:
        w, b = Matrix(2, 2, [1.0, 2.0, 3.0, 4.0]), Vector([0.5, 0.25])
        other = record(lambda i: w[i] * b, Index(0))
        program = record(lambda x: (other.result * x).sum(), 2.0, since=tape.mark())
        program.forward()
        other(1)
        with pytest.raises(OverwrittenError):
            program.backward()
        program.forward()
        program.backward()
        assert b.grad == [6.0, 8.0]


# ---- a game


def played(seed: int, turns: int, worlds: list[World]) -> None:
    """Moves in several worlds, some of which end in the middle, in garbage of which all of them are a part."""
    rng = random.Random(seed)
    for _ in range(turns):
        rng.choice(worlds).turn()
        if rng.random() < 0.01:
            number = rng.randrange(len(worlds))
            cycle = [worlds[number], [c.program for c in worlds[number].computations], worlds[number].trainings]
            cycle.append(cycle)
            worlds[number] = World(rng.randrange(10**9))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("seed", range(12))
def test_a_game(seed):
    played(seed, 200, [World(100 * seed + n) for n in range(3)])


@pytest.mark.filterwarnings("error")
def test_what_a_game_comes_to():
    """Programs, planned and not, go backward in all states, and are refused where they must be."""
    outcomes: Counter[tuple[str, bool, bool]] = Counter()
    for seed in range(1000, 1012):
        world = World(seed)
        for _ in range(120):
            world.turn()
        outcomes += world.outcomes
    for planned in (False, True):
        assert outcomes["sure", planned, True] > 20
        assert outcomes["refused", planned, False] > 5
        assert outcomes["none", planned, False] > 0
        assert outcomes["open", planned, True] + outcomes["open", planned, False] > 0


@pytest.mark.filterwarnings("error")
def test_a_game_in_two_threads():
    """Each with worlds of its own, which they change with each other in the middle; garbage is collected by either."""
    worlds = [[World(10 * thread + n) for n in range(2)] for thread in range(2)]
    meeting, failed = threading.Barrier(2, timeout=60), []

    def play(thread: int) -> None:
        try:
            for turn in range(4):
                mine = worlds[(thread + turn) % 2]
                for world in mine:
                    with pytest.raises(WrongThreadError):
                        world.leaves[0].read()
                    world.tape.adopt()
                played(100 * thread + turn, 60, mine)
                meeting.wait()
        except BaseException as error:
            failed.append(error)
            meeting.abort()
            raise

    threads = [threading.Thread(target=play, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
