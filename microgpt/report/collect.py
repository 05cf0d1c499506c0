"""Everything that the report shows, as data: from the directory of a run, or from a model alone."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..config import Config
from ..errors import DivergedError
from ..optimizers import learning_rate_at
from ..parameters import parameter_count
from ..sampling import sample
from ..saving import LOG, MODEL, Saved, load
from ..vector import Matrix
from .forward import Text, read_text, stage_names
from .principal import Plane, principal_plane
from .run_log import RunLog, read_log
from .speed import Speed, measure

TEMPERATURES = (0.25, 0.5, 1.0, 2.0)
TEXTS = 3  # samples that are looked into where no text is given
MOST = 50  # samples that are shown, or drawn where the log has none
SIDES, CELLS = (64, 48, 32, 24, 16, 8, 4, 2), 40_000  # rows and columns of a picture of a matrix; squares of all


@dataclass(frozen=True, slots=True)
class MatrixView:
    """A matrix of parameters, or where it is large the means of its blocks, of so many rows and columns."""

    name: str
    rows: int
    columns: int
    block: tuple[int, int]
    numbers: list[list[float]]
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Report:
    """All that a report shows. Numbers are as the model has them, to the last bit."""

    version: str
    name: str  # of the directory or file
    config: dict[str, Any]
    mode: str
    step: int  # that were taken
    parameters: int
    alphabet: str
    labels: list[str]  # of all tokens, as the report writes them
    data: dict[str, str]  # of the documents: source, file (its name alone, as pages are given away), sha256
    log: RunLog | None
    learning_rates: list[tuple[int, float]]  # at some steps of the run
    samples: list[str]
    sampled_now: bool  # whether the samples were drawn for the report, as the log has none
    known: list[str] | None  # those of all samples that are among the documents; None where these are not to be had
    temperatures: list[float]
    stages: list[str]  # the names of the vectors in each position of a text
    texts: list[Text]
    embedding: Plane  # of wte: a point a token
    matrices: list[MatrixView]
    speed: Speed | None
    missing: list[str]  # what cannot be shown, and why

    def as_json(self) -> dict[str, Any]:
        """All of it, as JSON has it."""
        return asdict(self)


def collect(
    path: str, texts: Sequence[str] = (), with_speed: bool = True, documents: Iterable[str] | None = None
) -> Report:
    """The report of a run's directory, or of a .safetensors file, which looks into these texts, or into some samples.
    With the documents of the run it tells the samples that are among them. ModelFileError when there is no model to be
    had, DataError for a text with a character that the model has not seen."""
    from .. import __version__

    saved = load(path)
    model, tokenizer, config = saved.model, saved.tokenizer, saved.model.config
    missing: list[str] = []
    log = _log_of(path, saved, missing)
    samples, now = (log.samples[:MOST], False) if log is not None and log.samples else (_draw(saved, missing), True)
    own = [config.temperature] if 0.01 <= config.temperature <= 100 else []
    temperatures = sorted({*TEMPERATURES, *own})
    chosen = list(dict.fromkeys(texts or [text for text in samples if text]))
    looked_into: list[Text] = []
    if not texts:
        chosen = chosen[:TEXTS] or [""]
    try:
        looked_into = [read_text(saved, text, temperatures) for text in chosen]
    except DivergedError as error:
        missing.append(f"The forward pass: {error}.")
    known = None
    if documents is not None:
        drawn = {*samples, *(text for glance in (log.glances if log else ()) for text in glance.texts)}
        known = sorted(drawn & {document[: config.block_size] for document in documents})
    speed = measure(path, [text for text in samples if text] or [tokenizer.chars[0]] * 8) if with_speed else None
    wte = model.state_dict["wte"]
    return Report(
        version=__version__,
        name=os.path.basename(os.path.abspath(path)),
        config=asdict(config),
        mode="fast" if saved.fast else "exact",
        step=saved.step,
        parameters=parameter_count(model.state_dict),
        alphabet="".join(tokenizer.chars),
        labels=[*(label(char) for char in tokenizer.chars), "end"],
        data=_about_data(saved.data),
        log=log,
        learning_rates=_learning_rates(config),
        samples=samples,
        sampled_now=now,
        known=known,
        temperatures=temperatures,
        stages=stage_names(config.n_layer),
        texts=looked_into,
        embedding=principal_plane([row.data for row in wte]),
        matrices=_matrix_views(model.state_dict),
        speed=speed,
        missing=missing,
    )


def _about_data(data: Mapping[str, Any]) -> dict[str, str]:
    about = {name: data.get(name) for name in ("source", "path", "sha256")}
    texts = {name: text for name, text in about.items() if isinstance(text, str)}
    return {"file" if name == "path" else name: os.path.basename(text) for name, text in texts.items()}


def _learning_rates(config: Config) -> list[tuple[int, float]]:
    """The learning rate at some 60 steps of the run."""
    steps = sorted({i * (config.steps - 1) // 60 for i in range(61)} if config.steps else ())
    try:
        return [(step, learning_rate_at(config, step)) for step in steps]
    except OverflowError:
        return []


def _log_of(path: str, saved: Saved, missing: list[str]) -> RunLog | None:
    directory = path if os.path.isdir(path) else os.path.dirname(path)
    where = os.path.join(directory, LOG)
    if not os.path.isdir(path) and os.path.basename(path) != MODEL:
        missing.append("The curves, and samples from on the way: a model alone has no log. Give the run's directory.")
        return None
    try:
        log = read_log(where, saved.step)
    except OSError as error:
        said = f"{LOG} cannot be read"
        if isinstance(error, FileNotFoundError):
            said = f"there is no {LOG} beside the model"
        missing.append(f"The curves, and samples from on the way: {said} ({error.strerror or error}).")
        return None
    if log.unread:
        lines = "1 line" if log.unread == 1 else f"{log.unread:,} lines"
        missing.append(f"{lines} of {LOG}, not of the form that a run writes.")
    if not log.band:
        missing.append(f"The loss: {LOG} has no steps up to step {saved.step}, at which the model was saved.")
    if not log.validation:
        missing.append("The validation loss: the run held no documents out (train --val-fraction 0.1 does).")
    if not log.glances:
        missing.append("Samples from on the way: the log has none (train --out keeps them, --sample-every says when).")
    return log


def _draw(saved: Saved, missing: list[str]) -> list[str]:
    try:
        return list(sample(saved.model, saved.tokenizer, saved.rng, count=min(MOST, saved.model.config.samples)))
    except DivergedError as error:
        missing.append(f"Samples: {error}.")
        return []


def label(char: str) -> str:
    """A character, as it can be seen beside others: white space as a sign, what has no form of its own as its number,
    a mark on a dotted circle."""
    signs = {" ": "\u2423", "\t": "\u21e5", "\n": "\u21b5"}
    kind = unicodedata.category(char)
    if char in signs:
        return signs[char]
    if kind[0] in "CZ":
        return f"U+{ord(char):04X}"
    return f"\u25cc{char}" if kind[0] == "M" else char


def legible(text: str) -> str:
    """A text with everything in it that can be read, and nothing that acts on what stands beside it."""
    return "".join(c if c == " " or unicodedata.category(c)[0] not in "CZ" else f"\u27e8{label(c)}\u27e9" for c in text)


def _matrix_views(matrices: Mapping[str, Matrix]) -> list[MatrixView]:
    """All matrices, in as many squares as a page has room for."""
    for side in SIDES:
        blocks = {name: (-(-w.rows // side), -(-w.columns // side)) for name, w in matrices.items()}
        cells = sum(-(-w.rows // blocks[name][0]) * -(-w.columns // blocks[name][1]) for name, w in matrices.items())
        if cells <= CELLS:
            break
    return [_matrix_view(name, [row.data for row in w], *blocks[name]) for name, w in matrices.items()]


def _matrix_view(name: str, rows: list[list[float]], down: int, across: int) -> MatrixView:
    height, width = len(rows), len(rows[0])
    numbers = rows
    if down > 1 or across > 1:
        numbers = [
            [_mean([x for row in rows[i : i + down] for x in row[j : j + across]]) for j in range(0, width, across)]
            for i in range(0, height, down)
        ]
    return MatrixView(name, height, width, (down, across), numbers, min(map(min, rows)), max(map(max, rows)))


def _mean(numbers: Sequence[float]) -> float:
    return sum(number / len(numbers) for number in numbers)  # each divided first, so that no sum grows too large
