"""WebDataset shards of pictures with captions, as img2dataset writes them: key.jpg, .txt, .json.

They could be trained on as they are. Converting them leaves out what cannot be used (failed
downloads, broken pictures, records without words), once and with the reason, makes the shards even,
and holds some records out for validation.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from chatsearcher.data.records import BrokenRecord, SplitName
from chatsearcher.data.tar_index import StoredRecord, read_shard
from chatsearcher.preparation.command import SetCommand
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

KEPT = (
    *("url", "width", "height", "original_width", "original_height", "captions"),
    *("title", "licence", "license", "credit", "id", "source_id"),
)
"""Fields of a record's JSON that go on; EXIF data and download details do not."""


class PairShards:
    """Records of shards, in the order of the shards.

    Args:
        shards: the tar files.
        texts: where the words are: ``txt``, or fields of the JSON (strings or lists of them).
        split: of all records; None holds one in ``val_every`` out for validation.
    """

    expected: dict[str, int]

    def __init__(
        self,
        name: str,
        shards: Sequence[Path],
        texts: Sequence[str] = ("txt",),
        split: SplitName | None = None,
        val_every: int = 500,
    ) -> None:
        self.name = name
        self.inputs: Sequence[Path] = ()
        self.shards = shards
        self.texts = texts
        self.split = split
        self.val_every = val_every
        self.expected = {}

    def facts(self) -> dict[str, int]:
        return {"input shards": len(self.shards)}

    def outcomes(self, start: Cursor | None, pictures: Pictures) -> Iterator[Outcome]:
        first, done = start or (0, 0)
        for number in range(first, len(self.shards)):
            path = self.shards[number]
            members = read_shard(path)
            for place in range(done, len(members.records)):
                yield self._outcome([number, place + 1], members.records[place], pictures)
            if members.problem and done <= len(members.records):
                reject = Reject(path.name, "shard damaged", members.problem, part=True)
                yield Outcome([number, len(members.records) + 1], [], [reject])
            done = 0

    def _outcome(self, cursor: Cursor, record: StoredRecord, pictures: Pictures) -> Outcome:
        where = f"{record.path.name}:{record.key}"
        try:
            return Outcome(cursor, [self._example(record, pictures.max_side)])
        except Unusable as error:
            return Outcome(cursor, [], [Reject(where, error.kind, error.detail)])
        except BrokenRecord as error:
            return Outcome(cursor, [], [Reject(where, "record broken", error.reason)])

    def _example(self, record: StoredRecord, max_side: int) -> Example:
        about = record.metadata()
        if about.get("status") not in (None, "success"):
            detail = str(about.get("error_message") or about["status"])
            raise Unusable("not downloaded", detail)
        if not record.pictures:
            raise Unusable("picture missing", "the record has none")
        words = _words(record, about, self.texts)
        picture = check_picture(record.read(record.pictures[0]), max_side)
        kept = {name: about[name] for name in KEPT if about.get(name) is not None}
        name = str(about.get("url") or record.key)
        kept.setdefault("id", f"{self.name}/{name}")
        if len(words) > 1:
            kept["captions"] = words
        return Example(self.split_of(record.path, name), kept, (picture,), words[0])

    def split_of(self, path: Path, name: str) -> SplitName:
        """The split of a record of a shard."""
        return self.split or held_out(name, self.val_every)


def _words(record: StoredRecord, about: dict[str, Any], texts: Sequence[str]) -> list[str]:
    found: list[str] = []
    for name in texts:
        value = record.text() if name == "txt" else about.get(name)
        found += [v for v in (value if isinstance(value, list) else [value]) if isinstance(v, str)]
    words = list(dict.fromkeys(" ".join(each.split()) for each in found if each.strip()))
    if not words:
        raise Unusable("no words", f"in {', '.join(texts)}")
    return words


def add_pair_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--texts",
        nargs="+",
        default=["txt"],
        metavar="FIELD",
        help="where the words are: txt, or fields of the JSON (default: txt)",
    )
    parser.add_argument("--split", choices=("train", "val", "test"), help="of all records")
    parser.add_argument(
        "--val-every",
        type=int,
        default=500,
        metavar="N",
        help="without --split: one record in N is held out for validation (0: none)",
    )


def _build(arguments: argparse.Namespace) -> PairShards:
    return PairShards(
        "pairs",
        find_files(arguments.source, "*.tar", "*/*.tar"),
        arguments.texts,
        arguments.split,
        arguments.val_every,
    )


PREPARATION = SetCommand(
    "a folder of .tar shards", _build, add_pair_arguments, ("texts", "split", "val_every"), False
)
