"""Every scalar operation of the core against the Python expressions that its row of the table holds, bit for bit."""

import math
import random
import types

import pytest

from microgpt import Tape
from microgpt.core import NONE, check, ffi, lib

from .bits import bits
from .oracle import exp2, real

OPERATIONS = range(lib.MG_CONSTANT + 1, lib.MG_SCALAR_COUNT)
ORDINARY = [-2.75, -1.5, -1.0, -0.3, 0.2, 0.5, 1.0, 1.25, 2.0, 3.7]
EXTREME = [
    0.0,
    -0.0,
    -2.0,
    3.0,
    -0.5,
    1e-300,
    5e-324,
    -5e-324,
    1.7976931348623157e308,
    -1e200,
    2.0**53,
    20.0,
    -37.5,
    709.5,
]
EXTREME += [711.0, -745.5, 1023.5, 1e22, math.inf, -math.inf, math.nan]
MATH = types.SimpleNamespace(**{name: getattr(math, name) for name in dir(math) if not name.startswith("_")})
MATH.exp2 = exp2  # which Python has from 3.11 on


def text(operation, which):
    found = lib.mg_operation_python(operation, which)
    return None if found == ffi.NULL else ffi.string(found).decode()


def in_python(operation, a, b):
    """The value and the partials, or the type of the exception."""
    names = {"math": MATH, "a": a, "b": b, "k": b}
    numbers = []
    try:
        for which in range(1 + lib.mg_operation_arity(operation)):
            numbers.append(float(real(eval(text(operation, which), names))))
            names["y"] = numbers[0]
    except (ArithmeticError, ValueError) as error:
        return type(error)
    return [bits(x) for x in numbers]


def in_core(tape, operation, a, b):
    left, right = lib.mg_leaf(tape._pointer, a), lib.mg_leaf(tape._pointer, b)
    if lib.mg_operation_constant(operation):
        node = lib.mg_unary_with(tape._pointer, operation, left, b)
    elif lib.mg_operation_arity(operation) == 2:
        node = lib.mg_binary(tape._pointer, operation, left, right)
    else:
        node = lib.mg_unary(tape._pointer, operation, left)
    if node == NONE:
        with pytest.raises((ArithmeticError, ValueError)) as raised:
            check(lib.mg_tape_take_status(tape._pointer))
        return raised.type
    arity = lib.mg_operation_arity(operation)
    operands, partials = ffi.new("mg_id[2]"), ffi.new("double[2]")
    check(lib.mg_lane_operands(tape._pointer, node, operands, partials))
    return [bits(x) for x in (lib.mg_value(tape._pointer, node), *partials[0:arity])]


def arguments(operation):
    rng = random.Random(operation)
    pairs = [(a, b) for numbers in (ORDINARY, EXTREME) for a in numbers for b in numbers]
    pairs += [(rng.uniform(-s, s), rng.uniform(-s, s)) for s in (1, 3, 30, 800) for _ in range(300)]
    return pairs


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda o: ffi.string(lib.mg_operation_name(o)).decode() + f"-{o}")
def test_the_rule_is_the_expression(operation):
    """Value, partials and exceptions, over ordinary, extreme and random numbers."""
    refused = 0
    with Tape() as tape:
        for a, b in arguments(operation):
            expected = in_python(operation, a, b)
            refused += isinstance(expected, type)
            assert in_core(tape, operation, a, b) == expected, (a, b)
    assert refused < len(arguments(operation)) - 200
