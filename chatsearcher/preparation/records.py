"""What a converter makes of one entry of a published set: examples, and what it leaves out."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

from chatsearcher.data.records import SplitName

Cursor = list[int]
"""A place in the published files, in a converter's own terms; small and plain, so that it lasts."""


@dataclass(frozen=True)
class Picture:
    """A picture's file as it goes into a record: bytes, and the ending its format has."""

    data: bytes
    suffix: str
    width: int
    height: int


@dataclass(frozen=True)
class Example:
    """One record to be written.

    Attributes:
        about: the record's JSON; pictures are named in it by their member (``0.jpg``, ``1.png``),
            which ``Example.member(number)`` gives.
        text: the record's ``.txt``, where it is one picture and its words.
        pictures: in the order of their members.
    """

    split: SplitName
    about: dict[str, Any]
    pictures: tuple[Picture, ...] = ()
    text: str | None = None

    def member(self, number: int) -> str:
        return member(number, self.pictures[number])


@dataclass(frozen=True)
class Reject:
    """An entry, or a part of one, that is left out.

    Attributes:
        where: file and place: ``train.json[17]``, ``docs_3.jsonl:20``.
        kind: the reason in a few words; rejects are counted by it.
        detail: what exactly was wrong.
        part: the entry itself was kept, without this part of it.
    """

    where: str
    kind: str
    detail: str = ""
    part: bool = False


@dataclass
class Outcome:
    """What became of one entry.

    Attributes:
        cursor: the place after it.
        counts: what else is worth counting: name -> number.
    """

    cursor: Cursor
    examples: list[Example] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)


class Unusable(ValueError):
    """Raised while an entry is converted: it is rejected as a whole."""

    def __init__(self, kind: str, detail: str = "") -> None:
        super().__init__(f"{kind}: {detail}" if detail else kind)
        self.kind = kind
        self.detail = detail

    def __reduce__(self) -> tuple[type[Unusable], tuple[str, str]]:
        return type(self), (self.kind, self.detail)


def member(number: int, picture: Picture) -> str:
    """The name of a record's picture within the record: ``0.jpg``."""
    return f"{number}.{picture.suffix}"


def held_out(key: str, one_in: int) -> SplitName:
    """``val`` for one key in ``one_in``, by its hash; 0 holds nothing out."""
    if one_in <= 0:
        return "train"
    code = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")
    return "val" if code % one_in == 0 else "train"
