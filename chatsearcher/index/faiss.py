"""Approximate search with FAISS, for millions of pictures.

``pip install 'chatsearcher[faiss]'``
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from chatsearcher.index import Metric
from chatsearcher.index.ties import checked_queries, checked_vectors, score_candidates, settle

SPARE = 16
FLAT_UP_TO = 50_000


class FaissIndex:
    """A FAISS index over a gallery's vectors; what it finds is scored again exactly.

    Args:
        vectors: [N, D]; under cosine of any length but zero.
        metric: ``cosine`` or ``l2``.
        factory: FAISS's own description of an index (``"HNSW32"``, ``"IVF1024,PQ32"``…); by
            default ``Flat`` up to 50,000 rows and then ``IVF…,Flat``.
        effort: of an IVF index, cells looked into (``nprobe``); of HNSW, ``efSearch``.
        file: where the built index is kept; read from there if it was built over
            the same vectors, byte for byte.
        device: for the common signature; FAISS chooses by its own build.

    Raises:
        ImportError: faiss is not installed.
    """

    def __init__(
        self,
        vectors: np.ndarray,
        metric: Metric = "cosine",
        *,
        factory: str | None = None,
        effort: int = 64,
        file: str | Path | None = None,
        device: object = None,
    ) -> None:
        faiss = _faiss()
        self.metric = metric
        self.vectors = checked_vectors(vectors, metric)
        rows = len(self.vectors)
        cells = max(1, int(4 * rows**0.5))
        self.factory = factory or ("Flat" if rows <= FLAT_UP_TO else f"IVF{cells},Flat")
        kept = None if file is None else Path(file)
        self._index: Any = None if kept is None else self._stored(faiss, kept)
        if self._index is None:
            self._index = self._build(faiss)
            if kept is not None:
                self._store(faiss, kept)
        for name in ("nprobe", "efSearch"):
            owner = getattr(self._index, "hnsw", self._index) if name == "efSearch" else self._index
            if hasattr(owner, name):
                setattr(owner, name, effort)

    def __len__(self) -> int:
        return len(self.vectors)

    def _build(self, faiss: Any) -> Any:
        kind = faiss.METRIC_L2 if self.metric == "l2" else faiss.METRIC_INNER_PRODUCT
        index = faiss.index_factory(max(1, self.vectors.shape[1]), self.factory, kind)
        packed = np.ascontiguousarray(self.vectors)
        if not index.is_trained:
            index.train(packed)
        index.add(packed)
        return index

    def _stored(self, faiss: Any, file: Path) -> Any:
        """The index of a file, if the note beside it says that it is this one; else None."""
        note = _note(file)
        if not file.exists() or not note.exists():
            return None
        return faiss.read_index(str(file)) if note.read_text() == self._digest() else None

    def _store(self, faiss: Any, file: Path) -> None:
        # Index and note are replaced one by one: without its note an index is not read.
        _note(file).unlink(missing_ok=True)
        new = file.with_name(f".{file.name}.new")
        faiss.write_index(self._index, str(new))
        os.replace(new, file)
        _note(file).write_text(self._digest())

    def _digest(self) -> str:
        about = repr((self.vectors.shape, self.metric, self.factory))
        digest = hashlib.sha256(about.encode())
        digest.update(np.ascontiguousarray(self.vectors).data)
        return digest.hexdigest()

    def search(
        self,
        queries: np.ndarray,
        k: int,
        exclude: Sequence[Collection[int]] | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """See ``Index.search``; an approximate index may miss rows."""
        queries = checked_queries(queries, self.vectors.shape[1], self.metric, k, exclude)
        most = max((len(set(left_out)) for left_out in exclude or ()), default=0)
        wanted = max(1, min(len(self), k + SPARE + most))
        _, rows = self._index.search(np.ascontiguousarray(queries), wanted)
        for query, left_out in enumerate(exclude or ()):
            rows[query, np.isin(rows[query], list(left_out))] = -1
        scores = score_candidates(queries, self.vectors, rows, self.metric)
        return settle(scores, rows, k)


def _note(file: Path) -> Path:
    return file.with_name(file.name + ".made-of")


def _faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise ImportError(
            "the faiss index needs FAISS: pip install 'chatsearcher[faiss]' "
            "(or search with --index exact)"
        ) from error
    return faiss
