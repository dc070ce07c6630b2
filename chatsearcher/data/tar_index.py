"""Where the records of a WebDataset shard lie, with any number of files a record.

Only headers are read. A shard costs memory while it is open, never the whole set.
"""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chatsearcher.data.records import BrokenRecord
from chatsearcher.images import SUFFIXES, open_image

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

LARGE_SIDE = 2048
"""Pictures are reduced to this many pixels on the long side while they are decoded: one of 100
megapixels costs little more than another (JPEG, which can be decoded at a fraction of its size)."""


@dataclass(frozen=True, slots=True)
class Member:
    """A file of a record; ``ending`` is what stands after the key and a dot: ``0.jpg``."""

    ending: str
    start: int
    size: int


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A record in a shard; its bytes are read when they are asked for."""

    path: Path
    key: str
    members: tuple[Member, ...]

    def read(self, ending: str) -> bytes:
        """The bytes of one file.

        Raises:
            BrokenRecord: the record has no such file, or the shard ends before it does.
        """
        for member in self.members:
            if member.ending == ending:
                with open(self.path, "rb") as file:
                    data = os.pread(file.fileno(), member.size, member.start)
                if len(data) != member.size:
                    raise BrokenRecord(self.key, f"{self.path.name} ends inside of {ending}")
                return data
        there = ", ".join(member.ending for member in self.members)
        raise BrokenRecord(self.key, f"no {ending} in {self.path.name}; it has {there}")

    def has(self, ending: str) -> bool:
        return any(member.ending == ending for member in self.members)

    def metadata(self) -> dict[str, Any]:
        """The record's JSON, empty where it has none.

        Raises:
            BrokenRecord: it is no JSON object.
        """
        if not self.has("json"):
            return {}
        try:
            value = json.loads(self.read("json"))
        except ValueError as error:
            if isinstance(error, BrokenRecord):
                raise
            raise BrokenRecord(self.key, f"its JSON is broken: {error}") from error
        if not isinstance(value, dict):
            raise BrokenRecord(self.key, f"its JSON is a {type(value).__name__}")
        return value

    def text(self) -> str:
        """The record's ``.txt``, empty where it has none.

        Raises:
            BrokenRecord: it is not UTF-8.
        """
        if not self.has("txt"):
            return ""
        try:
            return self.read("txt").decode("utf-8").strip()
        except UnicodeDecodeError as error:
            raise BrokenRecord(self.key, f"its text is not UTF-8: {error}") from error

    @property
    def pictures(self) -> list[str]:
        """The endings of its pictures, in the order of the shard."""
        return [m.ending for m in self.members if _is_picture(m.ending)]

    def picture(self, ending: str) -> PILImage:
        """A picture, RGB, at most ``LARGE_SIDE`` pixels on its long side.

        Raises:
            BrokenRecord: it is not there or cannot be decoded.
        """
        try:
            return open_image(self.read(ending), name=self.key, max_side=LARGE_SIDE)
        except BrokenRecord:
            raise
        except ValueError as error:
            raise BrokenRecord(self.key, str(error).removeprefix(f"{self.key}: ")) from error


@dataclass(frozen=True)
class ShardMembers:
    """All records of a shard; ``problem`` says how it is damaged, if it is."""

    records: tuple[StoredRecord, ...]
    problem: str | None = None


def shard_members(path: Path) -> ShardMembers:
    """The records of a shard, from its headers. Kept for the few shards looked at last.

    Raises:
        ValueError: not an uncompressed tar file.
    """
    status = path.stat()
    return _members(path, status.st_size, status.st_mtime_ns)


def read_shard(path: Path) -> ShardMembers:
    """The same, not kept: for going through shards once."""
    return _read(path, path.stat().st_size)


@lru_cache(maxsize=16)
def _members(path: Path, size: int, stamp: int) -> ShardMembers:
    return _read(path, size)


def _read(path: Path, size: int) -> ShardMembers:
    problem: list[str] = []
    return ShardMembers(tuple(_scan(path, size, problem)), problem[0] if problem else None)


def _scan(path: Path, size: int, problem: list[str]) -> Iterator[StoredRecord]:
    key: str | None = None
    members: list[Member] = []
    try:
        with tarfile.open(path, "r:") as tar:
            while (info := tar.next()) is not None:
                tar.members = []  # type: ignore[attr-defined] # else every header is kept
                if not info.isfile():
                    continue
                if info.offset_data + info.size > size:
                    problem.append(f"cut off in {info.name}")
                    # The record it belongs to is not whole, and is left out.
                    if _split(info.name)[0] == key:
                        key = None
                    break
                name, ending = _split(info.name)
                if name != key:
                    if key is not None:
                        yield StoredRecord(path, key, tuple(members))
                    key, members = name, []
                members.append(Member(ending, info.offset_data, info.size))
            else:
                if problem_at_end := _end_problem(path, tar.offset, size):
                    problem.append(problem_at_end)
    except tarfile.ReadError as error:
        if key is None:
            raise ValueError(
                f"{path}: not an uncompressed tar file ({error}); unpack .tar.gz shards first"
            ) from error
        problem.append(f"cut off: {error}")
    if key is not None:
        yield StoredRecord(path, key, tuple(members))


def _end_problem(path: Path, offset: int, size: int) -> str | None:
    """``tarfile`` takes a broken header for the end, in silence; an end is a block of zeros."""
    with open(path, "rb") as file:
        file.seek(offset)
        block = file.read(tarfile.BLOCKSIZE)
    if block == bytes(tarfile.BLOCKSIZE):
        return None
    return f"cut off or damaged at byte {offset} of {size}: no end mark there"


def _split(name: str) -> tuple[str, str]:
    """``a/000012.0.jpg`` -> (``a/000012``, ``0.jpg``); the key ends at the name's first dot."""
    folder, slash, base = name.rpartition("/")
    stem, _, ending = base.partition(".")
    return folder + slash + stem, ending.lower()


def _is_picture(ending: str) -> bool:
    return f".{ending.rpartition('.')[2]}" in SUFFIXES
