from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsearcher.data.records import BrokenRecord, SourceConfig
from chatsearcher.data.shard_sources import (
    Modifications,
    ShardDialogues,
    ShardPairs,
    place_in_epoch,
)
from chatsearcher.data.shards import Shards, find_shards, select
from chatsearcher.dialogue import Dialogue, Image, Text

Entries = Callable[..., list[tuple[str, bytes]]]
Write = Callable[[Path, list[tuple[str, bytes]]], Path]


@pytest.fixture
def folder(tmp_path: Path, entries: Entries, write_shard: Write) -> Path:
    """Two train shards of six records each, and one test shard."""
    for number in range(2):
        write_shard(
            tmp_path / f"train-{number:04}.tar",
            [e for n in range(6) for e in entries(f"k{number}{n}", colour=20 * n, even=n % 2 == 0)],
        )
    write_shard(tmp_path / "test-0000.tar", entries("t0"))
    return tmp_path


def config(folder: Path, kind: str = "shard-pairs", **changes: Any) -> SourceConfig:
    return SourceConfig(kind=kind, path=str(folder), **changes)


def test_records_are_read_in_any_order_and_in_another_process(folder: Path) -> None:
    shards = Shards.open(find_shards(folder, "train"))
    assert len(shards) == 12
    copy = pickle.loads(pickle.dumps(shards))  # noqa: S301 - our own bytes
    for each in (shards, copy):
        for record in (11, 0, 7):
            key = shards.keys[record]
            assert each.text(record) == f"words of {key}"
            assert each.metadata(record)["key"] == key
            assert each.picture(record).getpixel((3, 3))[0] == 20 * int(key[-1])
    assert shards.remarks == []


def test_splits_are_chosen_by_name(folder: Path) -> None:
    assert [path.name for path in find_shards(folder, "test")] == ["test-0000.tar"]
    with pytest.raises(FileNotFoundError, match=r"no val\*.tar in .*it holds test-0000.tar"):
        find_shards(folder, "val")
    with pytest.raises(FileNotFoundError, match="no such folder"):
        find_shards(folder / "nowhere")


def test_a_cut_off_shard_loses_its_last_record_only(folder: Path) -> None:
    whole = Shards.open([folder / "train-0000.tar"])
    data = (folder / "train-0000.tar").read_bytes()
    for record in range(1, 6):
        # cut inside the next picture's bytes, and inside its header
        offset = whole._where[record * 6]
        for end in (offset + 10, offset - 100):
            cut = folder / "cut.tar"
            cut.write_bytes(data[:end])
            shards = Shards.open([cut])
            assert shards.keys == whole.keys[:record]
            assert shards.remarks, "a loss is reported"
            assert shards.text(record - 1) == whole.text(record - 1)


def test_a_shard_that_is_no_tar_file_is_an_error(folder: Path) -> None:
    (folder / "bad.tar").write_bytes(b"PK\x03\x04" + b"x" * 2000)
    with pytest.raises(ValueError, match=r"bad.tar: not an uncompressed tar file"):
        Shards.open([folder / "bad.tar"])


def test_two_records_of_one_key_are_an_error(
    tmp_path: Path, entries: Entries, write_shard: Write
) -> None:
    paths = [write_shard(tmp_path / f"{n}.tar", entries("same")) for n in range(2)]
    with pytest.raises(ValueError, match="two records have the key 'same'"):
        Shards.open(paths)


def test_broken_records_are_named_one_by_one(
    tmp_path: Path, entries: Entries, write_shard: Write
) -> None:
    good = entries("good", "a cat")
    files = [
        *good,
        ("nopicture.txt", b"words"),
        ("halfpicture.webp", good[0][1][:25]),
        ("halfpicture.txt", b"words"),
        ("badtext.webp", good[0][1]),
        ("badtext.txt", b"\xff\xfe\x00"),
        ("badjson.webp", good[0][1]),
        ("badjson.json", b"{"),
        ("nowords.webp", good[0][1]),
    ]
    shards = Shards.open([write_shard(tmp_path / "train-0.tar", files)])
    assert [(r.key, r.kind) for r in shards.remarks] == [("nopicture", "skipped")]
    number = {key: n for n, key in enumerate(shards.keys)}
    assert shards.picture(number["good"]).size == (20, 16)
    with pytest.raises(BrokenRecord, match=r"^halfpicture: "):
        shards.picture(number["halfpicture"])
    with pytest.raises(BrokenRecord, match="not UTF-8"):
        shards.text(number["badtext"])
    with pytest.raises(BrokenRecord, match="JSON is broken"):
        shards.metadata(number["badjson"])
    with pytest.raises(BrokenRecord, match="no words in txt"):
        shards.texts(number["nowords"], ["txt"])


def test_words_come_from_the_fields_asked_for_each_once(
    tmp_path: Path, entries: Entries, write_shard: Write
) -> None:
    files = entries("a", "one", captions=["one", " two ", ""], title="three", number=4)
    shards = Shards.open([write_shard(tmp_path / "x.tar", files)])
    assert shards.texts(0, ["txt"]) == ["one"]
    assert shards.texts(0, ["txt", "captions", "title", "number"]) == ["one", "two", "three"]


def test_records_are_chosen_by_their_metadata(
    tmp_path: Path, entries: Entries, write_shard: Write
) -> None:
    files = [
        *entries("a", kind="photo", white=0.1),
        *entries("b", kind="photo", white=0.9),
        *entries("c", kind="chart", white=0.1),
        *entries("d", kind="art"),
    ]
    shards = Shards.open([write_shard(tmp_path / "x.tar", files)])
    assert select(shards, {}, {}) == ([0, 1, 2, 3], [])
    assert select(shards, {"kind": ("photo", "art")}, {}) == ([0, 1, 3], [])
    assert select(shards, {"kind": ("photo", "art")}, {"white": 0.5}) == ([0], [])


def test_a_record_whose_metadata_cannot_be_read_is_left_out_with_a_remark(
    tmp_path: Path, entries: Entries, write_shard: Write
) -> None:
    files = [*entries("a", kind="photo"), *entries("b")[:2], ("b.json", b"[")]
    shards = Shards.open([write_shard(tmp_path / "x.tar", files)])
    chosen, remarks = select(shards, {"kind": ("photo",)}, {})
    assert chosen == [0]
    assert [(remark.key, remark.kind) for remark in remarks] == [("b", "skipped")]


@given(st.integers(min_value=1, max_value=40), st.integers(min_value=0, max_value=3))
def test_every_epoch_visits_all_items_once_in_its_own_order(size: int, seed: int) -> None:
    epochs = [[place_in_epoch(e * size + n, size, seed, "x") for n in range(size)] for e in (0, 1)]
    assert [sorted(order) for order in epochs] == [list(range(size))] * 2
    if size > 20:
        assert epochs[0] != epochs[1]
        assert epochs[0] != list(range(size))
        assert epochs[0] != [place_in_epoch(n, size, seed + 1, "x") for n in range(size)]


def test_pairs_put_the_picture_before_and_after_its_words(folder: Path) -> None:
    source = ShardPairs(config(folder), 0, 16)
    first = set()
    for index in range(40):
        record = source.item(index)
        assert record == source.item(index) or record.content == source.item(index).content
        kinds = {type(part): part for part in record.content}  # type: ignore[union-attr]
        key = kinds[Image].id.split("/")[-1]
        assert kinds[Text].text == f"words of {key}"
        assert record.key.endswith(f"train/{key}")
        assert source.load(kinds[Image].id).getpixel((0, 0))[0] == 20 * int(key[-1])
        first.add(type(record.content[0]))  # type: ignore[index]
    assert first == {Image, Text}


def test_dialogues_ask_both_ways(folder: Path) -> None:
    source = ShardDialogues(config(folder), 0, 16)
    answers = set()
    for index in range(40):
        dialogue = source.item(index).content
        assert isinstance(dialogue, Dialogue)
        user, assistant = dialogue.turns
        assert len(user.images) + len(assistant.images) == 1
        key = dialogue.images[0].id.split("/")[-1]
        assert f"words of {key}" in (assistant.text or user.text)
        answers.add(bool(assistant.images))
    assert answers == {True, False}


def modifications(folder: Path, *lines: Any) -> Modifications:
    (folder / "pairs.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    return Modifications(config(folder, "modifications"), 0, 16)


def pair(reference: str, target: str, split: str = "train") -> dict[str, str]:
    return {"reference": reference, "target": target, "modification": "greener", "split": split}


def test_modifications_are_one_round_from_reference_to_target(folder: Path) -> None:
    source = modifications(folder, pair("k00", "k13"), pair("t0", "t0", "test"))
    assert len(source.pairs) == 1
    dialogue = source.item(5).content
    assert isinstance(dialogue, Dialogue)
    assert [turn.role for turn in dialogue.turns] == ["user", "assistant"]
    assert [image.id.split("/")[-1] for image in dialogue.images] == ["k00", "k13"]
    assert "greener" in dialogue.turns[0].text
    assert source.load(dialogue.images[1].id).getpixel((0, 0))[0] == 60


def test_a_modification_of_an_absent_picture_is_broken(folder: Path) -> None:
    source = modifications(folder, pair("k00", "k99"))
    with pytest.raises(BrokenRecord, match="no target 'k99' in the train shards"):
        source.item(0)


def test_bad_lines_of_modifications_are_numbered(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"pairs.jsonl, line 2: 'modification'"):
        modifications(
            folder, pair("k00", "k01"), {"reference": "a", "target": "b", "split": "train"}
        )
    with pytest.raises(ValueError, match="no pair of the split 'train'"):
        modifications(folder, pair("t0", "t0", "test"))


def test_settings_that_select_nothing_are_errors(folder: Path) -> None:
    with pytest.raises(ValueError, match="needs path="):
        ShardPairs(SourceConfig(kind="shard-pairs"), 0, 16)
    with pytest.raises(ValueError, match="none of the 12 records"):
        ShardPairs(config(folder, where={"key": ("nobody",)}), 0, 16)
