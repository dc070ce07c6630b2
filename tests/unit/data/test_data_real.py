"""The sets of real pictures, on shards of the same shape; on the real ones where they are."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from chatsearcher.data import real
from chatsearcher.data.contrastive import build_contrastive_source
from chatsearcher.data.loader import build_source
from chatsearcher.data.records import SourceConfig
from chatsearcher.dialogue import Image
from chatsearcher.model.processing import ChatSearcherProcessor
from chatsearcher.training.recipes import STAGE1, STAGE2, TOWERS
from chatsearcher.training.tokenizer import texts
from tests.fixtures.real_shards import PER_SPLIT, write_images

ROOT = Path(__file__).resolve().parents[3]
HERE = ROOT.parent / "shared" / "data" / "images"
needs_pictures = pytest.mark.skipif(
    not (HERE / "openstax").is_dir(), reason="no real pictures in ../shared/data/images"
)


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(real.VARIABLE, str(tmp_path))
    return write_images(tmp_path)


def test_figures_are_picture_like_and_near_duplicates_are_no_candidates(images: Path) -> None:
    found = real.load_set("real-openstax")
    assert len(found.gallery) == len(found.queries) == PER_SPLIT["test"]  # no diagram
    by_target = {query.target: query for query in found.queries}
    assert by_target["openstax/test/f0"].exclude == {"openstax/test/f1"}
    assert by_target["openstax/test/f1"].exclude == {"openstax/test/f0"}
    assert by_target["openstax/test/f2"].exclude == frozenset()
    assert by_target["openstax/test/f2"].dialogue.text == "A blue wall 2"
    assert real.load_picture("openstax/test/f2").getpixel((5, 5)) == (30, 60, 220)
    assert len(real.load_set("real-openstax-val").queries) == PER_SPLIT["val"]


def test_emoji_that_look_alike_are_one_picture(images: Path) -> None:
    found = real.load_set("real-openmoji")
    families = PER_SPLIT["test"] // 6
    assert len(found.gallery) == 6 * families
    assert len(found.queries) == 7 * families
    named = {query.id: query for query in found.queries}
    grey, ash = named["openmoji/test/0-grey"], named["openmoji/test/0-ash"]
    assert grey.target == ash.target == "openmoji/test/0-grey"
    assert len(grey.neighbours) == 5
    assert set(grey.neighbours) < set(found.gallery)
    assert all(name.startswith("openmoji/test/0-") for name in grey.neighbours)


def test_an_edit_leaves_its_reference_out_and_shows_it(images: Path) -> None:
    found = real.load_set("real-edits")
    assert len(found.queries) == 5 * PER_SPLIT["test"] // 6  # ash -> grey changes nothing
    query = next(query for query in found.queries if query.id == "0-red+0-blue")
    assert query.exclude == {"openmoji/test/0-red"}
    assert [image.id for image in query.dialogue.images] == ["openmoji/test/0-red"]
    assert query.dialogue.text == "blue blue"
    assert query.target == "openmoji/test/0-blue"
    assert len(query.neighbours) == 4
    assert not query.exclude & {query.target, *query.neighbours}


def test_unknown_sets_and_missing_pictures_say_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="unknown set 'real'; expected real-openstax"):
        real.load_set("real")
    monkeypatch.setenv(real.VARIABLE, str(tmp_path / "nowhere"))
    for name in ("real-openstax", "real-openmoji", "real-edits"):
        with pytest.raises(FileNotFoundError, match=r"nowhere.*say in CHATSEARCHER_IMAGES"):
            real.load_set(name)


def moved(source: SourceConfig, images: Path) -> SourceConfig:
    """A recipe's source, read from another folder."""
    assert source.path is not None
    return dataclasses.replace(source, path=str(images / Path(source.path).name))


def test_the_recipes_read_shards_of_this_shape(
    images: Path, processor: ChatSearcherProcessor
) -> None:
    tower = TOWERS["nano-real-tower"]
    sources = {name: moved(source, images) for name, source in tower.data.sources.items()}
    data = dataclasses.replace(tower.data, sources=sources, batch=12, workers=0)
    batch = next(iter(build_contrastive_source(data, processor.tokenizer)))
    assert sorted({key.partition(":")[0] for key in batch.keys}) == ["openmoji", "openstax"]
    assert len(batch.keys) == 12

    settings = dataclasses.replace(
        tower.tokenizer,
        sources={
            name: dataclasses.replace(moved(source, images), count=40)
            for name, source in tower.tokenizer.sources.items()
        },
    )
    words = list(texts(settings))
    assert any("train book" in each for each in words)
    assert any(each.startswith("USER: ") for each in words)
    assert not any("diagram" in each for each in words)

    for recipe in (STAGE1["nano-real"], STAGE2["nano-real"]):
        sources = {name: moved(source, images) for name, source in recipe.data.sources.items()}
        data = dataclasses.replace(recipe.data, sources=sources, workers=0)
        source = build_source(data, processor)
        batch = next(iter(source))
        assert source.report.summary() == ""
        assert len(batch.keys) == sum(each.count for each in sources.values())
        assert {key.split("/")[0] for key in batch.keys} == {"openstax", "openmoji"}
        assert bool(batch.image_targets.any())


@needs_pictures
def test_the_real_sets_hold_what_the_docs_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(real.VARIABLE, str(HERE))
    sizes = {"real-openstax": (431, 431), "real-openmoji": (353, 381), "real-edits": (353, 660)}
    for name, (gallery, queries) in sizes.items():
        found = real.load_set(name)
        assert (len(found.gallery), len(found.queries)) == (gallery, queries)
        assert len(set(found.gallery)) == gallery
        for query in found.queries:
            assert {query.target, *query.neighbours} <= set(found.gallery)
            assert not query.exclude & {query.target, *query.neighbours}
    held_out = {query.target for query in real.load_set("real-openmoji").queries}
    for pair in real.load_set("real-edits").queries:
        assert pair.target in held_out
        assert all(isinstance(image, Image) for image in pair.dialogue.images)


@needs_pictures
def test_no_test_picture_is_a_training_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    from chatsearcher.data.shards import find_shards, open_shards

    for name in ("openstax", "openmoji"):
        marks = {}
        for split in ("train", "test"):
            shards = open_shards(find_shards(HERE / name, split))
            marks[split] = {shards.picture_hash(record) for record in range(len(shards))}
            marks[split] |= set(shards.keys)
        assert not marks["train"] & marks["test"]
