"""Text files of one entry a line, plain or packed (gzip, zip), gone on with from any line."""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from chatsearcher.preparation.records import Cursor

MAX_LINE = 64 << 20
"""Bytes of a line at most; a longer one is passed over, and said so."""


@dataclass(frozen=True)
class Line:
    """A line without its end.

    Attributes:
        cursor: the place after it: file, byte, lines of the file so far.
        where: ``docs.jsonl:20``.
        data: None where the line was too long.
    """

    cursor: Cursor
    where: str
    data: bytes | None


def open_text(path: Path) -> IO[bytes]:
    """A file's bytes, unpacked where its name ends in ``.gz`` or ``.zip``.

    Raises:
        ValueError: a zip file of several files, or a broken one.
    """
    if path.suffix == ".gz":
        return io.BufferedReader(gzip.open(path, "rb"))  # type: ignore[arg-type]
    if path.suffix == ".zip":
        try:
            packed = zipfile.ZipFile(path)
        except zipfile.BadZipFile as error:
            raise ValueError(f"{path}: {error}") from error
        names = [info.filename for info in packed.infolist() if not info.is_dir()]
        if len(names) != 1:
            raise ValueError(f"{path} holds {len(names)} files; expected one (unpack it first)")
        return packed.open(names[0])
    return open(path, "rb")


def read_lines(paths: Sequence[Path], start: Cursor | None = None) -> Iterator[Line]:
    """All lines of all files that are not empty, after ``start``."""
    first, offset, number = start or (0, 0, 0)
    for index in range(first, len(paths)):
        path = paths[index]
        with open_text(path) as file:
            if offset:
                file.seek(offset)
            while line := file.readline(MAX_LINE):
                number += 1
                offset += len(line)
                whole = line.endswith(b"\n") or len(line) < MAX_LINE
                while not line.endswith(b"\n") and (line_rest := file.readline(MAX_LINE)):
                    offset += len(line_rest)
                    line = line_rest
                data = line.rstrip(b"\r\n") if whole else None
                if data is None or data.strip():
                    yield Line([index, offset, number], f"{path.name}:{number}", data)
        offset = number = 0


def find_files(source: Path, *patterns: str) -> list[Path]:
    """The files of a folder that fit a pattern, by name; or the file itself.

    Raises:
        FileNotFoundError: nothing there.
    """
    if source.is_file():
        return [source]
    found = sorted({path for pattern in patterns for path in source.glob(pattern)})
    if not found:
        there = "no such folder"
        if source.is_dir():
            names = sorted(path.name for path in source.iterdir())[:8]
            there = f"it holds {', '.join(names) or 'nothing'}"
        raise FileNotFoundError(f"no {' or '.join(patterns)} in {source}; {there}")
    return found
