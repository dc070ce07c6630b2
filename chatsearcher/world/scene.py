"""The scene graph: what is in a picture, said exactly once. Everything else is derived from it."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

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

Split = Literal["train", "val", "test"]
PAIR_PLACES: tuple[tuple[str, str], ...] = (("left", "right"), ("top", "bottom"))
OPPOSITE = {"left": "right", "right": "left", "top": "bottom", "bottom": "top"}
LOOKS: dict[str, tuple[Any, ...]] = {
    "kind": tuple(KINDS),
    "colour": COLOURS,
    "pattern": PATTERNS,
    "size": SIZES,
    "count": COUNTS,
}


@dataclass(frozen=True, slots=True)
class Thing:
    """``count`` identical objects standing together in one place of the frame."""

    kind: str
    colour: str
    pattern: str
    size: str
    count: int
    place: str

    @property
    def key(self) -> str:
        return f"{self.place}:{self.count}-{self.size}-{self.colour}-{self.pattern}-{self.kind}"


@dataclass(frozen=True, slots=True)
class Scene:
    """A setting, a time of day and one or two things of different kinds.

    Two things stand left/right or top/bottom, and are stored in that order, so that equal pictures
    have equal graphs.
    """

    setting: str
    time: str
    things: tuple[Thing, ...]

    def __post_init__(self) -> None:
        places = tuple(thing.place for thing in self.things)
        if len(places) == 1 and places[0] in PLACES:
            return
        if places not in PAIR_PLACES:
            raise ValueError(
                f"things stand at {places}; expected one of {PLACES} alone, or one of {PAIR_PLACES}"
            )
        if self.things[0].kind == self.things[1].kind:
            raise ValueError(f"both things are of kind {self.things[0].kind!r}")

    @property
    def key(self) -> str:
        """The canonical name of this graph, e.g. ``beach.day|left:2-big-red-plain-cat|…``."""
        return "|".join((f"{self.setting}.{self.time}", *(thing.key for thing in self.things)))

    @classmethod
    def from_key(cls, key: str) -> Scene:
        """The inverse of ``key``."""
        head, *tails = key.split("|")
        setting, time = head.split(".")
        things = []
        for tail in tails:
            place, rest = tail.split(":")
            count, size, colour, pattern, kind = rest.split("-")
            things.append(Thing(kind, colour, pattern, size, int(count), place))
        return cls(setting, time, tuple(things))

    @property
    def split(self) -> Split:
        """Which split this graph belongs to, from a hash of its kinds and setting: 80/10/10.

        Whole combinations of kinds and setting are held out, so that a test graph differs from
        every training graph in more than a colour.
        """
        part = ",".join(sorted(thing.kind for thing in self.things)) + "@" + self.setting
        slot = int.from_bytes(hashlib.sha256(part.encode()).digest()[:4], "big") % 10
        return "test" if slot == 0 else "val" if slot == 1 else "train"

    def find(self, kind: str) -> Thing | None:
        """The thing of that kind, or None."""
        return next((thing for thing in self.things if thing.kind == kind), None)

    def apply(self, edit: Edit) -> Scene:
        """This scene with one attribute changed."""
        if edit.attribute in ("setting", "time"):
            return replace(self, **{edit.attribute: edit.value})
        if edit.attribute == "place":
            return self._moved(edit.thing, str(edit.value))
        things = list(self.things)
        things[edit.thing] = replace(things[edit.thing], **{edit.attribute: edit.value})
        return replace(self, things=tuple(things))

    def _moved(self, index: int, place: str) -> Scene:
        """Move a thing; of two, the other one takes the opposite place."""
        if len(self.things) == 1:
            return replace(self, things=(replace(self.things[0], place=place),))
        moved = replace(self.things[index], place=place)
        other = replace(self.things[1 - index], place=OPPOSITE[place])
        first = place in ("left", "top")
        return replace(self, things=(moved, other) if first else (other, moved))

    def edits(self) -> Iterator[Edit]:
        """Every change of exactly one attribute (each resulting graph once)."""
        for value in SETTINGS:
            if value != self.setting:
                yield Edit("setting", 0, value)
        for value in TIMES:
            if value != self.time:
                yield Edit("time", 0, value)
        places = PLACES if len(self.things) == 1 else tuple(OPPOSITE)
        for value in places:
            if value != self.things[0].place:
                yield Edit("place", 0, value)
        kinds = {thing.kind for thing in self.things}
        for index, thing in enumerate(self.things):
            for attribute, choices in LOOKS.items():
                for choice in choices:
                    if choice == getattr(thing, attribute):
                        continue
                    if attribute == "kind" and choice in kinds:
                        continue
                    yield Edit(attribute, index, choice)


@dataclass(frozen=True, slots=True)
class Edit:
    """One attribute changed. ``thing`` indexes ``Scene.things`` (ignored for setting and time)."""

    attribute: str
    thing: int
    value: Any


def sample_scene(
    rng: random.Random, split: Split | None = None, things: int | None = None
) -> Scene:
    """A random scene of a split; three in four have two things."""
    while True:
        number = things or (2 if rng.random() < 0.75 else 1)
        places = rng.choice(PAIR_PLACES) if number == 2 else (rng.choice(PLACES),)
        kinds = rng.sample(list(KINDS), number)
        scene = Scene(
            rng.choice(SETTINGS),
            rng.choice(TIMES),
            tuple(
                Thing(
                    kind,
                    rng.choice(COLOURS),
                    rng.choice(PATTERNS),
                    rng.choice(SIZES),
                    rng.choice(COUNTS),
                    place,
                )
                for kind, place in zip(kinds, places, strict=True)
            ),
        )
        if split is None or scene.split == split:
            return scene


def count_scenes() -> int:
    """How many distinct graphs there are (closed form)."""
    n, looks = len(KINDS), len(COLOURS) * len(PATTERNS) * len(SIZES) * len(COUNTS)
    frames = len(SETTINGS) * len(TIMES)
    alone = n * looks * len(PLACES)
    pairs = n * (n - 1) * looks**2 * len(PAIR_PLACES)
    return frames * (alone + pairs)
