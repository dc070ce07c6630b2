"""Sets of the Hugging Face hub by name, folders in its layouts, Parquet files: pairs in and out.

A name is handed to ``datasets.load_dataset(…, streaming=True)`` as it is: what that fetches is what
the user asked for. Files on disk are read directly. No code of a data set is ever run.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from chatsearcher.data.records import SplitName
from chatsearcher.preparation.command import SetCommand
from chatsearcher.preparation.convert import Converter
from chatsearcher.preparation.lines import find_files
from chatsearcher.preparation.pictures import Pictures, check_picture
from chatsearcher.preparation.records import (
    Cursor,
    Example,
    Outcome,
    Reject,
    Unusable,
    held_out,
)

_BATCH = 16


class _Pairs:
    """Rows with a picture and its words."""

    def __init__(
        self, name: str, image: str, text: str, split: SplitName | None, val_every: int
    ) -> None:
        self.name = name
        self.image = image
        self.text = text
        self.split = split
        self.val_every = val_every
        self.inputs: Sequence[Path] = ()
        self.shards: Sequence[Path] = ()
        self.expected: dict[str, int] = {}

    def facts(self) -> dict[str, int]:
        return {}

    def outcome(self, cursor: Cursor, where: str, row: dict[str, Any], side: int) -> Outcome:
        try:
            words = row[self.text]
            texts = words if isinstance(words, list) else [words]
            texts = [" ".join(t.split()) for t in texts if isinstance(t, str) and t.strip()]
            if not texts:
                raise Unusable("no words", f"in {self.text}")
            picture = check_picture(picture_bytes(row[self.image]), side)
        except Unusable as error:
            return Outcome(cursor, [], [Reject(where, error.kind, error.detail)])
        about: dict[str, Any] = {"id": f"{self.name}/{where}"}
        if len(texts) > 1:
            about["captions"] = texts
        split = self.split or held_out(where, self.val_every)
        return Outcome(cursor, [Example(split, about, (picture,), texts[0])])


class ParquetPairs(_Pairs):
    """Parquet files on disk."""

    def __init__(self, files: Sequence[Path], *args: Any) -> None:
        super().__init__(*args)
        self.shards = files

    def outcomes(self, start: Cursor | None, pictures: Pictures) -> Iterator[Outcome]:
        columns = (self.image, self.text)
        for cursor, where, row in parquet_rows(self.shards, start, columns):
            yield self.outcome(cursor, where, row, pictures.max_side)


class HubPairs(_Pairs):
    """A set by its name on the hub, or a local folder in one of the hub's layouts."""

    def __init__(
        self, source: str, config: str | None, revision: str | None, hub_split: str, *args: Any
    ) -> None:
        super().__init__(*args)
        self.source = source
        self.config = config
        self.revision = revision
        self.hub_split = hub_split

    def outcomes(self, start: Cursor | None, pictures: Pictures) -> Iterator[Outcome]:
        import datasets

        stream = datasets.load_dataset(
            self.source,
            self.config,
            split=self.hub_split,
            revision=self.revision,
            streaming=True,
        )
        there = list(stream.features or ())
        missing = [name for name in (self.image, self.text) if there and name not in there]
        if missing:
            raise ValueError(
                f"{self.name} has no column {' or '.join(missing)}; it has {', '.join(there)} "
                "(say which with --image and --text)"
            )
        stream = stream.select_columns([self.image, self.text])
        stream = stream.cast_column(self.image, datasets.Image(decode=False))
        done = start[0] if start else 0
        for place, row in enumerate(stream.skip(done) if done else stream, start=done):
            where = f"{self.hub_split}:{place}"
            row[self.image] = _fetched(row[self.image])
            yield self.outcome([place + 1], where, row, pictures.max_side)


def _fetched(value: Any) -> Any:
    """Folders of pictures give paths in place of bytes: files of the set, here or on the hub."""
    if not isinstance(value, dict) or value.get("bytes") is not None or not value.get("path"):
        return value
    from datasets.utils.file_utils import xopen

    try:
        with xopen(value["path"], "rb") as file:
            return {"bytes": file.read(), "path": value["path"]}
    except FileNotFoundError:
        return None


def parquet_rows(
    files: Sequence[Path], start: Cursor | None, columns: Sequence[str]
) -> Iterator[tuple[Cursor, str, dict[str, Any]]]:
    """Rows of Parquet files: (place after it, where, column -> value).

    Raises:
        ValueError: a file without one of the columns, or no Parquet file.
        ImportError: pyarrow is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise ImportError("Parquet needs pyarrow: pip install 'chatsearcher[parquet]'") from error
    first, done = start or (0, 0)
    for number in range(first, len(files)):
        path = files[number]
        try:
            file = parquet.ParquetFile(path)
        except pyarrow.ArrowInvalid as error:
            raise ValueError(f"{path}: not a Parquet file ({error})") from error
        with file:
            there = file.schema_arrow.names
            missing = [name for name in columns if name not in there]
            if missing:
                raise ValueError(
                    f"{path} has no column {' or '.join(missing)}; it has {', '.join(there)}"
                )
            place = 0
            for group in range(file.num_row_groups):
                rows = file.metadata.row_group(group).num_rows
                if place + rows <= done:
                    place += rows
                    continue
                batches = file.iter_batches(_BATCH, row_groups=[group], columns=list(columns))
                for batch in batches:
                    for row in batch.to_pylist():
                        place += 1
                        if place > done:
                            yield [number, place], f"{path.name}:{place - 1}", row
        done = 0


def picture_bytes(value: Any) -> bytes:
    """What a picture's column holds: bytes, or ``{"bytes", "path"}`` as ``datasets`` writes them.

    Raises:
        Unusable: nothing, or a path alone.
    """
    if isinstance(value, dict):
        value = value.get("bytes")
    if isinstance(value, (bytes, bytearray)):
        return bytes(value)
    if hasattr(value, "save"):  # a decoded picture
        buffer = io.BytesIO()
        value.save(buffer, "PNG")
        return buffer.getvalue()
    raise Unusable("picture missing", f"the column holds {type(value).__name__}")


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--image", default="image", metavar="COLUMN")
    parser.add_argument("--text", default="text", metavar="COLUMN", help="a string, or several")
    parser.add_argument("--config", metavar="NAME", help="of a set that has several")
    parser.add_argument("--revision", metavar="COMMIT", help="pin it: sets change")
    parser.add_argument("--hub-split", default="train", metavar="NAME", help="the split to read")
    parser.add_argument("--split", choices=("train", "val", "test"), help="of all records written")
    parser.add_argument("--val-every", type=int, default=500, metavar="N")


def _build(arguments: argparse.Namespace) -> Converter:
    source = arguments.source
    common = (arguments.image, arguments.text, arguments.split, arguments.val_every)
    if source.suffix == ".parquet" or (source.is_dir() and list(source.glob("*.parquet"))):
        return ParquetPairs(find_files(source, "*.parquet"), source.stem, *common)
    hub = (str(source), arguments.config, arguments.revision, arguments.hub_split)
    # A folder's records are called after the folder, wherever it lies.
    return HubPairs(*hub, source.resolve().name if source.is_dir() else str(source), *common)


PREPARATION = SetCommand(
    "OWNER/NAME on the hub, a folder in one of its layouts, or Parquet files",
    _build,
    _configure,
    ("image", "text", "config", "revision", "hub_split", "split", "val_every"),
    pictures=False,
)
