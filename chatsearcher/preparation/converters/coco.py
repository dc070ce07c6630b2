"""COCO-style folders: ``annotations/captions_*.json`` and pictures beside them.

    {"images": [{"id": 1, "file_name": "….jpg"}…],
     "annotations": [{"image_id": 1, "caption": "…"}…]}

``--list test=karpathy_test_images.txt`` takes pictures into a split by a list (a line: file name,
number), as Karpathy's splits are often passed on. Captions are joined to pictures on disk.
"""

from __future__ import annotations

import argparse
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from chatsearcher.data.records import SplitName
from chatsearcher.preparation.command import SetCommand
from chatsearcher.preparation.converters.captioned import captioned_example
from chatsearcher.preparation.dialogue_records import array_entries
from chatsearcher.preparation.json_stream import read_array
from chatsearcher.preparation.lines import find_files
from chatsearcher.preparation.pictures import Pictures
from chatsearcher.preparation.records import Cursor, Example, Outcome, Reject, Unusable

_SPLITS: tuple[SplitName, ...] = ("train", "val", "test")


class CocoFolder:
    """Pictures of all annotation files, in their order.

    Args:
        lists: file of pictures -> their split, whatever annotation file they are in.
        rest: whether pictures of no list are taken too (in the split their file is named after).
    """

    expected: dict[str, int]

    def __init__(
        self, files: Sequence[Path], lists: dict[Path, SplitName], rest: bool = True
    ) -> None:
        self.name = "coco"
        self.inputs: Sequence[Path] = [*files, *lists]
        self.shards: Sequence[Path] = ()
        self.files = files
        self.rest = rest
        self.expected = {}
        self.split_of: dict[str, SplitName] = {}
        self.sizes: dict[str, int] = {}
        for path, split in lists.items():
            names = read_list(path)
            self.sizes[f"listed {split}"] = len(names)
            for name in names:
                if self.split_of.setdefault(name, split) != split:
                    raise ValueError(f"{path}: {name} is in {self.split_of[name]} too")

    def facts(self) -> dict[str, int]:
        return self.sizes

    def outcomes(self, start: Cursor | None, pictures: Pictures) -> Iterator[Outcome]:
        with tempfile.TemporaryDirectory(prefix="coco-") as folder:
            captions = _Captions(Path(folder) / "captions.sqlite")
            current = None
            for cursor, where, file, entry in array_entries(self.files, start, "images"):
                if file != current:
                    captions.read(file)
                    current = file
                counts: dict[str, int] = {}
                try:
                    example = self._example(entry, file, captions, pictures, counts)
                    yield Outcome(cursor, [example] if example else [], counts=counts)
                except Unusable as error:
                    yield Outcome(cursor, [], [Reject(where, error.kind, error.detail)], counts)
            captions.close()

    def _example(
        self,
        entry: Any,
        file: Path,
        captions: _Captions,
        pictures: Pictures,
        counts: dict[str, int],
    ) -> Example | None:
        if not isinstance(entry, dict) or not isinstance(entry.get("file_name"), str):
            raise Unusable("malformed", "no file_name")
        name = entry["file_name"]
        split = self.split_of.get(name.rpartition("/")[2])
        if split is None and not self.rest:
            return None
        split = split or _split(file)
        words = captions.of(entry.get("id"))
        counts |= {f"images {split}": 1, f"captions {split}": len(words)}
        part = file.stem.removeprefix("captions_")
        names = (f"{part}/{name}", f"images/{part}/{name}", f"images/{name}", name)
        id = f"coco/{name.rpartition('_')[2]}"
        return captioned_example(split, id, names, words, pictures, cocoid=entry.get("id"))


class _Captions:
    """The captions of an annotation file by picture, on disk."""

    def __init__(self, path: Path) -> None:
        self.connection = sqlite3.connect(path)
        self.connection.execute("PRAGMA journal_mode = OFF")
        self.connection.execute("PRAGMA synchronous = OFF")
        self.connection.execute(
            "CREATE TABLE captions (image, place INTEGER, words TEXT, "
            "PRIMARY KEY (image, place)) WITHOUT ROWID"
        )

    def read(self, file: Path) -> None:
        """Take in a file's captions, in place of those of the file before."""
        with self.connection:
            self.connection.execute("DELETE FROM captions")
            self.connection.executemany(
                "INSERT INTO captions VALUES (?, ?, ?)",
                (
                    (str(each["image_id"]), place, each["caption"])
                    for place, each in enumerate(read_array(file, "annotations"))
                    if isinstance(each, dict)
                    and isinstance(each.get("caption"), str)
                    and each.get("image_id") is not None
                ),
            )

    def of(self, image: Any) -> list[str]:
        rows = self.connection.execute(
            "SELECT words FROM captions WHERE image = ? ORDER BY place", (str(image),)
        )
        return [words for (words,) in rows]

    def close(self) -> None:
        self.connection.close()


def read_list(path: Path) -> list[str]:
    """The file names of a list of pictures: the first column, without folders."""
    with open(path, encoding="utf-8") as lines:
        return [line.split()[0].rpartition("/")[2] for line in lines if line.strip()]


def _split(file: Path) -> SplitName:
    for split in _SPLITS:
        if split in file.stem:
            return split
    return "train"


def _listed(text: str) -> tuple[SplitName, Path]:
    split, equals, path = text.partition("=")
    if split not in _SPLITS or not equals or not Path(path).is_file():
        raise argparse.ArgumentTypeError(f"{text!r}; expected SPLIT=FILE, a file that exists")
    return split, Path(path)  # type: ignore[return-value]


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--list",
        dest="lists",
        action="append",
        default=[],
        type=_listed,
        metavar="SPLIT=FILE",
        help="pictures that belong to a split, a file name a line",
    )
    parser.add_argument("--listed-only", action="store_true", help="leave out pictures of no list")


def _build(arguments: argparse.Namespace) -> CocoFolder:
    source = arguments.source
    folder = source / "annotations" if (source / "annotations").is_dir() else source
    files = find_files(folder, "captions_*.json")
    lists = {path: split for split, path in arguments.lists}
    return CocoFolder(files, lists, not arguments.listed_only)


PREPARATION = SetCommand(
    "the folder with annotations/ and the pictures",
    _build,
    _configure,
    ("lists", "listed_only"),
)
