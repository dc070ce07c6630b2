"""Families of look-alikes: scenes that differ in one attribute, or by mixtures of a few edits."""

from __future__ import annotations

import random

from chatsearcher.world.edits import apply_all
from chatsearcher.world.scene import OPPOSITE, Edit, Scene, Split, sample_scene

Mix = dict[str, int]
"""What look-alikes differ in -> how often, out of the sum."""

# Towers learn kinds and patterns last.
HARD_TO_SEE: Mix = {
    "kind": 5, "place": 4, "pattern": 3, "count": 1, "colour": 1, "setting": 1, "size": 1, "time": 1
}  # fmt: skip
# Language models learn last what stands on which side, and which thing is meant. A "side" is the
# opposite place (two things change sides), a "texture" a pattern for another that is not plain.
HARD_TO_SAY: Mix = {
    "side": 5, "texture": 4, "kind": 5, "colour": 3, "count": 2, "size": 2, "place": 1,
    "pattern": 1, "setting": 1, "time": 1,
}  # fmt: skip
# What is asked for in dialogues: about what look-alikes of the test sets differ in. What none of
# them differs in is not read from pictures either, however plain to see it is.
HARD_TO_FIND: Mix = {
    "kind": 4, "count": 4, "colour": 4, "texture": 3, "side": 3, "size": 3, "setting": 3, "time": 3,
    "pattern": 1, "place": 1,
}  # fmt: skip


def around(split: Split, rng: random.Random, count: int, mix: Mix = HARD_TO_SEE) -> list[Scene]:
    """A scene of the split and ``count - 1`` others that differ from it in one attribute each."""
    scenes = [sample_scene(rng, split)]
    while len(scenes) < count:
        edits = _edits(scenes[0], _draw(rng, mix))
        rng.shuffle(edits)
        others = (scenes[0].apply(edit) for edit in edits)
        other = next((each for each in others if each.split == split), scenes[0])
        if other not in scenes:
            scenes.append(other)
    return scenes


def mixtures(split: Split, rng: random.Random, changes: int, mix: Mix = HARD_TO_SAY) -> list[Scene]:
    """A scene of the split under every choice of ``changes`` edits: 2 ** changes scenes.

    Each has look-alikes in the family that differ from it in one of the edits alone, so that no
    bag of words tells them apart: what is said has to be bound to the thing it is said of.
    """
    while True:
        scene = sample_scene(rng, split)
        edits: dict[str, Edit] = {}  # by attribute
        for _ in range(8 * changes):  # a lone plain thing in the middle has few of some mixes
            found = _edits(scene, _draw(rng, mix))
            if found and len(edits) < changes:
                edits.setdefault(found[0].attribute, rng.choice(found))
        if len(edits) < changes:
            continue
        family = [
            apply_all(scene, [edit for bit, edit in enumerate(edits.values()) if number >> bit & 1])
            for number in range(2**changes)
        ]
        if all(each.split == split for each in family):
            return family


def _draw(rng: random.Random, mix: Mix) -> str:
    return rng.choice([sort for sort, often in mix.items() for _ in range(often)])


def _edits(scene: Scene, sort: str) -> list[Edit]:
    """The scene's edits of that sort."""

    def fits(edit: Edit) -> bool:
        thing = scene.things[edit.thing]
        if sort == "side":
            return edit.attribute == "place" and edit.value == OPPOSITE.get(thing.place)
        if sort == "texture":
            return edit.attribute == "pattern" and "plain" not in (edit.value, thing.pattern)
        return edit.attribute == sort

    return [edit for edit in scene.edits() if fits(edit)]
