"""Finding the pictures that annotations speak of: in folders, and in image shards.

Image shards (img2dataset's, or any WebDataset) are indexed once into a small database on disk, by
every name a record has: its key, its ``url``, its ``image_name``, its file's name. Memory stays
flat at any number of pictures, and a killed indexing goes on with the next shard.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import sqlite3
import struct
import tarfile
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from chatsearcher.data.tar_index import read_shard
from chatsearcher.images import MAX_PIXELS, SUFFIXES, open_image
from chatsearcher.preparation.records import Picture, Unusable

MAX_BYTES = 1 << 26
"""A picture's file may be this large."""

DECODED_WHOLE = 25_000_000
"""Pixels up to which a picture is decoded to see that it is whole (JPEG: at an eighth of its size);
of larger ones only the header is read."""

_SUFFIX = {"JPEG": "jpg", "MPO": "jpg", "PNG": "png", "WEBP": "webp", "GIF": "gif", "BMP": "bmp"}
_NAMES = ("url", "image_name", "key", "id", "image_id", "asin")


def check_picture(data: bytes, max_side: int = 0) -> Picture:
    """A picture's bytes as they are, once it is clear that they can be decoded.

    Args:
        max_side: larger pictures are made smaller and written as JPEG; 0 keeps every file as it is.

    Raises:
        Unusable: broken, too large, or of a format that training does not read.
    """
    try:
        with warnings.catch_warnings():
            # Pillow warns from 89 megapixels on; the limit here is our own, and said with the key.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            opened = Image.open(io.BytesIO(data))
        with opened as image:
            kind, (width, height) = image.format or "?", image.size
            if width * height > MAX_PIXELS:
                raise Unusable(
                    "picture too large", f"{width} x {height}; at most {MAX_PIXELS / 1e6:g} MP"
                )
            if kind == "TIFF" or kind not in _SUFFIX:
                raise Unusable("picture of an unread format", kind)
            if max_side and max(width, height) > max_side:
                return _smaller(data, max_side)
            if width * height <= DECODED_WHOLE:
                if kind in ("JPEG", "MPO"):
                    image.draft("RGB", (1, 1))  # type: ignore[no-untyped-call]
                image.load()
    except Unusable:
        raise
    except UnidentifiedImageError as error:
        raise Unusable("picture broken", "not a picture that Pillow can read") from error
    except Image.DecompressionBombError as error:
        raise Unusable("picture too large", str(error)) from error
    except (OSError, SyntaxError, EOFError, struct.error, IndexError, KeyError) as error:
        raise Unusable("picture broken", str(error)) from error
    except (TypeError, ValueError) as error:
        raise Unusable("picture broken", str(error)) from error
    return Picture(data, _SUFFIX[kind], width, height)


def _smaller(data: bytes, side: int) -> Picture:
    try:
        small = open_image(data, max_side=side)
    except ValueError as error:
        raise Unusable("picture broken", str(error)) from error
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=92)
    return Picture(buffer.getvalue(), "jpg", *small.size)


class Pictures:
    """Pictures by name, from any number of folders and shards.

    Args:
        places: folders of picture files, folders of ``.tar`` shards, or shards.
        database: where the index of the shards is kept.
        max_side: see ``check_picture``.

    Raises:
        FileNotFoundError: a place that does not exist.
    """

    def __init__(self, places: Sequence[str | Path], database: Path, max_side: int = 0) -> None:
        self.folders: list[Path] = []
        self.shards: list[Path] = []
        self.max_side = max_side
        self._database = database
        self._connection: sqlite3.Connection | None = None
        for place in map(Path, places):
            if place.is_dir():
                tars = sorted(place.rglob("*.tar"))
                self.shards += tars
                self.folders += [] if tars and not _has_pictures(place) else [place]
            elif place.suffix == ".tar" and place.is_file():
                self.shards.append(place)
            else:
                raise FileNotFoundError(
                    f"no pictures in {place}: expected a folder of pictures or of .tar shards"
                )

    def index(self) -> Iterator[tuple[int, int]]:
        """Index the shards; yields (done, all). Shards that were indexed before are passed over."""
        if not self.shards:
            return
        connection = self._open()
        connection.execute("CREATE TABLE IF NOT EXISTS shards (name TEXT PRIMARY KEY)")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS pictures (name BLOB PRIMARY KEY, shard INTEGER, "
            "start INTEGER, size INTEGER) WITHOUT ROWID"
        )
        done = {name for (name,) in connection.execute("SELECT name FROM shards")}
        for number, path in enumerate(self.shards):
            if str(path) not in done:
                with connection:
                    connection.executemany(
                        "INSERT OR IGNORE INTO pictures VALUES (?, ?, ?, ?)",
                        _rows(number, path),
                    )
                    connection.execute("INSERT INTO shards VALUES (?)", (str(path),))
            yield number + 1, len(self.shards)

    def load(self, *names: str) -> Picture:
        """The picture that goes by one of these names; the first that is found.

        Names are paths below a folder, or a shard record's url, key or file name.

        Raises:
            Unusable: there is none, or it cannot be used.
        """
        data = self._find(names)
        if data is None:
            raise Unusable("picture missing", names[0])
        try:
            return check_picture(data, self.max_side)
        except Unusable as error:
            raise Unusable(error.kind, f"{names[0]}: {error.detail}") from error

    def has(self, *names: str) -> bool:
        """Whether ``load`` would find a file; it is not read."""
        if any(_inside(f, n) for n in names for f in self.folders):
            return True
        return bool(self.shards) and any(self._row(name) is not None for name in names)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def remove_index(self) -> None:
        self.close()
        self._database.unlink(missing_ok=True)

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = sqlite3.connect(self._database)
            self._connection.execute("PRAGMA synchronous = NORMAL")
        return self._connection

    def _find(self, names: Sequence[str]) -> bytes | None:
        for name in names:
            for folder in self.folders:
                path = _inside(folder, name)
                if path is not None:
                    if path.stat().st_size > MAX_BYTES:
                        raise Unusable("picture too large", f"{name}: {path.stat().st_size} bytes")
                    return path.read_bytes()
        if not self.shards:
            return None
        for name in names:
            row = self._row(name)
            if row is not None:
                shard, start, size = row
                with open(self.shards[shard], "rb") as file:
                    return os.pread(file.fileno(), size, start)
        return None

    def _row(self, name: str) -> tuple[int, int, int] | None:
        found = self._open().execute(
            "SELECT shard, start, size FROM pictures WHERE name = ?", (_code(name),)
        )
        row: tuple[int, int, int] | None = found.fetchone()
        return row


def _inside(folder: Path, name: str) -> Path | None:
    """The file of that name below the folder; names that lead out of it find nothing."""
    if not name or "\0" in name or "://" in name or len(name) > 1000:
        return None
    path = folder / name.lstrip("/")
    if ".." in path.parts or not path.is_file():
        return None
    return path


def _code(name: str) -> bytes:
    return hashlib.sha256(name.encode("utf-8", errors="surrogatepass")).digest()[:12]


@dataclass(frozen=True)
class _Record:
    start: int
    size: int
    names: set[str]


def _rows(number: int, path: Path) -> Iterator[tuple[bytes, int, int, int]]:
    for record in _records(path):
        for name in sorted(record.names):
            yield _code(name), number, record.start, record.size


def _records(path: Path) -> Iterator[_Record]:
    """The pictures of a shard with all their names; a shard that is cut off gives what it has."""
    try:
        with open(path, "rb") as file:
            for stored in read_shard(path).records:
                picture = next(
                    (m for m in stored.members if f".{_last(m.ending)}" in SUFFIXES), None
                )
                if picture is None or picture.size > MAX_BYTES:
                    continue
                names = {stored.key, stored.key.rpartition("/")[2]}
                names |= {f"{name}.{picture.ending}" for name in list(names)}
                about = next((m for m in stored.members if m.ending == "json"), None)
                if about is not None:
                    names |= _names(os.pread(file.fileno(), about.size, about.start))
                yield _Record(picture.start, picture.size, names)
    except tarfile.TarError as error:
        raise ValueError(f"{path}: not an uncompressed tar file ({error})") from error


def _last(ending: str) -> str:
    return ending.rpartition(".")[2].lower()


def _names(data: bytes) -> set[str]:
    try:
        about = json.loads(data)
    except ValueError:
        return set()
    if not isinstance(about, dict):
        return set()
    return {str(about[name]) for name in _NAMES if isinstance(about.get(name), (str, int))}


def _has_pictures(folder: Path) -> bool:
    """Whether a folder of shards holds loose pictures too (a look at the first few thousand)."""
    for count, path in enumerate(folder.rglob("*")):
        if path.suffix.lower() in SUFFIXES:
            return True
        if count > 5000:
            break
    return False
