"""A scene graph made visible. The picture is a function of (scene, seed, size) and nothing else."""

from __future__ import annotations

import random

from PIL import Image

from chatsearcher.world.art.backdrop import VARIANTS, backdrop
from chatsearcher.world.art.layout import REGIONS, spread
from chatsearcher.world.art.sprite import sprite, sprite_size
from chatsearcher.world.scene import Scene, Thing

Box = tuple[int, int, int, int]
SMALLEST, LARGEST = 32, 1024


def render(scene: Scene, size: int = 96, seed: int = 0) -> Image.Image:
    """Draw a scene as an RGB picture of size x size pixels.

    The seed moves things a little, mirrors them and varies the backdrop; it changes no attribute.
    """
    if not SMALLEST <= size <= LARGEST:
        raise ValueError(f"size is {size} px; expected {SMALLEST} to {LARGEST}")
    rng = random.Random(seed)
    picture = backdrop(scene.setting, scene.time, size, rng.randrange(VARIANTS)).copy()
    for thing in scene.things:
        flip, found = _boxes(thing, size, rng.getrandbits(32))
        image = sprite(thing.kind, thing.colour, thing.pattern, thing.size, size, flip)
        for box in found:
            picture.paste(image, box[:2], image)
    return picture


def boxes(scene: Scene, size: int = 96, seed: int = 0) -> list[list[Box]]:
    """For every thing, the (left, top, right, bottom) pixels of each of its copies."""
    rng = random.Random(seed)
    rng.randrange(VARIANTS)
    return [_boxes(thing, size, rng.getrandbits(32))[1] for thing in scene.things]


def _boxes(thing: Thing, size: int, seed: int) -> tuple[bool, list[Box]]:
    """Mirrored or not, and where. Every thing has its own seed, so that it stays where it is when
    the other one changes."""
    rng = random.Random(seed)
    flip = rng.random() < 0.5
    left, top, right, bottom = (round(edge * size) for edge in REGIONS[thing.place])
    width, height = sprite_size(thing.kind, thing.size, size)
    centres, move_x, move_y = spread(thing.count, right - left, bottom - top, width, height)
    mirror = rng.choice((-1, 1))
    found = []
    for dx, dy in centres:
        x = (left + right - width) / 2 + mirror * dx + rng.uniform(-move_x, move_x)
        y = (top + bottom - height) / 2 + dy + rng.uniform(-move_y, move_y)
        x0, y0 = round(x), round(y)
        found.append((x0, y0, x0 + width, y0 + height))
    return flip, found
