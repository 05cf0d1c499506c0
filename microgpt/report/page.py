"""The report as one page of HTML, which needs nothing else: no network, no library, no fonts."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files
from string import Template

from .collect import Report, legible
from .figures import embedding_figure, head_figure, loss_figure, matrix_figure, next_figure
from .forward import Text
from .payload import fitting, payload
from .svg import FONT, STYLE, clean, el, variables

WIDE, NARROW = 1040.0, 340.0


def page(report: Report) -> str:
    """The whole page, below 2 MB."""
    shown = fitting(report)
    here = files(__package__)
    script = here.joinpath("page.js").read_text(encoding="utf-8")
    style = _style() + here.joinpath("page.css").read_text(encoding="utf-8")
    template = Template(here.joinpath("page.html").read_text(encoding="utf-8"))
    return template.substitute(
        title=clean(legible(report.name)),
        policy=f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "base-uri 'none'; form-action 'none'",
        style=style,
        script=script,
        data=payload(shown),
        version=clean(report.version),
        about=_about(report),
        tiles=_tiles(report),
        missing=_missing(report),
        training=_training(report),
        samples=_samples(report),
        picker=_picker(shown),
        cut=_cut(report, shown),
        attention=_for_texts(shown, _attention(shown)),
        next=_for_texts(shown, [_next(shown, text) for text in shown.texts]),
        embedding=_both(embedding_figure(report, WIDE), embedding_figure(report, NARROW)),
        weights="".join(el("div", matrix_figure(report, matrix), class_="matrix") for matrix in report.matrices),
        run=_run(report),
    )


def _digest(source: str) -> str:
    """What the page's policy knows a script or a style by."""
    return "sha256-" + base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()


def _style() -> str:
    light, dark = variables(0), variables(1)
    return (
        f":root {{ {light} color-scheme: light; --font: {FONT}; }}\n"
        f'@media (prefers-color-scheme: dark) {{ :root:not([data-theme="light"]) {{ {dark} color-scheme: dark; }} }}\n'
        f':root[data-theme="dark"] {{ {dark} color-scheme: dark; }}\n{STYLE}'
    )


def _about(report: Report) -> str:
    config = report.config
    layers = f"{config['n_layer']} layer{'s' * (config['n_layer'] > 1)}"
    words = [
        f"{report.parameters:,} parameters",
        f"{layers} of {config['n_head']} heads, {config['n_embd']} wide",
        f"{config['block_size']} letters at a time",
        f"{len(report.alphabet)} characters",
        f"trained in the {report.mode} mode",
    ]
    return clean(" · ".join(words))


def _tile(name: str, value: str, note: str = "") -> str:
    more = el("span", clean(note), class_="note") if note else ""
    return el("div", el("dt", clean(name)), el("dd", el("b", clean(value)), more))


def _tiles(report: Report) -> str:
    log, tiles = report.log, []
    steps = report.config["steps"]
    tiles.append(_tile("steps", f"{report.step:,}", f"of {steps:,}"))
    if log is not None and log.line:
        tiles.append(_tile("loss", f"{log.line[-1].mean:.3f}", f"from {log.line[0].mean:.2f}"))
    if log is not None and log.validation:
        best = min(loss for _, loss in log.validation)
        tiles.append(_tile("validation loss", f"{log.validation[-1][1]:.3f}", f"lowest {best:.3f}"))
    if report.known is not None and report.samples:
        count = sum(text in report.known for text in report.samples)
        tiles.append(_tile("samples in the data", f"{count}", f"of {len(report.samples)}"))
    if report.speed is not None:
        tiles.append(_tile("training", _brief(report.speed.training_steps), "steps/s, here"))
        tiles.append(_tile("sampling", _brief(report.speed.sampled_tokens), "tokens/s, here"))
    return "".join(tiles)


def _brief(x: float) -> str:
    return f"{float(f'{x:.3g}'):,.0f}" if x >= 100 else f"{x:.3g}"


def _missing(report: Report) -> str:
    if not report.missing:
        return ""
    items = "".join(el("li", clean(words)) for words in report.missing)
    return el("aside", el("h2", "Not in this report", id="missing"), el("ul", items), class_="missing")


def _both(wide: str, narrow: str) -> str:
    """A figure in two sizes, of which the window shows one."""
    return el("div", wide, class_="wide") + el("div", narrow, class_="narrow")


def _empty(words: str) -> str:
    return el("p", clean(words), class_="empty")


def _training(report: Report) -> str:
    log = report.log
    if log is None or not log.band:
        return _empty("There is no log of steps, so there is no curve. Training with --out keeps one.")
    figure = _both(loss_figure(report, WIDE), loss_figure(report, NARROW))
    rows = [
        (f"{part.first:,} to {part.last:,}", f"{part.low:.4f}", f"{part.mean:.4f}", f"{part.high:.4f}")
        for part in log.line[:: max(1, len(log.line) // 12)]
    ]
    table = _table(("steps", "lowest", "mean", "highest"), rows)
    if log.validation:
        some = log.validation[:: max(1, len(log.validation) // 12)]
        table += _table(("step", "validation loss"), [(f"{step:,}", f"{loss:.4f}") for step, loss in some])
    return figure + _details("The curve in numbers", table)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = el("thead", el("tr", "".join(el("th", clean(name), scope="col") for name in head))) if head else ""
    body = "".join(el("tr", "".join(el("td", el("bdi", clean(cell))) for cell in row)) for row in rows)
    return el("div", el("table", top, el("tbody", body or " ")), class_="scroll", tabindex=0)


def _details(name: str, inside: str, is_open: bool = False) -> str:
    return el("details", el("summary", clean(name)), inside, open="" if is_open else None)


def _chips(report: Report, texts: Sequence[str]) -> str:
    longest, known = 300, set(report.known or ())
    chips = []
    for text in texts:
        shown = el("bdi", clean(legible(text if len(text) <= longest else text[:longest] + "…")))
        kind = ("blank" if not text else "known") if not text or text in known else None
        chips.append(el("li", shown, class_=kind, title="in the data" if text in known else None))
    return el("ul", *chips, class_="chips")


def _samples(report: Report) -> str:
    glances = report.log.glances if report.log is not None else []
    rows = [
        el(
            "tr",
            el("th", f"step {glance.step:,}", scope="row"),
            el("td", _chips(report, glance.texts)),
        )
        for glance in glances
    ]
    parts = []
    if rows:
        words = "Each row is drawn with the same random numbers: only what was learned since makes the rows differ."
        if report.known:
            words += " A dot marks what is in the data, word for word: it may have been learned by heart."
        parts.append(el("p", words, class_="say"))
        parts.append(el("table", el("tbody", "".join(rows)), class_="growth"))
    else:
        parts.append(_empty("There are no samples from on the way: a kept run has them in its log."))
    if report.samples:
        name = "Drawn now, as the log has none from the end" if report.sampled_now else "At the end of the run"
        if report.log is not None and len(report.log.samples) > len(report.samples):
            name += f", the first {len(report.samples)} of {len(report.log.samples):,}"
        parts += [el("h3", name), _chips(report, report.samples)]
    return "".join(parts)


def _picker(report: Report) -> str:
    """Which text to look into, where there are several."""
    if len(report.texts) < 2:
        return ""
    options = [
        el("option", clean(legible(text.text)[:60]) or "(the empty text)", value=index)
        for index, text in enumerate(report.texts)
    ]
    return el("label", "Text ", el("select", *options, id="text"), class_="picker needs-script")


def _cut(report: Report, shown: Report) -> str:
    words = []
    block = report.config["block_size"]
    for text in report.texts:
        if text.cut:
            name = legible(text.text)[:24]
            words.append(f"{text.cut:,} characters after “{name}…” lie beyond the model's block of {block}.")
    longest = max((len(text.positions) for text in report.texts), default=0)
    fits = max((len(text.positions) for text in shown.texts), default=0)
    if fits < longest:
        words.append(f"Shown are the first {fits} positions of {longest}: the JSON of --figures has all.")
    if len(shown.texts) < len(report.texts):
        words.append(f"Shown are {len(shown.texts)} of {len(report.texts)} texts: the JSON of --figures has all.")
    return el("p", clean(" ".join(words)), class_="say") if words else ""


def _for_texts(report: Report, parts: Sequence[str]) -> str:
    """What there is of each text, of which the script shows one."""
    if not parts:
        return _empty("The forward pass cannot be computed with these parameters.")
    several = len(parts) > 1
    return "".join(
        el(
            "div",
            el("h3", "Text: ", el("bdi", clean(legible(text.text)[:80])), class_="text-name") if several else "",
            part,
            data_text=index,
        )
        for index, (text, part) in enumerate(zip(report.texts, parts))
    )


def _attention(report: Report) -> list[str]:
    """The heads of each text, a layer a row."""
    found = []
    for text in report.texts:
        layers = []
        for layer in range(report.config["n_layer"]):
            figures = (head_figure(report, text, layer, head) for head in range(report.config["n_head"]))
            layers.append(el("div", *(el("div", figure, class_="head") for figure in figures), class_="heads"))
        found.append("".join(layers))
    return found


def _next(report: Report, text: Text) -> str:
    names = report.labels
    rows = []
    for position in text.positions[:64]:
        order = sorted(range(len(names)), key=lambda token: -position.probabilities[token])[:3]
        best = [f"{names[token]}  {position.probabilities[token]:.1%}" for token in order]
        best += [""] * (3 - len(best))
        read = "start" if position.token == len(names) - 1 else names[position.token]
        rows.append((read, names[position.target], f"{position.probabilities[position.target]:.1%}", *best))
    loss = "" if text.loss is None else f"Mean surprise over the text, its loss: {text.loss:.4f}."
    figure = el("div", next_figure(report, text), class_="scroll", tabindex=0)
    table = _table(("after", "comes", "with", "likeliest", "second", "third"), rows)
    numbers = _details("Letter by letter, in numbers", table, len(rows) <= 24)
    return el("p", loss, class_="say") + el("div", figure, el("div", numbers), class_="beside")


def _run(report: Report) -> str:
    log = report.log
    facts = [("microgpt", report.version), ("mode", report.mode), ("parameters", f"{report.parameters:,}")]
    few = report.labels[: min(500, len(report.alphabet))]
    facts += [("characters", " ".join(few) + (" …" if len(few) < len(report.alphabet) else ""))]
    facts += [(f"data: {name}", legible(value)) for name, value in report.data.items()]
    if log is not None:
        names = {"preset": "preset", "engine": "engine", "docs": "documents", "cut": "too long for the block"}
        facts += [(names[name], str(log.run[name])) for name in names if name in log.run]
    settings = [el("div", el("dt", clean(name)), el("dd", clean(str(value)))) for name, value in report.config.items()]
    parts = [el("h3", "Settings"), el("dl", *settings, class_="settings"), el("h3", "Facts"), _table((), facts)]
    if report.speed is not None:
        speed = report.speed
        rows = [
            ("training steps a second", _brief(speed.training_steps)),
            ("tokens trained on a second", _brief(speed.trained_tokens)),
            ("tokens sampled a second", _brief(speed.sampled_tokens)),
            ("machine", speed.machine),
        ]
        say = (
            "Measured when this page was made, on the model's own samples. A run keeps no times: its files are the "
            "same bytes wherever it ran."
        )
        parts += [el("h3", "Speed"), el("p", say, class_="say"), _table((), rows)]
    return "".join(parts)
