"""Scalar operations one at a time, from Python: recording, the reverse sweep, and the course's program as it stands."""

from __future__ import annotations

from typing import Any

from microgpt import Config, Tape, Value
from microgpt import record as record_program
from tests import oracle, program

NODES = 20_000
WORDS = ["emma", "olivia", "ava", "isabella", "sophia", "mia", "charlotte", "amelia"]
STEPS = Config(steps=4, samples=0)


def record(value: Any) -> Any:
    """NODES additions and multiplications, half and half."""
    return chain(value(0.5), value(0.25))


def chain(a: Any, b: Any) -> Any:
    c = a
    for _ in range(NODES // 2):
        c = c * b + a
    return c


def record_on_value() -> None:
    record(Value)


def record_on_oracle() -> None:
    record(oracle.Value)


def sweep_on_value() -> None:
    record(Value).backward()


def sweep_on_oracle() -> None:
    record(oracle.Value).backward()


def program_on_value() -> None:
    program.run(STEPS, WORDS, Value)


def program_on_oracle() -> None:
    program.run(STEPS, WORDS, oracle.Value)


def test_record(case: Any) -> None:
    with Tape():
        case(record_on_value, NODES, "operations", record_on_oracle)


def test_record_and_sweep(case: Any) -> None:
    with Tape():
        case(sweep_on_value, NODES, "operations", sweep_on_oracle)


def test_sweep_alone(case: Any) -> None:
    """The C sweep over a graph that is there already."""
    with Tape():
        result = record(Value)
        expected = record(oracle.Value)
        case(result.backward, NODES, "operations", expected.backward, iterations=20)


def test_the_course_program_with_value_replaced(case: Any) -> None:
    with Tape():
        case(program_on_value, STEPS.steps, "training steps", program_on_oracle, rounds=5, pairs=3)


def test_replay(case: Any) -> None:
    """A recorded program of the same operations: forward and backward of one replay."""
    with Tape():
        program = record_program(chain, 0.5, 0.25)

        def replay() -> None:
            program(0.75, 0.125)
            program.backward()

        case(replay, NODES, "operations", sweep_on_oracle, iterations=10)


def test_children_of_fresh_values(case: Any) -> None:
    """What they were computed from, in a program of 300,000 other objects."""
    others = [[k] for k in range(300_000)]
    with Tape() as tape:
        a = Value(0.5)

        def ask() -> None:
            for _ in range(100):
                assert (a * 2)._children[0] is a

        case(ask, 100, "values")
        assert len(others) > tape.memory().slots
