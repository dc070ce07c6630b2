"""From outlines to pixels: one thing of one colour, pattern and size, as a cached RGBA picture."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from PIL import Image, ImageChops, ImageDraw

from chatsearcher.world.art import animals, articles, outdoors
from chatsearcher.world.art.shapes import Layer, Rgb

DRAWINGS = animals.DRAWINGS | articles.DRAWINGS | outdoors.DRAWINGS
# colour -> (body, accent of the patterns, outline)
PAINTS: dict[str, tuple[Rgb, Rgb, Rgb]] = {
    "red": ((222, 38, 44), (255, 214, 200), (60, 8, 14)),
    "orange": ((250, 134, 14), (255, 238, 206), (84, 36, 0)),
    "yellow": ((255, 218, 32), (170, 108, 0), (80, 56, 0)),
    "green": ((38, 156, 62), (206, 246, 150), (4, 48, 20)),
    "blue": ((32, 92, 224), (186, 220, 255), (8, 22, 76)),
    "purple": ((142, 50, 190), (236, 200, 255), (46, 8, 66)),
    "white": ((252, 252, 252), (132, 142, 168), (48, 52, 64)),
    "black": ((26, 26, 32), (160, 164, 174), (236, 238, 244)),
}
SIDE = {"small": 18.0 / 96, "big": 28.5 / 96}  # root of the sprite's area, as a part of the frame
LONGEST = 1.2  # longest side in units of SIDE
SCALE = 4  # supersampling


@lru_cache(maxsize=64)
def drawing(kind: str) -> tuple[tuple[Layer, ...], tuple[float, float, float, float]]:
    """The layers of a kind and the box (left, top, right, bottom) of their points."""
    layers = tuple(DRAWINGS[kind]())
    points = np.concatenate([np.asarray(p) for layer in layers for p in layer.polygons])
    (x0, y0), (x1, y1) = points.min(axis=0), points.max(axis=0)
    return layers, (float(x0), float(y0), float(x1), float(y1))


@lru_cache(maxsize=1024)
def sprite_size(kind: str, size: str, frame: int) -> tuple[int, int]:
    """Width and height in pixels, outline included, in a frame of that many pixels."""
    _, (x0, y0, x1, y1) = drawing(kind)
    aspect = (x1 - x0) / (y1 - y0)
    side = SIDE[size] * frame
    scale = min(1.0, LONGEST / max(aspect**0.5, aspect**-0.5))
    width, height = side * aspect**0.5 * scale, side * aspect**-0.5 * scale
    return max(6, round(width)), max(6, round(height))


def sprite(kind: str, colour: str, pattern: str, size: str, frame: int, flip: bool) -> Image.Image:
    """The thing as an RGBA picture of ``sprite_size`` pixels. Shared: do not draw on it."""
    cached = _small_sprite if frame <= 128 else _large_sprite
    return cached(kind, colour, pattern, size, frame, flip)


def _make(kind: str, colour: str, pattern: str, size: str, frame: int, flip: bool) -> Image.Image:
    layers, (x0, y0, x1, y1) = drawing(kind)
    width, height = sprite_size(kind, size, frame)
    body, accent, ink = PAINTS[colour]
    line = max(0.9, frame / 96) * (1.0 if size == "big" else 0.85) * SCALE
    wide, high = width * SCALE, height * SCALE
    canvas = Image.new("RGBA", (wide, high), (*ink, 0))
    draw = ImageDraw.Draw(canvas)
    sx, sy = (wide - 2 * line - 1) / (x1 - x0), (high - 2 * line - 1) / (y1 - y0)
    tones = {
        "body": body,
        "shade": _mix(body, (0, 0, 0) if colour != "black" else (255, 255, 255), 0.24),
        "light": _mix(body, (255, 255, 255), 0.55) if colour != "white" else (214, 220, 232),
        "ink": ink,
    }
    for layer in layers:
        polygons = [
            [(line + (x - x0) * sx, line + (y - y0) * sy) for x, y in polygon]
            for polygon in layer.polygons
        ]
        if layer.outline:
            for polygon in polygons:
                draw.polygon(polygon, fill=(*ink, 255))
                closed = [*polygon, polygon[0], polygon[1]]
                draw.line(closed, fill=(*ink, 255), width=round(2 * line), joint="curve")
        fill = tones[layer.fill] if isinstance(layer.fill, str) else layer.fill
        for polygon in polygons:
            draw.polygon(polygon, fill=(*fill, 255))
        if layer.fill == "body" and pattern != "plain":
            mask = Image.new("1", (wide, high))
            pen = ImageDraw.Draw(mask)
            for polygon in polygons:
                pen.polygon(polygon, fill=1)
            mask = ImageChops.logical_and(
                mask, _pattern(pattern, wide, high, SIDE[size] * frame * SCALE)
            )
            canvas.paste((*accent, 255), (0, 0), mask)
    if flip:
        canvas = canvas.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return canvas.reduce(SCALE)


_small_sprite = lru_cache(maxsize=8192)(_make)
_large_sprite = lru_cache(maxsize=128)(_make)


def _mix(a: Rgb, b: Rgb, part: float) -> Rgb:
    red, green, blue = (round(x + (y - x) * part) for x, y in zip(a, b, strict=True))
    return red, green, blue


@lru_cache(maxsize=256)
def _pattern(pattern: str, wide: int, high: int, unit: float) -> Image.Image:
    """Where the accent goes: a binary picture, centred; lengths in parts of ``unit`` pixels."""
    y, x = np.mgrid[0:high, 0:wide].astype(np.float32)
    x, y = (x - wide / 2 + 0.5) / unit, (y - high / 2 + 0.5) / unit
    if pattern == "striped":
        on = ((x + y) / 2**0.5 + 0.05) % 0.22 < 0.085
    elif pattern == "spotted":
        step = 0.26
        row = np.floor(y / (step * 0.87) + 0.5)
        dx = (x + step / 2 * (row % 2)) % step - step / 2
        dy = y - row * step * 0.87
        on = dx**2 + dy**2 < 0.08**2
    elif pattern == "checked":
        cell = 0.14
        on = (np.floor(x / cell) + np.floor(y / cell)) % 2 == 0
    else:
        raise ValueError(f"pattern {pattern!r}; expected plain, striped, spotted or checked")
    return Image.fromarray((on * 255).astype(np.uint8)).convert("1", dither=Image.Dither.NONE)
