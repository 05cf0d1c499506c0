"""The figures of a report as files of their own: SVG, and one JSON with all numbers."""

from __future__ import annotations

import json
import os

from ..files import replace_file
from .collect import Report
from .figures import embedding_figure, heads_figure, loss_figure, matrices_figure, next_figure, samples_figure
from .page import WIDE
from .svg import standalone

NUMBERS = "report.json"


def figures(report: Report) -> dict[str, str]:
    """All figures that there is something for, by the names of their files."""
    found = {
        "loss.svg": loss_figure(report, WIDE),
        "samples.svg": samples_figure(report, WIDE),
        "embedding.svg": embedding_figure(report, WIDE),
        "weights.svg": matrices_figure(report),
    }
    for number, text in enumerate(report.texts, 1):
        found[f"attention-{number}.svg"] = heads_figure(report, text)
        found[f"next-{number}.svg"] = next_figure(report, text)
    return {name: standalone(figure) for name, figure in found.items() if figure}


def write_figures(report: Report, directory: str) -> None:
    """The figures and the JSON, in a directory that is made where there is none. OSError when that fails."""
    os.makedirs(directory, exist_ok=True)
    numbers = json.dumps(report.as_json(), ensure_ascii=False, allow_nan=False)
    for name, content in {**figures(report), NUMBERS: numbers + "\n"}.items():
        replace_file(os.path.join(directory, name), content.encode())
