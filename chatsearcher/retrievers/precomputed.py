"""Vectors made elsewhere: an ``.npz`` file with picture and query vectors by id.

The file holds ``image_ids`` [N] and ``image_vectors`` [N, D], ``query_ids`` [Q] and
``query_vectors`` [Q, D], and optionally ``metric`` ("cosine" by default). A dialogue is found by
its ``id``. Pictures are found by id through ``image_vectors_of``; their pixels say nothing here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from chatsearcher.dialogue import Dialogue
from chatsearcher.retriever import Metric

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

_ARRAYS = ("image_ids", "image_vectors", "query_ids", "query_vectors")


class PrecomputedRetriever:
    """A retriever that looks everything up.

    Args:
        path: the ``.npz`` file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: arrays that are missing or do not fit one another.
    """

    def __init__(self, path: str | Path) -> None:
        path = Path(path)
        with np.load(path, allow_pickle=False) as arrays:
            missing = [name for name in _ARRAYS if name not in arrays]
            if missing:
                raise ValueError(f"{path} lacks {', '.join(missing)}; it has {arrays.files}")
            image_ids, image_vectors, query_ids, query_vectors = (arrays[n] for n in _ARRAYS)
            metric = str(arrays["metric"]) if "metric" in arrays else "cosine"
        for ids, vectors, what in (
            (image_ids, image_vectors, "image"),
            (query_ids, query_vectors, "query"),
        ):
            if vectors.ndim != 2 or len(ids) != len(vectors):
                raise ValueError(
                    f"{path}: {len(ids)} {what} ids, vectors of {vectors.shape}; expected a row an "
                    "id, [N, D]"
                )
        if image_vectors.shape[1] != query_vectors.shape[1]:
            raise ValueError(
                f"{path}: image vectors have {image_vectors.shape[1]} dimensions, query vectors "
                f"{query_vectors.shape[1]}"
            )
        if metric not in ("cosine", "l2"):
            raise ValueError(f"{path}: unknown metric {metric!r}; expected 'cosine' or 'l2'")
        self.metric: Metric = "l2" if metric == "l2" else "cosine"
        self.path = path
        self._images = self._table(image_ids, image_vectors, "image")
        self._queries = self._table(query_ids, query_vectors, "query")
        self.embedding_dim = int(image_vectors.shape[1])
        self.fingerprint = hashlib.sha256(path.read_bytes()).hexdigest()

    def _table(self, ids: np.ndarray, vectors: np.ndarray, what: str) -> dict[str, np.ndarray]:
        vectors = np.asarray(vectors, dtype=np.float32)
        rows: dict[str, int] = {}
        for row, name in enumerate(map(str, ids)):
            if name in rows:
                raise ValueError(
                    f"{self.path}: {what} id {name!r} stands in rows {rows[name]} and {row}; keep "
                    "one of the two"
                )
            rows[name] = row
        broken = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
        if len(broken):
            raise ValueError(
                f"{self.path}: {what} row {broken[0]} ({ids[broken[0]]!s}) holds NaN or infinity, "
                f"as do {len(broken)} of {len(vectors)} rows; encode them again"
            )
        if self.metric == "cosine":
            lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
            zero = np.flatnonzero(lengths[:, 0] == 0)
            if len(zero):
                raise ValueError(
                    f"{self.path}: {what} row {zero[0]} ({ids[zero[0]]!s}) is zero, which has no "
                    "direction to compare by cosine; encode it again"
                )
            vectors = vectors / lengths
        return {name: vectors[row] for name, row in rows.items()}

    def image_vectors_of(self, ids: Sequence[str]) -> np.ndarray:
        """The vectors of pictures by id: [N, D] float32."""
        return self._look_up(self._images, ids, "picture")

    def encode_images(self, images: Sequence[PILImage]) -> np.ndarray:
        """Not possible from pixels alone.

        Raises:
            ValueError: always, with the remedy.
        """
        raise ValueError(
            f"{self.path} holds vectors by id and cannot encode new pictures; import them into a "
            "gallery with `chatsearcher gallery import`, or use the retriever that made them"
        )

    def encode_queries(self, dialogues: Sequence[Dialogue]) -> np.ndarray:
        """The vectors of dialogues by their ``id``: [Q, D] float32.

        Raises:
            ValueError: a dialogue without an id, or with an unknown one.
        """
        names = []
        for dialogue in dialogues:
            if dialogue.id is None:
                raise ValueError("a dialogue has no id; precomputed vectors are found by id")
            names.append(dialogue.id)
        return self._look_up(self._queries, names, "query")

    def _look_up(self, table: dict[str, np.ndarray], ids: Sequence[str], what: str) -> np.ndarray:
        lost = [name for name in ids if name not in table]
        if lost:
            raise ValueError(
                f"{self.path} has no vector for {what} {lost[0]!r} ({len(lost)} of {len(ids)} are "
                "missing)"
            )
        if not ids:
            return np.zeros((0, self.embedding_dim), dtype=np.float32)
        return np.stack([table[name] for name in ids])


def load(argument: str, device: str | None = None) -> PrecomputedRetriever:
    """``precomputed:FILE``; the device does not matter."""
    return PrecomputedRetriever(argument)
