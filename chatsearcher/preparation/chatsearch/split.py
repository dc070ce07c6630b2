"""Stage ``split``: by the lists of the source, with no picture, and no near-duplicate, in two.

As in the paper (section 3.2), dialogues from pictures of Karpathy's val and test lists make the
test split, all others the training split; ``--keep-val`` keeps val apart. A dialogue that shows a
picture which a more protected split shows too (test before val before train), or a near-duplicate
of one, is left out.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Sequence

import numpy as np

from chatsearcher.preparation.chatsearch.layout import Entry
from chatsearcher.preparation.chatsearch.shown import MAX_MEAN, near, read_signature
from chatsearcher.preparation.chatsearch.stage import Result

PAPER = {"train": "train", "restval": "train", "val": "test", "test": "test"}
KEEP_VAL = {"train": "train", "restval": "train", "val": "val", "test": "test"}
PROTECTED = ("test", "val", "train")


class Shelf:
    """The pictures of one split: names, and signatures to find near-duplicates by.

    Memory: about 100 bytes a picture, 400 for one with a signature.
    """

    def __init__(self, split: str) -> None:
        self.split = split
        self._ids: set[int] = set()
        self._names = bytearray()
        self._ends = array("q")
        self._marks = bytearray()
        self._sorted: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None

    def __contains__(self, id: str) -> bool:
        return _code(id) in self._ids

    def add(self, picture: Entry) -> None:
        """Take a picture in; one that is here already changes nothing."""
        if picture["id"] in self:
            return
        self._ids.add(_code(picture["id"]))
        if picture["signature"] is not None:
            self._names += picture["id"].encode()
            self._ends.append(len(self._names))
            self._marks += read_signature(picture["signature"]).astype(np.uint8).tobytes()
            self._sorted = None

    def nearest(self, mark: np.ndarray) -> str | None:
        """The id of a near-duplicate, or None; of several, the one that was added first.

        Only pictures whose mean brightness is within ``MAX_MEAN`` are looked at: the mean of
        differences is at least the difference of means.
        """
        if not self._ends:
            return None
        if self._sorted is None:
            marks = np.frombuffer(bytes(self._marks), np.uint8).reshape(len(self._ends), -1)
            means = marks.mean(-1, dtype=np.float32)
            order = np.argsort(means, kind="stable")
            self._sorted = (means[order], marks[order], order)
        means, marks, order = self._sorted
        mean = mark.mean()
        # A hair wider: the means are float32.
        low = np.searchsorted(means, mean - MAX_MEAN - 0.01, "left")
        high = np.searchsorted(means, mean + MAX_MEAN + 0.01, "right")
        found = np.flatnonzero(near(marks[low:high].astype(np.int16), mark))
        if not len(found):
            return None
        place = int(order[low + found].min())
        start = self._ends[place - 1] if place else 0
        return self._names[start : self._ends[place]].decode()


def _code(id: str) -> int:
    """Eight bytes that stand for a name."""
    return int.from_bytes(hashlib.blake2b(id.encode(), digest_size=8).digest(), "big")


def protected_shelves(records: Iterable[Entry], names: dict[str, str]) -> list[Shelf]:
    """The pictures of every split but the last, the most protected first. Memory grows with the
    held-out part only."""
    shelves = {split: Shelf(split) for split in PROTECTED[:-1]}
    for record in records:
        shelf = shelves.get(names[record["split"]])
        if shelf is not None:
            for picture in (record["target"], *record["pictures"]):
                shelf.add(picture)
    return list(shelves.values())


async def split_work(
    entries: Sequence[Entry], shelves: Sequence[Shelf], names: dict[str, str]
) -> list[Result]:
    marks: dict[str, str | None] = {}
    return [_one(entry, shelves, names, marks) for entry in entries]


def _one(
    entry: Entry, shelves: Sequence[Shelf], names: dict[str, str], known: dict[str, str | None]
) -> Result:
    split = names[entry["split"]]
    for picture in (entry["target"], *entry["pictures"]):
        for shelf in shelves:
            if shelf.split == split:
                break  # the less protected ones give way to this split
            if picture["id"] in shelf:
                reason = f"picture is in {shelf.split} too"
                return Result.drop(entry["id"], reason, picture=picture["id"], split=split)
            if picture["signature"] is None:
                continue
            key = f"{shelf.split} {picture['signature']}"
            if key not in known:
                known[key] = shelf.nearest(read_signature(picture["signature"]))
            if (twin := known[key]) is not None:
                reason = f"near-duplicate of a picture in {shelf.split}"
                return Result.drop(
                    entry["id"], reason, picture=picture["id"], twin=twin, split=split
                )
    return Result.keep({**entry, "split": split})
