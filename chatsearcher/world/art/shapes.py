"""Outlines in a drawing's own units (about 100 wide, y downwards), before anything is a pixel."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

Point = tuple[float, float]
Polygon = list[Point]
Rgb = tuple[int, int, int]

BODY, SHADE, LIGHT, INK = "body", "shade", "light", "ink"
CREAM: Rgb = (247, 236, 214)
BROWN: Rgb = (133, 88, 52)
DARK: Rgb = (52, 52, 60)
GREY: Rgb = (150, 154, 164)
GLASS: Rgb = (196, 226, 240)
LEAF: Rgb = (76, 148, 70)
PINK: Rgb = (242, 168, 178)
GOLD: Rgb = (244, 190, 50)
WHITE: Rgb = (252, 252, 252)
BLACK: Rgb = (24, 24, 30)


@dataclass(frozen=True, slots=True)
class Layer:
    """Polygons painted as one: their union is filled, and outlined from outside when ``outline``.

    ``fill`` is a fixed colour, or ``body`` (the thing's colour and pattern), ``shade``/``light``
    (its plain darker/lighter tone) or ``ink`` (the outline's colour).
    """

    fill: str | Rgb
    polygons: Sequence[Polygon]
    outline: bool = True


def ellipse(cx: float, cy: float, rx: float, ry: float, turn: float = 0.0) -> Polygon:
    """An ellipse turned clockwise by ``turn`` degrees."""
    c, s = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    points = []
    for i in range(36):
        a = math.tau * i / 36
        x, y = rx * math.cos(a), ry * math.sin(a)
        points.append((cx + x * c - y * s, cy + x * s + y * c))
    return points


def rectangle(x0: float, y0: float, x1: float, y1: float, round_: float = 0.0) -> Polygon:
    """An upright rectangle with corners rounded by the radius ``round_``."""
    if round_ <= 0:
        return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
    points = []
    corners = ((x1, y0, -90), (x1, y1, 0), (x0, y1, 90), (x0, y0, 180))
    for x, y, start in corners:
        cx = x - round_ if x == x1 else x + round_
        cy = y - round_ if y == y1 else y + round_
        for i in range(7):
            a = math.radians(start + 15 * i)
            points.append((cx + round_ * math.cos(a), cy + round_ * math.sin(a)))
    return points


def smooth(*knots: Point, steps: int = 6) -> Polygon:
    """A closed Catmull-Rom curve through the knots."""
    n = len(knots)
    points = []
    for i in range(n):
        p0, p1, p2, p3 = (knots[(i + j - 1) % n] for j in range(4))
        points += [_catmull(p0, p1, p2, p3, t / steps) for t in range(steps)]
    return points


def _catmull(p0: Point, p1: Point, p2: Point, p3: Point, t: float) -> Point:
    def axis(a: float, b: float, c: float, d: float) -> float:
        return 0.5 * (
            2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2
            + (3 * b - a - 3 * c + d) * t**3
        )  # fmt: skip

    return axis(p0[0], p1[0], p2[0], p3[0]), axis(p0[1], p1[1], p2[1], p3[1])


def stroke(width: float, *points: Point) -> list[Polygon]:
    """A polyline of that width with round joints, as overlapping polygons."""
    half = width / 2
    parts = [ellipse(x, y, half, half) for x, y in points]
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        length = math.hypot(x1 - x0, y1 - y0) or 1.0
        nx, ny = -(y1 - y0) / length * half, (x1 - x0) / length * half
        parts.append(
            [(x0 + nx, y0 + ny), (x1 + nx, y1 + ny), (x1 - nx, y1 - ny), (x0 - nx, y0 - ny)]
        )
    return parts


def arc(cx: float, cy: float, rx: float, ry: float, start: float, end: float) -> list[Point]:
    """Points on an ellipse from ``start`` to ``end`` degrees (0 = right, 90 = below)."""
    return [
        (
            cx + rx * math.cos(math.radians(start + (end - start) * i / 12)),
            cy + ry * math.sin(math.radians(start + (end - start) * i / 12)),
        )
        for i in range(13)
    ]


def eye(x: float, y: float, r: float = 5.0) -> list[Layer]:
    """A white eye with a dark pupil: visible on a body of any colour."""
    return [
        Layer(WHITE, [ellipse(x, y, r, r)], outline=False),
        Layer(BLACK, [ellipse(x + r * 0.15, y, r * 0.62, r * 0.62)], outline=False),
    ]
