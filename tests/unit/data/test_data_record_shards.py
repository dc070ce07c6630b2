"""Documents and conversations from record shards: at random, and as a stream."""

from __future__ import annotations

import json
import pickle
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chatsearcher.data.loader import build_source
from chatsearcher.data.record_sources import RecordShards
from chatsearcher.data.records import BrokenRecord, DataConfig, SourceConfig
from chatsearcher.data.sources import build
from chatsearcher.data.streaming import RecordStream, StreamSource, open_stream
from chatsearcher.data.tar_index import shard_members
from chatsearcher.dialogue import Dialogue, Image, Text
from chatsearcher.model.processing import ChatSearcherProcessor
from tests.fixtures.published import jpeg, number_of, write_tar

SHARDS, EACH = 6, 5


def conversation(number: int) -> list[tuple[str, bytes]]:
    messages = (
        Dialogue()
        .user(Image(f"p{number}", "0.jpg"), "what is it")
        .assistant(f"number {number}")
        .user("another")
        .assistant(Image(f"q{number}", "1.jpg"))
        .to_messages()
    )
    key = f"train-{number:04}"
    about = json.dumps({"id": key, "messages": messages})
    return [
        (f"{key}.0.jpg", jpeg(number)),
        (f"{key}.1.jpg", jpeg(number + 1)),
        (f"{key}.json", about.encode()),
    ]


def document(number: int) -> list[tuple[str, bytes]]:
    images = [{"path": f"{k}.jpg", "id": f"d{number}/{k}", "text": 2 * k} for k in range(2)]
    about = {"id": f"{number}", "texts": [f"s{number} {k}" for k in range(4)], "images": images}
    key = f"{number:04}"
    files = [(f"{key}.{k}.jpg", jpeg(number + k)) for k in range(2)]
    return [*files, (f"{key}.json", json.dumps(about).encode())]


def write(
    folder: Path, make: Callable[[int], list[tuple[str, bytes]]], split: str = "train"
) -> Path:
    for shard in range(SHARDS):
        numbers = range(shard * EACH, (shard + 1) * EACH)
        members = [member for number in numbers for member in make(number)]
        write_tar(folder / f"{split}-{shard:06}.tar", members)
    return folder


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("talk"), conversation)


@pytest.fixture(scope="module")
def stories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("stories"), document)


def config(folder: Path, kind: str = "shard-conversations", **more: Any) -> SourceConfig:
    return SourceConfig(kind, path=str(folder), **more)


def test_every_epoch_holds_every_record_once_in_an_order_of_its_own(talk: Path) -> None:
    source = build(config(talk), 3, 16)
    assert isinstance(source, RecordShards)
    size = SHARDS * EACH
    epochs = [[source.item(e * size + n).key for n in range(size)] for e in range(3)]
    for epoch in epochs:
        assert len(set(epoch)) == size
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert [source.item(n).key for n in (40, 3, 40)] == [epochs[1][10], epochs[0][3], epochs[1][10]]
    assert build(config(talk), 4, 16).item(0).key != epochs[0][0] or size > 1
    copy = pickle.loads(pickle.dumps(source))  # noqa: S301 - our own bytes
    assert copy.item(7).content == source.item(7).content


def test_conversations_and_their_pictures(talk: Path) -> None:
    source = RecordShards(config(talk), 0, 16)
    for index in range(12):
        record = source.item(index)
        assert isinstance(record.content, Dialogue)
        number = int(record.key[-4:])
        assert record.content.turns[1].text == f"number {number}"
        assert number_of(record.load(f"p{number}")) == number
        assert number_of(record.load(f"q{number}")) == number + 1


def test_documents_put_each_picture_before_or_after_its_own_sentence(stories: Path) -> None:
    source = RecordShards(config(stories, "shard-documents"), 0, 16)
    seen: Counter[tuple[int, bool]] = Counter()
    for index in range(90):
        record = source.item(index)
        parts = record.content
        assert isinstance(parts, tuple)
        number = int(record.key[-4:])
        texts = [part.text for part in parts if isinstance(part, Text)]
        assert texts == [f"s{number} {k}" for k in range(4)]
        for k in range(2):
            place = parts.index(Image(f"d{number}/{k}", f"{k}.jpg"))
            sentence = parts.index(Text(f"s{number} {2 * k}"))
            assert abs(place - sentence) == 1
            seen[k, place < sentence] += 1
            assert number_of(record.load(f"d{number}/{k}")) == number + k
    assert all(20 < seen[k, before] < 70 for k in range(2) for before in (True, False))


def picture(**about: Any) -> dict[str, Any]:
    return {"texts": ["a"], "images": [about]}


TALK, STORY = "shard-conversations", "shard-documents"


@pytest.mark.parametrize(
    ("about", "kind", "reason"),
    [
        ({"messages": []}, TALK, "no assistant's turn"),
        ({"text": "x"}, TALK, "missing 'messages'"),
        ({"messages": [{"role": "user"}]}, TALK, "missing key 'content'"),
        ({"texts": ["a"]}, STORY, "is it a document"),
        (picture(path="0.jpg", id="i", text=1), STORY, "sentence 1 of 1"),
        (picture(path="0.jpg"), STORY, "picture without 'id'"),
        (picture(path="5.jpg", id="i", text=0), STORY, "no member of it"),
        ({"texts": [" "], "images": []}, STORY, "empty"),
        (None, STORY, "JSON is broken"),
    ],
)
def test_broken_records_say_what_is_wrong(
    tmp_path: Path, about: Any, kind: str, reason: str
) -> None:
    data = b"{" if about is None else json.dumps(about).encode()
    write_tar(tmp_path / "train-0.tar", [("a.0.jpg", jpeg()), ("a.json", data)])
    source = RecordShards(config(tmp_path, kind), 0, 16)
    with pytest.raises(BrokenRecord, match=reason):
        source.item(0)


def test_a_listed_count_is_believed_only_where_the_size_fits(talk: Path, tmp_path: Path) -> None:
    folder = write(tmp_path / "x", conversation)
    shards = sorted(folder.glob("*.tar"))
    lines = [
        {"name": path.name, "records": 2, "bytes": path.stat().st_size + (n == 0)}
        for n, path in enumerate(shards)
    ]
    (folder / "shards.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    source = RecordShards(config(folder), 0, 16)
    assert source.counts == [EACH] + [2] * (SHARDS - 1)


def test_a_shard_that_was_cut_off_is_reported(talk: Path, tmp_path: Path) -> None:
    folder = write(tmp_path / "x", conversation)
    path = folder / "train-000000.tar"
    path.write_bytes(path.read_bytes()[:3000])
    source = RecordShards(config(folder), 0, 16)
    assert source.size == (SHARDS - 1) * EACH + len(shard_members(path).records)
    assert [remark.key for remark in source.remarks] == [str(path)]
    assert shard_members(path).problem


def test_where_is_not_for_documents(stories: Path) -> None:
    with pytest.raises(ValueError, match="for shard-pairs"):
        RecordShards(config(stories, "shard-documents", where={"a": ("b",)}), 0, 16)
    with pytest.raises(ValueError, match="needs path="):
        RecordShards(SourceConfig("shard-documents"), 0, 16)


# As a stream.


@pytest.mark.parametrize("world_size", [1, 2, 3, 4])
def test_ranks_share_an_epoch_out_without_loss_or_double(talk: Path, world_size: int) -> None:
    pytest.importorskip("datasets")
    paths = sorted(talk.glob("*.tar"))
    places = [
        (place["shard"], place["record"])
        for rank in range(world_size)
        for place in open_stream(paths, "order", rank, world_size)
    ]
    assert len(places) == len(set(places)) == SHARDS * EACH
    again = [tuple(place.values()) for place in open_stream(paths, "order", 0, world_size)]
    other = [tuple(place.values()) for place in open_stream(paths, "another", 0, world_size)]
    assert again == places[: len(again)]
    assert again != other


def test_a_stream_goes_through_epoch_after_epoch_and_resumes_anywhere(talk: Path) -> None:
    pytest.importorskip("datasets")
    size = SHARDS * EACH

    def fresh() -> RecordStream:
        return RecordStream(config(talk), 5)

    source = fresh()
    keys, states = [], []
    for _ in range(2 * size + 7):
        states.append(json.loads(json.dumps(source.state_dict())))
        keys.append(source.item(0).key)
    assert len(set(keys[:size])) == size
    assert sorted(keys[:size]) == sorted(keys[size : 2 * size])
    assert keys[:size] != keys[size : 2 * size]
    for start in (0, 1, 4, 5, 6, 17, size - 1, size, size + 1, 2 * size + 3):
        resumed = fresh()
        resumed.load_state_dict(states[start])
        wanted = keys[start : start + 7]
        assert [resumed.item(0).key for _ in wanted] == wanted


def mix(talk: Path, stories: Path, workers: int, **more: Any) -> DataConfig:
    return DataConfig(
        sources={
            "talk": config(talk, count=2),
            "stories": config(stories, "shard-documents", count=1),
        },
        length=96,
        workers=workers,
        reader="stream",
        **more,
    )


def batches(source: Any, count: int) -> list[Any]:
    stream = iter(source)
    return [next(stream) for _ in range(count)]


@pytest.mark.parametrize("workers", [0, 2])
def test_training_resumes_a_stream_in_the_middle_of_an_epoch(
    talk: Path, stories: Path, processor: ChatSearcherProcessor, workers: int
) -> None:
    """The very batches of a run that was not stopped, from any step, across the epoch's end."""
    pytest.importorskip("datasets")
    pytest.importorskip("torchdata")
    from chatsearcher.training.checkpoints import _write_plain

    def fresh() -> StreamSource:
        source = build_source(mix(talk, stories, workers), processor, 1, 2, seed=9)
        assert isinstance(source, StreamSource)
        return source

    whole = fresh()
    wanted, states = [], []
    stream = iter(whole)
    for _ in range(13):
        states.append(whole.state_dict())
        wanted.append(next(stream))
    keys = [batch.keys for batch in wanted]
    for start in (0, 1, 2, 5, 8):
        resumed = fresh()
        if start:
            resumed.load_state_dict(states[start])
        found = batches(resumed, 4)
        assert [batch.keys for batch in found] == keys[start : start + 4]
        for one, two in zip(found, wanted[start:], strict=False):
            assert one.input_ids.equal(two.input_ids)
            assert one.pixel_values.equal(two.pixel_values)
    _write_plain(states[5], talk.parent / f"state-{workers}.pt")  # as a checkpoint keeps it


def test_ranks_and_workers_see_each_record_once_in_an_epoch(
    talk: Path, stories: Path, processor: ChatSearcherProcessor
) -> None:
    pytest.importorskip("datasets")
    pytest.importorskip("torchdata")
    seen: Counter[str] = Counter()
    data = DataConfig(
        {"talk": config(talk, count=2)}, length=96, workers=3, reader="stream", batch=2
    )
    for rank in range(2):
        # 15 records a rank, one a batch, five a worker: three rounds of five
        source = build_source(data, processor, rank, 2, seed=1)
        seen.update(key for batch in batches(source, 15) for key in batch.keys)
    assert len(seen) == SHARDS * EACH
    assert set(seen.values()) == {1}


def test_pairs_stream_with_their_filters(tmp_path: Path, processor: ChatSearcherProcessor) -> None:
    pytest.importorskip("datasets")
    records = []
    for n in range(12):
        about = {"kind": "photo" if n % 3 else "chart", "share": n / 12}
        records += [
            (f"{n:03}.jpg", jpeg(n)),
            (f"{n:03}.txt", f"words {n}".encode()),
            (f"{n:03}.json", json.dumps(about).encode()),
        ]
    write_tar(tmp_path / "p" / "train-0.tar", records)
    chosen = config(tmp_path / "p", "shard-pairs", where={"kind": ("photo",)}, below={"share": 0.5})
    source = RecordStream(chosen, 0)
    found = [source.item(0) for _ in range(8)]
    numbers = [int(record.key[-3:]) for record in found]
    assert sorted(numbers[:4]) == sorted(numbers[4:]) == [1, 2, 4, 5]
    for number, record in zip(numbers, found, strict=True):
        (image,) = [part for part in record.content if isinstance(part, Image)]  # type: ignore[union-attr]
        assert Text(f"words {number}") in record.content  # type: ignore[operator]
        assert number_of(record.load(image.id)) == number
    nothing = RecordStream(config(tmp_path / "p", "shard-pairs", where={"kind": ("none",)}), 0)
    with pytest.raises(ValueError, match="no record of p/train"):
        nothing.item(0)


def test_settings_that_cannot_work_are_errors(
    talk: Path, stories: Path, processor: ChatSearcherProcessor
) -> None:
    pytest.importorskip("datasets")
    with pytest.raises(ValueError, match="cannot be streamed; reader='stream' reads"):
        build_source(DataConfig({"w": SourceConfig("world-pairs")}, reader="stream"), processor)
    with pytest.raises(ValueError, match="every worker needs a shard of its own"):
        build_source(mix(talk, stories, workers=4), processor, 0, 3)
    source = build_source(mix(talk, stories, workers=0), processor)
    other = build_source(mix(talk, stories, workers=2), processor)
    with pytest.raises(ValueError, match="ranks x workers have changed"):
        other.load_state_dict(source.state_dict())
