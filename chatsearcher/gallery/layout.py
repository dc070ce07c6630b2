"""The files of a gallery, and how a change to them becomes true all at once.

::

    GALLERY/
      manifest.json          the truth: which segments count, which of their lines are removed
      lock                   held by the one process that writes
      failures.jsonl         what the last indexing run could not read, and why
      segments/000001/
        records.jsonl        a line each: a picture (one vector row, in order) or a copy of one
        vectors.safetensors  "vectors" [rows, dim] float32
        thumbnails.bin       JPEG after JPEG; a record knows its offset and length

A segment is written beside its place and renamed into it; it counts only once a manifest that
names it has been renamed into place too. Whatever a killed process leaves behind is named by no
manifest, and the next writer deletes it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import struct
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import numpy as np

Metric = Literal["cosine", "l2"]

FORMAT = 1
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class SegmentInfo:
    """What the manifest says of a segment.

    Attributes:
        name: its folder under ``segments``.
        lines: lines of ``records.jsonl``: pictures and copies.
        rows: vectors, one for each picture.
        removed: line numbers (from 0) that no longer count.
    """

    name: str
    lines: int
    rows: int
    removed: tuple[int, ...] = ()


@dataclass(frozen=True)
class Manifest:
    """The state of a gallery.

    Attributes:
        fingerprint: of the retriever that made the vectors.
        metric: how they are compared.
        dim: their width.
        retriever: the name or path that ``load_retriever`` knows that retriever by, if any.
        segments: in row order.
        next_segment: number of the next segment's folder.
        generation: grows with every change.
    """

    fingerprint: str
    metric: Metric
    dim: int
    retriever: str | None = None
    segments: tuple[SegmentInfo, ...] = ()
    next_segment: int = 1
    generation: int = 0

    def save(self, gallery: Path) -> Manifest:
        """Make this the gallery's state, atomically; returns it with its new generation."""
        saved = replace(self, generation=self.generation + 1)
        text = json.dumps({"format": FORMAT, **asdict(saved)}, indent=1)
        temporary = gallery / f".{MANIFEST}.new"
        write_synced(temporary, text.encode())
        os.replace(temporary, gallery / MANIFEST)
        sync_folder(gallery)
        return saved

    @classmethod
    def load(cls, gallery: Path) -> Manifest:
        """Read a gallery's state.

        Raises:
            FileNotFoundError: not a gallery.
            ValueError: a manifest that this version cannot read.
        """
        file = gallery / MANIFEST
        if not file.exists():
            what = "an empty or other folder" if gallery.is_dir() else "no such folder"
            raise FileNotFoundError(
                f"{gallery} is not a gallery ({what}: {MANIFEST} is missing); "
                f"make one with: chatsearcher index PICTURES --out {gallery}"
            )
        try:
            fields = json.loads(file.read_text(encoding="utf-8"))
            number = fields.pop("format")
            if number != FORMAT:
                raise ValueError(
                    f"{file}: gallery format {number}, this version reads {FORMAT}; "
                    "use the version that wrote it, or index the pictures again"
                )
            segments = tuple(
                SegmentInfo(**{**entry, "removed": tuple(entry["removed"])})
                for entry in fields.pop("segments")
            )
            return cls(segments=segments, **fields)
        except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
            raise ValueError(f"{file} is damaged: {error!r}") from error


@dataclass(frozen=True)
class Failure:
    """Something that could not be read, and why."""

    source: str
    reason: str


def may_be_kept(key: str, value: Any) -> bool:
    """Of what is said beside a picture: plain facts, and nothing that tells where it was taken
    (img2dataset keeps the EXIF block in its JSON)."""
    name = key.lower()
    if any(word in name for word in ("exif", "gps", "latitude", "longitude")):
        return False
    if isinstance(value, list):
        return all(isinstance(entry, (str, int, float)) for entry in value)
    return value is None or isinstance(value, (str, int, float, bool))


class Segment:
    """One segment, opened for reading. The files stay open, so that a writer may delete them."""

    def __init__(self, gallery: Path, info: SegmentInfo, dim: int) -> None:
        self.info = info
        folder = segment_folder(gallery, info.name)
        with open(folder / "records.jsonl", "rb") as records:
            self._lines = records.read().splitlines()
        if len(self._lines) != info.lines:
            raise ValueError(
                f"{folder}/records.jsonl is damaged: "
                f"{len(self._lines)} lines, expected {info.lines}"
            )
        self.vectors = read_vectors(folder / "vectors.safetensors")
        if self.vectors.shape != (info.rows, dim):
            raise ValueError(
                f"{folder}/vectors.safetensors is damaged: shape {self.vectors.shape}, "
                f"expected {(info.rows, dim)}"
            )
        self._thumbnails = open(folder / "thumbnails.bin", "rb")  # noqa: SIM115

    def record(self, line: int) -> dict[str, Any]:
        """The record on a line."""
        record: dict[str, Any] = json.loads(self._lines[line])
        return record

    def records(self) -> Iterator[tuple[int, int | None, dict[str, Any]]]:
        """(line, vector row or None for a copy, record) of every line that is not removed."""
        removed, row = set(self.info.removed), 0
        for line in range(len(self._lines)):
            record = self.record(line)
            is_copy = "copy_of" in record
            if line not in removed:
                yield line, None if is_copy else row, record
            row += not is_copy

    def thumbnail(self, record: dict[str, Any]) -> bytes | None:
        """The JPEG of a record of this segment, or None where it has none."""
        if record.get("thumbnail") is None:
            return None
        offset, length = record["thumbnail"]
        if not hasattr(os, "pread"):  # Windows
            self._thumbnails.seek(offset)
            return self._thumbnails.read(length)
        return os.pread(self._thumbnails.fileno(), length, offset)

    def close(self) -> None:
        self._thumbnails.close()


def write_segment(
    gallery: Path,
    name: str,
    records: list[dict[str, Any]],
    vectors: np.ndarray,
    thumbnails: list[bytes | None],
) -> SegmentInfo:
    """Put a segment's files in place (it does not count until a manifest names it).

    Args:
        records: pictures and copies; ``thumbnail`` is filled in here.
        vectors: [pictures, dim] float32, in the order of the pictures.
        thumbnails: one for each record; None for copies.
    """
    from safetensors.numpy import save

    place = segment_folder(gallery, name)
    temporary = place.with_name(f".{name}.new")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    lines, offset = [], 0
    for record, thumbnail in zip(records, thumbnails, strict=True):
        span = None if thumbnail is None else [offset, len(thumbnail)]
        offset += len(thumbnail or b"")
        lines.append(json.dumps({**record, "thumbnail": span}, ensure_ascii=True) + "\n")
    rows = sum("copy_of" not in record for record in records)
    if vectors.shape[0] != rows:
        raise ValueError(f"{vectors.shape[0]} vectors for {rows} pictures")
    write_synced(temporary / "records.jsonl", "".join(lines).encode())
    write_synced(temporary / "thumbnails.bin", b"".join(t for t in thumbnails if t))
    packed = np.ascontiguousarray(vectors, dtype="<f4")
    write_synced(temporary / "vectors.safetensors", save({"vectors": packed}))
    shutil.rmtree(place, ignore_errors=True)
    os.replace(temporary, place)
    sync_folder(place.parent)
    return SegmentInfo(name, lines=len(records), rows=rows)


def read_vectors(path: Path) -> np.ndarray:
    """The tensor "vectors" of a safetensors file, mapped from disk (changes stay in memory)."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        entry = json.loads(file.read(length))["vectors"]
    shape, begin = tuple(entry["shape"]), entry["data_offsets"][0]
    if entry["dtype"] != "F32":
        raise ValueError(f"{path}: vectors of type {entry['dtype']}, expected F32")
    if 0 in shape:
        return np.zeros(shape, np.float32)  # an empty range cannot be mapped
    return np.memmap(path, "<f4", mode="c", offset=8 + length + begin, shape=shape)


def segment_folder(gallery: Path, name: str) -> Path:
    return gallery / "segments" / name


@contextlib.contextmanager
def writer_lock(gallery: Path) -> Iterator[None]:
    """Hold the gallery for writing. The system lets go of it when the process ends, however.

    Raises:
        ValueError: another process holds it.
    """
    with open(gallery / "lock", "a+b") as file:
        try:
            if os.name == "nt":
                import msvcrt

                file.seek(0)
                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
            else:
                import fcntl

                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ValueError(
                f"{gallery} is being written by another process; wait for it, or stop it"
            ) from error
        yield


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Put off Ctrl-C and SIGTERM to the end of the block (in the main thread; elsewhere they do
    not arrive)."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[tuple[int, FrameType | None]] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [
        signal.signal(number, lambda received, frame: arrived.append((received, frame)))
        for number in numbers
    ]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
    if arrived:
        signal.raise_signal(arrived[0][0])


def write_synced(path: Path, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    if os.name == "nt":
        return  # folders cannot be opened there
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
