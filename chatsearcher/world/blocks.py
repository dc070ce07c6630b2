"""Blocks of pictures to be told apart by one thing each: lessons for a tower, before sentences.

The words of a block name what the lesson is about and nothing else; all the rest is at random, so
that it is no help. Block i depends only on its place i, as in ``streams``. Lessons are for
training: the other splits do not have each kind alone.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Literal, get_args

from chatsearcher.world.captions import describe
from chatsearcher.world.scene import Scene, Thing, sample_scene
from chatsearcher.world.streams import item_rng, picture
from chatsearcher.world.vocabulary import (
    COLOURS,
    COUNTS,
    KINDS,
    PATTERNS,
    PLACES,
    SETTINGS,
    SIZES,
    TIMES,
)

Lesson = Literal["kinds", "patterns", "settings"]
LENGTH = 32
"""Pictures of a block."""


def block(lesson: Lesson, seed: int, index: int) -> list[tuple[str, str]]:
    """[(picture id, words)] * 32; no words twice.

    - ``kinds``: each kind once; where a second thing stands beside it, that one is named too.
    - ``patterns``: eight kinds, each in one colour and all four patterns.
    - ``settings``: one kind in 32 pairs of a setting and a place.

    Half of the scenes show one thing large, once or twice: what a block teaches is learned there
    first.

    Raises:
        ValueError: an unknown lesson.
    """
    if lesson not in get_args(Lesson):
        raise ValueError(f"no lesson {lesson!r}; expected one of {', '.join(get_args(Lesson))}")
    rng = item_rng(f"block/{lesson}", "train", seed, index)
    kinds = rng.sample(list(KINDS), len(KINDS))
    wanted: list[tuple[dict[str, str], str | None]]
    where: list[str | None] = [None] * LENGTH
    if lesson == "kinds":
        say = frozenset[str]()
        wanted = [
            ({"kind": kind}, other)
            for kind, other in zip(kinds, kinds[1:] + kinds[:1], strict=True)
        ]
    elif lesson == "settings":
        say = frozenset({"setting", "place"})
        kind, allowed = next(each for each in map(_allowed, kinds) if len(each[1]) >= LENGTH)
        pairs = rng.sample(allowed, LENGTH)
        wanted = [({"kind": kind, "place": place}, None) for _, place in pairs]
        where = [setting for setting, _ in pairs]
    else:
        say = frozenset({"colour", "pattern"})
        wanted = [
            ({"kind": kind, "colour": colour, "pattern": pattern}, None)
            for kind in kinds[: LENGTH // len(PATTERNS)]
            for colour in (rng.choice(COLOURS),)
            for pattern in PATTERNS
        ]
    found = []
    for (values, second), setting in zip(wanted, where, strict=True):
        scene = _draw(rng, values, second, setting, large=rng.random() < 0.5)
        found.append((picture(scene, rng).id, describe(scene, rng, say, lead=False)))
    return found


def _allowed(kind: str) -> tuple[str, list[tuple[str, str]]]:
    """The kind, and (setting, place) of all training scenes that show it alone."""
    alone = Thing(kind, COLOURS[0], PATTERNS[0], SIZES[0], COUNTS[0], PLACES[0])
    settings = [each for each in SETTINGS if Scene(each, TIMES[0], (alone,)).split == "train"]
    return kind, [(setting, place) for setting in settings for place in PLACES]


def _draw(
    rng: random.Random,
    values: dict[str, str],
    second: str | None,
    setting: str | None,
    large: bool,
) -> Scene:
    """A training scene whose first thing has these values; the second, if any, that kind."""
    while True:
        scene = sample_scene(rng, things=1 if large or second is None else None)
        first, *others = scene.things
        if large:
            first = replace(first, size="big", count=rng.choice((1, 1, 2)))
        first = replace(first, **values)  # type: ignore[arg-type]
        things = (first, *(replace(other, kind=second or other.kind) for other in others))
        scene = replace(scene, things=things, setting=setting or scene.setting)
        if scene.split == "train":
            return scene
