"""What the page's script gets of a report: numbers in few bytes, and no more letters than the page has room for.

A vector is its largest magnitude and two characters a number, which is one part in 2047 of it. The JSON beside the
page has every bit.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from .collect import Report
from .figures import likely_tokens
from .forward import Position, Text

DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
ROOM = 1_100_000  # bytes for what grows with the texts
BARS = 12  # of the likeliest tokens in a position


def fitting(report: Report) -> Report:
    """The report with as many letters of its texts as a page of less than 2 MB holds: all of them, for most models."""
    n_heads = int(report.config["n_head"]) * int(report.config["n_layer"])
    texts = report.texts
    while len(texts) > 1 and _cost(report, n_heads, len(texts), 8) > ROOM:
        texts = texts[:-1]
    longest = max((len(text.positions) for text in texts), default=0)
    while longest > 1 and _cost(report, n_heads, len(texts), longest) > ROOM:
        longest -= 1
    return replace(report, texts=[replace(text, positions=text.positions[:longest]) for text in texts])


def _cost(report: Report, n_heads: int, texts: int, letters: int) -> int:
    """The bytes, about, of texts of so many letters in a page."""
    n_embd, n_layer = int(report.config["n_embd"]), int(report.config["n_layer"])
    vectors = (3 + 18 * n_layer) * n_embd + 2 * len(report.labels)
    position = 2 * vectors + 16 * BARS * len(report.temperatures) + 15 * min(len(report.labels), 32) + 300
    heads = n_heads * (1500 + letters * (120 + letters * 8))  # squares, and letters beside them
    return texts * (heads + letters * position)


def payload(report: Report) -> str:
    """The JSON for the script, which may stand inside an element of HTML."""
    log = report.log
    data = {
        "labels": report.labels,
        "heads": report.config["n_head"],
        "layers": report.config["n_layer"],
        "stages": report.stages,
        "temperatures": report.temperatures,
        "curve": [[p.first, p.last, _round(p.low), _round(p.mean), _round(p.high)] for p in log.band] if log else [],
        "validation": [[step, _round(loss)] for step, loss in log.validation] if log else [],
        "texts": [_text(report, text) for text in report.texts],
        "matrices": {
            matrix.name: {"block": matrix.block, "rows": [pack(row) for row in matrix.numbers]}
            for matrix in report.matrices
        },
    }
    words = json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return words.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _text(report: Report, text: Text) -> dict[str, Any]:
    rows, rest = likely_tokens(report, text)
    return {"rows": rows, "rest": len(rest), "positions": [_position(report, position) for position in text.positions]}


def _position(report: Report, position: Position) -> dict[str, Any]:
    kinds = zip(report.stages, position.stages)
    return {
        "token": position.token,
        "target": position.target,
        "loss": None if position.loss is None else _round(position.loss),
        "stages": [pack(numbers, 1.0 if name.endswith(".attention") else None) for name, numbers in kinds],
        "probs": pack(position.probabilities, 1.0),
        "bars": [_bars(numbers, position.target) for numbers in position.tempered],
    }


def _bars(numbers: Sequence[float], target: int) -> list[list[float]]:
    """The likeliest tokens and their probabilities, and the one that comes, wherever it stands."""
    order = sorted(range(len(numbers)), key=lambda token: -numbers[token])
    chosen = order[:BARS] if target in order[:BARS] else [*order[: BARS - 1], target]
    return [[token, _round(numbers[token])] for token in chosen]


def _round(number: float) -> float:
    return float(f"{number:.4g}")


def pack(numbers: Sequence[float], limit: float | None = None) -> str:
    """A vector in text: the largest magnitude, a blank, and two digits of 64 for each number."""
    limit = _round(max(map(abs, numbers))) if limit is None else limit
    digits = []
    for number in numbers:
        part = 2048 + (round(max(-1.0, min(1.0, number / limit)) * 2047) if limit else 0)
        digits.append(DIGITS[part >> 6] + DIGITS[part & 63])
    return f"{limit:.6g} {''.join(digits)}"
