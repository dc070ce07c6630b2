"""The pictures: pure functions of (scene, seed, size) that show every attribute."""

from __future__ import annotations

import json
import random
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from chatsearcher.world.art import backdrop as backdrops
from chatsearcher.world.art import sprite as sprites
from chatsearcher.world.art.backdrop import VARIANTS, backdrop
from chatsearcher.world.art.layout import REGIONS
from chatsearcher.world.art.sprite import DRAWINGS, PAINTS, sprite, sprite_size
from chatsearcher.world.pictures import load, parse, picture_id
from chatsearcher.world.render import boxes, render
from chatsearcher.world.scene import PAIR_PLACES, Edit, Scene, Thing, sample_scene
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

LOOKS = Path(__file__).parents[2] / "fixtures" / "world_looks.json"
seeds = st.integers(0, 2**31 - 1)


def scene_of(seed: int, things: int | None = None) -> Scene:
    return sample_scene(random.Random(seed), things=things)


def alone(kind: str = "cup", place: str = "middle", **look: object) -> Scene:
    values = {"colour": "red", "pattern": "plain", "size": "big", "count": 1} | look
    return Scene("meadow", "day", (Thing(kind=kind, place=place, **values),))  # type: ignore[arg-type]


def pixels(picture: Image.Image) -> np.ndarray:
    """[H, W, C] int16."""
    return np.asarray(picture).astype(np.int16)


def changed(a: Image.Image, b: Image.Image, least: int = 30) -> int:
    """How many pixels differ clearly in some channel."""
    return int((np.abs(pixels(a) - pixels(b)).max(axis=2) >= least).sum())


def blobs(mask: np.ndarray) -> int:
    """The number of connected regions of a boolean [H, W] array, 4-connected."""
    left = {(int(y), int(x)) for y, x in np.argwhere(mask)}
    number = 0
    while left:
        number += 1
        edge = [left.pop()]
        while edge:
            y, x = edge.pop()
            for near in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                if near in left:
                    left.remove(near)
                    edge.append(near)
    return number


def test_every_word_can_be_drawn() -> None:
    assert set(DRAWINGS) == set(KINDS)
    assert set(PAINTS) == set(COLOURS)
    assert set(backdrops.PAINTERS) == set(SETTINGS)
    assert set(REGIONS) == set(PLACES)


@given(seeds, seeds)
@settings(max_examples=10, deadline=None)
def test_same_scene_and_seed_give_the_same_picture_without_caches(seed: int, drawing: int) -> None:
    scene = scene_of(seed)
    first = render(scene, 96, drawing)
    for cached in (
        sprites._small_sprite, sprites._pattern, sprites.drawing, sprites.sprite_size,
        backdrops._small,
    ):  # fmt: skip
        cached.cache_clear()
    second = render(Scene.from_key(scene.key), 96, drawing)
    assert first.mode == "RGB"
    assert first.tobytes() == second.tobytes()


def test_a_picture_may_be_drawn_upon_without_spoiling_the_next() -> None:
    scene = alone()
    before = render(scene).tobytes()
    render(scene).paste((0, 0, 0), (0, 0, 96, 96))
    assert render(scene).tobytes() == before


@given(seeds)
@settings(max_examples=15, deadline=None)
def test_another_seed_moves_things_slightly(seed: int) -> None:
    scene = scene_of(seed)
    variants = [boxes(scene, 96, s) for s in range(8)]
    assert len({render(scene, 96, s).tobytes() for s in range(8)}) > 1
    for a, b in combinations(variants, 2):
        for one, other in zip(a, b, strict=True):
            # Arrangements may be mirrored as a whole; their middle hardly moves.
            assert np.abs(np.mean(one, axis=0) - np.mean(other, axis=0)).max() <= 11


@pytest.mark.parametrize("kind", KINDS)
def test_copies_stay_in_their_part_of_the_frame_and_hide_nothing(kind: str) -> None:
    for size in SIZES:
        for count in COUNTS:
            for place in PLACES:
                scene = alone(kind, place, size=size, count=count)
                (copies,) = boxes(scene, 96, count)
                assert len(copies) == count
                left, top, right, bottom = (edge * 96 for edge in REGIONS[place])
                for x0, y0, x1, y1 in copies:
                    assert left <= x0 < x1 <= right
                    assert top <= y0 < y1 <= bottom
                assert _least_visible(kind, size, copies) >= 0.7


def _least_visible(kind: str, size: str, copies: list[tuple[int, int, int, int]]) -> float:
    """The smallest part of a copy that later copies leave visible."""
    alpha = np.asarray(sprite(kind, "red", "plain", size, 96, False))[..., 3] > 127
    owner = np.full((96, 96), -1)
    for i, (x0, y0, x1, y1) in enumerate(copies):
        owner[y0:y1, x0:x1][alpha] = i
    return min(float((owner == i).sum() / alpha.sum()) for i in range(len(copies)))


def test_things_do_not_cross_into_the_other_half() -> None:
    rng = random.Random(1)
    for _ in range(300):
        scene = sample_scene(rng, things=2)
        first, second = boxes(scene, 96, rng.randrange(1000))
        axis = 2 if (scene.things[0].place, scene.things[1].place) == PAIR_PLACES[0] else 3
        assert max(box[axis] for box in first) <= 48 <= min(box[axis - 2] for box in second)


@given(seeds)
@settings(max_examples=6, deadline=None)
def test_every_edit_of_one_attribute_is_seen(seed: int) -> None:
    scene = scene_of(seed)
    before = render(scene, 96, seed)
    for edit in scene.edits():
        after = scene.apply(edit)
        assert changed(before, render(after, 96, seed)) >= 16, edit


@given(seeds)
@settings(max_examples=10, deadline=None)
def test_editing_a_thing_leaves_the_other_half_alone(seed: int) -> None:
    scene = scene_of(seed, things=2)
    box = (48, 0, 96, 96) if scene.things[1].place == "right" else (0, 48, 96, 96)
    untouched = render(scene, 96, seed).crop(box).tobytes()
    for edit in scene.edits():
        if edit.attribute in ("kind", "colour", "pattern", "size", "count") and edit.thing == 0:
            assert render(scene.apply(edit), 96, seed).crop(box).tobytes() == untouched


@pytest.mark.parametrize("kind", KINDS)
def test_big_is_much_bigger_than_small(kind: str) -> None:
    def area(size: str) -> float:
        return float(np.asarray(sprite(kind, "red", "plain", size, 96, False))[..., 3].sum() / 255)

    assert area("big") >= 2.0 * area("small")
    assert area("small") >= 90
    assert 17 <= max(sprite_size(kind, "small", 96)) <= 22
    assert 28 <= max(sprite_size(kind, "big", 96)) <= 35


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("time", TIMES)
def test_as_many_blobs_as_copies(kind: str, time: str) -> None:
    for count in COUNTS:
        scene = Scene("lake", time, (Thing(kind, "yellow", "plain", "small", count, "bottom"),))
        for seed in range(40):
            if _apart(boxes(scene, 192, seed)[0]):
                break
        else:
            pytest.fail(f"{count} small {kind} touch whatever the seed")
        picture = render(scene, 192, seed)
        empties = [backdrop("lake", time, 192, variant) for variant in range(VARIANTS)]
        empty = min(empties, key=lambda e: changed(picture, e, least=1))
        assert blobs(np.abs(pixels(picture) - pixels(empty)).max(axis=2) > 0) == count


def _apart(copies: list[tuple[int, int, int, int]]) -> bool:
    return all(
        a[2] < b[0] or b[2] < a[0] or a[3] < b[1] or b[3] < a[1] for a, b in combinations(copies, 2)
    )


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_body_colour_dominates(colour: str, pattern: str) -> None:
    bodies = np.array([PAINTS[name][0] for name in COLOURS])
    for kind in KINDS:
        image = pixels(sprite(kind, colour, pattern, "big", 160, False))
        solid = image[image[..., 3] == 255][:, :3]
        distance = np.abs(solid[:, None] - bodies[None]).max(axis=2)
        votes = (distance < 12).sum(axis=0)
        assert COLOURS[int(votes.argmax())] == colour, kind
        assert votes.max() >= 4 * np.sort(votes)[-2], kind


@pytest.mark.parametrize("size", SIZES)
def test_patterns_differ_on_every_kind(size: str) -> None:
    for i, kind in enumerate(KINDS):
        for colour in (COLOURS[i % 8], COLOURS[(i + 3) % 8]):
            drawn = [pixels(sprite(kind, colour, p, size, 96, False)) for p in PATTERNS]
            for a, b in combinations(drawn, 2):
                assert (np.abs(a - b).max(axis=2) >= 30).sum() >= 20, (kind, colour)


@pytest.mark.parametrize("setting", SETTINGS)
def test_backdrops_keep_away_from_the_colours_of_things(setting: str) -> None:
    vivid = np.array([PAINTS[c][0] for c in COLOURS if c not in ("white", "black")])
    for time in TIMES:
        for variant in range(VARIANTS):
            ground = pixels(backdrop(setting, time, 96, variant)).reshape(-1, 1, 3)
            near = np.abs(ground - vivid[None]).max(axis=2).min(axis=1) < 40
            assert near.mean() < 0.005


def test_night_is_darker_and_settings_differ() -> None:
    means = {
        (s, t): np.mean([pixels(backdrop(s, t, 24, v)) for v in range(VARIANTS)], axis=0)
        for s in SETTINGS
        for t in TIMES
    }
    for setting in SETTINGS:
        assert means[setting, "night"].mean() < 0.6 * means[setting, "day"].mean()
    for time in TIMES:
        for a, b in combinations(SETTINGS, 2):
            assert np.abs(means[a, time] - means[b, time]).mean() > 4, (a, b, time)


@pytest.mark.parametrize("size", [64, 96, 128, 131, 256, 512])
def test_other_sizes_show_the_same_scene(size: int) -> None:
    scene = scene_of(3, things=2)
    picture = render(scene, size, 7)
    assert picture.size == (size, size)
    reference = render(scene, 96, 7)
    gap = np.abs(pixels(picture.resize((24, 24), Image.Resampling.BOX))
                 - pixels(reference.resize((24, 24), Image.Resampling.BOX)))  # fmt: skip
    assert gap.mean() < 9


@pytest.mark.parametrize("size", [0, -1, 31, 5000])
def test_senseless_sizes_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match="expected 32 to 1024"):
        render(alone(), size)


@given(seeds, seeds)
@settings(max_examples=50, deadline=None)
def test_picture_ids_say_scene_and_seed(seed: int, drawing: int) -> None:
    scene = scene_of(seed)
    name = picture_id(scene, drawing)
    assert parse(name) == (scene, drawing)
    assert "\n" not in name
    assert " " not in name


def test_load_draws_what_the_id_says() -> None:
    scene = scene_of(11)
    assert load(picture_id(scene, 5), 64).tobytes() == render(scene, 64, 5).tobytes()


@pytest.mark.parametrize("name", ["", "beach.day", "x#y", "beach.day|left:2-big-red-plain-cat#one"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="picture id"):
        parse(name)


def looks() -> dict[str, list[int]]:
    """Every kind, and every setting, as 8 x 8 coarse RGB values."""
    found = {}
    for i, kind in enumerate(KINDS):
        edited = alone(kind).apply(Edit("colour", 0, COLOURS[i % len(COLOURS)]))
        edited = edited.apply(Edit("pattern", 0, PATTERNS[i % len(PATTERNS)]))
        found[kind] = render(edited, 96, 1).crop((28, 28, 68, 68))
    for setting in SETTINGS:
        for time in TIMES:
            found[f"{setting}.{time}"] = backdrop(setting, time, 96, 0)
    coarse = {k: v.resize((8, 8), Image.Resampling.BOX) for k, v in found.items()}
    return {name: np.asarray(v).ravel().tolist() for name, v in coarse.items()}


def test_looks_have_not_changed() -> None:
    """Trained models know these pictures: whoever changes the looks must train again.

    After a wanted change, write the result of ``looks()`` to the fixture.
    """
    kept = json.loads(LOOKS.read_text())
    now = looks()
    assert set(kept) == set(now)
    for name, values in now.items():
        gap = np.abs(np.array(values) - np.array(kept[name]))
        assert gap.mean() <= 1.0, name
        assert gap.max() <= 12, name
