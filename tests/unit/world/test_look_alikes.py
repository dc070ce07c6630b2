"""Families of look-alikes: what they differ in, how often, and that nothing else differs."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from chatsearcher.world import look_alikes
from chatsearcher.world.scene import Scene, Split


def neighbours(scene: Scene, family: list[Scene]) -> list[str]:
    """The attributes in which others of the family differ from the scene, alone."""
    return [edit.attribute for edit in scene.edits() if scene.apply(edit) in family]


@pytest.mark.parametrize("split", ["train", "val", "test"])
@pytest.mark.parametrize("seed", range(4))
def test_mixtures_are_a_cube_inside_the_split(split: Split, seed: int) -> None:
    family = look_alikes.mixtures(split, random.Random(seed), 3)
    assert len(set(family)) == 8
    assert {scene.split for scene in family} == {split}
    attributes = set(neighbours(family[0], family))
    assert len(attributes) == 3
    for scene in family:
        assert sorted(neighbours(scene, family)) == sorted(attributes)


def test_things_that_change_sides_are_in_most_families() -> None:
    rng, counts = random.Random(7), Counter[str]()
    for _ in range(200):
        family = look_alikes.mixtures("train", rng, 3)
        counts.update(neighbours(family[0], family))
    assert counts["place"] > 100
    assert set(counts) == {
        "kind", "colour", "pattern", "size", "count", "place", "setting", "time"
    }  # fmt: skip


def test_sides_are_opposite_and_textures_are_not_plain() -> None:
    rng, seen = random.Random(3), Counter[str]()
    for _ in range(60):
        one, *others = look_alikes.mixtures("train", rng, 2, {"side": 1, "texture": 1, "time": 1})
        for other in others:
            edit = next((e for e in one.edits() if one.apply(e) == other), None)
            if edit is None:  # both changes at once
                continue
            seen[edit.attribute] += 1
            if edit.attribute == "place":
                assert {one.things[0].place, edit.value} in ({"left", "right"}, {"top", "bottom"})
            if edit.attribute == "pattern":
                assert "plain" not in (one.things[edit.thing].pattern, edit.value)
    assert seen["place"] > 10
    assert seen["pattern"] > 10
