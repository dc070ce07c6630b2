from __future__ import annotations

import io
import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from chatsearcher.data.contrastive import (
    ContrastiveBatch,
    ContrastiveBatches,
    build_contrastive_source,
    encode_texts,
)
from chatsearcher.data.records import ContrastiveConfig, SourceConfig
from chatsearcher.model.processing import ChatSearcherProcessor
from chatsearcher.world.choices import right_answers
from chatsearcher.world.scene import Scene

WORLD = ContrastiveConfig(batch=16, group=4, image_size=32, workers=0)


def first(config: ContrastiveConfig, tokenizer: object, *ranks: int) -> ContrastiveBatch:
    return next(iter(build_contrastive_source(config, tokenizer, *ranks)))  # type: ignore[arg-type]


def scene(key: str) -> Scene:
    return Scene.from_key(key.rpartition("#")[0])


def test_groups_differ_in_one_attribute_and_nothing_comes_twice(
    processor: ChatSearcherProcessor,
) -> None:
    source = build_contrastive_source(WORLD, processor.tokenizer)
    for batch in itertools.islice(source, 5):
        scenes = [scene(key) for key in batch.keys]
        assert len({each.key for each in scenes}) == 16
        assert len({tuple(row.tolist()) for row in batch.input_ids}) == 16
        for start in range(0, 16, 4):
            nearby = {scenes[start].apply(edit).key for edit in scenes[start].edits()}
            assert {each.key for each in scenes[start + 1 : start + 4]} <= nearby


def test_doubles_are_drawn_again_the_same_on_every_rank(
    processor: ChatSearcherProcessor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With every second group equal to the one before, the batch still holds no double."""
    made = [ContrastiveBatches(WORLD, processor.tokenizer, rank, 2, 0) for rank in range(2)]
    for each in made:
        group = each.groups.group
        monkeypatch.setattr(each.groups, "group", lambda n, g=group: g(n - n % 2 if n < 99 else n))
    keys = [key for each in made for key in each(0).batch.keys]
    assert len({scene(key).key for key in keys}) == 16


def test_ranks_share_the_global_batch_by_whole_groups(processor: ChatSearcherProcessor) -> None:
    whole = first(WORLD, processor.tokenizer)
    parts = [first(WORLD, processor.tokenizer, rank, 2) for rank in range(2)]
    assert parts[0].keys + parts[1].keys == whole.keys
    assert torch.equal(torch.cat([p.pixel_values for p in parts]), whole.pixel_values)


def test_the_world_knows_the_answers_of_its_pictures_and_shards_have_none(
    two_sets: ContrastiveConfig, processor: ChatSearcherProcessor
) -> None:
    batch = first(WORLD, processor.tokenizer)
    assert batch.answers.tolist() == [right_answers(scene(key)) for key in batch.keys]
    assert first(two_sets, processor.tokenizer).answers.shape == (12, 0)


def test_texts_are_framed_cut_and_padded(processor: ChatSearcherProcessor) -> None:
    tokenizer = processor.tokenizer
    ids, mask = encode_texts(tokenizer, ["a red cat", "a " * 50, "</s>"], 12)
    assert ids.shape == mask.shape == (3, 12)
    bos, eos, pad = tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id
    assert bool((ids[:, 0] == bos).all())
    for row, seen in zip(ids, mask, strict=True):
        length = int(seen.sum())
        assert row[length - 1] == eos
        assert bool((row[length:] == pad).all())
        assert bool((row[: length - 1] != eos).all()), "typed special tokens stay letters"
    assert mask[1].sum() == 12


def test_a_batch_must_fit_groups_and_ranks(processor: ChatSearcherProcessor) -> None:
    for config, ranks in ((replace(WORLD, batch=18), 1), (WORLD, 5)):
        with pytest.raises(ValueError, match="in groups of 4 cannot be shared"):
            build_contrastive_source(config, processor.tokenizer, 0, ranks)


def test_shards_give_no_two_near_duplicates_or_equal_words(
    tmp_path: Path, entries: Callable, write_shard: Callable, processor: ChatSearcherProcessor
) -> None:
    files = [
        e
        for n in range(8)
        for e in entries(f"a{n}", f"words {n}", colour=n, dup_group=f"g{n // 2}")
    ]
    files += [
        e
        for n in range(4)
        for e in entries(f"b{n}", "the same words", colour=90 + n, dup_group=f"h{n}")
    ]
    write_shard(tmp_path / "train-0.tar", files)
    config = ContrastiveConfig(
        kind="shards",
        sources={"few": SourceConfig("shard-pairs", path=str(tmp_path))},
        alike={"few": "dup_group"},
        batch=5,
        image_size=32,
        workers=0,
    )
    source = build_contrastive_source(config, processor.tokenizer)
    seen = set()
    for batch in itertools.islice(source, 30):
        names = [key.split("/")[-1] for key in batch.keys]
        groups = [f"g{int(name[1]) // 2}" if name[0] == "a" else "same words" for name in names]
        assert len(set(groups)) == 5
        seen |= set(names)
    assert len(seen) == 12
    with pytest.raises(ValueError, match="12 records of 'few' are too few for batches of 7"):
        build_contrastive_source(replace(config, batch=7), processor.tokenizer)
    with pytest.raises(ValueError, match="alike names 'many', which is no source"):
        build_contrastive_source(replace(config, alike={"many": "key"}), processor.tokenizer)
    with pytest.raises(ValueError, match="the mix has no source"):
        build_contrastive_source(replace(config, sources={}, alike={}), processor.tokenizer)


@pytest.fixture
def two_sets(tmp_path: Path, entries: Callable, write_shard: Callable) -> ContrastiveConfig:
    """Thirty pictures of one colour each in ``plain``; in ``twins`` each picture comes twice."""
    for name, colour in (("plain", lambda n: n), ("twins", lambda n: 100 + n // 2)):
        (tmp_path / name).mkdir()
        for split in ("train", "val"):
            files = [e for n in range(30) for e in entries(f"k{n}", f"{name} {n}", colour(n))]
            write_shard(tmp_path / name / f"{split}-0.tar", files)
    sources = {
        "plain": SourceConfig("shard-pairs", 2, path=str(tmp_path / "plain")),
        "twins": SourceConfig("shard-pairs", 1, path=str(tmp_path / "twins")),
    }
    return ContrastiveConfig(kind="shards", sources=sources, batch=12, image_size=32, workers=0)


def test_two_sets_are_mixed_by_their_counts_and_equal_pictures_never_meet(
    two_sets: ContrastiveConfig, processor: ChatSearcherProcessor
) -> None:
    source = build_contrastive_source(two_sets, processor.tokenizer)
    met = set()
    for batch in itertools.islice(source, 20):
        names = [key.partition(":")[0] for key in batch.keys]
        assert names.count("plain") + names.count("twins") == 12
        assert abs(names.count("twins") - 4) <= 2  # a redraw may come from the other set
        twins = [int(key.split("/k")[1]) // 2 for key in batch.keys if key.startswith("twins")]
        assert len(set(twins)) == len(twins)
        met |= set(batch.keys)
    assert len(met) == 60
    held_out = first(replace(two_sets, split="val"), processor.tokenizer)
    assert len(held_out.keys) == 12


def test_crops_change_what_is_seen_of_a_picture_but_not_which_and_not_when_validating(
    two_sets: ContrastiveConfig,
    processor: ChatSearcherProcessor,
    tmp_path: Path,
    write_shard: Callable,
) -> None:
    picture = Image.radial_gradient("L").convert("RGB").resize((60, 40))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    files = []
    for n in range(30):
        files += [(f"k{n}.png", buffer.getvalue() + bytes([n])), (f"k{n}.txt", b"%d" % n)]
    for split in ("train", "val"):
        write_shard(tmp_path / f"{split}-0.tar", files)
    config = replace(two_sets, sources={"one": SourceConfig("shard-pairs", path=str(tmp_path))})

    def spread(config: ContrastiveConfig) -> int:
        batch = first(config, processor.tokenizer)
        return len({tuple(pixels.flatten().tolist()) for pixels in batch.pixel_values})

    assert spread(config) == 1, "the same picture under thirty names"
    cropped = replace(config, crop=0.5)
    assert spread(cropped) == 12
    assert spread(replace(cropped, split="val")) == 1
    whole = first(cropped, processor.tokenizer)
    assert whole.keys == first(config, processor.tokenizer).keys
    parts = [first(cropped, processor.tokenizer, rank, 2) for rank in range(2)]
    assert torch.equal(torch.cat([p.pixel_values for p in parts]), whole.pixel_values)
    with pytest.raises(ValueError, match=r"crop is 1.5; expected a share in \(0, 1\]"):
        replace(config, crop=1.5)
