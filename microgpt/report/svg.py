"""SVG by hand: escaped elements, scales and ticks, the colours of light and dark, heat maps in few bytes."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape

Scale = Callable[[float], float]  # from numbers to pixels

# name: (light, dark)
COLOURS = {
    "page": ("#f6f7f8", "#101215"),
    "panel": ("#ffffff", "#181b1f"),
    "ink": ("#1b1f24", "#e8eaed"),
    "muted": ("#565e68", "#a4adb8"),
    "rule": ("#dde1e6", "#2d333a"),
    "accent": ("#1a62b8", "#78b4ff"),
    "second": ("#b3470c", "#ff9f68"),
    "wash": ("#e8f0fa", "#1d2b3d"),
}
FONT = 'ui-sans-serif, system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'
MARGIN = 14.0  # around a figure that is a file of its own
LEVELS = 16  # shades of a heat map

# What the figures are drawn with, in the page and in files of their own.
STYLE = """
.fig text { fill: var(--muted); font-size: 12px; }
.fig .ink { fill: var(--ink); }
.fig .letter { font-size: 15px; fill: var(--ink); }
.fig .strong { fill: var(--ink); font-weight: 600; }
.fig .accent { fill: var(--accent); }
.fig .second { fill: var(--second); }
.fig .small { font-size: 11px; }
.fig .tiny { font-size: 10px; }
.fig .middle { text-anchor: middle; }
.fig .end { text-anchor: end; }
.fig .axis { stroke: var(--rule); fill: none; }
.fig .frame { stroke: var(--rule); fill: none; }
.fig .guess { stroke: var(--muted); stroke-dasharray: 2 4; fill: none; }
.fig .band { fill: var(--accent); fill-opacity: 0.18; }
.fig .line { stroke: var(--accent); stroke-width: 2; fill: none; stroke-linejoin: round; }
.fig .line2 { stroke: var(--second); stroke-width: 2; fill: none; stroke-linejoin: round; }
.fig .thin { stroke: var(--muted); stroke-width: 1.5; fill: none; }
.fig .dot2 { fill: var(--second); stroke: var(--panel); }
.fig .plus { fill: var(--accent); }
.fig .minus { fill: var(--second); }
.fig .target { fill: none; stroke: var(--ink); stroke-width: 1.5; }
.fig .halo { paint-order: stroke; stroke: var(--panel); stroke-width: 3px; stroke-linejoin: round; }
.fig .isolate { unicode-bidi: isolate; }
"""


def variables(theme: int) -> str:
    """The colours of a theme, 0 for light and 1 for dark, as declarations of CSS."""
    return " ".join(f"--{name}: {both[theme]};" for name, both in COLOURS.items())


def clean(text: str) -> str:
    """Escaped for HTML and XML, without the characters that XML cannot hold."""
    return escape(re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]", "\ufffd", text))


def el(name: str, *inside: str, **attributes: object) -> str:
    """An element around markup: class_ is class, and other underscores are hyphens. Numbers lose needless digits."""
    parts = [name]
    for key, value in attributes.items():
        if value is not None:
            shown = number(value) if isinstance(value, float) else clean(str(value))
            parts.append(f'{key.rstrip("_").replace("_", "-")}="{shown}"')
    head = " ".join(parts)
    return f"<{head}>{''.join(inside)}</{name}>" if inside else f"<{head}/>"


def text(x: float, y: float, words: str, class_: str | None = None, **attributes: object) -> str:
    """Some words at a place."""
    return el("text", clean(words), x=float(x), y=float(y), class_=class_, **attributes)


def number(x: float) -> str:
    """A number in pixels."""
    return f"{x:.2f}".rstrip("0").rstrip(".") if abs(x) >= 0.005 else "0"


def path(points: Iterable[tuple[float, float]], close: bool = False) -> str:
    """A line through some points, as the attribute d."""
    return "M" + "L".join(f"{number(x)} {number(y)}" for x, y in points) + ("Z" if close else "")


def svg(width: float, height: float, title: str, *inside: str, attributes: Mapping[str, object] | None = None) -> str:
    """A figure with a title that is read out."""
    return el(
        "svg",
        el("title", clean(title)),
        *inside,
        class_="fig",
        viewBox=f"0 0 {number(width)} {number(height)}",
        width=float(width),
        height=float(height),
        role="img",
        **(attributes or {}),
    )


def standalone(figure: str) -> str:
    """A figure as a file of its own: with its style, on a ground of its own, in light and dark."""
    style = STYLE
    for theme, wrapped in ((0, "{}"), (1, "@media (prefers-color-scheme: dark) {{ {} }}")):
        rules = re.sub(r"var\(--(\w+)\)", lambda name, theme=theme: COLOURS[name[1]][theme], STYLE)  # type: ignore[misc]
        rules += f".fig {{ font-family: {FONT}; }} .ground {{ fill: {COLOURS['panel'][theme]}; }}"
        style = rules if theme == 0 else style + wrapped.format(rules)
    head, tag, rest = figure.partition(">")
    sides = [float(side) for side in re.findall(r' (?:width|height)="([^"]*)"', head)]
    for name, side in zip(("width", "height"), sides):
        head = re.sub(f' {name}="[^"]*"', f' {name}="{number(side + 2 * MARGIN)}"', head)
    box = " ".join(number(side) for side in (-MARGIN, -MARGIN, sides[0] + 2 * MARGIN, sides[1] + 2 * MARGIN))
    head = re.sub(' viewBox="[^"]*"', f' viewBox="{box}"', head)
    ground = el("rect", class_="ground", x=-MARGIN, y=-MARGIN, width="100%", height="100%")
    return f'{head} xmlns="http://www.w3.org/2000/svg"{tag}{el("style", style)}{ground}{rest}\n'


def linear(low: float, high: float, start: float, end: float) -> Scale:
    """From numbers to pixels."""
    span = (high - low) or 1.0
    return lambda x: start + (x - low) / span * (end - start)


def ticks(low: float, high: float, count: int) -> list[float]:
    """Round numbers, about so many, between two."""
    if not high > low:
        return [low]
    step = 10 ** math.floor(math.log10((high - low) / count))
    step *= min((1, 2, 5, 10), key=lambda k: abs((high - low) / (k * step) - count))
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def short(x: float) -> str:
    """A number as an axis says it: 20000 is 20k."""
    if abs(x) >= 1_000_000:
        return f"{x / 1_000_000:.3g}M"
    if abs(x) >= 10_000:
        return f"{x / 1000:.4g}k"
    return f"{x:.4g}"


def heat(rows: Sequence[Sequence[float]], height: float, limit: float, width: float | None = None) -> str:
    """A heat map of squares, or of cells of another width: 0 is nothing, `limit` the full colour, numbers below 0
    another one. Cells of one shade are one path, and neighbours in a row one piece of it."""
    shades: dict[tuple[str, int], list[str]] = {}
    for i, row in enumerate(rows):
        start = 0
        levels = [round(max(-1.0, min(1.0, x / limit)) * LEVELS) if limit else 0 for x in row]
        for j in range(1, len(row) + 1):
            if j == len(row) or levels[j] != levels[start]:
                if levels[start]:
                    side = "plus" if levels[start] > 0 else "minus"
                    shades.setdefault((side, abs(levels[start])), []).append(
                        f"M{start} {i}h{j - start}v1h-{j - start}z"
                    )
                start = j
    paths = (
        el("path", class_=side, fill_opacity=number(level / LEVELS), d="".join(pieces))
        for (side, level), pieces in sorted(shades.items())
    )
    return (
        el("g", *paths, transform=f"scale({width or height:.4f} {height:.4f})", shape_rendering="crispEdges")
        if shades
        else ""
    )
