"""Every row of kernels that this machine has gives the bits of Python's arithmetic."""

from __future__ import annotations

import math
import os
import platform
import random
import subprocess
import sys
from pathlib import Path

import pytest

from microgpt import Matrix
from microgpt.core import check, ffi, lib

from .bits import all_bits
from .rows import in_every_row, printed_in_row

RATE, BETA1, BETA2, EPSILON = 0.01, 0.9, 0.95, 1e-8
ADAM = ffi.new("mg_optimizer *", [lib.MG_ADAM, BETA1, BETA2, EPSILON, 0, 0])


def processor_flags() -> set[str]:
    """What the processor can do, as the operating system says; empty where it does not."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((set(line.split(":")[1].split()) for line in lines if line.startswith(("flags", "Features"))), set())


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
        pointer, first, sizes = w._tape._pointer, [w._node], [n]
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


@in_every_row
def test_adam_equals_python_in_every_row(row):
    """Forced one by one, over 100,000 numbers."""
    printed_in_row(row, check_this_row)


# ---- both variants of the C library's pow

# Found by search: here pow(x, 2) and pow(x, 0.5), in the variant without fused multiply-add, are the farther of the two
# floats, although the true result is some 0.009 units in the last place from their middle.
FAR_SQUARES = [float.fromhex(x) for x in ("0x1.53cbd82555474p+28", "0x1.cfc60f8f49172p+17", "0x1.60cd2a64119bap-44")]
FAR_ROOTS = [float.fromhex(x) for x in ("0x1.f82d78f1c539bp+23", "0x1.b9e672924558dp+31", "0x1.e83813c8915f6p+25")]
FEATURES = ("FMA", "AVX2", "FMA4", "FMA_Usable", "AVX2_Usable", "FMA4_Usable")  # glibc before 2.33: _Usable
UNFUSED = "glibc.cpu.hwcaps=" + ",".join(f"-{feature}" for feature in FEATURES)


def near_the_middle(rng: random.Random, n: int) -> list[float]:
    """Numbers whose square is within 0.03 units in the last place of the middle between two floats."""
    found: list[float] = []
    while len(found) < n:
        digits = rng.getrandbits(52) | 1 << 52
        square = digits * digits
        rest = square & ((unit := 1 << square.bit_length() - 53) - 1)
        if abs(2 * rest - unit) < 0.06 * unit:
            found.append(math.ldexp(digits, rng.randint(-102, -3)))
    return found


def check_powers() -> None:
    """For the test below, in a process of its own."""
    rng = random.Random(5)
    numbers = FAR_SQUARES + FAR_ROOTS + near_the_middle(rng, 20_000)
    numbers += [float.fromhex(f"0x1.{rng.getrandbits(52):013x}p{rng.randint(-49, 49)}") for _ in range(100_000)]
    n = len(numbers)
    w, squares = Matrix(1, n, numbers), [x**2 for x in numbers]
    # With betas of 0 Adam keeps the squares and divides by their roots; with betas of one half, gradients of 0, and at
    # the first step, it divides by the roots of v.
    for beta, grad, start in ((0.0, numbers, 0.0), (0.5, [0.0] * n, 1.0)):
        w.data = [0.0] * n
        w[0].grad = grad
        m, v = ffi.new("double[]", [start] * n), ffi.new("double[]", numbers)
        settings = ffi.new("mg_optimizer *", [lib.MG_ADAM, beta, beta, 0.0, 0, 0])
        check(lib.mg_optimizer_step(w._tape._pointer, [w._node], [n], 1, m, v, n, settings, 1, 1.0))
        second = squares if beta == 0 else numbers
        assert all_bits(v) == all_bits(second if beta == 0 else [x / 2 for x in second])
        assert all_bits(w.data) == all_bits(0.0 - (g + start) / x**0.5 for g, x in zip(grad, second))
    print(all_bits([x**0.5 for x in FAR_ROOTS]) != all_bits([math.sqrt(x) for x in FAR_ROOTS]))


@pytest.mark.parametrize("variant", ["fused", "unfused"])
def test_powers_equal_this_process_pow(variant):
    """Squares and roots are those of either variant of glibc's pow, which differ from each other.

    GLIBC_TUNABLES forces the one without fused multiply-add. Where that changed nothing, though this C library and this
    processor have both, the test fails: it would have shown nothing.
    """
    environment = {**os.environ}
    environment.pop("GLIBC_TUNABLES", None)
    if variant == "unfused":
        environment["GLIBC_TUNABLES"] = UNFUSED
    code = "from tests.test_kernels import check_powers; check_powers()"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    if platform.libc_ver()[0] != "glibc" or platform.machine() != "x86_64":
        pytest.skip("only glibc on x86-64 has two variants of pow")
    if not {"fma", "avx2"} <= processor_flags():
        pytest.skip("a processor without fused multiply-add runs one variant of pow")
    assert done.stdout.strip() == str(variant == "unfused")


def test_an_overflowing_square_changes_nothing():
    """The square of 1e200 is an OverflowError, as in Python, and no parameter or moment has changed."""
    w = Matrix(2, 2, [1.0, 2.0, 3.0, 4.0])
    w[0].grad, w[1].grad = [1.0, 1.0], [1.0, 1e200]
    m, v = ffi.new("double[]", 4), ffi.new("double[]", 4)
    with pytest.raises(OverflowError):
        check(lib.mg_optimizer_step(w._tape._pointer, [w._node], [4], 1, m, v, 4, ADAM, 1, RATE))
    assert w.data == [1.0, 2.0, 3.0, 4.0]
    assert list(m) == list(v) == [0.0] * 4
    assert w[1].grad == [1.0, 1e200]


def test_unknown_row():
    """A name in MICROGPT_KERNELS that is no row of this processor is said, once, and not followed."""
    environment = {**os.environ, "MICROGPT_KERNELS": "avx1024"}
    code = "import microgpt; print(microgpt.Value(1.0).data)"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "1.0\n")
    assert done.stderr.count("MICROGPT_KERNELS") == 1
    assert "avx1024" in done.stderr
    environment["MICROGPT_KERNELS"] = "plain"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
