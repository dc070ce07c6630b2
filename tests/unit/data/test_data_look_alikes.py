"""Batches of the world that hold look-alikes: what makes their negatives hard."""

from __future__ import annotations

import itertools

import pytest

from chatsearcher.data import sources
from chatsearcher.data.records import SourceConfig
from chatsearcher.dialogue import Dialogue, Image, Text
from chatsearcher.training.recipes import nano
from chatsearcher.world.captions import keywords
from chatsearcher.world.pictures import parse
from chatsearcher.world.reformulation import read_reformulation
from chatsearcher.world.scene import Scene
from chatsearcher.world.streams import CHANGES, FAMILY
from chatsearcher.world.writer import scene_in


def changes(one: Scene, other: Scene) -> int:
    """How many single edits lead from one scene to the other: 0, 1, or 2 for more."""
    if one == other:
        return 0
    return 1 if any(one.apply(edit) == other for edit in one.edits()) else 2


@pytest.mark.parametrize("run", range(5))
def test_every_picture_of_a_family_has_look_alikes_in_it(run: int) -> None:
    source = sources.build(SourceConfig("world-look-alikes", 1), 3, 96)
    scenes = []
    for index in range(FAMILY * run, FAMILY * (run + 1)):
        content = source.item(index).content
        assert not isinstance(content, Dialogue)
        scenes.append(next(parse(p.id)[0] for p in content if isinstance(p, Image)))
    for scene in scenes:
        assert sum(changes(scene, each) == 1 for each in scenes) == CHANGES
    assert len(set(scenes)) == FAMILY
    assert all(scene.split == "train" for scene in scenes)


def test_captions_stand_behind_their_picture() -> None:
    source = sources.build(SourceConfig("world-captions", 1), 3, 96)
    for index in range(20):
        content = source.item(index).content
        assert not isinstance(content, Dialogue)
        shown, said = content
        assert isinstance(shown, Image)
        assert isinstance(said, Text)
        scene = parse(shown.id)[0]
        assert scene.split == "train"
        assert (read_reformulation(said.text) or scene_in(said.text)) == scene


def test_descriptions_answer_with_what_the_users_picture_shows() -> None:
    source = sources.build(SourceConfig("world-descriptions", 1), 3, 96)
    for index in range(20):
        dialogue = source.item(index).content
        assert isinstance(dialogue, Dialogue)
        asked, answered = dialogue.turns
        assert (asked.role, answered.role) == ("user", "assistant")
        (shown,) = asked.images
        assert not answered.images
        assert scene_in(answered.text) == parse(shown.id)[0]


def test_keywords_are_as_many_for_every_picture_and_tell_it() -> None:
    source = sources.build(SourceConfig("world-keywords", 1), 3, 96)
    seen: dict[str, Scene] = {}
    for index in range(200):
        shown, said = source.item(index).content
        assert isinstance(said, Text)
        assert len(said.text.split()) == nano.MODEL.query_tokens
        scene = parse(shown.id)[0]
        assert seen.setdefault(said.text, scene) == scene
        for edit in scene.edits():
            assert keywords(scene.apply(edit)) != said.text.split()


def test_rewordings_tell_each_picture_twice_before_it_and_are_look_alikes() -> None:
    source = sources.build(SourceConfig("world-rewordings", 1), 3, 96)
    scenes = []
    for index in range(2 * FAMILY):
        caption, wish, target = source.item(index).content
        assert isinstance(target, Image)
        scenes.append(parse(target.id)[0])
        assert scene_in(caption.text) == read_reformulation(wish.text) == scenes[-1]
    for family in (scenes[:FAMILY], scenes[FAMILY:]):
        for scene in family:
            assert sum(changes(scene, each) == 1 for each in family) == CHANGES


def test_neighbours_of_the_searches_lead_to_look_alikes() -> None:
    source = sources.build(SourceConfig("world-searches", 1), 5, 96)
    for family in range(4):
        shown = []
        for index in range(FAMILY * family, FAMILY * (family + 1)):
            dialogue = source.item(index).content
            assert isinstance(dialogue, Dialogue)
            assert dialogue.turns[-1].role == "assistant"
            shown.append({parse(image.id)[0] for image in dialogue.images})
        for number, bit in itertools.product(range(FAMILY), range(CHANGES)):
            pairs = itertools.product(shown[number], shown[number ^ 1 << bit])
            assert any(changes(one, other) == 1 for one, other in pairs)
