"""The single-query protocol: a dialogue, a gallery, one right picture.

Works with anything that has ``encode_images`` and ``encode_queries``. The rules: the rank counts
from 1, ties go against the target (see ``ranking``), and what a query excludes (its reference
picture, say) is no candidate for that query but stays one for all others.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from chatsearcher.benchmarks.ranking import beats_all, target_ranks
from chatsearcher.dialogue import Dialogue, Image
from chatsearcher.retriever import Retriever

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

LoadImage = Callable[[str], "PILImage"]
Progress = Callable[[str, int, int], None]
CHUNK = 512  # pictures or dialogues handed to a retriever at once; bounds the decoded pixels


class Query(Protocol):
    """A dialogue and the one picture it asks for."""

    @property
    def id(self) -> str: ...

    @property
    def dialogue(self) -> Dialogue: ...

    @property
    def target(self) -> str: ...

    @property
    def exclude(self) -> frozenset[str]: ...

    @property
    def neighbours(self) -> tuple[str, ...]: ...


class QuerySet(Protocol):
    """Queries over one gallery; pictures are named by ids."""

    @property
    def name(self) -> str: ...

    @property
    def gallery(self) -> tuple[str, ...]: ...

    @property
    def queries(self) -> Sequence[Query]: ...


@dataclass(frozen=True)
class Outcome:
    """What came out for each query.

    Attributes:
        ranks: [Q] int64, 1-based rank of the target.
        beats_neighbours: [Q] bool, the target scores above each of its own neighbours that is a
            candidate of that query.
        candidates: [Q] how many pictures were ranked for that query, the target among them.
        rivals: [Q] how many neighbours were compared.
    """

    ranks: np.ndarray
    beats_neighbours: np.ndarray
    candidates: np.ndarray
    rivals: np.ndarray


class GalleryVectors:
    """Image vectors by retriever and picture id, kept in memory and, if wished, on disk.

    Args:
        folder: where to keep ``<fingerprint>-<gallery>.npy`` files; None keeps nothing.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = None if folder is None else Path(folder)
        self._known: dict[str, dict[str, np.ndarray]] = {}

    def get(
        self,
        retriever: Retriever,
        ids: Sequence[str],
        load: LoadImage,
        progress: Progress | None = None,
    ) -> np.ndarray:
        """The vectors of these pictures: [N, D] float32. Each picture is encoded once."""
        known = self._known.setdefault(retriever.fingerprint, {})
        path = self._path(retriever.fingerprint, ids)
        if path is not None and path.exists():
            vectors = np.load(path, allow_pickle=False)
            if vectors.shape != (len(ids), retriever.embedding_dim):
                raise ValueError(
                    f"{path} holds vectors of shape {vectors.shape}, expected "
                    f"{(len(ids), retriever.embedding_dim)}; delete it"
                )
            known.update(zip(ids, vectors, strict=True))
        missing = [name for name in dict.fromkeys(ids) if name not in known]
        for start in range(0, len(missing), CHUNK):
            names = missing[start : start + CHUNK]
            vectors = retriever.encode_images([load(name) for name in names])
            check_vectors(vectors, len(names), retriever, "encode_images")
            known.update(zip(names, vectors, strict=True))
            if progress is not None:
                progress("pictures", start + len(names), len(missing))
        vectors = np.stack([known[name] for name in ids])
        if path is not None and missing:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(".partial.npy")
            np.save(partial, vectors, allow_pickle=False)
            os.replace(partial, path)
        return vectors

    def _path(self, fingerprint: str, ids: Sequence[str]) -> Path | None:
        if self.folder is None:
            return None
        gallery = hashlib.sha256("\n".join(ids).encode()).hexdigest()[:16]
        return self.folder / f"{fingerprint[:16]}-{gallery}.npy"


def run_single_query(
    retriever: Retriever,
    queries: QuerySet,
    load: LoadImage,
    vectors: GalleryVectors | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Encode a set's gallery and queries, and rank.

    Raises:
        ValueError: a target or a neighbour that is not in the gallery, vectors of a wrong shape,
            NaN among them.
    """
    rows = {name: row for row, name in enumerate(queries.gallery)}
    if len(rows) != len(queries.gallery):
        raise ValueError(f"{queries.name}: the gallery names a picture twice")
    for query in queries.queries:
        lost = {query.target, *query.neighbours} - rows.keys()
        if lost:
            raise ValueError(
                f"{queries.name}, query {query.id}: {sorted(lost)[0]!r} is not in the gallery"
            )
    gallery = (vectors or GalleryVectors()).get(retriever, queries.gallery, load, progress)
    asked = encode_dialogues(retriever, [q.dialogue for q in queries.queries], load, progress)
    targets = np.array([rows[query.target] for query in queries.queries])
    exclude = [{rows[name] for name in query.exclude if name in rows} for query in queries.queries]
    rivals = [
        {rows[name] for name in query.neighbours} - left_out
        for query, left_out in zip(queries.queries, exclude, strict=True)
    ]
    return Outcome(
        ranks=target_ranks(asked, gallery, targets, metric=retriever.metric, exclude=exclude),
        beats_neighbours=beats_all(asked, gallery, targets, rivals, metric=retriever.metric),
        candidates=np.array([len(rows) - len(left_out) for left_out in exclude]),
        rivals=np.array([len(others) for others in rivals]),
    )


def encode_dialogues(
    retriever: Retriever,
    dialogues: Sequence[Dialogue],
    load: LoadImage,
    progress: Progress | None = None,
) -> np.ndarray:
    """Query vectors [Q, D] of dialogues whose pictures are decoded here, a chunk at a time."""
    parts = []
    for start in range(0, len(dialogues), CHUNK):
        chunk = [with_pixels(dialogue, load) for dialogue in dialogues[start : start + CHUNK]]
        parts.append(retriever.encode_queries(chunk))
        check_vectors(parts[-1], len(chunk), retriever, "encode_queries")
        if progress is not None:
            progress("queries", start + len(chunk), len(dialogues))
    return np.concatenate(parts) if parts else np.zeros((0, retriever.embedding_dim), np.float32)


def with_pixels(dialogue: Dialogue, load: LoadImage) -> Dialogue:
    """The dialogue with every picture decoded."""

    def decode(image: Image) -> Image:
        return image if image.pixels is not None else replace(image, pixels=load(image.id))

    return dialogue.map_images(decode)


def check_vectors(vectors: np.ndarray, count: int, retriever: Retriever, method: str) -> None:
    """Refuse vectors of another shape than promised.

    Raises:
        ValueError: with what was got and what was promised.
    """
    if vectors.shape != (count, retriever.embedding_dim):
        raise ValueError(
            f"{type(retriever).__name__}.{method} returned shape {vectors.shape}, expected "
            f"{(count, retriever.embedding_dim)}"
        )


def set_checksum(queries: QuerySet) -> str:
    """A sha256 over all that the set says: gallery, dialogues, targets, exclusions, neighbours."""
    digest = hashlib.sha256()
    for line in _lines(queries):
        digest.update(line.encode() + b"\n")
    return digest.hexdigest()


def _lines(queries: QuerySet) -> Iterator[str]:
    yield json.dumps(list(queries.gallery))
    for query in queries.queries:
        yield json.dumps(
            [
                query.id,
                query.dialogue.to_messages(),
                query.target,
                sorted(query.exclude),
                list(query.neighbours),
            ],
            ensure_ascii=True,
        )
