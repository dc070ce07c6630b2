"""Changing a gallery: add, note copies, remove; each commit is all or nothing."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from chatsearcher.gallery.layout import (
    Manifest,
    Metric,
    Segment,
    uninterrupted,
    write_segment,
    writer_lock,
)

MAX_ROWS = 32_768
"""Segments are merged up to this many lines, which bounds the memory of a merge."""


@dataclass(slots=True)
class Known:
    """What a writer remembers of a picture or copy in the gallery."""

    id: str
    source: str
    stamp: tuple[int, int]
    sha256: str
    copy_of: str | None
    segment: str
    line: int


class GalleryWriter:
    """The one writer of a gallery; use ``GalleryWriter.open(...)`` in a ``with`` statement.

    What is added waits in memory until ``commit``; what is not committed is lost with the process,
    and nothing else is.
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = self._published = manifest
        self.known: dict[str, Known] = {}
        self.by_content: dict[str, str] = {}
        self._pending: list[tuple[dict[str, Any], np.ndarray | None, bytes | None]] = []
        self._pending_ids: set[str] = set()
        self._removed: dict[str, set[int]] = {}
        self._clear_leftovers()
        for info in manifest.segments:
            segment = Segment(path, info, manifest.dim)
            for line, _, record in segment.records():
                self._remember(record, info.name, line)
            segment.close()
        self._forget_orphans()

    @classmethod
    @contextmanager
    def open(
        cls,
        path: str | Path,
        *,
        fingerprint: str | None = None,
        metric: Metric = "cosine",
        dim: int = 0,
        retriever: str | None = None,
    ) -> Iterator[GalleryWriter]:
        """Open a gallery for writing; with a fingerprint it is made where it does not exist.

        Raises:
            FileNotFoundError: no gallery there, and no fingerprint to make one.
            ValueError: made by another model; held by another writer; no gallery but other
                things there.
        """
        path = Path(path)
        if fingerprint is None:
            Manifest.load(path)
        elif path.exists() and not path.is_dir():
            raise ValueError(f"{path} is a file; a gallery needs a folder")
        else:
            path.mkdir(parents=True, exist_ok=True)
        with writer_lock(path):
            if fingerprint is None:
                manifest = Manifest.load(path)
            else:
                manifest = cls._matching(path, Manifest(fingerprint, metric, dim, retriever))
            yield cls(path, manifest)

    @staticmethod
    def _matching(path: Path, wanted: Manifest) -> Manifest:
        if not (path / "manifest.json").exists():
            others = [entry.name for entry in path.iterdir() if entry.name != "lock"]
            if others and not all(name == ".manifest.json.new" for name in others):
                raise ValueError(
                    f"{path} holds other things ({', '.join(sorted(others)[:3])}…) and is no "
                    "gallery; choose an empty or new folder"
                )
            (path / "segments").mkdir(exist_ok=True)
            return wanted.save(path)
        manifest = Manifest.load(path)
        ours = (manifest.fingerprint, manifest.metric, manifest.dim)
        if ours != (wanted.fingerprint, wanted.metric, wanted.dim):
            known = f" {manifest.retriever!r}" if manifest.retriever else ""
            raise ValueError(
                f"the gallery {path} was built by another model{known} (fingerprint, metric, "
                f"width: {ours}; this one has "
                f"{(wanted.fingerprint, wanted.metric, wanted.dim)}); add to it with the model "
                "that built it, or index into a new folder"
            )
        return manifest

    def add(
        self,
        *,
        id: str,
        source: str,
        sha256: str,
        stamp: tuple[int, int] = (0, 0),
        vector: np.ndarray,
        thumbnail: bytes | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        """Add a picture.

        Args:
            id: its name, new to the gallery.
            source: where it lies.
            sha256: of its bytes, in hexadecimal ("" where unknown).
            stamp: bytes and modification time (ns) of the file it lies in.
            vector: [D] float32.
            thumbnail: a JPEG.
            metadata: what was said beside it.
        """
        if id in self.known:
            raise ValueError(f"{id!r} is already in {self.path}")
        record = {
            "id": id,
            "source": source,
            "sha256": sha256,
            "stamp": list(stamp),
            "metadata": metadata or {},
        }
        self._append(record, vector, thumbnail)

    def add_copy(
        self, *, id: str, copy_of: str, source: str, sha256: str, stamp: tuple[int, int]
    ) -> None:
        """Note that a file is byte for byte the picture ``copy_of``."""
        record = {"id": id, "copy_of": copy_of, "source": source, "sha256": sha256}
        self._append({**record, "stamp": list(stamp)}, None, None)

    def remove(self, ids: Collection[str]) -> None:
        """Take pictures out; notes of their copies go with them.

        Raises:
            ValueError: an id that is not in the gallery (nothing is removed then).
        """
        missing = [id for id in ids if id not in self.known]
        if missing:
            raise ValueError(
                f"no picture {missing[0]!r} in {self.path}"
                + (f" (and {len(missing) - 1} more)" if len(missing) > 1 else "")
                + "; `chatsearcher gallery info GALLERY --ids` prints them all"
            )
        if not self._pending_ids.isdisjoint(ids):
            self.commit()
        for id in ids:
            self._forget(self.known[id])
        self._forget_orphans()

    def refile(self, places: Mapping[str, tuple[str, tuple[int, int]]]) -> None:
        """The same bytes under the same ids, elsewhere or touched: keep the vectors.

        Args:
            places: id -> (source, stamp).
        """
        if not self._pending_ids.isdisjoint(places):
            self.commit()
        segments = {self.known[id].segment for id in places}
        for info in self.manifest.segments:
            if info.name not in segments:
                continue
            segment = Segment(self.path, info, self.manifest.dim)
            for line, row, record in segment.records():
                known = self.known.get(record["id"])
                if record["id"] not in places or known is None or known.line != line:
                    continue
                if known.segment != info.name:
                    continue
                source, stamp = places[known.id]
                vector = None if row is None else np.array(segment.vectors[row])
                self._forget(known)
                changed = {**record, "source": source, "stamp": list(stamp)}
                self._append(changed, vector, segment.thumbnail(record))
            segment.close()

    @property
    def pending(self) -> int:
        """Additions that are not committed yet."""
        return len(self._pending)

    def commit(self, publish: bool = True) -> None:
        """Make every change so far true and durable. Ctrl-C waits until it is done.

        Without ``publish`` the additions leave memory for the disk, and wait there for a commit.
        """
        with uninterrupted():
            self._commit(publish)

    def _commit(self, publish: bool) -> None:
        manifest = self.manifest
        segments = [
            replace(info, removed=tuple(sorted({*info.removed, *self._removed.get(info.name, ())})))
            for info in manifest.segments
        ]
        number = manifest.next_segment
        if self._pending:
            records, vectors, thumbnails = zip(*self._pending, strict=True)
            rows = [vector for vector in vectors if vector is not None]
            packed = np.stack(rows) if rows else np.zeros((0, manifest.dim), np.float32)
            name = f"{number:06d}"
            number += 1
            segments.append(write_segment(self.path, name, list(records), packed, list(thumbnails)))
            for line, record in enumerate(records):
                self._remember(record, name, line)
        self.manifest = replace(manifest, segments=tuple(segments), next_segment=number)
        if publish and self.manifest != self._published:
            self.manifest = self._published = self.manifest.save(self.path)
        self._pending, self._pending_ids, self._removed = [], set(), {}

    def compact(self) -> None:
        """Drop removed lines from the disk and merge small neighbouring segments.

        A segment is merged into the one before it unless that is over twice as large, so that
        adding little to much rewrites little.
        """
        self.commit()
        groups: list[list[int]] = []
        live: list[int] = []
        for position, info in enumerate(self.manifest.segments):
            groups.append([position])
            live.append(info.lines - len(info.removed))
            while len(groups) > 1 and live[-2] <= 2 * live[-1] and live[-2] + live[-1] <= MAX_ROWS:
                groups[-2].extend(groups.pop())
                merged = live.pop()
                live[-1] += merged
        old = self.manifest.segments
        for group in groups:
            members = [old[position] for position in group]
            if len(members) > 1 or members[0].removed or not members[0].lines:
                with uninterrupted():
                    self._merge([info.name for info in members])
        self._clear_leftovers()

    def _merge(self, names: list[str]) -> None:
        """Write the live lines of neighbouring segments as one segment in their place."""
        records, vectors, thumbnails = [], [], []
        members = [info for info in self.manifest.segments if info.name in names]
        for info in members:
            segment = Segment(self.path, info, self.manifest.dim)
            rows = []
            for _, row, record in segment.records():
                records.append(record)
                thumbnails.append(segment.thumbnail(record))
                if row is not None:
                    rows.append(row)
            vectors.append(segment.vectors[rows])
            segment.close()
        merged, number = [], self.manifest.next_segment
        if records:
            name = f"{number:06d}"
            number += 1
            merged = [write_segment(self.path, name, records, np.concatenate(vectors), thumbnails)]
            for line, record in enumerate(records):
                self._remember(record, name, line)
        infos = self.manifest.segments
        first = infos.index(members[0])
        segments = (*infos[:first], *merged, *infos[first + len(members) :])
        changed = replace(self.manifest, segments=segments, next_segment=number)
        self.manifest = self._published = changed.save(self.path)

    def _append(
        self, record: dict[str, Any], vector: np.ndarray | None, thumbnail: bytes | None
    ) -> None:
        self._pending.append((record, vector, thumbnail))
        self._pending_ids.add(record["id"])
        self._remember(record, "", -1)

    def _remember(self, record: dict[str, Any], segment: str, line: int) -> None:
        size, modified = record["stamp"]
        known = Known(
            record["id"],
            record["source"],
            (size, modified),
            record["sha256"],
            record.get("copy_of"),
            segment,
            line,
        )
        self.known[known.id] = known
        if known.sha256 and known.copy_of is None:
            self.by_content[known.sha256] = known.id

    def _forget(self, known: Known) -> None:
        del self.known[known.id]
        if self.by_content.get(known.sha256) == known.id:
            del self.by_content[known.sha256]
        self._removed.setdefault(known.segment, set()).add(known.line)

    def _forget_orphans(self) -> None:
        """A copy without its original counts no more, so that indexing takes it up afresh."""
        for known in list(self.known.values()):
            if known.copy_of is not None and known.copy_of not in self.known:
                self._forget(known)

    def _clear_leftovers(self) -> None:
        """Delete what an interrupted writer left behind."""
        counted = {info.name for info in self.manifest.segments}
        for folder in (self.path / "segments").iterdir():
            if folder.name not in counted:
                shutil.rmtree(folder)
