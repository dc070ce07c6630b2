"""Endless, seeded training data of the picture world. Item i depends only on its place i.

A stream can therefore be resumed at any item, split over workers, and repeated exactly.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import TypeVar

from chatsearcher.dialogue import Image, Text
from chatsearcher.world.captions import caption
from chatsearcher.world.scene import Scene, Split, sample_scene

Item = TypeVar("Item")


def item_rng(kind: str, split: Split, seed: int, index: int) -> random.Random:
    """The random numbers of one item."""
    return random.Random(f"{kind}/{split}/{seed}/{index}")


def picture(scene: Scene, rng: random.Random) -> Image:
    """A picture of that scene, with a random drawing seed."""
    return Image(f"{scene.key}#{rng.randrange(1_000_000)}")


def _stream(
    kind: str, split: Split, seed: int, start: int, make: Callable[[random.Random], Item]
) -> Iterator[tuple[str, Item]]:
    index = start
    while True:
        yield f"{kind}/{split}/{seed}/{index}", make(item_rng(kind, split, seed, index))
        index += 1


def pairs(split: Split, seed: int, start: int = 0) -> Iterator[tuple[str, list[Text | Image]]]:
    """(key, [picture, caption]) for ever; the data room decides which of the two comes first."""

    def make(rng: random.Random) -> list[Text | Image]:
        scene = sample_scene(rng, split)
        return [picture(scene, rng), Text(caption(scene, rng))]

    return _stream("pair", split, seed, start, make)


def hard_pairs(
    split: Split, seed: int, start: int = 0, group: int = 4
) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """(key, [(picture id, caption)] * group): each differs from the first in one attribute."""

    def make(rng: random.Random) -> list[tuple[str, str]]:
        first = sample_scene(rng, split)
        scenes = [first]
        edits = list(first.edits())
        rng.shuffle(edits)
        for edit in edits:
            if len(scenes) == group:
                break
            other = first.apply(edit)
            if other.split == split:
                scenes.append(other)
        return [(picture(s, rng).id, caption(s, rng, complete=1.0)) for s in scenes]

    return _stream(f"hard{group}", split, seed, start, make)


def documents(
    split: Split, seed: int, start: int = 0
) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """(key, [(picture id, sentence), …]): two to five pictures of one short narrative."""

    def make(rng: random.Random) -> list[tuple[str, str]]:
        from chatsearcher.world.stories import story

        return [(picture(scene, rng).id, text) for scene, text in story(split, rng)]

    return _stream("document", split, seed, start, make)
