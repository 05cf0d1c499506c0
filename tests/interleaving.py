"""A game of interleaved programs: what the core does in each move, and what the same moves do in plain scalars.

A World has a tape with leaves, statements that several programs share, programs over these and over other programs, and
trainings. Every move is made on both sides, and then every number and gradient that somebody holds is compared. Where
the documentation leaves open whether a move is possible, it has the numbers of plain scalars, or is refused by the
exception that is named there.
"""

from __future__ import annotations

import gc
import math
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

from microgpt import (
    Config,
    Index,
    Matrix,
    Model,
    Optimizer,
    OverwrittenError,
    ShapeError,
    StaleValueError,
    Tape,
    Value,
    Vector,
    record,
    train,
)
from microgpt.config import CHOICES

from . import oracle
from . import program as plainly
from .bits import all_bits
from .interleaving_plain import (
    PROGRAMS,
    SHARED,
    SIZE,
    VOCAB,
    Computation,
    Evaluation,
    Leaf,
    Numbers,
    Stepping,
    detaching,
    over_a_program,
    reach,
    scalars,
    selecting,
    shared_map,
    text_and_shared,
    trained_loss,
)
from .mirror import VECTORS


class World:
    """A tape, and moves on it."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.tape = Tape()
        self.played: list[str] = []
        self.outcomes: Counter[tuple[str, bool, bool]] = Counter()  # of backward(): state, planned, possible
        self.marks: list[int] = []
        self.computations: list[Computation] = []
        self.trainings: list[tuple[int, Any, Stepping]] = []
        with self.tape:
            shapes = [(VOCAB, SIZE), (SIZE, SIZE)]
            self.leaves = [Leaf(Matrix(*shape, self.some(shape[0] * shape[1])), None, None) for shape in shapes]
            self.leaves.append(Leaf(Vector(self.some(SIZE)), None, None))
        for leaf in self.leaves:
            leaf.data, leaf.grad = leaf.read(), [0.0] * leaf.size
        self.optimizer, self.m, self.v = None, [0.0] * (VOCAB + SIZE + 1) * SIZE, [0.0] * (VOCAB + SIZE + 1) * SIZE
        self.config = Config(learning_rate=0.05, steps=1000, optimizer=self.rng.choice(CHOICES["optimizer"]))
        self.updates = 0
        for move in (self.share, self.make_a_program, self.make_a_program):
            self.play(move)

    def some(self, count: int) -> list[float]:
        return [self.rng.gauss(0, 0.7) for _ in range(count)]

    def play(self, move: Callable[[], None]) -> None:
        self.played.append(move.__name__)
        with self.tape:
            move()
            self.compare()

    def turn(self) -> None:
        """One move."""
        names, weights = zip(*MOVES.items())
        self.play(getattr(self, self.rng.choices(names, weights)[0]))

    def compare(self) -> None:
        """Every number and gradient that somebody holds."""
        inputs = [x for c in self.computations for x in c.inputs]
        kept = [x for c in self.computations for x in c.kept]
        for n, numbers in enumerate([*self.leaves, *inputs, *kept]):
            where = f"{type(numbers).__name__} {n} after {self.played}"
            if numbers.data is not None:
                assert all_bits(numbers.read()) == all_bits(numbers.data), where
            if numbers.grad is not None:
                assert all_bits(numbers.read_gradients()) == all_bits(numbers.grad), where

    @property
    def programs(self) -> list[Computation]:
        return [c for c in self.computations if c.program is not None]

    @property
    def shared(self) -> list[Computation]:
        return [c for c in self.computations if c.state == "shared"]

    def one(self) -> Computation | None:
        return self.rng.choice(self.programs) if self.programs else None

    def written(self, leaves: list[Leaf]) -> None:
        """Leaves have new numbers: what was computed from them before is of two minds."""
        for computation in self.computations:
            computation.current = computation.current and not set(leaves) & set(reach(computation))
        for program in self.programs:
            if program.state in ("sure", "open"):
                program.state = "refused" if set(leaves) & set(reach(program)) else "open"
            elif program.state == "unlike":
                program.state = "none"

    def half_computed(self, program: Computation) -> None:
        """What others share with it may have other numbers than they made theirs of."""
        for other in self.programs:
            shares = any(isinstance(x, Computation) and x in reach(program) for x in reach(other))
            if other is not program and shares and other.state == "sure":
                other.state = "open"

    # ---- making and dropping

    def share(self) -> None:
        function, whole = self.rng.choice(SHARED)
        made = Computation(function, list(self.leaves), whole=whole, recorded=self.tape.mark())
        handles: list[Any] = []
        of = [leaf.handle for leaf in self.leaves]
        function(VECTORS, lambda x: handles.append(x) or x, of, [], [])
        made.kept = [Numbers(x, None, None) for x in handles]
        Evaluation(made).take_numbers()
        for kept in made.kept:
            kept.grad = [0.0] * kept.size
        self.computations.append(made)

    def make_a_program(self) -> None:
        if len(self.programs) > 5:
            return
        function, sizes, counts, whole = self.rng.choice(PROGRAMS)
        of: list[Leaf | Computation] = list(self.leaves)
        if function is over_a_program:
            lower = [p for p in self.programs if p.state != "none"]
            vectors = self.shared
            if not lower or not vectors:
                return
            of += [self.rng.choice(lower), self.rng.choice(vectors)]
        elif function in (selecting, detaching, text_and_shared):
            vectors = self.shared
            of.append(self.rng.choice([*vectors, self.leaves[2]]))
        examples: list[Any] = [self.some(size) if size else abs(self.some(1)[0]) + 0.1 for size in sizes]
        made = Computation(function, of, selected=[self.rng.randrange(n) for n in counts], whole=whole)
        made.recorded = self.tape.mark()
        handles: list[Any] = []

        def recorded(*inputs: Any) -> Any:
            things = [x.result if isinstance(x, Computation) else x.handle for x in of]
            x, i = inputs[: len(sizes)], inputs[len(sizes) :]
            return function(VECTORS, lambda x: handles.append(x) or x, things, x, i)

        indices = [Index(n) for n in made.selected]
        made.program = record(recorded, *examples, *indices)
        made.inputs = [Leaf(x, None, None) for x in made.program.inputs[: len(sizes)]]
        for leaf, example in zip(made.inputs, examples):
            leaf.data, leaf.grad = example if isinstance(example, list) else [example], [0.0] * leaf.size
        made.kept = [Numbers(x, None, None) for x in handles]
        made.whole = whole and all(x.whole for x in reach(made)[:-1] if isinstance(x, Computation))
        self.computations.append(made)
        for kept in made.kept:
            kept.grad = [0.0] * kept.size
        # What it shares may have other numbers than leaves would give now, and its own are then of those.
        below = [x for x in reach(made)[:-1] if isinstance(x, Computation)]
        if all(x.state in ("shared", "sure") and x.current for x in below):
            made.state = "sure"
            Evaluation(made).take_numbers()
        else:
            made.state = "unlike"

    def drop(self) -> None:
        """A program or what programs share; perhaps in a cycle, and while others depend on its statements."""
        if len(self.computations) < 3:
            return
        gone = self.rng.choice(self.computations)
        used = [x for c in self.computations if c is not gone for x in reach(c)]
        if gone in used and gone.program is not None:
            gone.program = None  # its statements stay, as another program needs them
        elif gone in used:
            return
        else:
            self.computations.remove(gone)
        if self.rng.random() < 0.5:
            cycle: list[Any] = [gone.program, gone.kept]
            cycle.append(cycle)
            del cycle
        del gone
        if self.rng.random() < 0.5:
            gc.collect()

    def collect(self) -> None:
        self.tape.collect()

    def collect_garbage(self) -> None:
        gc.collect()

    def mark(self) -> None:
        self.marks.append(self.tape.mark())

    def rewind(self) -> None:
        """Forget all that was recorded since a mark, and what stands on it."""
        if not self.marks:
            return
        mark = self.rng.choice(self.marks)
        self.marks = [m for m in self.marks if m <= mark]
        self.tape.rewind(mark)
        gone = [c for c in self.computations if c.recorded >= mark]
        self.computations = [c for c in self.computations if c not in gone]
        self.trainings = [t for t in self.trainings if t[0] < mark]
        for computation in gone:
            stale: list[Callable[[], Any]] = [computation.kept[-1].read, lambda c=computation: c.result * 2.0]
            if computation.program is not None:
                program = computation.program
                stale += [program.forward, program.backward]
            for use in stale:
                refused(StaleValueError, use)

    # ---- forward and backward

    def given(self, program: Computation, selected: bool = True) -> list[Any]:
        numbers = [
            abs(self.some(1)[0]) + 0.1 if isinstance(x.handle, Value) else self.some(x.size) for x in program.inputs
        ]
        counts = next(counts for function, _, counts, _ in PROGRAMS if function is program.function)
        return [*numbers, *(self.rng.randrange(n) for n in counts)]

    def set(self) -> Computation | None:
        program = self.one()
        if program is not None:
            given = self.given(program)
            program.program.set(*given)
            self.was_set(program, given)
        return program

    def was_set(self, program: Computation, given: list[Any]) -> None:
        count = len(program.inputs)
        for leaf, number in zip(program.inputs, given):
            leaf.data = number if isinstance(number, list) else [number]
        if program.inputs:
            self.written(program.inputs)
        if program.selected != given[count:]:
            program.selected = given[count:]
            for other in self.programs:
                if program in reach(other):
                    other.state = "refused" if other is not program else "none"

    def went_forward(self, program: Computation, error: BaseException | None, result: Any = None) -> None:
        found, expected = evaluated(program)
        if found is None:
            assert type(error) is type(expected), (error, expected, self.played)
            for x in reach(program):
                if isinstance(x, Computation):
                    for kept in x.kept:
                        kept.data = None
            self.half_computed(program)
            program.state = "none"
            return
        assert error is None, (error, self.played)
        found.take_numbers()
        if result is not None:
            assert all_bits([result]) == all_bits([found.result.data]), self.played
        program.state = "sure"

    def forward(self) -> None:
        program = self.one()
        if program is not None:
            self.went_forward(program, raised(program.program.forward))

    def call(self) -> None:
        program = self.one()
        if program is not None:
            given, results = self.given(program), []
            error = raised(lambda: results.append(program.program(*given)))
            self.was_set(program, given)
            self.went_forward(program, error, results[0] if results else None)

    def backward(self) -> None:
        program = self.one()
        if program is None or program.state == "unlike":
            return
        error = raised(program.program.backward)
        self.outcomes[program.state, program.program.why_not_planned is None, error is None] += 1
        if isinstance(error, OverwrittenError):
            assert program.state != "sure", self.played
            for leaf in program.inputs:
                leaf.grad = [0.0] * leaf.size  # cleared before
            for x in reach(program):
                for kept in x.kept if isinstance(x, Computation) else []:
                    kept.data = kept.grad = None  # may have been computed again to find out
            return
        assert error is None, (error, self.played)
        assert program.state not in ("none", "refused"), (program.function, program.state, self.played)
        found = Evaluation(program)
        found.sweep(True, program.inputs)
        found.take_numbers()

    def call_and_back(self) -> None:
        """As in a loop."""
        program = self.one()
        if program is not None:
            self.rng, kept = _Always(self.rng, program), self.rng
            try:
                self.call()
                if program.state == "sure":
                    self.backward()
            finally:
                self.rng = kept

    def sweep_from_the_result(self) -> None:
        """An ordinary backward(), after a replay."""
        program = self.one()
        known = program is not None and all(
            x.grad is not None for c in reach(program) for x in (c.kept if isinstance(c, Computation) else [c])
        )
        if program is not None and program.state == "sure" and program.whole and known:
            program.kept[-1].handle.backward()
            Evaluation(program).sweep(False, [])

    def eager(self) -> None:
        """A graph of its own, over what is shared or over leaves, and down it."""
        vectors = [c for c in self.shared if c.function is shared_map]
        of: Any = self.rng.choice([*vectors, self.leaves[2]])
        if isinstance(of, Computation) and (of.kept[0].data is None or of.kept[0].grad is None):
            return
        current = isinstance(of, Leaf) or of.current
        made = Computation(lambda f, keep, of, x, i: (of[0] * of[1]).tanh().sum(), [of, self.leaves[2]])
        handle = of.handle if isinstance(of, Leaf) else of.result
        loss = made.function(VECTORS, None, [handle, self.leaves[2].handle], [], [])
        if current:
            loss.backward()
            found = Evaluation(made)
            assert all_bits([loss.data]) == all_bits([found.result.data]), self.played
            found.sweep(False, [])

    # ---- writing

    def write(self) -> None:
        leaf = self.rng.choice(self.leaves)
        leaf.data = self.some(leaf.size)
        leaf.handle.data = leaf.data
        self.written([leaf])

    def write_a_gradient(self) -> None:
        leaf = self.rng.choice(self.leaves)
        if self.rng.random() < 0.5:
            leaf.grad = [0.0] * leaf.size
            leaf.handle.zero_grad()
        else:
            leaf.grad = self.some(leaf.size)
            leaf.handle.grad = leaf.grad

    def update(self) -> None:
        """A step of an optimizer by hand."""
        if self.optimizer is None:
            self.optimizer = Optimizer(self.config, [leaf.handle for leaf in self.leaves])
        lanes = [oracle.Value(x) for leaf in self.leaves for x in leaf.data or []]
        for lane, grad in zip(lanes, [g for leaf in self.leaves for g in leaf.grad or []]):
            lane.grad = grad
        rate = self.config.learning_rate * 0.5 * (1 + math.cos(math.pi * self.updates / self.config.steps))
        self.optimizer.update(rate)
        plainly.update(self.config, lanes, self.m, self.v, self.updates)
        self.updates += 1
        place = 0
        for leaf in self.leaves:
            leaf.data, leaf.grad = [x.data for x in lanes[place : place + leaf.size]], [0.0] * leaf.size
            place += leaf.size
        self.written(self.leaves)

    def begin_training(self) -> None:
        if len(self.trainings) > 2:
            return
        rng = self.rng
        documents = [[rng.randrange(VOCAB) for _ in range(rng.randrange(2, 7))] for _ in range(4)]
        config = Config(
            steps=rng.randrange(1, 9),
            batch_size=rng.choice([1, 2, 5]),
            learning_rate=0.03,
            optimizer=rng.choice(CHOICES["optimizer"]),
        )
        handles = [leaf.handle for leaf in self.leaves]
        model = Model(lambda tokens: trained_loss(VECTORS, handles, tokens), handles, config)
        steps = train(model, documents, threads=rng.choice([1, 2]), replay=rng.random() < 0.8)
        self.trainings.append((self.tape.mark(), steps, Stepping(self.leaves, config, documents)))

    def train(self) -> None:
        if not self.trainings:
            return
        number = self.rng.randrange(len(self.trainings))
        _, steps, plain = self.trainings[number]
        if self.rng.random() < 0.1:
            del self.trainings[number]
            return
        if plain.taken == plain.config.steps:
            assert next(steps, None) is None
            del self.trainings[number]
            return
        if plain.taken == 0:  # the first step records
            self.trainings[number] = (self.tape.mark(), steps, plain)
        loss = next(steps).loss
        assert all_bits([loss]) == all_bits([plain.step()]), self.played
        self.written(self.leaves)

    # ---- what is refused changes nothing

    def mistake(self) -> None:
        program = self.one()
        if program is None:
            return
        given = self.given(program)
        refused(ShapeError, lambda: program.program(*given, 1.0))
        if program.selected:
            refused(IndexError, lambda: program.program(*given[:-1], VOCAB))
            refused(TypeError, lambda: program.program(*given[:-1], 0.5))

    def impossible(self) -> None:
        """Numbers that the operations refuse."""
        program = self.rng.choice([*self.programs, None])
        if program is not None and program.function is scalars:
            given = [0.5, -1.0]
            error = raised(lambda: program.program(*given))
            self.was_set(program, given)
            self.went_forward(program, error)


class _Always:
    """Random numbers, but the choice of a program is made."""

    def __init__(self, rng: Any, program: Computation) -> None:
        self.rng, self.program = rng, program

    def choice(self, _: Any) -> Computation:
        return self.program

    def __getattr__(self, name: str) -> Any:
        return getattr(self.rng, name)


def evaluated(program: Computation) -> tuple[Evaluation | None, BaseException | None]:
    """In plain scalars; or what Python raises."""
    try:
        return Evaluation(program), None
    except (ValueError, OverflowError, ZeroDivisionError) as error:
        return None, error


def raised(call: Callable[[], Any]) -> BaseException | None:
    try:
        call()
    except (ValueError, ArithmeticError, RuntimeError) as error:
        return error
    return None


def refused(kind: type[BaseException], call: Callable[[], Any]) -> None:
    try:
        call()
    except kind:
        return
    raise AssertionError(f"not refused: {kind.__name__}")


MOVES = {
    "share": 2,
    "make_a_program": 5,
    "drop": 3,
    "collect": 1,
    "collect_garbage": 1,
    "mark": 2,
    "rewind": 1,
    "set": 3,
    "forward": 6,
    "call": 8,
    "backward": 8,
    "call_and_back": 8,
    "sweep_from_the_result": 4,
    "eager": 4,
    "write": 3,
    "write_a_gradient": 3,
    "update": 2,
    "begin_training": 2,
    "train": 4,
    "mistake": 2,
    "impossible": 2,
}
