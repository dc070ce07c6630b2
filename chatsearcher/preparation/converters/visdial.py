"""VisDial v1.0: ten questions and answers about a COCO picture that has a caption.

    {"split": "train", "data": {"questions": [string…], "answers": [string…], "dialogs":
     [{"image_id", "caption", "dialog": [{"question": 12, "answer": 7, "answer_options", …}…]}…]}}

A record is a search: the caption and the answers are the user's, the questions the assistant's, and
the last answer is the picture. ``rounds`` in its JSON keeps questions and answers as they were.
Questions and answers stand in two lists of hundreds of thousands; they are looked up on disk.
"""

from __future__ import annotations

import argparse
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from chatsearcher.data.records import SplitName
from chatsearcher.dialogue import Dialogue, Image
from chatsearcher.preparation.command import SetCommand
from chatsearcher.preparation.dialogue_records import array_entries, dialogue_example
from chatsearcher.preparation.json_stream import read_array, read_value
from chatsearcher.preparation.lines import find_files
from chatsearcher.preparation.pictures import Pictures
from chatsearcher.preparation.records import Cursor, Example, Outcome, Reject, Unusable

DIALOGUES = {"train": 123_287, "val": 2_064, "test": 8_000}
"""Dialogues of each split of v1.0, as its authors count them."""


class VisDial:
    """Dialogues of all files, in their order; a file is a split."""

    expected: dict[str, int]

    def __init__(self, files: Sequence[Path]) -> None:
        self.name = "visdial"
        self.inputs = files
        self.shards: Sequence[Path] = ()
        self.splits = {path: _split(path) for path in files}
        found = self.splits.values()
        self.expected = {f"dialogues {split}": DIALOGUES[split] for split in found}

    def facts(self) -> dict[str, int]:
        return {}

    def outcomes(self, start: Cursor | None, pictures: Pictures) -> Iterator[Outcome]:
        with tempfile.TemporaryDirectory(prefix="visdial-") as folder:
            strings = _Strings(Path(folder) / "strings.sqlite")
            current = None
            for cursor, where, path, entry in array_entries(self.inputs, start, "data", "dialogs"):
                if path != current:
                    strings.read(path)
                    current = path
                split = self.splits[path]
                counts = {f"dialogues {split}": 1}
                try:
                    example = _example(entry, split, strings, pictures)
                    yield Outcome(cursor, [example], counts=counts)
                except Unusable as error:
                    reject = Reject(where, error.kind, error.detail)
                    yield Outcome(cursor, [], [reject], counts)
            strings.close()


def _example(entry: Any, split: SplitName, strings: _Strings, pictures: Pictures) -> Example:
    if not isinstance(entry, dict) or not isinstance(entry.get("dialog"), list):
        raise Unusable("malformed", "no dialog")
    number, caption = entry.get("image_id"), entry.get("caption")
    if not isinstance(number, int) or not isinstance(caption, str) or not caption.strip():
        raise Unusable("malformed", "no image_id or caption")
    rounds: list[list[str]] = []
    for turn in entry["dialog"]:
        if not isinstance(turn, dict) or "question" not in turn:
            raise Unusable("malformed", f"round {len(rounds)} has no question")
        if turn.get("answer") is None:
            break  # the test split's last round asks only
        question, answer = (strings.look_up(name, turn[name]) for name in ("question", "answer"))
        rounds.append([_question(question), answer])
    name = f"{number:012d}.jpg"
    picture = pictures.load(
        *(
            f"{folder}COCO_{split_}2014_{name}"
            for split_ in ("train", "val")
            for folder in (f"{split_}2014/", "")
        ),
        *(
            f"{folder}VisualDialog_{s}2018_{name}"
            for s in ("val", "test")
            for folder in ("", f"VisualDialog_{s}2018/")
        ),
        name,
    )
    id = f"coco/{name}"
    dialogue = Dialogue(id=f"visdial/{split}/{number}").user(caption.strip())
    for question, answer in rounds:
        dialogue = dialogue.assistant(question).user(answer)
    dialogue = dialogue.assistant(Image(id))
    about = {"caption": caption.strip(), "rounds": rounds}
    return dialogue_example(split, dialogue, {id: picture}, **about)


def _question(words: str) -> str:
    """The lists keep questions without their mark."""
    return words if words.endswith(("?", ".", "!")) else f"{words}?"


class _Strings:
    """Questions and answers by number, on disk."""

    def __init__(self, path: Path) -> None:
        self.connection = sqlite3.connect(path)
        self.connection.execute("PRAGMA journal_mode = OFF")
        self.connection.execute("PRAGMA synchronous = OFF")
        self.connection.execute(
            "CREATE TABLE strings (kind TEXT, number INTEGER, words TEXT, "
            "PRIMARY KEY (kind, number)) WITHOUT ROWID"
        )

    def read(self, path: Path) -> None:
        """Take in a file's lists, in place of those of the file before."""
        with self.connection:
            self.connection.execute("DELETE FROM strings")
            for kind in ("question", "answer"):
                rows = (
                    (kind, number, str(words))
                    for number, words in enumerate(read_array(path, "data", f"{kind}s"))
                )
                self.connection.executemany("INSERT INTO strings VALUES (?, ?, ?)", rows)

    def look_up(self, kind: str, number: Any) -> str:
        if not isinstance(number, int):
            raise Unusable("malformed", f"{kind} {number!r} is no number")
        found = self.connection.execute(
            "SELECT words FROM strings WHERE kind = ? AND number = ?", (kind, number)
        ).fetchone()
        if found is None:
            raise Unusable("malformed", f"no {kind} number {number}")
        return " ".join(str(found[0]).split())

    def close(self) -> None:
        self.connection.close()


def _split(path: Path) -> SplitName:
    try:
        split = read_value(path, "split")
    except KeyError:
        split = path.stem.rpartition("_")[2]
    for known in ("train", "val", "test"):
        if str(split).startswith(known):
            return known  # type: ignore[return-value]
    raise ValueError(f"{path}: expected the split train, val or test, got {split!r}")


def _build(arguments: argparse.Namespace) -> VisDial:
    return VisDial(find_files(arguments.source, "visdial_1.0_*.json"))


PREPARATION = SetCommand("the folder of visdial_1.0_train.json, …_val.json, …_test.json", _build)
