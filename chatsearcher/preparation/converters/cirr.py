"""CIRR rc2: a reference picture, a change in people's words, the target; pictures from NLVR2.

captions/cap.rc2.{train,val,test1}.json   [{"pairid", "reference", "target_hard", "target_soft",
                                            "caption", "img_set": {"members": [6], …}}…]
image_splits/split.rc2.….json             {name: "./train/34/name.png"}
captions_ext/cap.ext.rc2.….json           auxiliary captions (kept where they are there)
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
from chatsearcher.preparation.lines import find_files
from chatsearcher.preparation.pictures import Pictures
from chatsearcher.preparation.records import Cursor, Example, Outcome, Picture, Reject, Unusable
from chatsearcher.preparation.wording import change_request

# Counted from the authors' files.
QUERIES = {"val": 4_181, "test1": 4_148}
IMAGES = {"train": 16_939, "val": 2_297, "test1": 2_315}


class Cirr:
    """Pairs of all splits that are there; ``test1`` has no targets."""

    def __init__(self, folder: Path) -> None:
        self.name = "cirr"
        self.captions = find_files(folder / "captions", "cap.rc2.*.json")
        self.lists = {_part(p): p for p in (folder / "image_splits").glob("split.rc2.*.json")}
        self.extra = {_part(p): p for p in (folder / "captions_ext").glob("cap.ext.rc2.*.json")}
        self.inputs: Sequence[Path] = [
            *self.captions,
            *(self.lists[part] for part in sorted(self.lists)),
            *(self.extra[part] for part in sorted(self.extra)),
        ]
        self.shards: Sequence[Path] = ()
        parts = [_part(path) for path in self.captions]
        self.expected = {f"queries {part}": QUERIES[part] for part in parts if part in QUERIES}
        self.expected |= {f"images {p}": IMAGES[p] for p in sorted(self.lists) if p in IMAGES}
        if "val" in parts:
            self.expected["val: hard target not among the soft ones"] = 37
        if "test1" in parts:
            self.expected["test1: blank captions"] = 1

    def facts(self) -> dict[str, int]:
        return {f"images {part}": len(_read(path)) for part, path in sorted(self.lists.items())}

    def outcomes(self, start: Cursor | None, pictures: Pictures) -> Iterator[Outcome]:
        current: str | None = None
        paths: dict[str, str] = {}
        extra: dict[int, Any] = {}
        for cursor, where, file, entry in array_entries(self.captions, start):
            part = _part(file)
            if part != current:
                current = part
                paths = _read(self.lists[part]) if part in self.lists else {}
                listed = _read(self.extra[part]) if part in self.extra else []
                extra = {each["pairid"]: each["caption_extend"] for each in listed}
            counts = {f"queries {part}": 1}
            try:
                _check(entry)
                if not entry["caption"].strip():
                    counts[f"{part}: blank captions"] = 1
                soft = entry.get("target_soft")
                if soft is not None and entry["target_hard"] not in soft:
                    counts[f"{part}: hard target not among the soft ones"] = 1
                example = _example(entry, part, paths, extra, pictures)
                yield Outcome(cursor, [example], [], counts)
            except Unusable as error:
                yield Outcome(cursor, [], [Reject(where, error.kind, error.detail)], counts)


def _check(entry: Any) -> None:
    names = ("reference", "caption")
    if not isinstance(entry, dict) or not all(isinstance(entry.get(n), str) for n in names):
        raise Unusable("malformed", "no reference or caption")
    members = entry.get("img_set", {}).get("members", [])
    if len(members) != 6 or entry["reference"] not in members:
        raise Unusable("malformed", "img_set: expected 6 members, the reference among them")


def _example(
    entry: dict[str, Any],
    part: str,
    paths: dict[str, str],
    extra: dict[int, Any],
    pictures: Pictures,
) -> Example:
    pair = str(entry.get("pairid"))
    try:
        request = change_request([entry["caption"]], f"cirr/{pair}")
    except ValueError as error:
        raise Unusable("no words", f"pair {pair}") from error
    shown = [entry["reference"]]
    if entry.get("target_hard") is not None:
        shown.append(entry["target_hard"])
    files: dict[str, Picture] = {}
    for name in shown:
        path = paths.get(name, f"{name}.png").removeprefix("./")
        files[f"cirr/{name}"] = pictures.load(path, f"{name}.png", name)
    ids = [f"cirr/{name}" for name in shown]
    dialogue = Dialogue(id=f"cirr/{part}/{pair}").user(Image(ids[0]), request)
    if len(ids) > 1:
        dialogue = dialogue.assistant(Image(ids[1]))
    kept = ("pairid", "caption", "reference", "target_hard", "target_soft", "img_set")
    about = {name: entry[name] for name in kept if name in entry}
    if entry.get("pairid") in extra:
        about["caption_extend"] = extra[entry["pairid"]]
    return dialogue_example(_split(part), dialogue, files, **about)


def _part(path: Path) -> str:
    return path.name.split(".")[-2]


def _split(part: str) -> SplitName:
    return "test" if part.startswith("test") else "val" if part == "val" else "train"


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _build(arguments: argparse.Namespace) -> Cirr:
    return Cirr(arguments.source)


PREPARATION = SetCommand("the folder with captions/ and image_splits/", _build)
