"""Indexing: pictures in, a gallery out; stopped at any moment, it goes on where it was."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from chatsearcher.gallery.layout import Failure, write_synced
from chatsearcher.gallery.writer import GalleryWriter
from chatsearcher.images import open_image, thumbnail_bytes
from chatsearcher.indexing.sources import Item, Listing, absolute_file, list_sources
from chatsearcher.retriever import Retriever

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

WORKING_SIDE = 1024
"""Larger pictures are reduced to this many pixels on the long side before they are encoded."""

COMMIT_EVERY = (1024, 20.0)
"""Pictures, or seconds, after which what was encoded is made durable."""

Progress = Callable[[int, int], None]
"""Called with (pictures done, pictures in all)."""


@dataclass
class BuildReport:
    """What an indexing run did.

    Attributes:
        added: pictures encoded.
        unchanged: pictures that were there before.
        copies: byte-identical copies noted, now or before.
        removed: pictures whose files are gone, or were replaced.
        others: files that by their names are no pictures.
        failures: what could not be read.
        total: pictures in the gallery at the end.
        seconds: wall time.
        interrupted: stopped by Ctrl-C; everything reported here is kept.
    """

    added: int = 0
    unchanged: int = 0
    copies: int = 0
    removed: int = 0
    others: int = 0
    failures: list[Failure] = field(default_factory=list)
    total: int = 0
    seconds: float = 0.0
    interrupted: bool = False


@dataclass(slots=True)
class _Loaded:
    item: Item
    sha256: str = ""
    picture: PILImage | None = None
    thumbnail: bytes | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)


def build_gallery(
    sources: str | Path | Sequence[str | Path],
    out: str | Path,
    retriever: Retriever,
    *,
    name: str | None = None,
    batch_size: int = 64,
    workers: int | None = None,
    limit: int | None = None,
    keep_missing: bool = False,
    progress: Progress | None = None,
) -> BuildReport:
    """Index pictures into a gallery, new or existing.

    Pictures already there and unchanged are passed over; changed ones are encoded again; those
    whose files are gone from an indexed folder are removed; byte-identical copies are noted.

    Args:
        sources: folders, ``.tar`` shards, ``world:SPLIT:COUNT[:SEED]``.
        out: the gallery's folder.
        retriever: encodes the pictures.
        name: what ``load_retriever`` knows it by; stored in the gallery.
        batch_size: pictures encoded at a time.
        workers: threads that read and decode; the number of cores by default, at most 8.
        limit: look at this many pictures of the listing only.
        keep_missing: keep pictures whose files are gone.
        progress: told about every batch.

    Raises:
        FileNotFoundError: a source that does not exist.
        ValueError: a source without pictures; a gallery of another model, or held by a writer.
    """
    started = time.monotonic()
    many = [sources] if isinstance(sources, (str, Path)) else sources
    listing = list_sources([str(source) for source in many])
    with GalleryWriter.open(
        out,
        fingerprint=retriever.fingerprint,
        metric=retriever.metric,
        dim=retriever.embedding_dim,
        retriever=name,
    ) as writer:
        report = BuildReport(others=listing.others, failures=list(listing.failures))
        indexer = _Indexer(writer, retriever, report, batch_size, progress)
        try:
            indexer.run(listing, workers or min(8, os.cpu_count() or 1), limit, keep_missing)
        except KeyboardInterrupt:
            report.interrupted = True
        finally:
            writer.commit()
        if not report.interrupted:
            writer.compact()
        report.total = sum(known.copy_of is None for known in writer.known.values())
        lines = [json.dumps(asdict(failure)) + "\n" for failure in report.failures]
        write_synced(Path(out) / "failures.jsonl", "".join(lines).encode())
    report.seconds = time.monotonic() - started
    return report


class _Indexer:
    def __init__(
        self,
        writer: GalleryWriter,
        retriever: Retriever,
        report: BuildReport,
        batch_size: int,
        progress: Progress | None,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch size {batch_size}; expected at least 1")
        self.writer = writer
        self.retriever = retriever
        self.report = report
        self.batch_size = batch_size
        self.progress = progress or (lambda done, total: None)
        self.batch: list[_Loaded] = []
        self.in_batch: set[str] = set()
        self.copies: list[_Loaded] = []
        self.seen: dict[str, str] = {}
        self.done = self.total = 0
        self.last_commit = time.monotonic()

    def run(self, listing: Listing, workers: int, limit: int | None, keep_missing: bool) -> None:
        items = self._without_collisions(listing.items)[:limit]
        if not keep_missing:
            self._remove_missing(listing)
        todo = self._new_or_changed(items)
        self.total = len(items)
        self.done = len(items) - len(todo)
        self.progress(self.done, self.total)
        with ThreadPoolExecutor(workers, thread_name_prefix="decode") as pool:
            try:
                for loaded in self._in_order(pool, todo, self.batch_size + 2 * workers):
                    self._take(loaded)
                self._encode()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _without_collisions(self, items: list[Item]) -> list[Item]:
        """One source for each id; a second one is a failure, named."""
        kept = []
        for item in items:
            first = self.seen.setdefault(item.id, item.source)
            if first == item.source:
                kept.append(item)
            else:
                self._fail(item.source, f"its id {item.id!r} is taken by {first}")
        return kept

    def _remove_missing(self, listing: Listing) -> None:
        """Remove what lay in a folder or shard that was just listed whole, and is gone."""
        gone = []
        for known in self.writer.known.values():
            if known.id in self.seen:
                continue
            file = str(absolute_file(known.source))
            inside = any(Path(file).is_relative_to(folder) for folder in listing.folders)
            if file in listing.shards or (inside and not os.path.exists(file)):
                gone.append(known.id)
        self._remove(gone)

    def _new_or_changed(self, items: list[Item]) -> list[Item]:
        """What must be read. Replaced pictures leave the gallery first, so that a copy of what
        they showed before is taken up in their place."""
        known = self.writer.known
        replaced, moved, taken = [], [], set()
        for item in items:
            before = known.get(item.id)
            if before is None or (before.source, before.stamp) == (item.source, item.stamp):
                continue
            try:
                content = item.read()
                same = isinstance(content, bytes) and _digest(content) == before.sha256
            except (OSError, ValueError):
                same = False  # it will be read again below, and reported
            if same:
                moved.append(item)
            elif before.source != item.source and absolute_file(before.source).exists():
                reason = f"its id {item.id!r} is taken by {before.source}"
                self._fail(item.source, reason)
                taken.add(item.id)
            else:
                replaced.append(item.id)
        self.writer.refile({item.id: (item.source, item.stamp) for item in moved})
        self._remove(replaced)
        items = [item for item in items if item.id not in taken]
        todo = [item for item in items if item.id not in known]
        there = [known[item.id] for item in items if item.id in known]
        self.report.unchanged = sum(entry.copy_of is None for entry in there)
        self.report.copies = sum(entry.copy_of is not None for entry in there)
        return todo

    def _remove(self, ids: list[str]) -> None:
        pictures = [id for id in ids if self.writer.known[id].copy_of is None]
        self.report.removed += len(pictures)
        self.writer.remove(ids)

    def _in_order(
        self, pool: ThreadPoolExecutor, items: list[Item], ahead: int
    ) -> Iterator[_Loaded]:
        """Load items in threads, ``ahead`` at a time, and give them back in their order."""
        waiting: deque[Future[_Loaded]] = deque()
        for item in items:
            waiting.append(pool.submit(self._load, item))
            if len(waiting) >= ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def _load(self, item: Item) -> _Loaded:
        """In a thread: read, hash, decode, make a thumbnail. Broken files are said, not raised."""
        loaded = _Loaded(item)
        try:
            content = item.read()
            if isinstance(content, bytes):
                loaded.sha256 = _digest(content)
                if loaded.sha256 in self.writer.by_content:
                    return loaded
                loaded.picture = open_image(content, name=item.source, max_side=WORKING_SIDE)
            else:
                loaded.picture = content.convert("RGB")
                loaded.sha256 = hashlib.sha256(loaded.picture.tobytes()).hexdigest()
            loaded.thumbnail = thumbnail_bytes(loaded.picture)
        except (OSError, ValueError, MemoryError) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            loaded.failures.append(Failure(item.source, reason.removeprefix(f"{item.source}: ")))
            loaded.picture = None
            return loaded
        try:
            loaded.metadata = item.metadata()
        except (OSError, ValueError) as error:
            reason = f"the picture was taken, the text beside it not: {error}"
            loaded.failures.append(Failure(item.source, reason))
        return loaded

    def _take(self, loaded: _Loaded) -> None:
        for failure in loaded.failures:
            self._fail(failure.source, failure.reason)
        if loaded.sha256 in self.writer.by_content:
            self._note_copy(loaded)
        elif loaded.sha256 in self.in_batch:
            self.copies.append(loaded)
        elif loaded.picture is not None:
            self.batch.append(loaded)
            self.in_batch.add(loaded.sha256)
        else:
            self._advance(1)
        if len(self.batch) >= self.batch_size:
            self._encode()

    def _note_copy(self, loaded: _Loaded) -> None:
        item = loaded.item
        self.writer.add_copy(
            id=item.id,
            copy_of=self.writer.by_content[loaded.sha256],
            source=item.source,
            sha256=loaded.sha256,
            stamp=item.stamp,
        )
        self.report.copies += 1
        self._advance(1)

    def _encode(self) -> None:
        """Encode what waits, and commit when enough has gathered."""
        batch, copies = self.batch, self.copies
        self.batch, self.copies, self.in_batch = [], [], set()
        if batch:
            pictures = [loaded.picture for loaded in batch if loaded.picture is not None]
            vectors = np.asarray(self.retriever.encode_images(pictures), dtype=np.float32)
            if vectors.shape != (len(batch), self.retriever.embedding_dim):
                raise ValueError(
                    f"encode_images gave an array of shape {vectors.shape}, expected "
                    f"{(len(batch), self.retriever.embedding_dim)}"
                )
            for loaded, vector in zip(batch, vectors, strict=True):
                self._store(loaded, vector)
            self._advance(len(batch))
        for copy in copies:
            if copy.sha256 in self.writer.by_content:
                self._note_copy(copy)
            else:
                self._fail(copy.item.source, "the model gave a vector that is not finite")
        enough, seconds = COMMIT_EVERY
        if self.writer.pending >= enough or time.monotonic() - self.last_commit > seconds:
            self.writer.commit()
            self.last_commit = time.monotonic()

    def _store(self, loaded: _Loaded, vector: np.ndarray) -> None:
        item = loaded.item
        if not np.isfinite(vector).all():
            self._fail(item.source, "the model gave a vector that is not finite")
            return
        self.writer.add(
            id=item.id,
            source=item.source,
            sha256=loaded.sha256,
            stamp=item.stamp,
            vector=vector,
            thumbnail=loaded.thumbnail,
            metadata=loaded.metadata,
        )
        self.report.added += 1

    def _advance(self, number: int) -> None:
        self.done += number
        self.progress(self.done, self.total)

    def _fail(self, source: str, reason: str) -> None:
        self.report.failures.append(Failure(source, reason))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
