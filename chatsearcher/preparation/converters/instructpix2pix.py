"""InstructPix2Pix: a picture, an edit in words, and the picture after it; reworded as a request.

Two published layouts:

- the archive: ``seeds.json`` (``[["0000000", ["1234", …]], …]``) and a folder for each prompt with
  ``prompt.json`` (``{"edit": …}``) and ``<seed>_0.jpg``, ``<seed>_1.jpg``: before and after;
- the hub's Parquet files, with ``original_image``, ``edit_prompt`` and ``edited_image``.

The paper takes 10,000 triplets: ``--keep-one-in 30 --take 10000`` takes as many, by hash, the same
each time.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from chatsearcher.dialogue import Dialogue, Image
from chatsearcher.preparation.command import SetCommand
from chatsearcher.preparation.convert import Converter
from chatsearcher.preparation.converters.hub import picture_bytes
from chatsearcher.preparation.dialogue_records import dialogue_example
from chatsearcher.preparation.json_stream import read_array
from chatsearcher.preparation.lines import find_files
from chatsearcher.preparation.pictures import Pictures, check_picture
from chatsearcher.preparation.records import (
    Cursor,
    Example,
    Outcome,
    Picture,
    Reject,
    Unusable,
    held_out,
)
from chatsearcher.preparation.wording import edit_request


class _Triplets:
    """What both layouts share."""

    expected: dict[str, int]

    def __init__(self, keep_one_in: int, val_every: int) -> None:
        self.name = "instructpix2pix"
        self.inputs: Sequence[Path] = ()
        self.shards: Sequence[Path] = ()
        self.expected = {}
        self.keep_one_in = keep_one_in
        self.val_every = val_every

    def facts(self) -> dict[str, int]:
        return {}

    def chosen(self, name: str) -> bool:
        code = hashlib.sha256(f"sample/{name}".encode()).digest()[:8]
        return int.from_bytes(code, "big") % self.keep_one_in == 0

    def example(self, name: str, edit: Any, before: Picture, after: Picture) -> Example:
        if not isinstance(edit, str) or not edit.strip():
            raise Unusable("no words", "the edit is empty")
        try:
            request = edit_request(edit, name)
        except ValueError as error:
            raise Unusable("no words", str(error)) from error
        ids = [f"instructpix2pix/{name}/{side}" for side in ("before", "after")]
        dialogue = Dialogue(id=f"instructpix2pix/{name}")
        dialogue = dialogue.user(Image(ids[0]), request).assistant(Image(ids[1]))
        files = dict(zip(ids, (before, after), strict=True))
        return dialogue_example(held_out(name, self.val_every), dialogue, files, edit=edit.strip())


class Archive(_Triplets):
    """The archive's layout; one pair of pictures a prompt, the first of its seeds."""

    def __init__(self, folder: Path, keep_one_in: int, val_every: int) -> None:
        super().__init__(keep_one_in, val_every)
        self.folder = folder
        self.inputs = [folder / "seeds.json"]

    def outcomes(self, start: Cursor | None, pictures: Pictures) -> Iterator[Outcome]:
        done = start[0] if start else 0
        for place, entry in enumerate(islice(read_array(self.inputs[0]), done, None), start=done):
            where = f"seeds.json[{place}]"
            try:
                name, seeds = entry
                seed = str(seeds[0])
                if not isinstance(name, str):
                    raise TypeError(f"a prompt's name is a {type(name).__name__}")
            except (TypeError, ValueError, IndexError) as error:
                yield Outcome([place + 1], [], [Reject(where, "malformed", str(error))])
                continue
            if not self.chosen(name):
                yield Outcome([place + 1], counts={"not sampled": 1})
                continue
            try:
                edit = self._prompt(name)
                sides = [pictures.load(f"{name}/{seed}_{side}.jpg") for side in (0, 1)]
                yield Outcome([place + 1], [self.example(f"{name}/{seed}", edit, *sides)])
            except Unusable as error:
                yield Outcome([place + 1], [], [Reject(where, error.kind, error.detail)])

    def _prompt(self, name: str) -> Any:
        path = self.folder / name / "prompt.json"
        if ".." in path.parts or not path.is_file():
            raise Unusable("prompt missing", f"{name}/prompt.json")
        try:
            return json.loads(path.read_text(encoding="utf-8"))["edit"]
        except (ValueError, KeyError, TypeError) as error:
            raise Unusable("prompt broken", f"{name}/prompt.json: {error}") from error


class Rows(_Triplets):
    """The hub's layout, Parquet files row by row."""

    COLUMNS = ("original_image", "edit_prompt", "edited_image")

    def __init__(self, files: Sequence[Path], keep_one_in: int, val_every: int) -> None:
        super().__init__(keep_one_in, val_every)
        self.shards = files

    def outcomes(self, start: Cursor | None, pictures: Pictures) -> Iterator[Outcome]:
        from chatsearcher.preparation.converters.hub import parquet_rows

        for cursor, where, row in parquet_rows(self.shards, start, self.COLUMNS):
            if not self.chosen(where):
                yield Outcome(cursor, counts={"not sampled": 1})
                continue
            try:
                before, after = (
                    check_picture(picture_bytes(row[name]), pictures.max_side)
                    for name in ("original_image", "edited_image")
                )
                yield Outcome(cursor, [self.example(where, row["edit_prompt"], before, after)])
            except Unusable as error:
                yield Outcome(cursor, [], [Reject(where, error.kind, error.detail)])


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--keep-one-in",
        type=int,
        default=1,
        metavar="N",
        help="take one triplet in N, by hash (the paper has 10,000 triplets in all)",
    )
    parser.add_argument("--val-every", type=int, default=500, metavar="N")


def _build(arguments: argparse.Namespace) -> Converter:
    if arguments.keep_one_in < 1:
        raise ValueError(f"--keep-one-in {arguments.keep_one_in}: expected 1 or more")
    source = arguments.source
    if (source / "seeds.json").is_file():
        return Archive(source, arguments.keep_one_in, arguments.val_every)
    files = find_files(source, "*.parquet", "data/*.parquet")
    return Rows(files, arguments.keep_one_in, arguments.val_every)


PREPARATION = SetCommand(
    "the archive's folder (seeds.json), or the folder of the hub's .parquet files",
    _build,
    _configure,
    ("keep_one_in", "val_every"),
)
