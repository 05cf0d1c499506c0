"""Calls every public name with wrong things: none may crash, hang, or fail without one clear sentence.

    python tests/wrong_arguments.py [--each] [--third] [--all]

The exit status is the verdict. --third makes a third of the calls, --all prints what each did.

`CALLS` has the arguments that are right; each in turn gives way to each of `THINGS`. A process of its own makes the
calls of one argument, or with --each one call, so that a crash is one call's. After each the library is used again.
"""

from __future__ import annotations

import json
import math
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import microgpt
from microgpt import (
    GPT,
    SCALARS,
    Adam,
    Config,
    Index,
    Matrix,
    Model,
    Optimizer,
    OptimizerState,
    Saved,
    Tape,
    Tokenizer,
    Training,
    Value,
    Vector,
    initial_parameters,
    record,
)

SECONDS = 10  # that a call may take
MOST_BYTES = 3 << 30  # that a process may hold


TABLE = Matrix([[1.0, 2.0], [3.0, 4.0]])


class Odd:
    """An object of another program."""


class Refusing:
    """A number that cannot be had."""

    def __float__(self) -> float:
        raise ValueError("this number cannot be had")

    def __index__(self) -> int:
        raise ValueError("this number cannot be had")


CONFIG = Config(n_embd=4, n_head=2, block_size=4, steps=2, samples=1)
TOKENIZER = Tokenizer(["ab", "ba"])
DOCUMENTS = [[2, 0, 1, 2], [2, 1, 0, 2]]
DIRECTORY = tempfile.mkdtemp()


def model() -> GPT:
    return GPT(CONFIG, initial_parameters(CONFIG, 3, random.Random(1)))


def saved() -> Saved:
    return Saved(model(), TOKENIZER)


def state() -> OptimizerState:
    return OptimizerState(0, [0.0] * 8, [0.0] * 8)


def square() -> Matrix:
    return Matrix([[1.0, 2.0], [3.0, 4.0]])


def elsewhere(make: Callable[[], Any]) -> Any:
    with Tape():
        return make()


def forgotten() -> Value:
    tape = Tape()
    with tape:
        mark = tape.mark()
        value = Value(1.0)
        tape.rewind(mark)
    return value


def closed() -> Vector:
    tape = Tape()
    with tape:
        value = Vector([1.0, 2.0])
        tape.close()
    return value


def endless() -> Iterator[float]:
    yield from ()
    raise ValueError("these numbers cannot be had")


THINGS: dict[str, Callable[[], Any]] = {
    "None": lambda: None,
    "True": lambda: True,
    "'abc'": lambda: "abc",
    "''": lambda: "",
    "'\\ud800'": lambda: "\ud800",
    "b'ab'": lambda: b"ab",
    "0": lambda: 0,
    "-1": lambda: -1,
    "3": lambda: 3,
    "10**30": lambda: 10**30,
    "0.5": lambda: 0.5,
    "nan": lambda: math.nan,
    "inf": lambda: math.inf,
    "5e-324": lambda: 5e-324,
    "2j": lambda: 2j,
    "[]": list,
    "[1, 2]": lambda: [1, 2],
    "[None]": lambda: [None],
    "['a', 'b']": lambda: ["a", "b"],
    "[nan, inf]": lambda: [math.nan, math.inf],
    "[[1, 2], [3]]": lambda: [[1, 2], [3]],
    "range(10**12)": lambda: range(10**12),
    "{}": dict,
    "{'wte': 1}": lambda: {"wte": 1},
    "object": Odd,
    "class": lambda: Odd,
    "refusing": Refusing,
    "iterator": endless,
    "function": lambda: lambda *a: None,
    "Value": lambda: Value(0.25),
    "Vector": lambda: Vector([1.0, 2.0]),
    "long Vector": lambda: Vector([0.5] * 7),
    "Matrix": square,
    "wide Matrix": lambda: Matrix([[1.0, 2.0, 3.0]]),
    "Value elsewhere": lambda: elsewhere(lambda: Value(2.0)),
    "Vector elsewhere": lambda: elsewhere(lambda: Vector([1.0, 2.0])),
    "Matrix elsewhere": lambda: elsewhere(square),
    "forgotten Value": forgotten,
    "closed Vector": closed,
    "[Value]": lambda: [Value(1.0), Value(2.0)],
    "[Vector]": lambda: [Vector([1.0, 2.0])],
    "[Vector, Value]": lambda: [Vector([1.0, 2.0]), Value(1.0)],
    "Index": lambda: Index(0),
    "Index(7)": lambda: Index(7),
    "Config": lambda: CONFIG,
    "GPT": model,
    "Tape": Tape,
    "Tokenizer": lambda: TOKENIZER,
    "Random": lambda: random.Random(1),
}

v, x, m = lambda: Value(0.5), lambda: Vector([1.0, 2.0]), square  # short, as the table below is wide
Made = tuple[Callable[..., Any], list[Callable[[], Any]]]

CALLS: dict[str, Made] = {
    # the graph
    "Value": (Value, [lambda: 1.0]),
    "Value with children": (Value, [lambda: 1.0, lambda: (Value(1.0),), lambda: (2.0,)]),
    "Value.label": (lambda label: Value(1.0, label=label).label, [lambda: "a"]),
    "data=": (lambda number: setattr(Value(1.0), "data", number), [lambda: 1.0]),
    "grad=": (lambda number: setattr(Value(1.0), "grad", number), [lambda: 1.0]),
    **{
        f"Value.{name}": (lambda other, name=name: getattr(Value(0.5), name)(other), [v])
        for name in ("__add__", "__sub__", "__mul__", "__truediv__", "__pow__", "__lt__", "max", "min", "pow")
    },
    "a + b": (lambda a, b: a + b, [v, v]),
    "a - b": (lambda a, b: a - b, [v, v]),
    "a * b": (lambda a, b: a * b, [v, v]),
    "a / b": (lambda a, b: a / b, [v, v]),
    "a ** b": (lambda a, b: a**b, [v, v]),
    "leaky_relu": (lambda slope: Value(0.5).leaky_relu(slope), [lambda: 0.1]),
    "elu": (lambda alpha: Value(0.5).elu(alpha), [lambda: 1.0]),
    "round": (lambda digits: round(Value(1.234), digits), [lambda: 2]),
    "format": (lambda form: format(Value(1.234), form), [lambda: ".2f"]),
    "record": (record, [lambda: lambda a, b: a * b, lambda: 1.0, lambda: 2.0]),
    "record of a Vector": (record, [lambda: lambda a: microgpt.softmax(a)[0], lambda: [1.0, 2.0]]),
    "record options": (
        lambda tape, since, quiet: record(lambda a: a * 2, 1.0, tape=tape, since=since, quiet=quiet),
        [lambda: None, lambda: None, lambda: False],
    ),
    "record of a result": (lambda result: record(lambda a: result, 1.0), [v]),
    "Program()": (lambda a, b: record(lambda p, q: p * q, 1.0, 2.0)(a, b), [lambda: 1.0, lambda: 2.0]),
    "Program of a Vector": (lambda a: record(lambda p: p.sum(), [1.0, 2.0])(a), [lambda: [1.0, 2.0]]),
    "Program of an Index": (lambda i: record(lambda p: TABLE[p].sum(), Index(0))(i), [lambda: 1]),
    "Index": (Index, [lambda: 1]),
    "draw": (lambda a, depth, nodes: microgpt.draw(a, depth=depth, nodes=nodes), [v, lambda: 2, lambda: 5]),
    "Drawing.save": (lambda path: microgpt.draw(Value(1.0)).save(path), [lambda: f"{DIRECTORY}/a.dot"]),
    # the tape
    "Tape.rewind": (lambda mark: Tape().rewind(mark), [lambda: 0]),
    # vectors
    "Vector": (lambda numbers, tape: Vector(numbers, tape), [lambda: [1.0], lambda: None]),
    "Vector.data=": (lambda numbers: setattr(Vector([1.0, 2.0]), "data", numbers), [lambda: [1.0, 2.0]]),
    "Vector.grad=": (lambda numbers: setattr(Vector([1.0, 2.0]), "grad", numbers), [lambda: [1.0, 2.0]]),
    "Vector[]": (lambda i: Vector([1.0, 2.0])[i], [lambda: 0]),
    "Vector[a:b]": (lambda a, b, c: Vector([1.0, 2.0])[a:b:c], [lambda: 0, lambda: 2, lambda: 1]),
    "Vector + b": (lambda a, b: a + b, [x, x]),
    "Vector - b": (lambda a, b: a - b, [x, x]),
    "Vector * b": (lambda a, b: a * b, [x, x]),
    "Vector / b": (lambda a, b: a / b, [x, x]),
    "Vector ** b": (lambda a, b: a**b, [x, lambda: 2]),
    "b + Vector": (lambda a, b: b + a, [x, lambda: 1.0]),
    "b - Vector": (lambda a, b: b - a, [x, lambda: 1.0]),
    "b / Vector": (lambda a, b: b / a, [x, lambda: 1.0]),
    "Matrix": (lambda rows, tape: Matrix(rows, tape=tape), [lambda: [[1.0]], lambda: None]),
    "Matrix of numbers": (Matrix, [lambda: 2, lambda: 1, lambda: [1.0, 2.0], lambda: None]),
    "Matrix[]": (lambda i: square()[i], [lambda: 0]),
    # functions
    "linear": (microgpt.linear, [x, m]),
    "softmax": (microgpt.softmax, [x]),
    "rmsnorm": (microgpt.rmsnorm, [x]),
    "layernorm": (microgpt.layernorm, [x, x, x]),
    "relu": (microgpt.relu, [x]),
    "relu_squared": (microgpt.relu_squared, [x]),
    "gelu": (microgpt.gelu, [x]),
    "silu": (microgpt.silu, [x]),
    "attention": (microgpt.attention, [x, lambda: [x()], lambda: [x()], lambda: 1]),
    "surprisal": (microgpt.surprisal, [v]),
    "mean": (microgpt.mean, [lambda: [v()]]),
    # settings and parameters
    **{
        f"Config.{name}": (lambda setting, name=name: Config(**{name: setting}), [lambda: getattr(Config(), name)])
        for name in Config.__dataclass_fields__
    },
    "initial_parameters": (initial_parameters, [lambda: CONFIG, lambda: 3, lambda: random.Random(1), lambda: None]),
    "parameter_count": (microgpt.parameter_count, [lambda: model().state_dict]),
    "parameters_sha256": (microgpt.parameters_sha256, [lambda: model().state_dict]),
    # data and tokens
    "read_documents": (microgpt.read_documents, [lambda: __file__]),
    "Tokenizer": (Tokenizer, [lambda: ["ab"]]),
    "encode": (TOKENIZER.encode, [lambda: "ab"]),
    "decode": (TOKENIZER.decode, [lambda: [0, 1]]),
    # the model
    "GPT": (GPT, [lambda: CONFIG, lambda: model().state_dict, lambda: microgpt.SPANS]),
    "GPT.gpt": (lambda t, p, k, w: model().gpt(t, p, k, w), [lambda: 0, lambda: 0, lambda: [[]], lambda: [[]]]),
    "GPT.gpt of Values": (
        lambda t, p, k, w: GPT(CONFIG, model().state_dict, SCALARS).gpt(t, p, k, w),
        [lambda: 0, lambda: 0, lambda: [[]], lambda: [[]]],
    ),
    "GPT.loss": (lambda tokens: model().loss(tokens), [lambda: [0, 1, 2]]),
    "GPT.probabilities": (lambda t, p: model().probabilities(t, p, [[]], [[]]), [lambda: 0, lambda: 0]),
    # training
    "train": (
        lambda model, documents, replay, steps, fast: list(microgpt.train(model, documents, replay, steps, fast)),
        [model, lambda: DOCUMENTS, lambda: True, lambda: 1, lambda: False],
    ),
    "train anew": (
        lambda model, documents: list(microgpt.train(model, documents, replay=False)),
        [model, lambda: DOCUMENTS],
    ),
    "Model": (
        lambda loss, parameters, config: list(microgpt.train(Model(loss, parameters, config), [[0, 1], [1, 0]])),
        [lambda: lambda tokens: square()[0].sum(), lambda: [square()], lambda: CONFIG],
    ),
    "Training": (
        lambda model, documents, held_out, state: list(
            Training(model, documents, held_out=held_out, state=state).steps()
        ),
        [model, lambda: DOCUMENTS, lambda: DOCUMENTS, lambda: None],
    ),
    "Training.steps": (
        lambda each, stop: list(Training(model(), DOCUMENTS).steps(each, stop)),
        [lambda: 1, lambda: 1],
    ),
    "Optimizer": (Optimizer, [lambda: CONFIG, lambda: [square()]]),
    "Adam": (Adam, [lambda: CONFIG, lambda: [square()]]),
    "Adam.update": (lambda rate: Adam(CONFIG, [square()]).update(rate), [lambda: 0.1]),
    "Adam.m=": (lambda numbers: setattr(Adam(CONFIG, [square()]), "m", numbers), [lambda: [0.0] * 4]),
    "Adam.v=": (lambda numbers: setattr(Adam(CONFIG, [square()]), "v", numbers), [lambda: [0.0] * 4]),
    "Adam.state=": (lambda s: setattr(Adam(CONFIG, [square()]), "state", s), [state]),
    "Adam.steps=": (
        lambda number: [a := Adam(CONFIG, [square()]), setattr(a, "steps", number), a.update(0.1)],
        [lambda: 3],
    ),
    "learning_rate_at": (microgpt.learning_rate_at, [lambda: CONFIG, lambda: 1]),
    # sampling
    "sample": (
        lambda m, t, r, replay: list(microgpt.sample(m, t, r, replay)),
        [model, lambda: TOKENIZER, lambda: random.Random(1), lambda: True],
    ),
    "sample options": (
        lambda count, heat, k, p, prompt: next(
            microgpt.sample(
                model(), TOKENIZER, random.Random(1), count=count, temperature=heat, top_k=k, top_p=p, prompt=prompt
            ),
            None,
        ),
        [lambda: 1, lambda: 0.5, lambda: 2, lambda: 0.5, lambda: "a"],
    ),
    "next_probabilities": (
        microgpt.next_probabilities,
        [model, lambda: TOKENIZER, lambda: "a", lambda: 0.5],
    ),
    # models that stay
    "save": (microgpt.save, [lambda: f"{DIRECTORY}/m.safetensors", saved]),
    "Saved": (
        lambda m, t, o, fast, r: microgpt.save(f"{DIRECTORY}/n.safetensors", Saved(m, t, o, fast, r)),
        [model, lambda: TOKENIZER, lambda: None, lambda: False, lambda: random.Random(1)],
    ),
    "load": (microgpt.load, [lambda: f"{DIRECTORY}/m.safetensors", lambda: None]),
    "resume": (microgpt.resume, [saved, lambda: DOCUMENTS]),
}


def outcome(function: Callable[..., Any], arguments: list[Any]) -> tuple[str, str]:
    """The name of the exception and what it says; empty names where there is none."""
    try:
        function(*arguments)
    except Exception as error:
        kinds = " ".join(kind.__name__ for kind in type(error).__mro__)
        return kinds, str(error)
    return "", ""


def calls_of(name: str, place: int, things: list[str], out: Any) -> None:
    """Make the calls of one argument; tell of each before and after."""
    if "LD_PRELOAD" not in os.environ:  # a sanitizer's memory has room for everything
        resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    function, right = CALLS[name]
    for thing in things:
        print(json.dumps({"name": name, "place": place, "thing": thing}), file=out, flush=True)
        signal.alarm(SECONDS)
        try:
            arguments = [make() for make in right]
            arguments[place] = THINGS[thing]()
        except Exception as error:
            print(json.dumps({"kinds": "broken", "message": repr(error)}), file=out, flush=True)
            continue
        kinds, message = outcome(function, arguments)
        with Tape():
            again = (Value(2.0) * 3).data
        print(json.dumps({"kinds": kinds, "message": message, "sound": again == 6.0}), file=out, flush=True)
        signal.alarm(0)


def results(each: bool = False, part: int = 1) -> Iterator[dict[str, Any]]:
    """What every call did, or one of `part` calls: name, place, thing, kinds, message, sound."""
    warnings.simplefilter("ignore")
    for number, (name, (_, right)) in enumerate(CALLS.items()):
        for place in range(len(right)):
            left = list(THINGS)[(number + place) % part :: part]
            while left:
                lines = _apart(name, place, left[:1] if each else left)
                for told, did in zip(lines[::2], lines[1::2]):
                    yield told | did
                left = left[len(lines) // 2 :]


def _apart(name: str, place: int, things: list[str]) -> list[dict[str, Any]]:
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        with os.fdopen(write, "w") as out:
            calls_of(name, place, things, out)
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as told:
        lines = [json.loads(line) for line in told]
    status = os.waitpid(child, 0)[1]
    if len(lines) % 2:
        lines.append({"kinds": "died", "message": f"status {status}", "sound": False})
    return lines


NAMED = {"MicrogptError", "TypeError", "ValueError", "IndexError", "ArithmeticError", "MemoryError", "OSError"}
INSIDE = re.compile(r"(?<![\w.])_(?!op\b|children\b|backward\b)[a-z]\w*|cdata|\bffi\b|mg_|MG_|has no attribute")


def fault(result: dict[str, Any]) -> str | None:
    """What is wrong with what a call did: None for a result, or an error of a named kind and one clear sentence."""
    kinds, message = set(result["kinds"].split()), result["message"]
    if not result.get("sound"):
        return "did not come back, or left the library unfit"
    if not kinds:
        return None
    if not kinds & NAMED:
        return "is of no kind that is documented"
    if "cannot be had" in message or "MemoryError" in kinds:  # said by the argument itself, or by Python
        return None
    if not message or "\n" in message or len(message) > 300:
        return "is not a sentence"
    return "speaks of the inside" if INSIDE.search(message) else None


def main(words: list[str]) -> int:
    microgpt.save(f"{DIRECTORY}/m.safetensors", saved())
    os.chdir(DIRECTORY)
    calls = faults = 0
    for result in results("--each" in words, 3 if "--third" in words else 1):
        calls += 1
        if "--all" in words:
            print(json.dumps(result))
        if (wrong := fault(result)) is not None:
            faults += 1
            print(f"{result['name']}, argument {result['place'] + 1}, {result['thing']}: {wrong}: {result}")
    shutil.rmtree(DIRECTORY)
    print(f"{calls} calls, {faults} faults")
    return faults > 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
