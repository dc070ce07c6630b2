"""Flickr30K and COCO captions, Karpathy's splits: ``dataset_flickr30k.json``, ``…_coco.json``.

    {"dataset": "coco", "images": [{"filepath": "val2014", "filename": "COCO_val2014_….jpg",
     "split": "test", "cocoid": 391895, "sentences": [{"raw": "…", "sentid": …}…]}…]}

``restval`` (COCO's validation pictures outside of Karpathy's lists) is trained on, as usual.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from chatsearcher.data.records import SplitName
from chatsearcher.preparation.command import SetCommand
from chatsearcher.preparation.converters.captioned import captioned_example
from chatsearcher.preparation.dialogue_records import array_entries
from chatsearcher.preparation.json_stream import read_value
from chatsearcher.preparation.lines import find_files
from chatsearcher.preparation.pictures import Pictures
from chatsearcher.preparation.records import Cursor, Outcome, Reject, Unusable

_SPLITS: dict[str, SplitName] = {"train": "train", "restval": "train", "val": "val", "test": "test"}
PUBLISHED = {
    "coco": {"images test": 5_000, "images val": 5_000, "captions test": 25_010},
    "flickr30k": {"images test": 1_000, "captions test": 5_000},
}

FOLDERS = {"flickr30k": "flickr30k-images"}
"""The folder that a set's pictures are packed in, where its JSON names none."""


class Karpathy:
    """Pictures of a file, in its order."""

    def __init__(self, file: Path, with_restval: bool = True) -> None:
        self.inputs: Sequence[Path] = [file]
        self.shards: Sequence[Path] = ()
        try:
            self.name = str(read_value(file, "dataset"))
        except KeyError:
            self.name = file.stem.removeprefix("dataset_")
        self.expected = dict(PUBLISHED.get(self.name, {}))
        self.with_restval = with_restval

    def facts(self) -> dict[str, int]:
        return {}

    def outcomes(self, start: Cursor | None, pictures: Pictures) -> Iterator[Outcome]:
        for cursor, where, _, entry in array_entries(self.inputs, start, "images"):
            counts: dict[str, int] = {}
            try:
                split, captions = _check(entry)
                counts = {f"images {split}": 1, f"captions {split}": len(captions)}
                if split == "restval" and not self.with_restval:
                    yield Outcome(cursor, counts=counts)
                    continue
                name, folder = entry["filename"], entry.get("filepath") or FOLDERS.get(self.name)
                names = [f"{folder}/{name}"] if folder else []
                names += [name, _coco_2017(name)] if name.startswith("COCO_") else [name]
                about = {"sentids": [each.get("sentid") for each in entry["sentences"]]}
                if "cocoid" in entry:
                    about["cocoid"] = entry["cocoid"]
                id = f"coco/{_coco_2017(name)}" if self.name == "coco" else f"{self.name}/{name}"
                example = captioned_example(_SPLITS[split], id, names, captions, pictures, **about)
                yield Outcome(cursor, [example], counts=counts)
            except Unusable as error:
                yield Outcome(cursor, [], [Reject(where, error.kind, error.detail)], counts)


def _check(entry: Any) -> tuple[str, list[str]]:
    if not isinstance(entry, dict) or not isinstance(entry.get("filename"), str):
        raise Unusable("malformed", "no filename")
    if entry.get("split") not in _SPLITS:
        raise Unusable("unknown split", repr(entry.get("split")))
    sentences = entry.get("sentences")
    if not isinstance(sentences, list) or not all(
        isinstance(each, dict) and isinstance(each.get("raw"), str) for each in sentences
    ):
        raise Unusable("malformed", "sentences without raw")
    return entry["split"], [each["raw"] for each in sentences]


def _coco_2017(name: str) -> str:
    """``COCO_val2014_000000391895.jpg`` -> ``000000391895.jpg``, COCO's later name for it."""
    return name.rpartition("_")[2] if name.startswith("COCO_") else name


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--no-restval",
        dest="with_restval",
        action="store_false",
        help="leave COCO's restval pictures out of the training split",
    )


def _build(arguments: argparse.Namespace) -> Karpathy:
    found = find_files(arguments.source, "dataset_*.json")
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise ValueError(f"several sets in {arguments.source} ({names}); give one file")
    return Karpathy(found[0], arguments.with_restval)


PREPARATION = SetCommand(
    "dataset_coco.json or dataset_flickr30k.json", _build, _configure, ("with_restval",)
)
