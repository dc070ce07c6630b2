from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from chatsearcher.data.loader import BatchSource, build_source
from chatsearcher.data.records import DataConfig, DataReport, Remark, SourceConfig
from chatsearcher.model.batch import Batch
from chatsearcher.model.processing import ChatSearcherProcessor

WORLD = DataConfig(
    {
        "pairs": SourceConfig("world-pairs", count=3),
        "documents": SourceConfig("world-documents", count=1),
    },
    length=300,
    image_size=32,
    workers=0,
)


def take(source: BatchSource, number: int) -> list[Batch]:
    return list(itertools.islice(source, number))


def same(one: Batch, other: Batch) -> bool:
    return one.keys == other.keys and all(
        torch.equal(a, b) for (_, a), (_, b) in zip(one.tensors(), other.tensors(), strict=True)
    )


def test_workers_change_nothing(processor: ChatSearcherProcessor) -> None:
    plain = take(build_source(WORLD, processor, seed=1), 4)
    ahead = take(build_source(replace(WORLD, workers=2), processor, seed=1), 4)
    assert all(same(a, b) for a, b in zip(plain, ahead, strict=True))
    assert not same(plain[0], plain[1])
    assert not same(plain[0], take(build_source(WORLD, processor, seed=2), 1)[0])


@pytest.mark.parametrize("workers", [0, 1])
def test_a_resumed_source_goes_on_with_the_next_batch(
    processor: ChatSearcherProcessor, workers: int
) -> None:
    whole = take(build_source(WORLD, processor), 5)
    config = replace(WORLD, workers=workers)
    first = build_source(config, processor)
    stream = iter(first)
    for _ in range(2):
        next(stream)
    state = first.state_dict()
    second = build_source(config, processor)
    second.load_state_dict(state)
    assert all(same(a, b) for a, b in zip(whole[2:], take(second, 3), strict=True))
    assert second.state_dict()["step"] == 5


def test_reading_leaves_the_global_random_state_alone(processor: ChatSearcherProcessor) -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    take(build_source(WORLD, processor), 1)
    assert torch.equal(before, torch.get_rng_state())


def test_a_state_of_other_data_is_refused(processor: ChatSearcherProcessor) -> None:
    state = build_source(WORLD, processor).state_dict()
    build_source(replace(WORLD, workers=3), processor).load_state_dict(state)
    for other in (
        build_source(WORLD, processor, seed=1),
        build_source(replace(WORLD, batch=8), processor),
    ):
        with pytest.raises(ValueError, match="the data settings or the seed have changed"):
            other.load_state_dict(state)


@pytest.mark.parametrize("ranks", [2, 4])
def test_the_ranks_share_the_global_batch(processor: ChatSearcherProcessor, ranks: int) -> None:
    whole = take(build_source(WORLD, processor), 2)[1]
    parts = [take(build_source(WORLD, processor, r, ranks), 2)[1] for r in range(ranks)]
    assert [key for part in parts for key in part.keys] == whole.keys
    assert torch.equal(torch.cat([part.pixel_values for part in parts]), whole.pixel_values)
    assert torch.equal(torch.cat([part.image_ids for part in parts]), whole.image_ids)
    assert sum(int((p.labels >= 0).sum()) for p in parts) == int((whole.labels >= 0).sum())


def test_more_ranks_than_items_are_refused(processor: ChatSearcherProcessor) -> None:
    with pytest.raises(ValueError, match="4 items cannot be shared by 5 ranks"):
        build_source(WORLD, processor, 0, 5)


def test_stage_1_learns_every_word_and_every_picture_that_something_stands_before(
    processor: ChatSearcherProcessor,
) -> None:
    batch = take(build_source(WORLD, processor), 1)[0]
    places = batch.position_ids[tuple(batch.image_positions.T)]
    assert torch.equal(batch.image_targets, places > 1), "at 1, after <s>, nothing is known"
    assert 0 < int(batch.image_targets.sum()) < len(places)
    image, bos = processor.tokenizer.convert_tokens_to_ids(["<image>", "<s>"])
    learned = batch.labels >= 0
    silent = (batch.segment_ids == 0) | (batch.input_ids == image) | (batch.input_ids == bos)
    assert torch.equal(learned, ~silent)
    assert torch.equal(batch.labels[learned], batch.input_ids[learned])


def test_pictures_come_before_and_after_their_words(processor: ChatSearcherProcessor) -> None:
    start = processor.tokenizer.convert_tokens_to_ids("[IMG]")
    config = replace(WORLD, sources={"pairs": SourceConfig("world-pairs", count=32)}, pack=False)
    batch = take(build_source(config, processor), 1)[0]
    first = (batch.input_ids[:, 1] == start).sum()
    assert 6 <= first <= 26


def shards(folder: Path, entries: Callable, write_shard: Callable) -> DataConfig:
    broken = [("bad.webp", b"RIFF\x00nonsense"), ("bad.txt", b"words")]
    files = [entry for n in range(5) for entry in entries(f"k{n}")]
    write_shard(folder / "train-0.tar", files + broken)
    source = SourceConfig("shard-pairs", count=6, path=str(folder))
    return DataConfig({"pairs": source}, length=200, image_size=32, workers=0)


@pytest.mark.parametrize("workers", [0, 1])
def test_broken_records_are_counted_and_nothing_takes_their_place(
    tmp_path: Path,
    entries: Callable,
    write_shard: Callable,
    processor: ChatSearcherProcessor,
    workers: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    config = replace(shards(tmp_path, entries, write_shard), workers=workers)
    source = build_source(config, processor)
    batches = take(source, 3)  # six records a step: three epochs
    for batch in batches:
        assert sorted(key[-2:] for key in batch.keys) == ["k0", "k1", "k2", "k3", "k4"]
    assert source.report.counts == {"skipped": 3}
    assert [r.key for r in source.report.remarks.values()] == [f"{tmp_path.name}/train/bad"]
    assert caplog.text.count("skipped ") == 1, "logged once, however many epochs meet it"
    assert source.report.summary().startswith("skipped: 3 times, 1 different items\n  ")


def test_a_step_of_broken_records_alone_still_makes_a_batch(
    tmp_path: Path, write_shard: Callable, processor: ChatSearcherProcessor
) -> None:
    write_shard(tmp_path / "train-0.tar", [("a.webp", b"no picture"), ("a.txt", b"words")])
    source = SourceConfig("shard-pairs", count=2, path=str(tmp_path))
    batch = take(build_source(DataConfig({"x": source}, length=64, workers=0), processor), 1)[0]
    assert bool((batch.labels == -100).all())
    assert len(batch.pixel_values) == 0
    assert int((batch.segment_ids > 0).sum()) >= 1


def test_the_report_keeps_each_key_once_and_says_how_many_are_left_out() -> None:
    report = DataReport()
    remarks = [Remark(f"k{n % 30}", "skipped", "broken") for n in range(60)]
    assert len(report.add(remarks)) == 30
    lines = report.summary(limit=20).splitlines()
    assert lines[0] == "skipped: 60 times, 30 different items"
    assert len(lines) == 22
    assert lines[-1] == "  … and 10 more"
    assert DataReport().summary() == ""
