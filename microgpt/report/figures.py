"""The figures of a report, as SVG: each from the data of `collect`, at a width in pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence

from .collect import MatrixView, Report, legible
from .forward import Text, heads
from .run_log import Part, RunLog, spread
from .svg import Scale, el, heat, linear, number, path, short, svg, text, ticks

START = "\u25b8"  # stands for the start of a text
DOTS = 40  # of validation losses, above which the line is enough
TOKENS = 300  # in the figure of the embedding table
ROWS = 32  # tokens in the figure of next letters; the others are summed up in one


def loss_figure(report: Report, width: float) -> str:
    """Loss and validation loss over the steps, and the learning rate below."""
    log = report.log
    if log is None or not log.band:
        return ""
    left, right, top, height, low_height = 44.0, 14.0, 26.0, 230.0 if width > 500 else 190.0, 36.0
    bottom = top + height
    first, last = log.band[0].first, max(log.band[-1].last, log.band[0].first + 1)
    guess = math.log(len(report.labels))
    low, high = _range(log, guess)
    pad = (high - low) * 0.04 or 0.1
    x = linear(first, last, left, width - right)
    y = linear(low - pad, high + pad, bottom, top)
    steps = [step for step in ticks(first, last, 8 if width > 500 else 4) if step == round(step)]
    parts = [_grid(x, y, steps, ticks(low, high, 5), left, width - right, bottom)]
    if guess <= high + pad:
        parts.append(el("path", class_="guess", d=path([(left, y(guess)), (width - right, y(guess))])))
        words = f"a guess among {len(report.labels)} tokens: {guess:.2f}"
        parts.append(text(width - right, y(guess) - 6, words, "small end"))
    outline = _outline(log.band, int(width / 6))
    band = [(x(step), y(max(low - pad, min(high + pad, loss)))) for step, loss in outline]
    parts.append(el("path", class_="band", d=path(band, close=True)))
    points = [(x((part.first + part.last) / 2), y(part.mean)) for part in log.line]
    parts += [el("circle", class_="plus", cx=at, cy=up, r=3.0) for at, up in points[:1] if len(points) == 1]
    parts.append(el("path", class_="line", d=path(points)))
    if log.validation:
        seen = [(x(min(last, max(first, step))), y(loss)) for step, loss in log.validation]
        parts.append(el("path", class_="line2", d=path(seen)))
        if len(seen) <= DOTS:
            parts += [el("circle", class_="dot2", cx=at, cy=up, r=3.0) for at, up in seen]
    parts.append(_loss_legend(log, left, width, high + pad))
    parts.append(_rates(report, x, left, width - right, bottom + 44, low_height, first, last))
    whole = bottom + 44 + low_height + 8
    parts.append(el("path", class_="thin", data_cross="", visibility="hidden", d=f"M0 {number(top)}V{number(bottom)}"))
    title = f"Loss over steps {first:,} to {last:,}: from {log.line[0].mean:.2f} to {log.line[-1].mean:.2f}"
    span: dict[str, object] = {"data_first": first, "data_last": last, "data_left": left, "data_right": width - right}
    return svg(width, whole, title, *parts, attributes={"data_kind": "loss", **span})


def _range(log: RunLog, guess: float) -> tuple[float, float]:
    """The losses that the figure has room for: all that its lines and the guess go through, and as much of the band as
    leaves the lines their shape. Where a run goes far astray, the guess is left out."""
    lines = [part.mean for part in log.line] + [loss for _, loss in log.validation]
    low, high = min(lines), max(lines)
    if high - low < guess * 100:
        high = max(high, guess)
    more = 0.4 * (high - low)
    lowest, highest = min(part.low for part in log.band), max(part.high for part in log.band)
    return min(low, max(low - more, lowest)), max(high, min(high + more, highest))


def _outline(parts: Sequence[Part], count: int) -> list[tuple[float, float]]:
    """Around a curve, there along the highest losses and back along the lowest, with at most so many steps each way."""
    size = math.ceil(len(parts) / count)
    groups = [parts[i : i + size] for i in range(0, len(parts), size)]
    middles = [(some[0].first + some[-1].last) / 2 for some in groups]
    there = [(step, max(part.high for part in some)) for step, some in zip(middles, groups)]
    back = [(step, min(part.low for part in some)) for step, some in zip(middles, groups)]
    return [*there, *reversed(back)]


def _loss_legend(log: RunLog, left: float, width: float, high: float) -> str:
    size, wide = log.line[0].last - log.line[0].first + 1, width > 500
    mean = "loss" if size == 1 else f"loss, mean of {size:,} steps" if wide else f"mean of {size:,} steps"
    items = [(el("path", class_="line", d="M0 10h16"), mean)]
    if log.validation:
        items.append((el("path", class_="line2", d="M0 10h16"), "validation loss" if wide else "validation"))
    if wide and log.band[0].last > log.band[0].first:
        highest = max(part.high for part in log.band)
        words = "lowest to highest" + (f", which reach {highest:.3g}" if highest > high else "")
        items.append((el("rect", class_="band", x=0, y=4, width=16, height=12), words))
    parts, at = [], left
    for sign, words in items:
        parts.append(el("g", sign, text(22, 14, words, "ink"), transform=f"translate({number(at)} 0)"))
        at += 42 + 6.6 * len(words)
    return "".join(parts)


def _grid(
    x: Scale, y: Scale, across: Sequence[float], up: Sequence[float], left: float, right: float, bottom: float
) -> str:
    parts = []
    for tick in up:
        parts.append(el("path", class_="axis", d=path([(left, y(tick)), (right, y(tick))])))
        parts.append(text(left - 8, y(tick) + 4, f"{tick:.4g}", "end"))
    for tick in across:
        parts.append(text(x(tick), bottom + 18, short(tick), "middle"))
    return "".join(parts)


def _rates(
    report: Report, x: Scale, left: float, right: float, top: float, height: float, first: int, last: int
) -> str:
    """The learning rate, in small."""
    rates = [(step + 1, rate) for step, rate in report.learning_rates if first <= step + 1 <= last]
    highest = max((rate for _, rate in rates), default=0.0)
    base = el("path", class_="axis", d=path([(left, top + height), (right, top + height)]))
    caption = text(left, top - 6, "step" if not highest else f"learning rate, at most {highest:.3g}", "small")
    y = linear(0, highest, top + height, top)
    line = el("path", class_="thin", d=path([(x(step), y(rate)) for step, rate in rates])) if highest else ""
    return base + caption + line + text(right, top - 6, "step", "small end")


def samples_figure(report: Report, width: float) -> str:
    """The samples of each step, a row each."""
    log = report.log
    glances = [(f"step {glance.step:,}", glance.texts) for glance in log.glances] if log else []
    if report.samples:
        glances.append(("at the end", report.samples[:5]))
    if not glances:
        return ""
    parts, y = [], 20.0
    for name, texts in glances:
        parts.append(text(10, y, name, "small"))
        room, at = int((width - 110) / 8), 100.0
        line = " · ".join(legible(one) for one in texts)
        parts.append(text(at, y, line if len(line) <= room else line[: room - 1] + "…", "ink isolate"))
        y += 22
    return svg(width, y, "Samples from the first step to the last", *parts)


def head_side(of: Text) -> float:
    """The width of the figure of a head: 10 pixels for a letter, up to the width of a phone."""
    return max(220.0, min(310.0, 36 + 10.0 * len(of.positions)))


def head_figure(report: Report, of: Text, layer: int, head: int) -> str:
    """How much each letter of a text attends to itself and those before it, in one head."""
    n_head = int(report.config["n_head"])
    stage = report.stages.index(f"layer{layer}.attention")
    rows = [list(heads(position.stages[stage], n_head)[head]) for position in of.positions]
    n, side = len(rows), head_side(of)
    margin, top = 30.0, 42.0
    cell = (side - margin - 6) / max(n, 1)
    every = max(1, math.ceil(9.5 / cell))
    names = [_read(report, of, place) for place in range(n)]
    parts = [text(margin, 14, f"layer {layer}, head {head}", "strong")]
    for place in range(0, n, every):
        middle = (place + 0.5) * cell
        parts.append(text(margin - 6, top + middle + 3.5, names[place], "tiny end isolate"))
        parts.append(text(margin + middle, top - 6, names[place], "tiny middle isolate"))
    inside = heat(rows, cell, 1.0)
    stairs = [corner for i in range(n) for corner in ((i * cell, i * cell), ((i + 1) * cell, i * cell))]
    edge = el("path", class_="frame", d=path([*stairs, (n * cell, n * cell), (0, n * cell)], close=True))
    parts.append(el("g", inside, edge, transform=f"translate({number(margin)} {number(top)})"))
    strongest = max(((w, i, j) for i, row in enumerate(rows) for j, w in enumerate(row) if i), default=(1.0, 0, 0))
    title = (
        f"Attention of layer {layer}, head {head}: the strongest after the first letter is {strongest[0]:.2f}, "
        f"of {_place(report, of, strongest[1])} to {_place(report, of, strongest[2])}"
    )
    which = {"data_layer": layer, "data_head": head}
    where = _where("attention", cell, cell, margin, top)
    return svg(side, top + n * cell + 6, title, *parts, attributes=where | which)


def _where(kind: str, width: float, height: float, x: float, y: float) -> dict[str, object]:
    """What the page's script knows the squares of a heat map by."""
    names = ("kind", "width", "height", "x", "y")
    sides: tuple[object, ...] = (kind, *(f"{side:.4f}" for side in (width, height, x, y)))
    return {f"data_{name}": side for name, side in zip(names, sides)}


def _read(report: Report, of: Text, place: int) -> str:
    """The letter that is read at a position."""
    token = of.positions[place].token
    return START if token == len(report.labels) - 1 else report.labels[token]


def _place(report: Report, of: Text, place: int) -> str:
    name = _read(report, of, place)
    return "the start" if name == START else f"{name!r} at position {place}"


def heads_figure(report: Report, of: Text) -> str:
    """All heads of all layers side by side, a layer in each row."""
    n_layer, n_head, side = int(report.config["n_layer"]), int(report.config["n_head"]), head_side(of)
    parts = []
    for layer in range(n_layer):
        for head in range(n_head):
            inner = head_figure(report, of, layer, head)
            parts.append(
                inner.replace("<svg ", f'<svg x="{number(head * side)}" y="{number(layer * (side + 20))}" ', 1)
            )
    title = f"Attention of {n_layer * n_head} heads over {legible(of.text)!r}"
    return svg(n_head * side, n_layer * (side + 20), title, *parts)


def next_figure(report: Report, of: Text) -> str:
    """The probability of every token after each letter of a text, and how surprising the one that came was. Shades are
    of the square root of a probability, so that one of a few percent can be seen."""
    n = len(of.positions)
    rows, rest = likely_tokens(report, of)
    cell, wide = (20.0 if len(rows) <= 16 else 15.0), max(15.0, min(34.0, 480.0 / max(n, 1)))
    left, top, bars = 80.0, 26.0, 56.0
    names = [report.labels[token] for token in rows] + ([f"{len(rest)} others"] if rest else [])
    table = [[math.sqrt(position.probabilities[token]) for position in of.positions] for token in rows]
    if rest:
        table.append([math.sqrt(sum(position.probabilities[token] for token in rest)) for position in of.positions])
    body = top + 10 + bars
    parts = [text(left, 12, "surprise, -log p of the letter that comes", "small")]
    losses = [position.loss for position in of.positions]
    most = max([loss for loss in losses if loss is not None] + [1.0])
    y = linear(0, most, top + bars, top)
    for place, loss in enumerate(losses):
        height = bars if loss is None else y(0) - y(loss)
        parts.append(
            el("rect", class_="minus", x=left + place * wide + 2, y=y(0) - height, width=wide - 4, height=height)
        )
    parts.append(text(left - 8, y(most) + 4, f"{most:.1f}", "tiny end"))
    parts.append(text(left - 8, y(0) + 4, "0", "tiny end"))
    parts.append(el("path", class_="axis", d=path([(left, y(0)), (left + n * wide, y(0))])))
    for i, name in enumerate(names):
        parts.append(text(left - 8, body + (i + 0.5) * cell + 4, name, "small end isolate"))
    grid = el("rect", class_="frame", width=n * wide, height=len(names) * cell)
    marks = []
    for place, position in enumerate(of.positions):
        row = rows.index(position.target) if position.target in rows else len(names) - 1
        marks.append(el("rect", class_="target", x=place * wide, y=row * cell, width=wide, height=cell))
        middle = left + (place + 0.5) * wide
        parts.append(text(middle, body + len(names) * cell + 15, _read(report, of, place), "tiny middle isolate"))
    parts.append(
        el("g", grid, heat(table, cell, 1.0, wide), *marks, transform=f"translate({number(left)} {number(body)})")
    )
    foot = body + len(names) * cell + 32
    parts.append(text(left, foot, f"after the letter; {START} is the start", "small"))
    title = f"Probabilities of the next letter over {legible(of.text)!r}, the letter that comes outlined"
    where = _where("next", wide, cell, left, body)
    return svg(max(left + n * wide + 6, 280.0), foot + 8, title, *parts, attributes=where)


def likely_tokens(report: Report, of: Text) -> tuple[list[int], list[int]]:
    """The tokens that have a row of their own, the likely ones and those that come, in their order; and the others."""
    tokens = range(len(report.labels))
    if len(tokens) <= ROWS:
        return list(tokens), []
    likely = {token: max(position.probabilities[token] for position in of.positions) for token in tokens}
    come = {position.target for position in of.positions}
    chosen = sorted(tokens, key=lambda token: (token not in come, -likely[token]))[: ROWS - 1]
    return sorted(chosen), [token for token in tokens if token not in chosen]


def embedding_figure(report: Report, width: float) -> str:
    """The rows of wte in two dimensions, each its letter."""
    height, margin = min(width, 520.0), 30.0
    plane = report.embedding
    xs, ys = [x for x, _ in plane.points], [y for _, y in plane.points]
    span = max(max(xs) - min(xs), (max(ys) - min(ys)) * width / height) or 1.0
    middle = (max(xs) + min(xs)) / 2, (max(ys) + min(ys)) / 2
    scale = (width - 2 * margin) / span
    parts = [el("rect", class_="frame", x=0.5, y=0.5, width=width - 1, height=height - 1, rx=6)]
    size = "letter" if len(report.labels) <= 60 else "ink"
    shown = spread(range(len(report.labels)), TOKENS)
    for token in shown:
        name, (x, y) = report.labels[token], plane.points[token]
        at = width / 2 + (x - middle[0]) * scale, height / 2 - (y - middle[1]) * scale * 0.94
        kind = f"{size if len(name) < 4 else 'tiny'} halo middle isolate {kind_of(name)}".strip()
        parts.append(text(at[0], at[1] + 5, name, kind, data_token=token))
    words = f"first axis: {plane.shares[0]:.0%} of the variance, second: {plane.shares[1]:.0%}"
    if len(shown) < len(report.labels):
        words += f"; {len(shown)} of {len(report.labels):,} tokens"
    parts.append(text(12, height - 10, words, "small"))
    title = f"The {len(report.labels)} rows of wte, on the plane in which they differ most"
    return svg(width, height, title, *parts, attributes={"data_kind": "embedding"})


def kind_of(name: str) -> str:
    """The colour of a letter: Latin vowels one, what is no letter another."""
    if name.lower() in ("a", "e", "i", "o", "u", "y"):
        return "second"
    return "accent" if len(name) == 1 and name.isalpha() else ""


def matrix_figure(report: Report, matrix: MatrixView) -> str:
    """A matrix of parameters as a heat map."""
    rows, columns = len(matrix.numbers), len(matrix.numbers[0])
    cell = 7.0 if max(rows, columns) <= 28 else 4.0
    limit = max(abs(matrix.low), abs(matrix.high))
    if matrix.block != (1, 1):
        limit = max(max(map(abs, row)) for row in matrix.numbers)
    named = matrix.name in ("wte", "lm_head") and matrix.block[0] == 1
    left, top = (26.0 if named else 0.5), 38.0
    parts = [text(0, 13, matrix.name, "strong")]
    parts.append(text(0, 29, f"{matrix.rows} by {matrix.columns}, {matrix.low:.2g} to {matrix.high:.2g}", "small"))
    if named:
        every = max(1, math.ceil(9 / cell))
        for i in range(0, rows, every):
            parts.append(text(left - 5, top + (i + 0.5) * cell + 3, report.labels[i], "tiny end isolate"))
    frame = el("rect", class_="frame", width=columns * cell, height=rows * cell)
    inside = heat(matrix.numbers, cell, limit)
    parts.append(el("g", frame, inside, transform=f"translate({number(left)} {number(top)})"))
    means = "" if matrix.block == (1, 1) else f", each square the mean of {matrix.block[0]} by {matrix.block[1]}"
    title = f"{matrix.name}, {matrix.rows} by {matrix.columns} numbers{means}"
    width = max(left + columns * cell + 1, 132.0)
    where = _where("matrix", cell, cell, left, top) | {"data_name": matrix.name}
    return svg(width, top + rows * cell + 2, title, *parts, attributes=where)


def matrices_figure(report: Report, width: float = 920) -> str:
    """All matrices in one figure."""
    parts, x, y, tallest = [], 0.0, 0.0, 0.0
    for matrix in report.matrices:
        inner = matrix_figure(report, matrix)
        wide, high = (float(inner.split(f'{side}="')[1].split('"')[0]) for side in (" width", " height"))
        if x and x + wide > width:
            x, y, tallest = 0.0, y + tallest + 18, 0.0
        parts.append(inner.replace("<svg ", f'<svg x="{number(x)}" y="{number(y)}" ', 1))
        x, tallest = x + wide + 18, max(tallest, high)
    return svg(width, y + tallest, f"The {len(parts)} matrices of the model", *parts)
