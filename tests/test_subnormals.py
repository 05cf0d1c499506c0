"""No step touches a number below the normal ones, which some processors take a hundred times as long for.

Without a clock: on x86 the processor is told to raise SIGFPE at the first operand below the normal numbers, and in
exact training at the first such result; a step that has one ends its process.
"""

from __future__ import annotations

import ctypes
import platform
import random
import shutil
import signal
import subprocess
import sys
from array import array
from pathlib import Path

import pytest

from microgpt import GPT, Config, Tape, Tokenizer, embedded_names, initial_parameters
from microgpt.config import CHOICES
from microgpt.optimizers import OptimizerState
from microgpt.training import Training

HELPER = """
#include <xmmintrin.h>
double half(double x) { return x * 0.5; }
void watch(int results) { _mm_setcsr((_mm_getcsr() & ~0x3fu) & ~(results ? 0x900u : 0x100u)); }
void stop(void) { _mm_setcsr((_mm_getcsr() & ~0x3fu) | 0x1f80u); }
"""
RATHER_LATE = 100_000  # steps: 0.9 ** 100_000 is far below the smallest float


def train_late(library: str, fast: bool, optimizer: str, plant: bool) -> None:
    """For the tests below, in a process of its own: a training whose moments of what no document uses have faded."""
    helper = ctypes.CDLL(library)
    helper.half.restype, helper.half.argtypes = ctypes.c_double, [ctypes.c_double]
    config = Config(steps=RATHER_LATE + 1000, optimizer=optimizer)
    rng = random.Random(1)
    names = embedded_names()
    tokenizer = Tokenizer(names)
    documents = [tokenizer.encode(name) for name in names[:1000] if not set(name) & set("abcmz")]
    training = Training(
        GPT(config, initial_parameters(config, tokenizer.vocab_size, rng, Tape())), documents, fast=fast
    )
    list(training.steps(steps_per_call=None, stop=300))
    state = training.state
    m, v = list(state.m), list(state.v)
    moves = any(v)  # where the optimizer has second moments
    for letter in "abcmz":  # the rows of wte, which stands first, that get no gradient
        for i in range(config.n_embd * tokenizer.encode(letter)[1], config.n_embd * (tokenizer.encode(letter)[1] + 1)):
            least = -1074 if not fast else -149
            m[i] = rng.choice((-1, 1)) * rng.randint(1, 99) * 2.0 ** rng.randint(least, least + 100)
            v[i] = rng.randint(1, 99) * 2.0 ** rng.randint(least, least + 100) if moves else 0.0
    engine = training._engine
    engine.optimizer.state = OptimizerState(RATHER_LATE, array("d", m), array("d", v))
    helper.watch(not fast)
    losses, error = engine.run(RATHER_LATE, 500)
    if plant:
        helper.half(5e-324)
    helper.stop()
    assert error is None
    assert len(losses) == 500
    after = engine.optimizer.state
    assert any(0 < abs(x) < 2.0**-1022 for x in after.m) is not fast, "nothing has faded: this shows nothing"


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    if platform.machine() != "x86_64" or shutil.which("cc") is None:
        pytest.skip("needs x86-64, and a C compiler")
    directory = tmp_path_factory.mktemp("helper")
    source, built = directory / "helper.c", directory / "helper.so"
    source.write_text(HELPER)
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", str(source), "-o", str(built)], check=True)
    return built


def status_of(library, *, fast, optimizer, plant=False):
    code = f"from tests.test_subnormals import train_late; train_late({str(library)!r}, {fast}, {optimizer!r}, {plant})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).resolve().parent.parent
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("optimizer", CHOICES["optimizer"])
@pytest.mark.parametrize("fast", [False, True], ids=["exact", "fast"])
def test_steps_touch_no_subnormals(library, fast, optimizer):
    """500 steps after the 100,000th, among moments that have faded."""
    assert status_of(library, fast=fast, optimizer=optimizer) == (0, "")


def test_one_would_be_noticed(library):
    """An operation of the helper's own, on 5e-324, ends the process."""
    assert status_of(library, fast=False, optimizer="adam", plant=True)[0] == -signal.SIGFPE
