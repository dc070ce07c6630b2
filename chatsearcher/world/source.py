"""The picture world as a source of pictures to index: ``world:SPLIT:COUNT[:SEED]``."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import get_args

from PIL.Image import Image as PILImage

from chatsearcher.world.pictures import load, picture_id
from chatsearcher.world.scene import Split, sample_scene


def list_pictures(arguments: str) -> list[tuple[str, Callable[[], PILImage]]]:
    """Pictures of random scenes of a split, all different: (picture id, function that draws it).

    Args:
        arguments: ``SPLIT:COUNT`` or ``SPLIT:COUNT:SEED``.

    Raises:
        ValueError: anything else.
    """
    split, count, seed = (*arguments.split(":"), "0")[:3]
    if split not in get_args(Split) or not count.isdigit() or not seed.isdigit():
        raise ValueError(
            f"world:{arguments}: expected world:SPLIT:COUNT or world:SPLIT:COUNT:SEED with SPLIT "
            f"one of {', '.join(get_args(Split))}, e.g. world:test:1000"
        )
    rng = random.Random(f"source {split} {seed}")
    ids: dict[str, None] = {}
    while len(ids) < int(count):
        scene = sample_scene(rng, split)  # type: ignore[arg-type]
        ids[picture_id(scene, int(seed))] = None
    return [(id, partial(load, id)) for id in ids]
