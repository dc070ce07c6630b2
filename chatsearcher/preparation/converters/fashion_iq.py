"""Fashion IQ: a product, what people say is different about another one, and that one.

    captions/cap.{dress,shirt,toptee}.{train,val,test}.json
                                              [{"candidate", "target", "captions": [two]}…]
    image_splits/split.{…}.{…}.json           [asin…]
    asin2attr.{…}.{…}.json (published apart)  {asin: [six lists of words]}

The test files have no targets. Many of the products' pictures are gone from the web: every picture
of the lists that is not there is counted by category and split, and named in ``rejects.jsonl``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from chatsearcher.data.records import SplitName
from chatsearcher.dialogue import Dialogue, Image
from chatsearcher.preparation.command import SetCommand
from chatsearcher.preparation.dialogue_records import array_entries, dialogue_example
from chatsearcher.preparation.fashion_iq.layout import (
    ATTRIBUTE_LISTS,
    EMPTY_CAPTIONS,
    IMAGES,
    QUERIES,
    names_of,
    picture_names,
)
from chatsearcher.preparation.lines import find_files
from chatsearcher.preparation.pictures import Pictures
from chatsearcher.preparation.records import Cursor, Example, Outcome, Picture, Reject, Unusable
from chatsearcher.preparation.wording import change_request


class FashionIq:
    """Captions of all files, then the image lists.

    Args:
        attributes: a folder of ``asin2attr.….json``; None where they are not at hand.
    """

    def __init__(self, folder: Path, attributes: Path | None = None) -> None:
        self.name = "fashion-iq"
        self.captions = find_files(folder / "captions", "cap.*.*.json")
        self.lists = find_files(folder / "image_splits", "split.*.*.json")
        self.attributes = (
            {names_of(p): p for p in find_files(attributes, "asin2attr.*.*.json")}
            if attributes
            else {}
        )
        extra = [self.attributes[key] for key in sorted(self.attributes)]
        self.inputs: Sequence[Path] = [*self.captions, *self.lists, *extra]
        self.shards: Sequence[Path] = ()
        keys = [names_of(path) for path in self.captions]
        self.expected = {f"queries {c} {s}": QUERIES[c, s] for c, s in keys if (c, s) in QUERIES}
        lists = [names_of(path) for path in self.lists]
        self.expected |= {f"images {c} {s}": IMAGES[c, s] for c, s in lists if (c, s) in IMAGES}
        if set(keys) == set(QUERIES):
            self.expected["empty captions"] = EMPTY_CAPTIONS

    def facts(self) -> dict[str, int]:
        return {}

    def outcomes(self, start: Cursor | None, pictures: Pictures) -> Iterator[Outcome]:
        current: Path | None = None
        attributes: dict[str, Any] = {}
        for cursor, where, file, entry in array_entries([*self.captions, *self.lists], start):
            category, split = names_of(file)
            if file in self.lists:
                yield self._listed(cursor, where, category, split, entry, pictures)
                continue
            if file != current:
                current = file
                path = self.attributes.get((category, split))
                attributes = json.loads(path.read_text(encoding="utf-8")) if path else {}
            counts = {f"queries {category} {split}": 1}
            try:
                rejects = _captions(entry, where, counts)
                example = _example(entry, category, split, where, attributes, pictures)
                yield Outcome(cursor, [example], rejects, counts)
            except Unusable as error:
                yield Outcome(cursor, [], [Reject(where, error.kind, error.detail)], counts)

    @staticmethod
    def _listed(
        cursor: Cursor, where: str, category: str, split: str, asin: Any, pictures: Pictures
    ) -> Outcome:
        counts = {f"images {category} {split}": 1}
        if isinstance(asin, str) and pictures.has(*picture_names(asin)):
            return Outcome(cursor, counts=counts)
        counts[f"missing images {category} {split}"] = 1
        reject = Reject(where, "picture of an image list missing", str(asin))
        return Outcome(cursor, [], [reject], counts)


def _captions(entry: Any, where: str, counts: dict[str, int]) -> list[Reject]:
    """Count the empty captions; they are parts that are left out."""
    if not isinstance(entry, dict) or not isinstance(entry.get("captions"), list):
        raise Unusable("malformed", "no captions")
    if not isinstance(entry.get("candidate"), str):
        raise Unusable("malformed", "no candidate")
    empty = [place for place, words in enumerate(entry["captions"]) if not str(words).strip()]
    if empty:
        counts["empty captions"] = len(empty)
    return [Reject(f"{where}.captions[{n}]", "empty caption", part=True) for n in empty]


def _example(
    entry: dict[str, Any],
    category: str,
    split: str,
    where: str,
    attributes: dict[str, Any],
    pictures: Pictures,
) -> Example:
    shown = [entry["candidate"], *([entry["target"]] if entry.get("target") else [])]
    key = f"fashion-iq/{category}/{split}/{where}"
    try:
        request = change_request([str(words) for words in entry["captions"]], key)
    except ValueError as error:
        raise Unusable("no words") from error
    files: dict[str, Picture] = {}
    for asin in shown:
        files[f"fashion-iq/{asin}"] = pictures.load(*picture_names(asin))
    ids = [f"fashion-iq/{asin}" for asin in shown]
    dialogue = Dialogue(id=key).user(Image(ids[0]), request)
    if len(ids) > 1:
        dialogue = dialogue.assistant(Image(ids[1]))
    about: dict[str, Any] = {
        "category": category,
        "candidate": entry["candidate"],
        "target": entry.get("target"),
        "captions": [str(words).strip() for words in entry["captions"]],
    }
    known = {asin: attributes[asin] for asin in shown if asin in attributes}
    if known:
        about["attributes"] = {a: _by_group(lists) for a, lists in known.items()}
    return dialogue_example(_record_split(split), dialogue, files, **about)


def _by_group(lists: Any) -> dict[str, Any]:
    if not isinstance(lists, list) or len(lists) != len(ATTRIBUTE_LISTS):
        raise Unusable("malformed attributes", f"expected {len(ATTRIBUTE_LISTS)} lists of words")
    return dict(zip(ATTRIBUTE_LISTS, lists, strict=True))


def _record_split(split: str) -> SplitName:
    if split not in ("train", "val", "test"):
        raise Unusable("unknown split", split)
    return split  # type: ignore[return-value]


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--attributes", type=Path, metavar="FOLDER", help="of asin2attr.….json, published apart"
    )


def _build(arguments: argparse.Namespace) -> FashionIq:
    return FashionIq(arguments.source, arguments.attributes)


PREPARATION = SetCommand(
    "the folder with captions/ and image_splits/", _build, _configure, ("attributes",)
)
