"""Search in Milvus: an embedded file first, a cluster by changing the address.

``pip install 'chatsearcher[milvus]'``
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from chatsearcher.index import Metric
from chatsearcher.index.ties import checked_queries, checked_vectors, score_candidates, settle

SPARE = 16
BATCH = 1000
MOST = 16_384
"""Milvus gives back at most this many rows."""


class MilvusIndex:
    """A collection in Milvus; what it finds is scored again exactly.

    The collection is named by the vectors' content: it is filled once, and found again.

    Args:
        vectors: [N, D]; under cosine of any length but zero.
        metric: ``cosine`` or ``l2``.
        address: a file ending in ``.db`` (milvus-lite, in this process), or ``http://host:19530``.
        token: ``user:password`` of a cluster.
        device: for the common signature; Milvus has its own.

    Raises:
        ImportError: pymilvus is not installed.
    """

    def __init__(
        self,
        vectors: np.ndarray,
        metric: Metric = "cosine",
        *,
        address: str | Path = "chatsearcher-milvus.db",
        token: str = "",
        device: object = None,
    ) -> None:
        milvus = _milvus()
        self.metric = metric
        self.vectors = np.ascontiguousarray(checked_vectors(vectors, metric))
        digest = hashlib.sha256(repr((self.vectors.shape, metric)).encode())
        digest.update(self.vectors.data)
        self.collection = f"chatsearcher_{digest.hexdigest()[:24]}"
        self._client = milvus.MilvusClient(uri=str(address), token=token)
        if not self._is_filled():
            self._fill()
        self._client.load_collection(self.collection)

    def __len__(self) -> int:
        return len(self.vectors)

    def _is_filled(self) -> bool:
        if not self._client.has_collection(self.collection):
            return False
        count = int(self._client.get_collection_stats(self.collection)["row_count"])
        if count != len(self.vectors):
            self._client.drop_collection(self.collection)  # an interrupted filling
            return False
        return True

    def _fill(self) -> None:
        self._client.create_collection(
            self.collection,
            dimension=self.vectors.shape[1],
            primary_field_name="row",
            vector_field_name="vector",
            id_type="int",
            metric_type="L2" if self.metric == "l2" else "COSINE",
            consistency_level="Strong",
        )
        for start in range(0, len(self.vectors), BATCH):
            block = self.vectors[start : start + BATCH]
            rows = [{"row": start + at, "vector": vector} for at, vector in enumerate(block)]
            self._client.insert(self.collection, rows)
        self._client.flush(self.collection)

    def search(
        self,
        queries: np.ndarray,
        k: int,
        exclude: Sequence[Collection[int]] | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """See ``Index.search``; with ``k`` of at most 16,384 less the excluded rows."""
        queries = checked_queries(queries, self.vectors.shape[1], self.metric, k, exclude)
        most = max((len(set(left_out)) for left_out in exclude or ()), default=0)
        if k + most > MOST:
            raise ValueError(
                f"k = {k} with {most} excluded rows; Milvus gives back at most {MOST} rows"
            )
        wanted = min(k + most + SPARE, MOST)
        rows = np.full((len(queries), wanted), -1, np.int64)
        if len(self):
            found = self._client.search(self.collection, data=list(queries), limit=wanted)
            for query, hits in enumerate(found):
                rows[query, : len(hits)] = [_row(hit) for hit in hits]
        for query, left_out in enumerate(exclude or ()):
            rows[query, np.isin(rows[query], list(left_out))] = -1
        scores = score_candidates(queries, self.vectors, rows, self.metric)
        return settle(scores, rows, k)

    def close(self) -> None:
        self._client.close()


def _row(hit: Any) -> int:
    """The primary key of a hit: older clients call it ``id``, newer ones by its own name."""
    return int(hit["row"] if "row" in hit else hit["id"])


def _milvus() -> Any:
    try:
        import pymilvus
    except ImportError as error:
        raise ImportError(
            "the milvus index needs pymilvus: pip install 'chatsearcher[milvus]' "
            "(or search with --index exact)"
        ) from error
    return pymilvus
