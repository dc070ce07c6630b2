"""The picture world as pictures with captions to build dialogues from, and as their captioner."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from chatsearcher.dialogue import Image
from chatsearcher.world.captions import caption
from chatsearcher.world.pictures import parse, picture_id
from chatsearcher.world.scene import Split, sample_scene
from chatsearcher.world.streams import item_rng


def captioned(arguments: str) -> Iterator[tuple[str, str, str]]:
    """(picture id, complete caption, split) of random scenes, item after item.

    Args:
        arguments: ``SPLIT:COUNT`` or ``SPLIT:COUNT:SEED``.

    Raises:
        ValueError: anything else.
    """
    split, count, seed = (*arguments.split(":"), "0")[:3]
    if split not in get_args(Split) or not count.isdigit() or not seed.isdigit():
        raise ValueError(
            f"world:{arguments}: expected world:SPLIT:COUNT or world:SPLIT:COUNT:SEED with SPLIT "
            f"one of {', '.join(get_args(Split))}"
        )
    for index in range(int(count)):
        rng = item_rng("captioned", split, int(seed), index)  # type: ignore[arg-type]
        scene = sample_scene(rng, split)  # type: ignore[arg-type]
        yield picture_id(scene, rng.randrange(1_000_000)), caption(scene, rng, 1.0), split


class TruthCaptioner:
    """Says what is in a picture of the world from its name, completely."""

    needs_pixels = False

    @property
    def identity(self) -> Mapping[str, Any]:
        return {"captioner": "world"}

    def caption(self, pictures: Sequence[Image]) -> list[str]:
        """One sentence a picture.

        Raises:
            ValueError: not a picture of the world.
        """
        return [
            caption(parse(picture.id)[0], random.Random(f"caption {picture.id}"), 1.0)
            for picture in pictures
        ]
