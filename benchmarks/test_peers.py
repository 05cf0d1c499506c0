"""Other libraries' scalars, recording and sweeping the same graph: `pip install .[peers]`, or they are skipped."""

from __future__ import annotations

from typing import Any

import pytest

from .test_eager import NODES, record, sweep_on_oracle


def test_xad_record_and_sweep(case: Any) -> None:
    """XAD's Python binding, its tape and active type."""
    adj = pytest.importorskip("xad.adj_1st")

    def run() -> None:
        with adj.Tape() as tape:
            a, b = adj.Real(0.5), adj.Real(0.25)
            tape.registerInput(a)
            tape.registerInput(b)
            tape.newRecording()
            c = a
            for _ in range(NODES // 2):
                c = c * b + a
            tape.registerOutput(c)
            c.setAdjoint(1.0)
            tape.computeAdjoints()

    case(run, NODES, "operations", sweep_on_oracle)


def test_torch_record_and_sweep(case: Any) -> None:
    """PyTorch, scalars in float64, one thread."""
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)

    def value(x: float) -> Any:
        return torch.tensor(x, dtype=torch.float64, requires_grad=True)

    case(lambda: record(value).backward(), NODES, "operations", sweep_on_oracle, rounds=5, pairs=3)
