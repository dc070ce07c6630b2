"""Nearest neighbours behind one small protocol: exact by default, FAISS and Milvus beyond."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np

from chatsearcher.registry import Registry

Metric = Literal["cosine", "l2"]

INDEXES = Registry(
    "index",
    {
        "exact": "chatsearcher.index.exact:ExactIndex",
        "faiss": "chatsearcher.index.faiss:FaissIndex",
        "milvus": "chatsearcher.index.milvus:MilvusIndex",
    },
)


@runtime_checkable
class Index(Protocol):
    """Rows of a gallery, found by vector.

    A score is the cosine, or minus the Euclidean distance: more is nearer in both. Of equal
    scores, the lower row comes first.
    """

    def search(
        self,
        queries: np.ndarray,
        k: int,
        exclude: Sequence[Collection[int]] | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k best rows of each query.

        Args:
            queries: [Q, D].
            k: how many rows.
            exclude: for each query, rows that it must not get.

        Returns:
            Scores [Q, k] float32, best first, and rows [Q, k] int64; where there are fewer rows
            than k, the rest is filled up with row -1 and score -inf.
        """
        ...


def make_index(name: str, vectors: np.ndarray, metric: Metric = "cosine", **options: Any) -> Index:
    """The index of that name over vectors [N, D].

    Raises:
        ValueError: an unknown name; vectors that are not finite, or zero under cosine.
        ImportError: its package is not installed; the message names the extra.
    """
    index: Index = INDEXES[name](vectors, metric, **options)
    return index


class Searchable(Protocol):
    """What an index needs of a gallery."""

    @property
    def path(self) -> Path: ...

    @property
    def metric(self) -> Metric: ...

    @property
    def vectors(self) -> np.ndarray: ...


def open_index(
    gallery: Searchable, name: str = "exact", *, address: str | None = None, device: Any = None
) -> Index:
    """The index of that name over a gallery; FAISS and Milvus keep theirs in the gallery's folder.

    Args:
        gallery: what to search.
        name: exact, faiss or milvus.
        address: of a Milvus cluster.
        device: where exact search computes.
    """
    options: dict[str, Any] = {"device": device}
    if name == "faiss":
        options["file"] = gallery.path / "index.faiss"
    if name == "milvus":
        options["address"] = address or gallery.path / "milvus.db"
    return make_index(name, gallery.vectors, gallery.metric, **options)
