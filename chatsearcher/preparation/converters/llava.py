"""LLaVA-Instruct-150k and LLaVA-665k: a JSON array of conversations about one picture, or none.

    {"id": "000000033471", "image": "000000033471.jpg", "conversations":
     [{"from": "human", "value": "<image>\\nWhat …?"}, {"from": "gpt", "value": "…"}…]}

In the 150k set ``image`` is a file of COCO's train2017; in the 665k set it begins with the source's
folder (``coco/train2017/``, ``gqa/images/``, ``ocr_vqa/images/``, ``textvqa/train_images/``,
``vg/VG_100K/``), and some 40,000 conversations are text alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from chatsearcher.dialogue import Dialogue, Image, Part, Role, Text
from chatsearcher.preparation.command import SetCommand
from chatsearcher.preparation.dialogue_records import array_entries, dialogue_example
from chatsearcher.preparation.lines import find_files
from chatsearcher.preparation.pictures import Pictures
from chatsearcher.preparation.records import (
    Cursor,
    Example,
    Outcome,
    Picture,
    Reject,
    Unusable,
    held_out,
)

PLACEHOLDER = "<image>"
_ROLES: dict[str, Role] = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "system": "system",
}


class Llava:
    """Conversations of all files, in their order."""

    expected: dict[str, int]

    def __init__(self, files: Sequence[Path], val_every: int = 500) -> None:
        self.name = "llava"
        self.inputs = files
        self.shards: Sequence[Path] = ()
        self.val_every = val_every
        self.expected = {}

    def facts(self) -> dict[str, int]:
        return {}

    def outcomes(self, start: Cursor | None, pictures: Pictures) -> Iterator[Outcome]:
        for cursor, where, _, entry in array_entries(self.inputs, start):
            rejects: list[Reject] = []
            try:
                example = self._example(entry, where, pictures, rejects)
                kind = "with a picture" if example.pictures else "text alone"
                yield Outcome(cursor, [example], rejects, {f"conversations {kind}": 1})
            except Unusable as error:
                yield Outcome(cursor, [], [*rejects, Reject(where, error.kind, error.detail)])

    def _example(
        self, entry: Any, where: str, pictures: Pictures, rejects: list[Reject]
    ) -> Example:
        if not isinstance(entry, dict) or not isinstance(entry.get("conversations"), list):
            raise Unusable("malformed", "no list of conversations")
        turns = entry["conversations"]
        if turns and isinstance(turns[0], dict) and _role(turns[0]) == "assistant":
            rejects.append(Reject(where, "answer before any question", part=True))
            turns = turns[1:]
        name = entry.get("image")
        if name is not None and not isinstance(name, str):
            raise Unusable("malformed", f"image is a {type(name).__name__}")
        files: dict[str, Picture] = {}
        image = None
        if name is not None:
            files[_picture_id(name)] = pictures.load(*_file_names(name))
            image = Image(_picture_id(name))
        dialogue = Dialogue(id=str(entry.get("id", where)))
        shown = 0
        for place, turn in enumerate(turns):
            role = _role(turn)
            before = dialogue.turns[-1].role if dialogue.turns else None
            expected = "assistant" if before == "user" else "user"
            if role != expected and not (role == "system" and before is None):
                raise Unusable("speakers do not take turns", f"turn {place} is {role}'s")
            parts, found = _parts(str(turn.get("value", "")), image)
            shown += found
            if not parts:
                raise Unusable("empty turn", f"turn {place}")
            dialogue = dialogue.add(role, *parts)
        if not dialogue.turns or dialogue.turns[-1].role != "assistant":
            raise Unusable("no answer at the end")
        if shown != len(files):
            raise Unusable(
                "placeholders do not fit", f"{shown} {PLACEHOLDER}, {len(files)} pictures"
            )
        return dialogue_example(held_out(dialogue.id or where, self.val_every), dialogue, files)


def _role(turn: Any) -> Role:
    speaker = turn.get("from") if isinstance(turn, dict) else None
    if speaker not in _ROLES:
        raise Unusable("unknown speaker", repr(speaker))
    return _ROLES[speaker]


def _parts(value: str, image: Image | None) -> tuple[list[Part], int]:
    """A turn's text and pictures in their order, and how many pictures there are."""
    parts: list[Part] = []
    pieces = value.split(PLACEHOLDER)
    if image is None and len(pieces) > 1:
        raise Unusable("placeholder without a picture")
    for number, piece in enumerate(pieces):
        if number and image is not None:
            parts.append(image)
        if piece.strip():
            parts.append(Text(piece.strip()))
    return parts, len(pieces) - 1


def _file_names(name: str) -> tuple[str, ...]:
    """What the picture's file may be called: the 150k set names COCO's files without a folder, and
    they are found in the folder that COCO packs them in, too."""
    folder, _, base = name.rpartition("/")
    packed = () if folder else (f"train2017/{base}", f"coco/train2017/{base}")
    return (name, *packed, base, f"COCO_train2014_{base}")


def _picture_id(name: str) -> str:
    """COCO's pictures have one id in both sets, so that the feature queue knows them as one."""
    folder, _, base = name.rpartition("/")
    return f"coco/{base}" if folder in ("", "coco/train2017") else name


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--val-every", type=int, default=500, metavar="N")


def _build(arguments: argparse.Namespace) -> Llava:
    patterns = ("llava_instruct_*.json", "llava_v1_5_mix665k.json")
    found = find_files(arguments.source, *patterns)
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise ValueError(
            f"several sets in {arguments.source} ({names}); they share conversations: give one file"
        )
    return Llava(found, arguments.val_every)


PREPARATION = SetCommand(
    "llava_instruct_150k.json or llava_v1_5_mix665k.json, or its folder",
    _build,
    _configure,
    ("val_every",),
)
