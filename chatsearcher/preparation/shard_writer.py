"""WebDataset shards that are written record by record and taken up again after a kill.

The bytes of a shard depend on its records alone: no times, no owners. An unfinished shard is a
``.part`` file that only grows, so going on after a kill is cutting it back to the size it had at
the last checkpoint.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

_BLOCK = 512
_END = bytes(2 * _BLOCK)


@dataclass(frozen=True)
class Finished:
    """A whole shard."""

    name: str
    records: int
    bytes: int
    sha256: str


class ShardWriter:
    """The shards of one split, ``<split>-000000.tar`` and so on.

    Args:
        state: what ``checkpoint`` returned, to go on from there; None starts anew.
    """

    def __init__(
        self, folder: Path, split: str, records_per_shard: int, state: dict[str, Any] | None = None
    ) -> None:
        self.folder = folder
        self.split = split
        self.records_per_shard = records_per_shard
        self.number = int(state["shard"]) if state else 0
        self.records = int(state["records"]) if state else 0
        self.bytes = int(state["bytes"]) if state else 0
        self._hash = hashlib.sha256()
        self._file: BinaryIO | None = None
        self._restore()

    @property
    def name(self) -> str:
        return f"{self.split}-{self.number:06d}.tar"

    def write(self, key: str, members: list[tuple[str, bytes]]) -> Finished | None:
        """Add a record; returns the shard where this one made it full."""
        for ending, data in members:
            self._append(_header(f"{key}.{ending}", len(data)))
            self._append(data)
            self._append(bytes(-len(data) % _BLOCK))
        self.records += 1
        return self.finish() if self.records == self.records_per_shard else None

    def finish(self) -> Finished | None:
        """Close the shard at hand; None where it holds nothing."""
        if not self.records:
            return None
        self._append(_END)
        assert self._file is not None
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._file = None
        done = Finished(self.name, self.records, self.bytes, self._hash.hexdigest())
        os.replace(self._part, self.folder / self.name)
        self.number += 1
        self.records = self.bytes = 0
        self._hash = hashlib.sha256()
        return done

    def checkpoint(self) -> dict[str, Any]:
        """Bring everything to the disk; returns what it takes to go on from here."""
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())
        return {"shard": self.number, "records": self.records, "bytes": self.bytes}

    def close(self) -> None:
        """Let go of the file, as it is."""
        if self._file is not None:
            self._file.close()
            self._file = None

    @property
    def _part(self) -> Path:
        return self.folder / f"{self.name}.part"

    def _append(self, data: bytes) -> None:
        if self._file is None:
            self._file = open(self._part, "ab")  # noqa: SIM115 - open for as long as the shard is
        self._file.write(data)
        self._hash.update(data)
        self.bytes += len(data)

    def _restore(self) -> None:
        """Cut back what was written after the checkpoint; drop shards begun since."""
        whole = self.folder / self.name
        if whole.exists() and not self._part.exists():
            os.replace(whole, self._part)  # finished after the checkpoint
        for path in self.folder.glob(f"{self.split}-*.tar*"):
            digits = path.name[len(self.split) + 1 :].split(".")[0]
            if digits.isdigit() and int(digits) >= self.number and path != self._part:
                path.unlink()
        if self._part.exists():
            size = self._part.stat().st_size
            if size < self.bytes:
                raise ValueError(
                    f"{self._part} has {size} bytes, its checkpoint says {self.bytes}: it was "
                    "changed since; remove the folder and start anew"
                )
            os.truncate(self._part, self.bytes)
            with open(self._part, "rb") as file:
                while chunk := file.read(1 << 20):
                    self._hash.update(chunk)
        elif self.bytes:
            raise ValueError(f"{self._part} is gone; remove the folder and start anew")


def _header(name: str, size: int) -> bytes:
    """A ustar header, as ``tarfile`` writes it; that takes ten times as long."""
    path = name.encode("ascii")
    if len(path) > 100 or size >= 8**11:
        raise ValueError(f"{name}, {size} bytes: too long a name or too large a file for a shard")
    fields = (
        path.ljust(100, bytes(1)),
        *(b"%07o" % number + bytes(1) for number in (0o644, 0, 0)),  # mode, owner, group
        b"%011o" % size + bytes(1),
        b"%011o" % 0 + bytes(1),  # time
        b" " * 8,  # the sum is taken with spaces in its own place
        b"0".ljust(101, bytes(1)),  # a file, no link
        b"ustar".ljust(6, bytes(1)) + b"00".ljust(66, bytes(1)),  # no owners' names
    )
    header = b"".join(fields).ljust(_BLOCK, bytes(1))
    return header[:148] + b"%06o" % sum(header) + bytes(1) + b" " + header[156:]
