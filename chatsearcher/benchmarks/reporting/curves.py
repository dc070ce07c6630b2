"""Curves over rounds as inline SVG, several systems in one plot, the values in a table beside.

A line is told from another by colour and by the shape of its marks. Of a shrunken gallery: dashed,
hollow marks, ``†`` at the name. Published: dotted, and said so.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from chatsearcher.benchmarks.reporting.published import sources
from chatsearcher.benchmarks.reporting.reading import Group
from chatsearcher.benchmarks.reporting.tables import DAGGER, rounds_table

WIDTH, HEIGHT = 360, 250
LEFT, RIGHT, TOP, BOTTOM = 46, 14, 34, 40
COLOURS, SHAPES = 8, ("circle", "square", "triangle", "diamond", "cross")
MARK = 4.2


@dataclass(frozen=True)
class Line:
    """One system's values of one figure.

    Attributes:
        system: its name on the page.
        number: chooses colour and shape; the same in all plots of a benchmark.
        points: round -> value.
        shrunken: over a shrunken gallery.
        published: not measured here.
    """

    system: str
    number: int
    points: Mapping[int, float]
    shrunken: bool = False
    published: bool = False

    @property
    def title(self) -> str:
        """The name with what must be said about it."""
        return f"{self.system} {DAGGER}" if self.shrunken else self.system


def lines_of(group: Group) -> dict[str, list[Line]]:
    """figure -> its lines, measured ones first; only figures that were measured, the primary one
    before the others."""
    first = rounds(group)[1]
    found: dict[str, list[Line]] = {}
    for number, entry in enumerate(group.entries):
        for name, values in entry.result.curves.items():
            points = {first + place: float(value) for place, value in enumerate(values)}
            line = Line(entry.system, number, points, entry.result.shrunken)
            found.setdefault(name, []).append(line)
    number = len(group.entries)
    for row in group.published:
        title = f"{row.system} (published: {sources()[row.source].short}, {row.where})"
        drawn = [name for name in row.curves if name in found]
        for name in drawn:
            points = {key: float(value) for key, value in row.curves[name].items()}
            found[name].append(Line(title, number, points, published=True))
        number += bool(drawn)
    return dict(sorted(found.items(), key=lambda each: each[0] != group.primary))


def rounds(group: Group) -> tuple[str, int]:
    """What a step of the curves is called, and the number of the first: Fashion IQ counts turns
    from 1, all others rounds from 0."""
    turns = any("turns" in entry.result.counts for entry in group.entries)
    return ("turn", 1) if turns else ("round", 0)


def section(group: Group) -> str:
    """Plots, one legend, and the table; "" where nothing has rounds."""
    found = lines_of(group)
    if not found:
        return ""
    word, first = rounds(group)
    last = max(max(line.points) for lines in found.values() for line in lines)
    plots = "".join(
        f"<figure>{plot(name, lines, word, first, last, group)}</figure>"
        for name, lines in found.items()
    )
    table = rounds_table(
        {name: [(line.title, line.points) for line in lines] for name, lines in found.items()},
        word, last, first,
    )  # fmt: skip
    return (
        f'<h3>By {word}</h3>{legend(found)}<div class="plots">{plots}</div>'
        f"<details><summary>The values in a table</summary>{table}</details>"
    )


def legend(found: Mapping[str, Sequence[Line]]) -> str:
    """Name, colour and mark of every system."""
    lines = {line.number: line for lines in found.values() for line in lines}
    items = "".join(
        f'<li><svg viewBox="0 0 34 14" width="34" height="14" aria-hidden="true">'
        f'<g class="line {_style(line)}"><path d="M1 7H33"/>{_mark(line, 17, 7)}</g></svg>'
        f"{escape(line.title)}</li>"
        for _, line in sorted(lines.items())
    )
    return f'<ul class="legend">{items}</ul>'


def plot(name: str, lines: Sequence[Line], word: str, first: int, last: int, group: Group) -> str:
    """One figure's plot; every value is a mark with a title."""
    values = [value for line in lines for value in line.points.values()]
    marks = ticks(min(values), max(values))
    low, high = marks[0], marks[-1]
    span = max(last - first, 1)

    def x(number: float) -> float:
        return LEFT + (number - first) / span * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    grid = "".join(
        f'<path class="grid" d="M{LEFT} {y(mark):.1f}H{WIDTH - RIGHT}"/>'
        f'<text x="{LEFT - 7}" y="{y(mark) + 4:.1f}" text-anchor="end">{mark:g}</text>'
        for mark in marks
    )
    grid += "".join(
        f'<text x="{x(number):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{number}</text>'
        for number in range(first, last + 1)
        if span <= 12 or number % math.ceil(span / 12) == 0
    )
    drawn = ""
    for line in reversed(lines):  # measured lines lie over published ones
        points = sorted(line.points.items())
        way = "M" + "L".join(f"{x(n):.1f} {y(v):.1f}" for n, v in points)
        dots = "".join(
            f'<g class="point">{_mark(line, x(n), y(v))}'
            f"<title>{escape(line.title)}, {word} {n}: {v:.2f}</title></g>"
            for n, v in points
        )
        drawn += f'<g class="line {_style(line)}"><path d="{way}"/>{dots}</g>'
    key = escape("-".join(f"{group.name} {name}".split()))  # an id list is parted by spaces
    less = " (less is better)" if group.better(name) < 0 else ""
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="t-{key} d-{key}">'
        f'<title id="t-{key}">{escape(group.name)}: {escape(name)} by {word}</title>'
        f'<desc id="d-{key}">{escape(describe(lines, word))}</desc>'
        f'<text class="name" x="{LEFT - 34}" y="18">{escape(name)}{less}</text>{grid}'
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 4}" text-anchor="middle">{word}'
        f"</text>{drawn}</svg>"
    )


def describe(lines: Sequence[Line], word: str) -> str:
    """The plot in words, for those who cannot see it."""
    parts = []
    for line in lines:
        (start, begin), (stop, end) = min(line.points.items()), max(line.points.items())
        parts.append(
            f"{line.title}: {begin:.2f} at {word} {start}"
            + (f", {end:.2f} at {word} {stop}" if stop != start else "")
        )
    return "; ".join(parts) + "."


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers that enclose both, about so many steps; two at least."""
    if high - low < 1e-9 * max(abs(low), abs(high), 1.0):
        low, high = low - 0.5, high + 0.5
    rough = (high - low) / about
    scale = 10.0 ** math.floor(math.log10(rough))
    step = next(scale * each for each in (1, 2, 2.5, 5, 10) if scale * each >= rough * 0.999)
    start, stop = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 10) for number in range(start, max(stop, start + 1) + 1)]


def _style(line: Line) -> str:
    kind = " shrunken" if line.shrunken else " printed" if line.published else ""
    return f"c{line.number % COLOURS}{kind}"


def _mark(line: Line, x: float, y: float) -> str:
    shape, r = SHAPES[line.number % len(SHAPES)], MARK
    if shape == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r}"/>'
    if shape == "cross":
        return _polygon(
            (x + a * r, y + b * r)
            for a, b in ((-1, -0.4), (-0.4, -0.4), (-0.4, -1), (0.4, -1), (0.4, -0.4), (1, -0.4),
                         (1, 0.4), (0.4, 0.4), (0.4, 1), (-0.4, 1), (-0.4, 0.4), (-1, 0.4))
        )  # fmt: skip
    if shape == "square":
        return _polygon((x + a * r * 0.9, y + b * r * 0.9) for a, b in _CORNERS)
    if shape == "triangle":
        return _polygon(
            [(x, y - r * 1.2), (x + r * 1.15, y + r * 0.9), (x - r * 1.15, y + r * 0.9)]
        )
    return _polygon([(x, y - r * 1.3), (x + r * 1.3, y), (x, y + r * 1.3), (x - r * 1.3, y)])


_CORNERS = ((-1, -1), (1, -1), (1, 1), (-1, 1))


def _polygon(points: Iterator[tuple[float, float]] | Sequence[tuple[float, float]]) -> str:
    return f'<polygon points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}"/>'
