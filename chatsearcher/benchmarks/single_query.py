"""Sets of queries over one gallery, and the vectors that a system makes of them.

Works with anything that has ``encode_images`` and ``encode_queries``. What a query excludes (its
reference picture, say) is no candidate for that query but stays one for all others.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

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
        broken: dict[str, str] | None = None,
        space: str = "",
    ) -> np.ndarray:
        """The vectors of these pictures: [N, D] float32. Each picture is encoded once.

        Args:
            space: what keeps the ids of one set apart from equal ids of another.
            broken: where given, pictures that cannot be decoded are noted here, id -> reason, and
                have no row; else the first one is an error.
        """
        known = self._known.setdefault(f"{space}/{retriever.fingerprint}", {})
        path = self._path(retriever.fingerprint, ids, space)
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
            names, pictures = _decoded(missing[start : start + CHUNK], load, broken)
            if names:
                vectors = retriever.encode_images(pictures)
                check_vectors(vectors, len(names), retriever, "encode_images")
                known.update(zip(names, vectors, strict=True))
            if progress is not None:
                progress("pictures", min(start + CHUNK, len(missing)), len(missing))
        there = [name for name in ids if name in known]
        if not there:
            why = (broken or {}).get(ids[0], "") if len(ids) else "there are none"
            raise ValueError(f"none of {len(ids)} pictures can be decoded (the first: {why})")
        vectors = np.stack([known[name] for name in there])
        path = self._path(retriever.fingerprint, there, space)
        if path is not None and missing:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(".partial.npy")
            np.save(partial, vectors, allow_pickle=False)
            os.replace(partial, path)
        return vectors

    def _path(self, fingerprint: str, ids: Sequence[str], space: str) -> Path | None:
        if self.folder is None:
            return None
        names = [space, *ids] if space else ids
        gallery = hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]
        return self.folder / f"{fingerprint[:16]}-{gallery}.npy"


def _decoded(
    names: Sequence[str], load: LoadImage, broken: dict[str, str] | None
) -> tuple[list[str], list[PILImage]]:
    found, pictures = [], []
    for name in names:
        try:
            pictures.append(load(name))
        except (FileNotFoundError, ValueError) as error:
            if broken is None:
                raise
            broken[name] = str(error)
            continue
        found.append(name)
    return found, pictures


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
