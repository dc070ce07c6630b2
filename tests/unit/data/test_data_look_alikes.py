"""Batches of the world that hold look-alikes: what makes their negatives hard."""

from __future__ import annotations

import pytest

from chatsearcher.data import sources
from chatsearcher.data.contrastive import WorldGroups
from chatsearcher.data.records import BrokenRecord, ContrastiveConfig, SourceConfig
from chatsearcher.dialogue import Dialogue, Image
from chatsearcher.world.pictures import parse
from chatsearcher.world.scene import Scene


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


def test_half_of_the_groups_name_kinds_that_no_other_pair_of_them_has() -> None:
    groups = WorldGroups(ContrastiveConfig(group=4, short=True), seed=2)
    seen = 0
    for index in range(1, 41, 2):
        try:
            pairs = groups.group(index)
        except BrokenRecord:
            continue  # drawn again by the batch
        seen += 1
        kinds = [frozenset(t.kind for t in parse(pair.picture)[0].things) for pair in pairs]
        assert len(set(kinds)) == 4
        for pair, those in zip(pairs, kinds, strict=True):
            assert " ".join(sorted(those)) in pair.marks
    assert seen > 10
    first = [parse(pair.picture)[0] for pair in groups.group(0)]
    assert [changes(first[0], each) for each in first] == [0, 1, 1, 1]


def test_neighbours_of_the_searches_lead_to_look_alikes() -> None:
    source = sources.build(SourceConfig("world-searches", 1), 5, 96)
    near = 0
    for pair in range(20):
        shown = []
        for index in (2 * pair, 2 * pair + 1):
            dialogue = source.item(index).content
            assert isinstance(dialogue, Dialogue)
            assert dialogue.turns[-1].role == "assistant"
            shown.append({parse(image.id)[0] for image in dialogue.images})
        near += any(changes(one, other) == 1 for one in shown[0] for other in shown[1])
    assert near == 20
