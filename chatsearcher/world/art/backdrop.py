"""The ten settings by day and by night: muted, so that things stand out."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from functools import lru_cache

from PIL import Image, ImageDraw

from chatsearcher.world.art.shapes import Point, Rgb

VARIANTS = 4
SCALE = 3  # supersampling


class Brush:
    """Draws in parts of the frame (0..1), darkening every colour at night."""

    def __init__(self, frame: int, night: bool, rng: random.Random) -> None:
        self.pixels = frame * SCALE
        self.night = night
        self.rng = rng
        self.image = Image.new("RGB", (self.pixels, self.pixels))
        self._draw = ImageDraw.Draw(self.image)

    def tone(self, colour: Rgb) -> Rgb:
        """The colour by day, or the same in moonlight."""
        if not self.night:
            return colour
        grey = sum(colour) / 3
        r, g, b = (grey + (c - grey) * 1.15 for c in colour)
        # The square keeps snow bright and earth dark: by night the settings differ by lightness.
        dim = 0.22 + 0.24 * (grey / 255) ** 2
        return round(r * dim + 4), round(g * (dim + 0.02) + 4), round(b * (dim + 0.09) + 16)

    def rect(self, x0: float, y0: float, x1: float, y1: float, colour: Rgb) -> None:
        n = self.pixels
        box = (x0 * n, y0 * n, max(x0 * n, x1 * n - 1), max(y0 * n, y1 * n - 1))
        self._draw.rectangle(box, fill=self.tone(colour))

    def pane(self, x0: float, y0: float, x1: float, y1: float, colour: Rgb) -> None:
        """A rectangle whose colour stays as it is by night."""
        n = self.pixels
        self._draw.rectangle((x0 * n, y0 * n, x1 * n, y1 * n), fill=colour)

    def poly(self, points: list[Point], colour: Rgb) -> None:
        n = self.pixels
        self._draw.polygon([(x * n, y * n) for x, y in points], fill=self.tone(colour))

    def disc(self, x: float, y: float, r: float, colour: Rgb, raw: bool = False) -> None:
        """A disc; ``raw`` keeps the colour as it is by night."""
        n = self.pixels
        box = ((x - r) * n, (y - r) * n, (x + r) * n, (y + r) * n)
        self._draw.ellipse(box, fill=colour if raw else self.tone(colour))

    def line(self, points: list[Point], width: float, colour: Rgb) -> None:
        n = self.pixels
        scaled = [(x * n, y * n) for x, y in points]
        self._draw.line(scaled, fill=self.tone(colour), width=max(1, round(width * n)))

    def sky(self, top: Rgb, bottom: Rgb) -> None:
        """A vertical gradient; a pale sun, or a moon with stars."""
        n = self.pixels
        a = (16, 20, 46) if self.night else top
        b = (40, 48, 84) if self.night else bottom
        for y in range(n):
            t = y / n
            self._draw.line(
                [(0, y), (n, y)],
                fill=tuple(round(p + (q - p) * t) for p, q in zip(a, b, strict=True)),
            )
        x = self.rng.uniform(0.08, 0.92)
        if self.night:
            self.stars(26, 0.42)
            self.disc(x, 0.09, 0.055, (236, 232, 200), raw=True)
            self.disc(x + 0.025, 0.08, 0.045, (20, 25, 52), raw=True)
        else:
            self.disc(x, 0.09, 0.055, (255, 248, 214), raw=True)

    def stars(self, number: int, bottom: float) -> None:
        for _ in range(number):
            x, y = self.rng.random(), self.rng.uniform(0.0, bottom)
            self.disc(x, y, self.rng.choice((0.004, 0.007)), (210, 214, 236), raw=True)

    def hill(
        self, level: float, height: float, waves: float, colour: Rgb, phase: float = 0.0
    ) -> None:
        """Ground below a rolling line."""
        points = [
            (i / 40, level + height * math.sin(phase + waves * math.tau * i / 40))
            for i in range(41)
        ]
        self.poly([*points, (1.0, 1.05), (0.0, 1.05)], colour)


def beach(b: Brush) -> None:
    b.sky((186, 220, 240), (222, 238, 244))
    b.rect(0, 0.34, 1, 0.68, (126, 186, 206))
    for _ in range(12):
        x, y = b.rng.random(), b.rng.uniform(0.37, 0.58)
        b.line([(x, y), (x + 0.09, y)], 0.009, (166, 212, 224))
    b.hill(0.625, 0.018, 1.5, (232, 244, 244), b.rng.uniform(0, 6))
    b.hill(0.655, 0.018, 1.5, (236, 216, 168), b.rng.uniform(0, 6))
    for _ in range(40):
        b.disc(b.rng.random(), b.rng.uniform(0.72, 1), 0.006, (214, 190, 140))


def meadow(b: Brush) -> None:
    b.sky((190, 222, 240), (226, 240, 240))
    b.hill(0.36, 0.03, 1.0, (178, 212, 150), b.rng.uniform(0, 6))
    b.hill(0.52, 0.03, 0.8, (156, 200, 126), b.rng.uniform(0, 6))
    for _ in range(46):
        x, y = b.rng.random(), b.rng.uniform(0.58, 1)
        b.disc(x, y, 0.008, b.rng.choice(((250, 250, 240), (248, 232, 150), (238, 190, 204))))
    for _ in range(34):
        x, y = b.rng.random(), b.rng.uniform(0.56, 1)
        b.line([(x, y), (x + 0.008, y - 0.03)], 0.007, (126, 178, 100))


def desert(b: Brush) -> None:
    b.sky((250, 226, 186), (252, 240, 214))
    b.hill(0.44, 0.05, 0.9, (234, 200, 146), b.rng.uniform(0, 6))
    b.hill(0.62, 0.05, 0.7, (224, 184, 124), b.rng.uniform(0, 6))
    b.hill(0.84, 0.04, 0.8, (212, 168, 106), b.rng.uniform(0, 6))
    for x, y in (
        (b.rng.uniform(0.03, 0.2), 0.5),
        (b.rng.uniform(0.8, 0.95), 0.56),
        (b.rng.uniform(0.4, 0.6), 0.45),
    ):
        colour = (122, 150, 104)
        b.line([(x, y + 0.05), (x, y - 0.13)], 0.032, colour)
        b.line([(x - 0.05, y - 0.07), (x - 0.05, y - 0.02), (x, y - 0.02)], 0.02, colour)
        b.line([(x + 0.05, y - 0.1), (x + 0.05, y - 0.04), (x, y - 0.04)], 0.02, colour)


def mountains(b: Brush) -> None:
    b.sky((196, 216, 236), (230, 236, 242))
    for x, y, w in ((0.1, 0.24, 0.34), (0.85, 0.2, 0.36), (0.47, 0.12, 0.4)):
        x += b.rng.uniform(-0.06, 0.06)
        b.poly([(x - w, 0.76), (x, y), (x + w, 0.76)], (158, 162, 182))
        b.poly([(x, y), (x + w, 0.76), (x + w * 0.2, 0.76)], (138, 142, 166))
        s = 0.3
        h = (0.76 - y) * s
        b.poly([(x - w * s, y + h), (x, y), (x + w * s, y + h), (x + w * 0.15, y + h * 0.72),
            (x, y + h * 1.15),
                (x - w * 0.14, y + h * 0.75)], (244, 246, 250))  # fmt: skip
    b.hill(0.7, 0.03, 1.2, (150, 168, 146), b.rng.uniform(0, 6))
    b.hill(0.86, 0.02, 0.9, (134, 154, 132), b.rng.uniform(0, 6))


def city(b: Brush) -> None:
    b.sky((204, 212, 222), (232, 230, 228))
    for base, colour, lit in ((0.30, (184, 190, 202), False), (0.46, (160, 166, 180), True)):
        x = -b.rng.uniform(0, 0.08)
        while x < 1:
            w, top = b.rng.uniform(0.1, 0.17), base + b.rng.uniform(-0.14, 0.1)
            b.rect(x, top, x + w, 0.84, colour)
            if lit:
                y = top + 0.03
                while y < 0.8:
                    for i in range(3):
                        wx = x + w * (0.14 + 0.28 * i)
                        right, bottom = wx + w * 0.15, y + 0.022
                        if b.night and b.rng.random() < 0.5:
                            b.pane(wx, y, right, bottom, (150, 138, 84))
                        else:
                            b.rect(wx, y, right, bottom, (196, 204, 216))
                    y += 0.055
            x += w + 0.012
    b.rect(0, 0.8, 1, 0.84, (206, 206, 206))
    b.rect(0, 0.84, 1, 1, (134, 136, 144))
    for i in range(6):
        b.rect(0.02 + 0.18 * i, 0.91, 0.11 + 0.18 * i, 0.93, (214, 214, 206))


def forest(b: Brush) -> None:
    b.rect(0, 0, 1, 1, (170, 196, 160))
    if b.night:
        b.stars(10, 0.3)
    for width, colour in ((0.04, (150, 160, 132)), (0.075, (134, 118, 96))):
        x = b.rng.uniform(-0.03, 0.04)
        while x < 1:
            b.poly(
                [(x, 0), (x + width, 0), (x + width * 1.15, 0.86), (x - width * 0.15, 0.86)], colour
            )
            if width > 0.05:
                for _ in range(7):
                    y = b.rng.uniform(0.02, 0.8)
                    b.line(
                        [(x + width * 0.35, y), (x + width * 0.35, y + 0.06)], 0.008, (112, 98, 78)
                    )
            x += width + b.rng.uniform(0.09, 0.15)
    b.hill(0.84, 0.012, 2.5, (122, 150, 104), b.rng.uniform(0, 6))
    for _ in range(50):
        x, y = b.rng.random(), b.rng.uniform(0.84, 1)
        b.line([(x, y), (x + b.rng.uniform(-0.02, 0.02), y - 0.035)], 0.008, (100, 130, 84))


def snow(b: Brush) -> None:
    b.sky((192, 204, 222), (218, 226, 236))
    b.hill(0.44, 0.04, 0.9, (232, 239, 247), b.rng.uniform(0, 6))
    b.hill(0.64, 0.04, 0.7, (247, 250, 253), b.rng.uniform(0, 6))
    for _ in range(12):
        x, y = b.rng.random(), b.rng.uniform(0.72, 1)
        b.line([(x, y), (x + 0.07, y - 0.006)], 0.008, (218, 228, 240))
    for _ in range(60):
        r = b.rng.choice((0.007, 0.01))
        b.disc(b.rng.random(), b.rng.uniform(0, 0.62), r, (255, 255, 255))


def lake(b: Brush) -> None:
    b.sky((194, 220, 236), (226, 238, 240))
    b.rect(0, 0.24, 1, 0.32, (150, 182, 142))
    b.rect(0, 0.32, 1, 1, (138, 184, 204))
    for _ in range(36):
        x, y = b.rng.uniform(-0.05, 1), b.rng.uniform(0.36, 0.99)
        b.line(
            [(x, y), (x + 0.04 + 0.1 * y, y)],
            0.009,
            b.rng.choice(((166, 206, 220), (120, 168, 192))),
        )
    for side in (0.0, 1.0):
        for _ in range(8):
            x = abs(side - b.rng.uniform(0, 0.1))
            top = b.rng.uniform(0.62, 0.78)
            b.line([(x, 1), (x + b.rng.uniform(-0.015, 0.015), top)], 0.01, (110, 146, 88))
            b.line([(x, top + 0.06), (x, top)], 0.022, (132, 104, 74))


def room(b: Brush) -> None:
    b.rect(0, 0, 1, 0.7, (232, 218, 200))
    for i in range(12):
        b.rect(i / 12, 0, i / 12 + 0.035, 0.7, (226, 210, 190))
    x = b.rng.choice((0.1, 0.34, 0.58))
    b.rect(x, 0.07, x + 0.32, 0.45, (246, 242, 234))
    sky = (30, 36, 74) if b.night else (186, 218, 238)
    for i in range(2):
        for j in range(2):
            left, top = x + 0.02 + 0.145 * i, 0.09 + 0.175 * j
            b.pane(left, top, left + 0.135, top + 0.165, sky)
    if b.night:
        b.disc(x + 0.24, 0.16, 0.03, (236, 232, 200), raw=True)
    b.rect(0, 0.68, 1, 0.72, (246, 240, 230))
    b.rect(0, 0.72, 1, 1, (196, 160, 122))
    for i in range(-3, 12):
        b.line(
            [(0.5 + (i / 8 - 0.5) * 0.8, 0.72), (0.5 + (i / 8 - 0.5) * 1.6, 1)],
            0.006,
            (176, 140, 104),
        )


def garden(b: Brush) -> None:
    b.sky((190, 222, 240), (226, 240, 240))
    b.rect(0, 0.3, 1, 1, (172, 206, 144))
    b.rect(0, 0.3, 1, 0.335, (228, 216, 194))
    b.rect(0, 0.43, 1, 0.465, (228, 216, 194))
    shift = b.rng.uniform(0, 0.08)
    for i in range(-1, 13):
        x = i * 0.085 + shift
        b.poly(
            [(x, 0.54), (x, 0.25), (x + 0.026, 0.215), (x + 0.052, 0.25), (x + 0.052, 0.54)],
            (240, 232, 214),
        )
        b.line([(x + 0.052, 0.25), (x + 0.052, 0.54)], 0.006, (204, 190, 164))
    for y in (0.66, 0.84):
        b.rect(0, y, 1, y + 0.09, (150, 120, 94))
        for i in range(14):
            x = (i + shift * 4) / 14
            b.line([(x, y + 0.06), (x - 0.02, y + 0.02)], 0.012, (122, 164, 96))
            b.line([(x, y + 0.06), (x + 0.02, y + 0.02)], 0.012, (122, 164, 96))


PAINTERS: dict[str, Callable[[Brush], None]] = {
    "beach": beach, "meadow": meadow, "desert": desert, "mountains": mountains, "city": city,
    "forest": forest, "snow": snow, "lake": lake, "room": room, "garden": garden,
}  # fmt: skip


def backdrop(setting: str, time: str, frame: int, variant: int) -> Image.Image:
    """The empty setting, RGB, frame x frame pixels. Shared: copy before drawing on it."""
    return (_small if frame <= 128 else _large)(setting, time, frame, variant % VARIANTS)


def _make(setting: str, time: str, frame: int, variant: int) -> Image.Image:
    brush = Brush(frame, time == "night", random.Random(f"{setting}/{variant}"))
    PAINTERS[setting](brush)
    return brush.image.reduce(SCALE)


_small = lru_cache(maxsize=160)(_make)
_large = lru_cache(maxsize=16)(_make)
