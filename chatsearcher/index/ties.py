"""What all indexes share: input checks, exact scores of candidates, and the one order of equals."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

BLOCK_VALUES = 1 << 24
"""Float64 values that a step may hold: 128 MB."""


LONGEST = 1e18


def settle(scores: np.ndarray, rows: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k best candidates, in order: higher score first, of equal scores the lower row.

    Args:
        scores: [Q, C] float32.
        rows: [Q, C] int64; negative where there is none.

    Returns:
        Scores [Q, k] and rows [Q, k], filled up with -inf and -1.
    """
    scores = np.where(rows < 0, -np.inf, scores).astype(np.float32)
    # Candidates that do not exist come last, also behind rows whose score is -inf.
    last = np.where(rows < 0, np.iinfo(np.int64).max, rows)
    order = np.lexsort((last, -scores), axis=1)[:, :k]
    scores, rows = np.take_along_axis(scores, order, 1), np.take_along_axis(rows, order, 1)
    missing = k - scores.shape[1]
    if missing > 0:
        scores = np.pad(scores, ((0, 0), (0, missing)), constant_values=-np.inf)
        rows = np.pad(rows, ((0, 0), (0, missing)), constant_values=-1)
    rows = np.where(rows < 0, -1, rows)
    return scores, rows


def score_candidates(
    queries: np.ndarray, vectors: np.ndarray, rows: np.ndarray, metric: str
) -> np.ndarray:
    """Scores [Q, C] of candidate rows [Q, C], computed in float64 and rounded to float32.

    A matrix product sums in an order that depends on where a row stands, so that equal vectors may
    get unequal scores; this does not. Negative rows get -inf.
    """
    scores = np.empty(rows.shape, np.float32)
    width = max(1, rows.shape[1] * vectors.shape[1])
    step = max(1, BLOCK_VALUES // width)
    for start in range(0, len(rows), step):
        here = slice(start, start + step)
        chosen = vectors[np.maximum(rows[here], 0)].astype(np.float64)
        asked = queries[here, None, :].astype(np.float64)
        if metric == "l2":
            values = -np.sqrt(((chosen - asked) ** 2).sum(-1))
        else:
            values = (chosen * asked).sum(-1)
        scores[here] = values
    scores[rows < 0] = -np.inf
    return scores


def checked_vectors(vectors: np.ndarray, metric: str) -> np.ndarray:
    """Vectors [N, D] float32; under cosine of unit length (as they are, where they already were).

    Raises:
        ValueError: another shape or metric; a row that is not finite, or zero under cosine.
    """
    if metric not in ("cosine", "l2"):
        raise ValueError(f"unknown metric {metric!r}; expected cosine or l2")
    vectors = np.asarray(vectors, dtype=np.float32)
    if vectors.ndim != 2:
        raise ValueError(f"vectors of shape {vectors.shape}; expected [rows, width]")
    lengths = np.empty(len(vectors), np.float64)
    step = max(1, BLOCK_VALUES // max(1, vectors.shape[1]))
    for start in range(0, len(vectors), step):
        block = vectors[start : start + step].astype(np.float64)
        lengths[start : start + step] = np.sqrt(np.einsum("nd,nd->n", block, block))
    _refuse(~np.isfinite(lengths), "is not finite (NaN or infinity)", vectors)
    _refuse(lengths > LONGEST, f"is longer than {LONGEST:g}, whose square is no float32", vectors)
    if metric == "l2" or not len(vectors):
        return vectors
    _refuse(lengths == 0, "is zero, which has no direction to compare by cosine", vectors)
    if np.abs(lengths - 1).max() <= 1e-4:
        return vectors
    return (vectors / lengths[:, None]).astype(np.float32)


def checked_queries(
    queries: np.ndarray,
    width: int,
    metric: str,
    k: int,
    exclude: Sequence[Collection[int]] | None,
) -> np.ndarray:
    """Queries [Q, D] like ``checked_vectors``; k and the excluded rows must fit too."""
    queries = checked_vectors(queries, metric)
    if queries.shape[1] != width:
        raise ValueError(f"queries of width {queries.shape[1]}; the index holds width {width}")
    if k < 1:
        raise ValueError(f"k = {k}; expected at least 1")
    if exclude is not None and len(exclude) != len(queries):
        raise ValueError(f"{len(exclude)} sets of excluded rows for {len(queries)} queries")
    return queries


def _refuse(bad: np.ndarray, why: str, vectors: np.ndarray) -> None:
    rows = np.flatnonzero(bad)
    if len(rows):
        raise ValueError(
            f"row {rows[0]} of {len(vectors)} vectors {why}; {len(rows)} such rows; "
            "leave them out or encode them again"
        )
