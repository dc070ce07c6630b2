"""WebDataset shards (``key.webp``, ``key.txt``, ``key.json`` in tar files), read at random.

The headers are read once; afterwards a record is three ``pread`` calls, in any order, from any
process. That gives an exact shuffle and an exact resume for nothing. ``datasets``' own reader goes
through a shard from the front, guesses the fields from its first five records, and gives up a
truncated shard with an exception that hides which records are lost.
"""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chatsearcher.data.records import BrokenRecord, Remark
from chatsearcher.data.tar_index import LARGE_SIDE
from chatsearcher.images import SUFFIXES, open_image

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

_SLOTS = ("image", "txt", "json")
_MAX_OPEN = 64


def find_shards(folder: str | Path, split: str | None = None) -> list[Path]:
    """The tar files of a folder, by name; of a split, those named ``<split>-….tar``.

    Raises:
        FileNotFoundError: no such folder, or no shard of that split in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"no such folder of shards: {folder}; give a source's path, or for the sets of real "
            "pictures say in CHATSEARCHER_IMAGES which folder they are in"
        )
    pattern = f"{split}*.tar" if split else "*.tar"
    found = sorted(path for path in folder.glob(pattern) if path.is_file())
    if not found:
        there = ", ".join(sorted(path.name for path in folder.iterdir())[:8]) or "nothing"
        raise FileNotFoundError(f"no {pattern} in {folder}; it holds {there}")
    return found


def open_shards(paths: Iterable[Path]) -> Shards:
    """``Shards.open``, once per process for the same files: sources often share them."""
    return _opened(tuple((path, path.stat().st_size, path.stat().st_mtime_ns) for path in paths))


@lru_cache(maxsize=8)
def _opened(files: tuple[tuple[Path, int, int], ...]) -> Shards:
    return Shards.open(path for path, _, _ in files)


@dataclass
class Shards:
    """An index over the records of some shards.

    Attributes:
        paths: the tar files.
        keys: every record's key, in the order of the shards.
        remarks: what could not be indexed: truncated shards, records without a picture.
    """

    paths: list[Path]
    keys: list[str] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)
    _shard: array[int] = field(default_factory=lambda: array("l"))
    _where: array[int] = field(default_factory=lambda: array("q"))
    _files: dict[int, int] = field(default_factory=dict)

    @classmethod
    def open(cls, paths: Iterable[str | Path]) -> Shards:
        """Read the headers of all shards.

        Raises:
            ValueError: a file that is no (uncompressed) tar file, or two records of one key.
        """
        shards = cls([Path(path) for path in paths])
        for number in range(len(shards.paths)):
            shards._scan(number)
        double = next((key for key in _duplicates(shards.keys)), None)
        if double is not None:
            raise ValueError(
                f"two records have the key {double!r} in {shards.paths[0].parent}; keys must be "
                "unique over all shards that are read together"
            )
        return shards

    def __len__(self) -> int:
        return len(self.keys)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_files": {}}  # open files stay in their own process

    def text(self, record: int) -> str:
        """The record's ``.txt``, empty where it has none.

        Raises:
            BrokenRecord: it is not UTF-8.
        """
        try:
            return self._read(record, 1).decode("utf-8").strip()
        except UnicodeDecodeError as error:
            raise BrokenRecord(self.keys[record], f"its text is not UTF-8: {error}") from error

    def metadata(self, record: int) -> dict[str, Any]:
        """The record's ``.json``, empty where it has none.

        Raises:
            BrokenRecord: it is no JSON object.
        """
        data = self._read(record, 2)
        if not data:
            return {}
        try:
            value = json.loads(data)
        except ValueError as error:
            raise BrokenRecord(self.keys[record], f"its JSON is broken: {error}") from error
        if not isinstance(value, dict):
            raise BrokenRecord(self.keys[record], f"its JSON is a {type(value).__name__}")
        return value

    def picture(self, record: int) -> PILImage:
        """The record's picture, RGB.

        Raises:
            BrokenRecord: it cannot be decoded.
        """
        key = self.keys[record]
        try:
            return open_image(self._read(record, 0), name=key, max_side=LARGE_SIDE)
        except ValueError as error:
            raise BrokenRecord(key, str(error).removeprefix(f"{key}: ")) from error

    def picture_hash(self, record: int) -> str:
        """A sha1 (hex) of the picture's file: byte-identical pictures have one."""
        return hashlib.sha1(self._read(record, 0), usedforsecurity=False).hexdigest()

    def texts(self, record: int, names: Sequence[str]) -> list[str]:
        """The record's words: ``txt``, and strings or lists of strings of its JSON, in that order.

        Raises:
            BrokenRecord: there are none.
        """
        found: list[str] = []
        metadata = self.metadata(record) if set(names) - {"txt"} else {}
        for name in names:
            value = self.text(record) if name == "txt" else metadata.get(name)
            values = value if isinstance(value, list) else [value]
            found += [each.strip() for each in values if isinstance(each, str) and each.strip()]
        if not found:
            raise BrokenRecord(self.keys[record], f"it has no words in {', '.join(names)}")
        return list(dict.fromkeys(found))

    def _read(self, record: int, slot: int) -> bytes:
        offset, size = self._where[record * 6 + slot * 2 : record * 6 + slot * 2 + 2]
        if size < 0:
            return b""
        shard = self._shard[record]
        if shard not in self._files:
            while len(self._files) >= _MAX_OPEN:
                os.close(self._files.pop(next(iter(self._files))))
            self._files[shard] = os.open(self.paths[shard], os.O_RDONLY)
        return os.pread(self._files[shard], size, offset)

    def _scan(self, number: int) -> None:
        path = self.paths[number]
        size = path.stat().st_size
        slots: dict[str, tuple[int, int]] = {}
        current: str | None = None
        try:
            with tarfile.open(path, "r:") as tar:
                for member in tar:
                    if not member.isfile():
                        continue
                    key, slot = _name(member.name)
                    if slot is None:
                        continue
                    if key != current:
                        self._close(number, current, slots)
                        current, slots = key, {}
                    whole = member.offset_data + member.size <= size
                    slots[slot] = (member.offset_data, member.size if whole else -2)
                self._check_end(path, tar.offset)
        except tarfile.ReadError as error:
            if current is None:
                raise ValueError(
                    f"{path}: not an uncompressed tar file ({error}); unpack .tar.gz shards first"
                ) from error
            self.remarks.append(Remark(str(path), "skipped", f"the shard is cut off: {error}"))
        self._close(number, current, slots)

    def _check_end(self, path: Path, offset: int) -> None:
        """``tarfile`` takes a broken header for the end, in silence; an end is a block of zeros."""
        with open(path, "rb") as file:
            file.seek(offset)
            if file.read(512) != bytes(512):
                reason = f"the shard is cut off or damaged at byte {offset}: no end mark there"
                self.remarks.append(Remark(str(path), "skipped", reason))

    def _close(self, number: int, key: str | None, slots: dict[str, tuple[int, int]]) -> None:
        """Take the record in, if it is whole."""
        if key is None:
            return
        where = [slots.get(slot, (0, -1)) for slot in _SLOTS]
        if where[0][1] == -1:
            self.remarks.append(Remark(key, "skipped", f"no picture in {self.paths[number].name}"))
        elif any(size == -2 for _, size in where):
            reason = f"cut off at the end of {self.paths[number].name}"
            self.remarks.append(Remark(key, "skipped", reason))
        else:
            self.keys.append(key)
            self._shard.append(number)
            self._where.extend(value for pair in where for value in pair)


def _name(path: str) -> tuple[str, str | None]:
    """``a/000012.webp`` -> (``a/000012``, ``image``); the key ends at the name's first dot."""
    folder, slash, name = path.rpartition("/")
    stem, _, extension = name.partition(".")
    kind = extension.lower()
    slot = kind if kind in ("txt", "json") else "image" if f".{kind}" in SUFFIXES else None
    return folder + slash + stem, slot


def _duplicates(keys: Sequence[str]) -> list[str]:
    seen: set[str] = set()
    return [key for key in keys if key in seen or seen.add(key)]  # type: ignore[func-returns-value]


def select(
    shards: Shards, where: dict[str, tuple[str, ...]], below: dict[str, float]
) -> tuple[list[int], list[Remark]]:
    """The records whose JSON says so (``SourceConfig.where`` and ``below``); all if neither is set.

    Returns (records, remarks on those whose JSON cannot be read, which are left out).
    """
    if not where and not below:
        return list(range(len(shards))), []
    chosen, remarks = [], []
    for record in range(len(shards)):
        try:
            metadata = shards.metadata(record)
        except BrokenRecord as error:
            remarks.append(Remark(error.key, "skipped", error.reason))
            continue
        fits = all(metadata.get(name) in values for name, values in where.items())
        if fits and all(_under(metadata.get(name), limit) for name, limit in below.items()):
            chosen.append(record)
    return chosen, remarks


def _under(value: Any, limit: float) -> bool:
    return isinstance(value, (int, float)) and value < limit
