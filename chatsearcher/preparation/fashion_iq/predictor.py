"""What the attribute predictor learns from: pictures with many labels each (paper, appendix A).

First DeepFashion, all its attributes; then the products of Fashion IQ, to fine-tune the last layer
on each category. A record is a picture and, in its JSON, ``labels``: the numbers of its attributes
in the vocabulary (``attributes``: their names); ``unknown``: those that nobody decided on. The
``.txt`` names the attributes too.

    Anno/list_attr_cloth.txt     1000 / names / attribute, group
    Anno/list_attr_img.txt       289222 / names / img/….jpg, a 1, -1 or 0 for each attribute
    Eval/list_eval_partition.txt 289222 / names / img/….jpg, train, val or test
"""

from __future__ import annotations

import argparse
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from chatsearcher.data.records import SplitName
from chatsearcher.preparation.command import SetCommand
from chatsearcher.preparation.convert import Converter
from chatsearcher.preparation.fashion_iq.attributes import (
    VOCABULARY_SIZE,
    Vocabulary,
    read_attributes,
    read_vocabulary,
)
from chatsearcher.preparation.fashion_iq.layout import names_of, picture_names
from chatsearcher.preparation.lines import find_files, read_lines
from chatsearcher.preparation.pictures import Pictures
from chatsearcher.preparation.records import Cursor, Example, Outcome, Reject, Unusable

_SPLITS: tuple[SplitName, ...] = ("train", "val", "test")


def _example(
    split: SplitName,
    id: str,
    names: Sequence[str],
    labels: Sequence[int],
    vocabulary: Vocabulary,
    pictures: Pictures,
    **about: Any,
) -> Example:
    attributes = [vocabulary.names[number] for number in labels]
    about = {"id": id, "labels": list(labels), "attributes": attributes, **about}
    return Example(split, about, (pictures.load(*names),), ", ".join(attributes))


class DeepFashion:
    """The category and attribute benchmark, picture by picture."""

    def __init__(self, folder: Path) -> None:
        self.name = "deepfashion-attributes"
        annotations = folder / "Anno" if (folder / "Anno").is_dir() else folder
        partition = folder / "Eval" if (folder / "Eval").is_dir() else folder
        (self.cloth,) = find_files(annotations, "list_attr_cloth.txt")
        (self.marks,) = find_files(annotations, "list_attr_img.txt")
        (self.partition,) = find_files(partition, "list_eval_partition.txt")
        self.inputs: Sequence[Path] = [self.cloth, self.marks, self.partition]
        self.shards: Sequence[Path] = ()
        self.vocabulary = read_vocabulary(self.cloth)
        self.expected = {"attributes": VOCABULARY_SIZE, "pictures listed": 289_222}

    def facts(self) -> dict[str, int]:
        first = next(read_lines([self.marks])).data or b""
        return {
            "attributes": len(self.vocabulary.names),
            "pictures listed": int(first) if first.strip().isdigit() else 0,
        }

    def outcomes(self, start: Cursor | None, pictures: Pictures) -> Iterator[Outcome]:
        with tempfile.TemporaryDirectory(prefix="deepfashion-") as folder:
            splits = _Partition(Path(folder) / "splits.sqlite", self.partition)
            lines = read_lines([self.marks], start)
            for line in lines if start else islice(lines, 2, None):  # a count and a line of names
                try:
                    yield Outcome(line.cursor, [self._example(line.data, splits, pictures)])
                except Unusable as error:
                    yield Outcome(line.cursor, [], [Reject(line.where, error.kind, error.detail)])
            splits.close()

    def _example(self, data: bytes | None, splits: _Partition, pictures: Pictures) -> Example:
        fields = (data or b"").decode("utf-8", errors="replace").split()
        if len(fields) != 1 + len(self.vocabulary.names):
            expected = 1 + len(self.vocabulary.names)
            raise Unusable("malformed", f"{len(fields)} fields, expected {expected}")
        name, *marks = fields
        if set(marks) - {"1", "-1", "0"}:
            raise Unusable("malformed", f"marks {sorted(set(marks) - {'1', '-1', '0'})}")
        labels = [number for number, mark in enumerate(marks) if mark == "1"]
        unknown = [number for number, mark in enumerate(marks) if mark == "0"]
        if not labels:
            raise Unusable("no attribute")
        about = {"unknown": unknown} if unknown else {}
        names = (name, f"Img/{name}")
        id = f"deepfashion/{name}"
        split = splits.of(name)
        return _example(split, id, names, labels, self.vocabulary, pictures, **about)


class _Partition:
    """Which split a picture is in, on disk."""

    def __init__(self, path: Path, file: Path) -> None:
        self.connection = sqlite3.connect(path)
        self.connection.execute("PRAGMA journal_mode = OFF")
        self.connection.execute("PRAGMA synchronous = OFF")
        self.connection.execute(
            "CREATE TABLE splits (name TEXT PRIMARY KEY, split TEXT) WITHOUT ROWID"
        )
        rows = (
            fields
            for line in islice(read_lines([file]), 2, None)
            if len(fields := (line.data or b"").decode("utf-8", errors="replace").split()) == 2
        )
        with self.connection:
            self.connection.executemany("INSERT OR IGNORE INTO splits VALUES (?, ?)", rows)

    def of(self, name: str) -> SplitName:
        row = self.connection.execute("SELECT split FROM splits WHERE name = ?", (name,)).fetchone()
        if row is None or row[0] not in _SPLITS:
            raise Unusable("in no split", name)
        split: SplitName = row[0]
        return split

    def close(self) -> None:
        self.connection.close()


class FashionIqAttributes:
    """Products of ``asin2attr.….json`` with their pictures."""

    def __init__(self, files: Sequence[Path], vocabulary: Path) -> None:
        self.name = "fashion-iq-attributes"
        self.files = files
        self.inputs: Sequence[Path] = [vocabulary, *files]
        self.shards: Sequence[Path] = ()
        self.vocabulary = read_vocabulary(vocabulary)
        self.number = {name: place for place, name in enumerate(self.vocabulary.names)}
        self.expected = {"attributes": VOCABULARY_SIZE}

    def facts(self) -> dict[str, int]:
        return {"attributes": len(self.vocabulary.names)}

    def outcomes(self, start: Cursor | None, pictures: Pictures) -> Iterator[Outcome]:
        first, done = start or (0, 0)
        for number in range(first, len(self.files)):
            path = self.files[number]
            category, split = names_of(path)
            if split not in _SPLITS:
                raise ValueError(f"{path}: unknown split {split!r}")
            products = read_attributes(path)
            for place, asin in enumerate(islice(products, done, None), start=done):
                where = f"{path.name}:{asin}"
                said = [word for group in products[asin][1:] for word in group]
                outside = [word for word in said if word not in self.number]
                rejects = [
                    Reject(where, "attribute outside of the vocabulary", word, part=True)
                    for word in outside
                ]
                examples = []
                labels = sorted({self.number[word] for word in said if word in self.number})
                try:
                    if not labels:
                        raise Unusable("no attribute")
                    id, names = f"fashion-iq/{asin}", picture_names(asin)
                    common = (labels, self.vocabulary, pictures)
                    examples = [_example(split, id, names, *common, category=category)]  # type: ignore[arg-type]
                except Unusable as error:
                    rejects.append(Reject(where, error.kind, error.detail))
                counts = {f"products {category} {split}": 1, f"labels {category}": len(labels)}
                yield Outcome([number, place + 1], examples, rejects, counts)
            done = 0


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--vocabulary",
        type=Path,
        metavar="FILE",
        help="for Fashion IQ: DeepFashion's list_attr_cloth.txt",
    )


def _build(arguments: argparse.Namespace) -> Converter:
    source = arguments.source
    files = sorted(source.glob("asin2attr.*.*.json"))
    if not files:
        return DeepFashion(source)
    if arguments.vocabulary is None:
        raise ValueError("the products' attributes need --vocabulary list_attr_cloth.txt")
    return FashionIqAttributes(files, arguments.vocabulary)


PREPARATION = SetCommand(
    "DeepFashion's folder (Anno/, Eval/, Img/), or a folder of asin2attr.….json",
    _build,
    _configure,
    ("vocabulary",),
)
