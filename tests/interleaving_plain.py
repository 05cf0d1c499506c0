"""What the statements of interleaved programs should hold, in plain scalars: numbers and gradients, computation by
computation (see interleaving.py)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from microgpt import Config, Matrix, Value

from . import oracle
from . import program as plainly
from .mirror import SCALARS, Row, Rows

VOCAB, SIZE = 4, 3


# ---- what is on a tape, as it should be


@dataclass(eq=False)
class Numbers:
    """A vector, a matrix or a value that somebody holds, and what its lanes should be; None: nobody promises what."""

    handle: Any
    data: list[float] | None
    grad: list[float] | None

    def __post_init__(self) -> None:
        self.size = 1 if isinstance(self.handle, Value) else len(self.read())

    def read(self) -> list[float]:
        return [self.handle.data] if isinstance(self.handle, Value) else list(self.handle.data)

    def read_gradients(self) -> list[float]:
        return [self.handle.grad] if isinstance(self.handle, Value) else list(self.handle.grad)


class Leaf(Numbers):
    """One that depends on nothing."""

    def nodes(self, numbers: list[float]) -> Any:
        if isinstance(self.handle, Matrix):
            return Rows(self.handle.rows, self.handle.columns, numbers)
        row = Row(map(oracle.Value, numbers))
        return row[0] if isinstance(self.handle, Value) else row


@dataclass(eq=False)
class Computation:
    """Statements that were recorded by a function: for whoever wants to share them, or by a program."""

    function: Callable[..., Any]
    of: list[Leaf | Computation]  # what the function is given besides its inputs
    inputs: list[Leaf] = field(default_factory=list)
    selected: list[int] = field(default_factory=list)  # by the integer inputs, now
    kept: list[Numbers] = field(default_factory=list)  # what the function made, the result last
    program: Any = None
    # Is backward() possible now? sure: yes; refused, none: no; open: perhaps; unlike: yes, but of numbers that leaves
    # had before the recording. Of what is no program: shared.
    state: str = "shared"
    recorded: int = 0  # a mark
    whole: bool = True  # is every statement kept, so that a second sweep can be foretold?
    current: bool = False  # was nothing written that it was computed from?

    @property
    def result(self) -> Any:
        return self.kept[-1].handle


def reach(thing: Leaf | Computation) -> list[Leaf | Computation]:
    """What a computation depends on, and itself."""
    found: list[Leaf | Computation] = []

    def visit(x: Leaf | Computation) -> None:
        if x not in found:
            for below in [*x.of, *x.inputs] if isinstance(x, Computation) else []:
                visit(below)
            found.append(x)

    visit(thing)
    return found


class Evaluation:
    """A computation in plain scalars, with all that it depends on, from the numbers that leaves have now."""

    def __init__(self, computation: Computation) -> None:
        self.nodes: dict[Any, Any] = {}
        self.rows: dict[Computation, list[Any]] = {}
        self.result = self.of(computation)

    def of(self, thing: Leaf | Computation) -> Any:
        if thing not in self.nodes:
            if isinstance(thing, Leaf):
                assert thing.data is not None
                self.nodes[thing] = thing.nodes(thing.data)
            else:
                rows = self.rows[thing] = []

                def keep(x: Any) -> Any:
                    rows.append(x)
                    return x

                of, inputs = [self.of(x) for x in thing.of], [self.of(x) for x in thing.inputs]
                self.nodes[thing] = thing.function(SCALARS, keep, of, inputs, thing.selected)
        return self.nodes[thing]

    def lanes(self, thing: Leaf) -> list[oracle.Value]:
        nodes = self.nodes[thing]
        return list(nodes.lanes if isinstance(nodes, Rows) else lanes_of(nodes))

    def computed(self) -> Iterator[tuple[Numbers, list[oracle.Value]]]:
        for computation, rows in self.rows.items():
            yield from ((kept, lanes_of(row)) for kept, row in zip(computation.kept, rows))

    def sweep(self, fresh: bool, cleared: list[Leaf]) -> None:
        """Leaves get more, but those that are cleared; what was computed begins at 0 if fresh."""
        leaves = [(x, self.lanes(x)) for x in self.nodes if isinstance(x, Leaf)]
        for numbers, lanes in [*leaves, *self.computed()]:
            begins = numbers in cleared if isinstance(numbers, Leaf) else fresh
            for lane, grad in zip(lanes, [0.0] * len(lanes) if begins else numbers.grad or []):
                lane.grad = grad
        self.result.backward()
        for numbers, lanes in [*leaves, *self.computed()]:
            numbers.grad = [lane.grad for lane in lanes]

    def take_numbers(self) -> None:
        """What was computed has these numbers now."""
        for computation in self.rows:
            computation.current = True
        for kept, lanes in self.computed():
            kept.data = [lane.data for lane in lanes]


def lanes_of(row: Any) -> list[oracle.Value]:
    return [row] if isinstance(row, oracle.Value) else list(row)


# ---- functions: of what is shared (`of`), of inputs, numbers and vectors (`x`) and integers (`i`)


def shared_map(f, keep, of, x, i):
    return keep(of[0][0] * of[2])


def shared_linear(f, keep, of, x, i):
    return keep(keep(f.linear(of[2], of[1])).tanh())


def shared_softmax(f, keep, of, x, i):
    return keep(f.softmax(f.linear(of[0][1], of[1])))


SHARED = [(shared_map, True), (shared_linear, True), (shared_softmax, False)]


def scalars(f, keep, of, x, i):
    a = keep(x[0] * x[1])
    b = keep(a * of[0][0][0])
    return keep(keep(b.tanh()) + keep(keep(x[1].log()) * a))


def selecting(f, keep, of, x, i):
    a = keep(f.linear(x[0], of[1]))
    b = keep(a * of[0][i[0]])
    return keep(keep(b * of[-1])[i[1]] * a[i[1]])


def masked(f, keep, of, x, i):
    """As a dropout is, by a mask that is an input."""
    y = keep(f.linear(f.rmsnorm(of[0][i[0]] * x[0]), of[1]).tanh())
    return keep(f.surprisal(f.softmax(f.linear(y, of[0]))[i[1]]))


def detaching(f, keep, of, x, i):
    y = keep(x[0] * of[-1])
    return keep(keep(y * y.detach()).sum())


def text(f, keep, of, x, i):
    losses, keys, values = [], [], []
    for token, target in pairwise(i):
        y = f.rmsnorm(of[0][token] + of[2])
        keys.append(f.linear(y, of[1]))
        values.append(y)
        y = f.attention(f.linear(y, of[1]), keys, values, 1)
        losses.append(keep(f.surprisal(f.softmax(f.linear(y, of[0]))[target])))
    return keep(f.mean(losses))


def text_and_shared(f, keep, of, x, i):
    losses = []
    for token, target in pairwise(i):
        y = f.linear(of[0][token] + of[-1], of[1]).tanh()
        losses.append(f.surprisal(f.softmax(f.linear(y, of[0]))[target]))
    return keep(f.mean(losses))


def over_a_program(f, keep, of, x, i):
    return keep(keep(of[-2] * x[0]) + keep(of[-1] * of[2]).sum())


# function, numbers of inputs (0: a Value), what the integer inputs select from, is every statement kept
PROGRAMS = [
    (scalars, [0, 0], [], True),
    (selecting, [SIZE], [VOCAB, SIZE], True),
    (masked, [SIZE], [VOCAB, VOCAB], False),
    (detaching, [SIZE], [], True),
    (text, [], [VOCAB] * 5, False),
    (text_and_shared, [], [VOCAB] * 4, False),
    (over_a_program, [0], [], False),
]


def trained_loss(f, of, tokens):
    return f.mean(
        [
            f.surprisal(f.softmax(f.linear(f.linear(of[0][a] * of[2], of[1]).tanh(), of[0]))[b])
            for a, b in pairwise(tokens)
        ]
    )


class Stepping:
    """A training of the leaves, in plain scalars."""

    def __init__(self, leaves: list[Leaf], config: Config, documents: list[list[int]]) -> None:
        self.leaves, self.config, self.documents = leaves, config, documents
        self.m, self.v = ([0.0] * sum(leaf.size for leaf in leaves) for _ in range(2))
        self.taken = 0

    def step(self) -> float:
        size, total, sums = self.config.batch_size, 0.0, [0.0] * len(self.m)
        for n in range(self.taken * size, (self.taken + 1) * size):
            of = [leaf.nodes(leaf.data or []) for leaf in self.leaves]
            lanes = [x for nodes in of for x in (nodes.lanes if isinstance(nodes, Rows) else nodes)]
            loss = trained_loss(SCALARS, of, self.documents[n % len(self.documents)])
            loss.backward()
            total += loss.data
            sums = [s + x.grad for s, x in zip(sums, lanes)] if size > 1 else [x.grad for x in lanes]
        for x, s in zip(lanes, sums):
            x.grad = s * (1 / size) if size > 1 else s
        plainly.update(self.config, lanes, self.m, self.v, self.taken)
        self.taken += 1
        place = 0
        for leaf in self.leaves:
            leaf.data, leaf.grad = [x.data for x in lanes[place : place + leaf.size]], [0.0] * leaf.size
            place += leaf.size
        return total * (1 / size)
