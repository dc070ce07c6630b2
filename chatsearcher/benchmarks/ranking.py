"""Where the target stands among the candidates: ranks, counted in blocks.

A rank is 1-based and pessimistic: a target stands *after* every candidate of an equal score, so a
scorer that gives everything the same score gets no credit. Scores are float64: two equal vectors
score equally wherever they stand in the matrix, up to ``TIE``, and what lies closer than ``TIE`` is
a tie.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import numpy as np

from chatsearcher.retriever import Metric

TIE = 1e-12  # the order of a float64 dot product's additions moves it by less than 1e-15


def target_ranks(
    queries: np.ndarray,
    gallery: np.ndarray,
    targets: Sequence[int] | np.ndarray,
    *,
    metric: Metric = "cosine",
    exclude: Sequence[Collection[int]] | None = None,
    query_block: int = 256,
    gallery_block: int = 8192,
) -> np.ndarray:
    """The rank of each query's target in the gallery.

    Args:
        queries: [Q, D] query vectors, already of unit length where the metric is cosine.
        gallery: [N, D] image vectors; a memory map is read block by block.
        targets: [Q] the row of each query's target.
        metric: "cosine" (largest dot product first) or "l2" (smallest distance first).
        exclude: for each query, the rows that are no candidates; the target must not be among them.
        query_block, gallery_block: how many rows are scored at once; at no time does more than
            one block of scores exist.

    Returns:
        [Q] int64, 1 is best.

    Raises:
        ValueError: NaN or infinite vectors, a target out of range, or an excluded target.
    """
    targets = np.asarray(targets, dtype=np.int64)
    _check(queries, gallery, targets, metric, exclude)
    ranks = np.ones(len(queries), dtype=np.int64)
    for start in range(0, len(queries), query_block):
        rows = slice(start, min(start + query_block, len(queries)))
        score = _scorer(queries[rows], metric)
        floor = _floor(queries[rows], gallery, targets[rows], metric)[:, None]
        for left in range(0, len(gallery), gallery_block):
            block = _finite(gallery[left : left + gallery_block], "the gallery")
            better = score(block) >= floor
            for row, target in enumerate(targets[rows]):
                if left <= target < left + len(block):
                    better[row, target - left] = False
                if exclude is not None:
                    inside = [
                        i - left for i in exclude[start + row] if left <= i < left + len(block)
                    ]
                    better[row, inside] = False
            ranks[rows] += better.sum(axis=1)
    return ranks


def beats_all(
    queries: np.ndarray,
    gallery: np.ndarray,
    targets: Sequence[int] | np.ndarray,
    rivals: Sequence[Collection[int]],
    *,
    metric: Metric = "cosine",
) -> np.ndarray:
    """For each query, whether its target scores strictly above all of its rivals: [Q] bool.

    Args:
        rivals: for each query, gallery rows (the pictures nearest to the target, say).

    Raises:
        ValueError: as ``target_ranks``; also a target among its own rivals.
    """
    targets = np.asarray(targets, dtype=np.int64)
    _check(queries, gallery, targets, metric, rivals)
    wins = np.ones(len(queries), dtype=bool)
    for row, others in enumerate(rivals):
        if not others:
            continue
        picked = [int(targets[row]), *(int(i) for i in others)]
        block = _finite(gallery[picked], "the gallery")
        scores = _scorer(queries[row : row + 1], metric)(block)[0]
        floor = _floor(queries[row : row + 1], gallery, targets[row : row + 1], metric)[0]
        wins[row] = scores[1:].max() < floor
    return wins


def _scorer(queries: np.ndarray, metric: Metric) -> Callable[[np.ndarray], np.ndarray]:
    """A function block [n, D] -> scores [q, n], larger is better."""
    left = _finite(queries, "the queries")
    if metric == "cosine":
        return lambda block: left @ block.T
    norms = (left**2).sum(axis=1)[:, None]
    return lambda block: 2.0 * (left @ block.T) - (block**2).sum(axis=1)[None, :] - norms


def _floor(
    queries: np.ndarray, gallery: np.ndarray, targets: np.ndarray, metric: Metric
) -> np.ndarray:
    """[q] the lowest score that still ties with the target's."""
    left = _finite(queries, "the queries")
    right = _finite(gallery[targets], "the gallery")
    dots = np.einsum("qd,qd->q", left, right)
    sizes = (left**2).sum(axis=1) + (right**2).sum(axis=1)
    own = dots if metric == "cosine" else 2.0 * dots - sizes
    return own - TIE * np.maximum(1.0, sizes)


def _finite(vectors: np.ndarray, what: str) -> np.ndarray:
    block = np.asarray(vectors, dtype=np.float64)
    if not np.isfinite(block).all():
        bad = int((~np.isfinite(block)).any(axis=1).sum())
        raise ValueError(
            f"{what} hold NaN or infinite values in {bad} of {len(block)} vectors; a rank of such "
            "vectors means nothing: look at the model that made them"
        )
    return block


def _check(
    queries: np.ndarray,
    gallery: np.ndarray,
    targets: np.ndarray,
    metric: Metric,
    sets: Sequence[Collection[int]] | None,
) -> None:
    if metric not in ("cosine", "l2"):
        raise ValueError(f"unknown metric {metric!r}; expected 'cosine' or 'l2'")
    if queries.ndim != 2 or gallery.ndim != 2 or queries.shape[1] != gallery.shape[1]:
        raise ValueError(
            f"queries of shape {queries.shape} and a gallery of shape {gallery.shape} "
            "do not fit; expected [Q, D] and [N, D]"
        )
    if targets.shape != (len(queries),):
        raise ValueError(f"{len(queries)} queries, but targets of shape {targets.shape}")
    if len(targets) and not (targets.min() >= 0 and targets.max() < len(gallery)):
        raise ValueError(f"a target lies outside the gallery of {len(gallery)} rows")
    if sets is None:
        return
    if len(sets) != len(queries):
        raise ValueError(f"{len(queries)} queries, but {len(sets)} sets of rows")
    for row, members in enumerate(sets):
        if int(targets[row]) in members:
            raise ValueError(f"query {row}: its own target is among the excluded rows or rivals")
