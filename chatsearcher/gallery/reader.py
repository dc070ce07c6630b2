"""A gallery, opened to be searched and looked at."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from chatsearcher.gallery.layout import Manifest, Metric, Segment
from chatsearcher.images import THUMBNAIL_SIDE, open_image, thumbnail_bytes

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage


class MadeBy(Protocol):
    """What a gallery asks of a retriever before its vectors are compared with the gallery's."""

    @property
    def embedding_dim(self) -> int: ...

    @property
    def metric(self) -> Metric: ...

    @property
    def fingerprint(self) -> str: ...


class Gallery:
    """The state of a gallery at the moment it was opened. Rows and ids go together.

    >>> gallery = Gallery.open("my-gallery")
    >>> gallery.ids[3], gallery.vectors[3], gallery.thumbnail(gallery.ids[3])
    """

    def __init__(self, path: Path, manifest: Manifest, segments: list[Segment]) -> None:
        self.path = path
        self.manifest = manifest
        self.ids: list[str] = []
        self._segments = segments
        self._places: list[tuple[Segment, int]] = []
        self._kept: list[list[int]] = []
        self._copies: dict[str, list[str]] = {}
        for segment in segments:
            kept = []
            for line, row, record in segment.records():
                if row is None:
                    self._copies.setdefault(record["copy_of"], []).append(record["source"])
                    continue
                self.ids.append(record["id"])
                self._places.append((segment, line))
                kept.append(row)
            self._kept.append(kept)
        self._rows = {id: row for row, id in enumerate(self.ids)}

    @classmethod
    def open(cls, path: str | Path) -> Gallery:
        """Open a gallery.

        Raises:
            FileNotFoundError: not a gallery.
            ValueError: damaged, or of another format.
        """
        path = Path(path)
        for attempt in range(3):
            manifest = Manifest.load(path)
            try:
                segments = [Segment(path, info, manifest.dim) for info in manifest.segments]
                return cls(path, manifest, segments)
            except FileNotFoundError as error:
                # A writer may have merged segments between the two reads.
                if attempt == 2 or Manifest.load(path).generation == manifest.generation:
                    raise ValueError(f"{path} is damaged: {error.filename} is missing") from error
        raise AssertionError("unreachable")

    @property
    def fingerprint(self) -> str:
        """Of the retriever that made the vectors."""
        return self.manifest.fingerprint

    @property
    def metric(self) -> Metric:
        """How the vectors are compared: cosine or l2."""
        return self.manifest.metric

    @property
    def retriever(self) -> str | None:
        """The name or path to load that retriever by, where known."""
        return self.manifest.retriever

    @property
    def embedding_dim(self) -> int:
        return self.manifest.dim

    @cached_property
    def vectors(self) -> np.ndarray:
        """[N, D] float32; mapped from disk where the gallery is one clean segment."""
        parts = [
            segment.vectors if len(kept) == segment.info.rows else segment.vectors[kept]
            for segment, kept in zip(self._segments, self._kept, strict=True)
        ]
        if len(parts) == 1:
            return parts[0]
        return np.concatenate([np.zeros((0, self.manifest.dim), np.float32), *parts])

    def __len__(self) -> int:
        return len(self.ids)

    def __contains__(self, id: object) -> bool:
        return id in self._rows

    def row(self, id: str) -> int:
        """The row of a picture.

        Raises:
            ValueError: no such id here.
        """
        if id not in self._rows:
            raise ValueError(f"no picture {id!r} in {self.path} ({len(self)} pictures)")
        return self._rows[id]

    def record(self, id: str) -> dict[str, Any]:
        """All that is known of a picture: source, sha256, metadata…"""
        segment, line = self._places[self.row(id)]
        return segment.record(line)

    def source(self, id: str) -> str:
        """Where the picture was found: a path, ``shard.tar#member`` or another name."""
        return str(self.record(id)["source"])

    def metadata(self, id: str) -> dict[str, Any]:
        """What was said beside the picture; a caption is under ``caption``."""
        metadata: dict[str, Any] = self.record(id).get("metadata") or {}
        return metadata

    def copies(self, id: str) -> list[str]:
        """Sources of byte-identical copies, which have no row of their own."""
        return list(self._copies.get(id, ()))

    def thumbnail_jpeg(self, id: str) -> bytes:
        """The small picture as the bytes of a JPEG without metadata.

        Raises:
            ValueError: none is stored, and the source cannot be read either.
        """
        segment, line = self._places[self.row(id)]
        record = segment.record(line)
        stored = segment.thumbnail(record)
        if stored is not None:
            return stored
        try:
            return thumbnail_bytes(open_image(record["source"], max_side=THUMBNAIL_SIDE))
        except (FileNotFoundError, ValueError) as error:
            raise ValueError(f"{id!r} has no thumbnail in {self.path}: {error}") from error

    def thumbnail(self, id: str) -> PILImage:
        """The small picture, at most 256 pixels on the long side."""
        return open_image(self.thumbnail_jpeg(id), name=f"thumbnail of {id}")

    def check(self, retriever: MadeBy) -> None:
        """Refuse a retriever that did not make these vectors.

        Raises:
            ValueError: another fingerprint, width or metric; the message says what to do.
        """
        theirs = (retriever.fingerprint, retriever.embedding_dim, retriever.metric)
        ours = (self.fingerprint, self.embedding_dim, self.metric)
        if theirs != ours:
            known = f" {self.retriever!r}" if self.retriever else ""
            remedy = (
                f"search with --retriever {self.retriever}, or index" if self.retriever else "index"
            )
            raise ValueError(
                f"the gallery {self.path} was built by another model{known} (fingerprint, width, "
                f"metric: {ours}; this retriever has {theirs}), so its vectors mean nothing to "
                f"this one; {remedy} the pictures again into a new folder"
            )

    def close(self) -> None:
        """Close the files. Vectors that are mapped stay valid."""
        for segment in self._segments:
            segment.close()
