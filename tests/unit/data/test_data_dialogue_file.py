from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pictures

from chatsearcher.data.dialogue_file import DialogueFile
from chatsearcher.data.records import BrokenRecord, Record, SourceConfig
from chatsearcher.dialogue import Dialogue, Image, write_jsonl


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "set").mkdir()
    for number in range(3):
        Pictures.new("RGB", (8, 8), (80 * number, 0, 0)).save(tmp_path / f"set/{number}.png")
    Pictures.new("RGB", (8, 8)).save(tmp_path / "outside.png")
    dialogues = [
        Dialogue(id=f"d{n}").user(f"number {n}").assistant(Image(f"p{n}", path=f"{n}.png"))
        for n in range(3)
    ]
    write_jsonl(tmp_path / "set/train.jsonl", dialogues)
    return tmp_path / "set"


def source(folder: Path, *lines: Any) -> DialogueFile:
    if lines:
        text = "\n\n".join(x if isinstance(x, str) else json.dumps(x) for x in lines)
        (folder / "train.jsonl").write_text(text)
    return DialogueFile(SourceConfig("dialogues", path=str(folder)), 0, 32)


def test_every_dialogue_comes_once_an_epoch_with_its_picture(folder: Path) -> None:
    reader = source(folder)
    records: list[Record] = [reader.item(index) for index in range(6)]
    for epoch in (records[:3], records[3:]):
        assert sorted(r.content.id for r in epoch) == ["d0", "d1", "d2"]  # type: ignore
    for record in records:
        assert isinstance(record.content, Dialogue)
        number = int(record.content.turns[0].text[-1])
        assert record.key == f"train.jsonl:{number + 1}"
        assert record.load(f"p{number}").getpixel((0, 0)) == (80 * number, 0, 0)


ANSWER = {"role": "assistant", "content": "yes"}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "Expecting property name"),
        ("7", "expected an object or a list, got int"),
        ({"dialogue": []}, "missing key 'messages'"),
        ([{"role": "robot", "content": "x"}], "unknown role 'robot'"),
        ([{"role": "user", "content": "x"}], "no assistant's turn"),
    ],
)
def test_bad_lines_are_broken_records_named_by_number(folder: Path, line: Any, reason: str) -> None:
    reader = source(folder, [ANSWER], line)
    keys = {}
    for index in range(2):
        try:
            keys[reader.item(index).key] = ""
        except BrokenRecord as error:
            keys[error.key] = error.reason
    assert keys["train.jsonl:1"] == ""
    assert reason in keys["train.jsonl:3"], "blank lines count"


@pytest.mark.parametrize(
    ("path", "reason"),
    [("../outside.png", "lies outside"), ("none.png", "no such picture"), (None, "has no")],
)
def test_pictures_that_cannot_be_had_are_named(folder: Path, path: str | None, reason: str) -> None:
    part = {"type": "image", "id": "x", **({} if path is None else {"path": path})}
    record = source(folder, [{"role": "assistant", "content": [part]}]).item(0)
    with pytest.raises(BrokenRecord, match=reason):
        record.load("x")


def test_a_missing_or_empty_file_is_an_error(folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"val\.jsonl"):
        DialogueFile(SourceConfig("dialogues", path=str(folder), split="val"), 0, 32)
    with pytest.raises(ValueError, match="holds no dialogue"):
        source(folder, "\n")
