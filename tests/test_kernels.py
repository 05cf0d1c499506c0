"""Every row of kernels that this machine has gives the bits of Python's arithmetic."""

from __future__ import annotations

import os
import random
import subprocess
import sys

import pytest

from microgpt import Matrix
from microgpt.tape import check, ffi, lib

from .bits import all_bits

ROWS = ["plain", "avx2", "avx512", "neon"]
RATE, BETA1, BETA2, EPSILON = 0.01, 0.9, 0.95, 1e-8
ADAM = ffi.new("mg_optimizer *", [lib.MG_ADAM, BETA1, BETA2, EPSILON, 0, 0])


def gradients(rng: random.Random, n: int) -> list[float]:
    """Ordinary numbers, numbers of all sizes whose squares are floats, zeros of both signs, subnormal numbers."""
    kinds = [
        lambda: rng.gauss(0, 1),
        lambda: rng.gauss(0, 1) * 10 ** rng.uniform(-12, 3),
        lambda: rng.gauss(0, 1) * 10 ** rng.uniform(-320, 150),
        lambda: rng.choice([0.0, -0.0, 5e-324, -1e-310, 1.0, -2.0, 0.5]),
        lambda: float.fromhex("0x1.6a09e667f3bcdp+0") * 2.0 ** rng.randint(-60, 60),
    ]
    return [rng.choice(kinds)() for _ in range(n)]


def adam_in_python(data: list[float], grad: list[float], m: list[float], v: list[float], step: int) -> None:
    """The course's update, as Python computes it."""
    for i, g in enumerate(grad):
        m[i] = BETA1 * m[i] + (1 - BETA1) * g
        v[i] = BETA2 * v[i] + (1 - BETA2) * g**2
        m_hat = m[i] / (1 - BETA1 ** (step + 1))
        v_hat = v[i] / (1 - BETA2 ** (step + 1))
        data[i] -= RATE * m_hat / (v_hat**0.5 + EPSILON)


def compare(seed: int, n: int, steps: int) -> None:
    rng = random.Random(seed)
    data, m, v = gradients(rng, n), [0.0] * n, [0.0] * n
    w = Matrix(1, n, data)
    found_m, found_v = ffi.new("double[]", n), ffi.new("double[]", n)
    for step in range(steps):
        grad = gradients(rng, n)
        w[0].grad = grad
        adam_in_python(data, grad, m, v, step)
        pointer, first, sizes = w._tape.pointer, [w._node], [n]
        check(lib.mg_optimizer_step(pointer, first, sizes, 1, found_m, found_v, n, ADAM, step + 1, RATE))
        assert all_bits(w.data) == all_bits(data)
        assert all_bits(found_m) == all_bits(m)
        assert all_bits(found_v) == all_bits(v)
        assert w[0].grad == [0.0] * n


@pytest.mark.parametrize("n", [1, 7, 64, 65, 1000])
def test_adam_equals_python(n):
    """The chosen row, for lengths around its block."""
    compare(seed=n, n=n, steps=4)


def check_this_row() -> None:
    """For the test below, in a process of its own."""
    compare(seed=1, n=20_000, steps=5)
    print(ffi.string(lib.mg_kernels_name()).decode())


@pytest.mark.parametrize("row", ROWS)
def test_adam_equals_python_in_every_row(row):
    """Forced one by one, in processes of their own, over 100,000 numbers; a missing row gives another name."""
    code = "from tests.test_kernels import check_this_row; check_this_row()"
    environment = {**os.environ, "MICROGPT_KERNELS": row}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    if done.stdout.strip() != row:
        pytest.skip(f"this processor has no row {row}")


def test_an_overflowing_square_changes_nothing():
    """The square of 1e200 is an OverflowError, as in Python, and no parameter or moment has changed."""
    w = Matrix(2, 2, [1.0, 2.0, 3.0, 4.0])
    w[0].grad, w[1].grad = [1.0, 1.0], [1.0, 1e200]
    m, v = ffi.new("double[]", 4), ffi.new("double[]", 4)
    with pytest.raises(OverflowError):
        check(lib.mg_optimizer_step(w._tape.pointer, [w._node], [4], 1, m, v, 4, ADAM, 1, RATE))
    assert w.data == [1.0, 2.0, 3.0, 4.0]
    assert list(m) == list(v) == [0.0] * 4
    assert w[1].grad == [1.0, 1e200]
