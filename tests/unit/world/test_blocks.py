"""Lessons: what their words name differs in every picture, and only that is named."""

from __future__ import annotations

import pytest

from chatsearcher.world.blocks import LENGTH, block
from chatsearcher.world.pictures import parse
from chatsearcher.world.vocabulary import KINDS, PATTERNS


@pytest.mark.parametrize("lesson", ["kinds", "patterns", "settings"])
def test_no_words_come_twice_and_every_scene_is_of_the_training_split(lesson) -> None:
    for index in range(5):
        pairs = block(lesson, 2, index)
        assert len(pairs) == len({words for _, words in pairs}) == LENGTH
        assert all(parse(picture)[0].split == "train" for picture, _ in pairs)
        assert pairs == block(lesson, 2, index)
    assert block(lesson, 2, 0) != block(lesson, 2, 1)


def test_each_kind_comes_once_and_no_two_scenes_show_the_same_kinds() -> None:
    scenes = [parse(picture)[0] for picture, _ in block("kinds", 1, 0)]
    assert {scene.things[0].kind for scene in scenes} == set(KINDS)
    assert len({frozenset(thing.kind for thing in scene.things) for scene in scenes}) == LENGTH
    assert {len(scene.things) for scene in scenes} == {1, 2}


def test_patterns_come_all_four_with_everything_named_the_same() -> None:
    things = [parse(picture)[0].things for picture, _ in block("patterns", 1, 0)]
    looks: dict[tuple[str, str], set[str]] = {}
    for (thing,) in things:
        looks.setdefault((thing.kind, thing.colour), set()).add(thing.pattern)
    assert len(looks) == LENGTH // len(PATTERNS)
    assert all(patterns == set(PATTERNS) for patterns in looks.values())


def test_an_unknown_lesson() -> None:
    with pytest.raises(ValueError, match="no lesson 'sums'; expected one of kinds, patterns"):
        block("sums", 0, 0)  # type: ignore[arg-type]


def test_settings_come_in_pairs_with_places_and_with_one_kind() -> None:
    scenes = [parse(picture)[0] for picture, _ in block("settings", 1, 0)]
    assert len({thing.kind for scene in scenes for thing in scene.things}) == 1
    assert len({(scene.setting, scene.things[0].place) for scene in scenes}) == LENGTH
