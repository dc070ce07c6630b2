"""The frozen test sets: what the issue demands of them, and that nothing in them is ambiguous."""

from __future__ import annotations

import pytest

from chatsearcher.world.reader import read_dialogue, scene_of
from chatsearcher.world.sets import (
    NAMES,
    NEIGHBOURS,
    VALIDATION,
    WorldSet,
    frozen_hashes,
    load_set,
    set_hash,
    set_names,
)

SIZES = {
    **dict.fromkeys(NAMES, ("test", 500, 10_000)),
    **dict.fromkeys(VALIDATION, ("val", 150, 3_000)),
}


@pytest.fixture(params=[*NAMES, *VALIDATION])
def world_set(request: pytest.FixtureRequest) -> WorldSet:
    return load_set(request.param)


def test_hash_is_the_frozen_one(world_set: WorldSet) -> None:
    assert set_hash(world_set) == frozen_hashes()[world_set.name]


def test_every_set_is_frozen() -> None:
    assert set(frozen_hashes()) == set(set_names())


def test_shape(world_set: WorldSet) -> None:
    split, targets, gallery = SIZES[world_set.name]
    assert len(world_set.gallery) == gallery
    assert len({scene_of(name) for name in world_set.gallery}) == gallery
    assert {scene_of(name).split for name in world_set.gallery} == {split}
    assert len(world_set.queries) == 2 * targets
    assert len({query.target for query in world_set.queries}) == targets
    assert len({query.id for query in world_set.queries}) == 2 * targets


def test_references_stand_in_the_gallery_and_are_excluded(world_set: WorldSet) -> None:
    gallery = set(world_set.gallery)
    for query in world_set.queries:
        shown = {image.id for image in query.dialogue.images}
        assert shown <= gallery
        assert query.exclude == shown
        assert query.target in gallery - query.exclude
        assert query.dialogue.turns[-1].role == "user"


def test_neighbours_differ_in_exactly_one_attribute(world_set: WorldSet) -> None:
    for query in world_set.queries:
        target = scene_of(query.target)
        one_edit = {target.apply(edit): edit.attribute for edit in target.edits()}
        attributes = {one_edit[scene_of(name)] for name in query.neighbours}
        assert len(query.neighbours) >= NEIGHBOURS
        assert len(attributes) >= 5
        assert not query.exclude & set(query.neighbours)


def test_reading_the_words_finds_every_target(world_set: WorldSet) -> None:
    by_scene = {scene_of(name): name for name in world_set.gallery}
    found = [by_scene.get(read_dialogue(query.dialogue)) for query in world_set.queries]
    assert found == [query.target for query in world_set.queries]


def test_text_set_has_no_pictures_and_the_others_have() -> None:
    assert not any(query.dialogue.images for query in load_set("world-t").queries)
    assert all(query.dialogue.images for query in load_set("world-i").queries)


@pytest.mark.parametrize("ending", ["", "-val"])
def test_single_and_mixed_share_their_last_round(ending: str) -> None:
    single, mixed = load_set(f"world-i{ending}"), load_set(f"world-m{ending}")
    assert single.gallery == mixed.gallery
    for one, many in zip(single.queries, mixed.queries, strict=True):
        assert len(one.dialogue.turns) == 1 < len(many.dialogue.turns)
        assert one.dialogue.turns[-1].text == many.dialogue.turns[-1].text
        assert one.target == many.target
        assert one.exclude <= many.exclude


def test_unknown_set_is_named() -> None:
    with pytest.raises(ValueError, match="world-x"):
        load_set("world-x")
