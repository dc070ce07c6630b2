"""CC3M (Conceptual Captions): img2dataset's shards, or the published TSV and the pictures.

The TSV (``Train_GCC-training.tsv``, ``Validation_GCC-1.1.0-Validation.tsv``) has a caption and an
address a line and no header. Its pictures are found by their addresses in image shards.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from chatsearcher.data.records import SplitName
from chatsearcher.preparation.command import SetCommand
from chatsearcher.preparation.convert import Converter
from chatsearcher.preparation.converters.pairs import PairShards
from chatsearcher.preparation.lines import find_files, read_lines
from chatsearcher.preparation.pictures import Pictures
from chatsearcher.preparation.records import (
    Cursor,
    Example,
    Outcome,
    Reject,
    Unusable,
    held_out,
)


class CaptionTable:
    """Captions and addresses, a line each; the pictures by their addresses."""

    def __init__(self, files: Sequence[Path], val_every: int) -> None:
        self.name = "cc3m"
        self.inputs = files
        self.shards: Sequence[Path] = ()
        self.expected: dict[str, int] = {}
        self.val_every = val_every
        published = any("validation" in path.name.lower() for path in files)
        self.published_split = published and any("train" in path.name.lower() for path in files)

    def facts(self) -> dict[str, int]:
        return {}

    def outcomes(self, start: Cursor | None, pictures: Pictures) -> Iterator[Outcome]:
        for line in read_lines(self.inputs, start):
            try:
                examples = [self._example(line.data, self.inputs[line.cursor[0]], pictures)]
                if line.cursor[2] == 1 and examples == [None]:
                    continue
                kept = [example for example in examples if example is not None]
                yield Outcome(line.cursor, kept)
            except Unusable as error:
                yield Outcome(line.cursor, [], [Reject(line.where, error.kind, error.detail)])

    def _example(self, data: bytes | None, file: Path, pictures: Pictures) -> Example | None:
        if data is None:
            raise Unusable("line too long")
        try:
            fields = data.decode("utf-8").split("\t")
        except UnicodeDecodeError as error:
            raise Unusable("not UTF-8", str(error)) from error
        if [field.strip().lower() for field in fields] in (["caption", "url"], ["url", "caption"]):
            return None  # a header that people add for img2dataset
        if len(fields) != 2:
            raise Unusable("not caption and address", f"{len(fields)} fields, expected 2")
        caption, url = (" ".join(field.split()) for field in fields)
        if not caption:
            raise Unusable("no words")
        picture = pictures.load(url)
        about = {"id": f"cc3m/{url}", "url": url, "width": picture.width, "height": picture.height}
        return Example(self._split(file, url), about, (picture,), caption)

    def _split(self, file: Path, url: str) -> SplitName:
        if "validation" in file.name.lower():
            return "val"
        return "train" if self.published_split else held_out(url, self.val_every)


class Shards(PairShards):
    """img2dataset's shards; those of a folder or a name with ``validation`` in it are the published
    validation split, and nothing is held out then."""

    def split_of(self, path: Path, name: str) -> SplitName:
        if any(_is_validation(each) for each in self.shards):
            return "val" if _is_validation(path) else "train"
        return super().split_of(path, name)


def _is_validation(path: Path) -> bool:
    return "validation" in f"{path.parent.name}/{path.name}".lower()


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--val-every",
        type=int,
        default=500,
        metavar="N",
        help="where the source has no validation split: one record in N is held out (0: none)",
    )


def _build(arguments: argparse.Namespace) -> Converter:
    source = arguments.source
    tables = [source] if source.suffix == ".tsv" else sorted(source.glob("*.tsv"))
    if tables:
        return CaptionTable(tables, arguments.val_every)
    shards = find_files(source, "*.tar", "*/*.tar")
    return Shards("cc3m", shards, val_every=arguments.val_every)


PREPARATION = SetCommand(
    "a folder of img2dataset's .tar shards, or of the .tsv files (then --pictures: shards)",
    _build,
    _configure,
    ("val_every",),
)
