"""Batches of the world that hold look-alikes: what makes their negatives hard."""

from __future__ import annotations

import pytest

from chatsearcher.data import sources
from chatsearcher.data.contrastive import ContrastiveBatches
from chatsearcher.data.records import ContrastiveConfig, SourceConfig
from chatsearcher.dialogue import Dialogue, Image
from chatsearcher.world.blocks import LENGTH
from chatsearcher.world.pictures import parse
from chatsearcher.world.scene import Scene
from tests.fixtures.tiny import tiny_tokenizer


def changes(one: Scene, other: Scene) -> int:
    """How many single edits lead from one scene to the other: 0, 1, or 2 for more."""
    if one == other:
        return 0
    return 1 if any(one.apply(edit) == other for edit in one.edits()) else 2


@pytest.mark.parametrize("run", range(5))
def test_runs_of_four_pairs_differ_from_their_first_in_one_attribute(run: int) -> None:
    source = sources.build(SourceConfig("world-look-alikes", 1), 3, 96)
    scenes = []
    for index in range(4 * run, 4 * run + 4):
        content = source.item(index).content
        assert not isinstance(content, Dialogue)
        scenes.append(next(parse(p.id)[0] for p in content if isinstance(p, Image)))
    assert [changes(scenes[0], each) for each in scenes] == [0, 1, 1, 1]
    assert len(set(scenes)) == 4
    assert all(scene.split == "train" for scene in scenes)


def test_a_batch_is_lessons_then_groups_of_look_alikes() -> None:
    lessons = ("kinds", "patterns")
    config = ContrastiveConfig(batch=2 * LENGTH + 8, group=4, lessons=lessons, image_size=32)
    whole = ContrastiveBatches(config, tiny_tokenizer(), 0, 1, seed=3)(5).batch
    assert whole.blocks == (LENGTH, LENGTH, 8)
    scenes = [parse(key)[0] for key in whole.keys[2 * LENGTH :]]
    for group in (scenes[:4], scenes[4:]):
        assert [changes(group[0], each) for each in group] == [0, 1, 1, 1]
    halves = [ContrastiveBatches(config, tiny_tokenizer(), r, 2, seed=3)(5).batch for r in (0, 1)]
    assert [half.blocks for half in halves] == [(16, 16, 4), (16, 16, 4)]
    for number in range(3):
        own = [half.keys[16 * number : 16 * number + half.blocks[number]] for half in halves]
        first = number * LENGTH
        assert sorted(own[0] + own[1]) == sorted(whole.keys[first : first + whole.blocks[number]])
    with pytest.raises(ValueError, match="lessons are the world's"):
        ContrastiveBatches(config, tiny_tokenizer(), 0, 3, seed=3)


def test_the_first_batches_hold_unrelated_scenes_alone() -> None:
    config = ContrastiveConfig(
        batch=LENGTH + 8, group=4, lessons=("kinds",), prelude=2, image_size=32
    )
    batches = ContrastiveBatches(config, tiny_tokenizer(), 0, 1, seed=3)
    for step in (0, 1):
        batch = batches(step).batch
        assert batch.blocks == (LENGTH + 8,)
        scenes = [parse(key)[0] for key in batch.keys]
        assert all(changes(scenes[0], each) == 2 for each in scenes[1:])
    assert batches(2).batch.blocks == (LENGTH, 8)


def test_neighbours_of_the_searches_lead_to_look_alikes() -> None:
    source = sources.build(SourceConfig("world-searches", 1), 5, 96)
    for family in range(10):
        shown = []
        for index in range(4 * family, 4 * family + 4):
            dialogue = source.item(index).content
            assert isinstance(dialogue, Dialogue)
            assert dialogue.turns[-1].role == "assistant"
            shown.append({parse(image.id)[0] for image in dialogue.images})
        for others in shown[1:]:
            assert any(changes(one, other) == 1 for one in shown[0] for other in others)
