"""Where the target stands among the candidates: ranks, counted in blocks.

A rank is 1-based and pessimistic: a target stands *after* every candidate of an equal score, so a
scorer that gives everything the same score gets no credit. Ranks are those of float64 scores: two
equal vectors score equally wherever they stand in the matrix, up to ``TIE``, and what lies closer
than ``TIE`` is a tie. Most candidates are decided by a float32 product; those that its rounding
could put on either side of the target are scored again in float64.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from chatsearcher.retriever import Metric

TIE = 1e-12  # the order of a float64 dot product's additions moves it by less than 1e-15
PAIRS = 1 << 22  # float64 values that one step of exact scoring may hold, on either side


def target_ranks(
    queries: np.ndarray,
    gallery: np.ndarray,
    targets: Sequence[int] | np.ndarray,
    *,
    metric: Metric = "cosine",
    exclude: Sequence[Collection[int]] | None = None,
    query_block: int = 512,
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
    asked = _Side(queries, "the queries")
    wanted = _Side(gallery[targets] if len(targets) else gallery[:0], "the gallery")
    floor = exact_scores(asked.own, wanted.own, metric) - TIE * _scale(asked, wanted)
    ranks = np.zeros(len(queries), dtype=np.int64)
    for left in range(0, len(gallery), gallery_block):
        block = _Side(gallery[left : left + gallery_block], "the gallery")
        for start in range(0, len(queries), query_block):
            rows = slice(start, min(start + query_block, len(queries)))
            ranks[rows] += _count(asked.part(rows), block, floor[rows], metric)
    # Every target was counted as its own rival; ranks begin at 1 all the same.
    if exclude is not None:
        ranks -= _counted(queries, gallery, exclude, floor, metric)
    return ranks


def relevant_ranks(
    queries: np.ndarray,
    gallery: np.ndarray,
    relevant: Sequence[Sequence[int]],
    *,
    metric: Metric = "cosine",
    exclude: Sequence[Collection[int]] | None = None,
) -> list[np.ndarray]:
    """The ranks of several right pictures a query.

    Among pictures of equal scores the wrong ones stand first.

    Args:
        relevant: for each query the rows of its right pictures, at least one.

    Returns:
        For each query [R] int64, rising: where its right pictures stand, the best first.

    Raises:
        ValueError: as ``target_ranks``; also a query without a right picture.
    """
    bare = next((row for row, rows in enumerate(relevant) if not len(rows)), None)
    if bare is not None:
        raise ValueError(f"query {bare} has no right picture")
    counts = np.array([len(rows) for rows in relevant])
    owner = np.repeat(np.arange(len(queries)), counts)
    flat = np.array([row for rows in relevant for row in rows], dtype=np.int64)
    left_out = [set(rows) | set(() if exclude is None else exclude[q]) for q, rows in
                enumerate(relevant)]  # fmt: skip
    others = [left_out[q] - {int(row)} for q, row in zip(owner, flat, strict=True)]
    wrong = target_ranks(queries[owner], gallery, flat, metric=metric, exclude=others) - 1
    parts = np.split(wrong, np.cumsum(counts)[:-1])
    # Right pictures by their wrong ones in front; each further one has the earlier ones in front.
    return [np.sort(part) + np.arange(1, len(part) + 1) for part in parts]


def ranks_among(
    queries: np.ndarray,
    gallery: np.ndarray,
    targets: Sequence[int] | np.ndarray,
    rivals: Sequence[Collection[int]],
    *,
    metric: Metric = "cosine",
) -> np.ndarray:
    """The rank of each query's target among a few pictures of its own: [Q] int64, 1 is best.

    Args:
        rivals: for each query, gallery rows, the target not among them.

    Raises:
        ValueError: as ``target_ranks``; also a target among its own rivals.
    """
    targets = np.asarray(targets, dtype=np.int64)
    _check(queries, gallery, targets, metric, rivals)
    asked = _Side(queries, "the queries")
    wanted = _Side(gallery[targets] if len(targets) else gallery[:0], "the gallery")
    floor = exact_scores(asked.own, wanted.own, metric) - TIE * _scale(asked, wanted)
    return 1 + _counted(queries, gallery, rivals, floor, metric)


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
        ValueError: as ``ranks_among``.
    """
    return ranks_among(queries, gallery, targets, rivals, metric=metric) == 1


def exact_scores(queries: np.ndarray, pictures: np.ndarray, metric: Metric) -> np.ndarray:
    """[n] float64 scores of pairs, larger is better: dot product, or minus the squared distance.

    Args:
        queries, pictures: [n, D].
    """
    found = np.empty(len(queries), np.float64)
    step = max(1, PAIRS // max(1, queries.shape[1]))
    for start in range(0, len(queries), step):
        here = slice(start, start + step)
        left, right = queries[here].astype(np.float64), pictures[here].astype(np.float64)
        if metric == "l2":
            left -= right
            found[here] = -np.einsum("nd,nd->n", left, left)
        else:
            found[here] = np.einsum("nd,nd->n", left, right)
    return found


class _Side:
    """Rows of vectors with what the products need of them.

    Raises:
        ValueError: NaN or infinite values.
    """

    def __init__(self, vectors: np.ndarray, what: str) -> None:
        self.own = np.asarray(vectors)
        # A sum is finite only if all of its terms are: one pass, no mask of the whole block.
        with np.errstate(over="ignore", invalid="ignore"):
            self.squares = np.einsum("nd,nd->n", self.own, self.own, dtype=np.float64)
        if not np.isfinite(self.squares).all():
            bad = int((~np.isfinite(self.own)).any(axis=1).sum())
            raise ValueError(
                f"{what} hold NaN or infinite values in {bad} of {len(self.own)} vectors; a rank "
                "of such vectors means nothing: look at the model that made them"
            )
        self.single = np.ascontiguousarray(self.own, dtype=np.float32)

    def part(self, rows: slice) -> _Side:
        """Some of the rows."""
        other = object.__new__(_Side)
        other.own, other.squares, other.single = (
            self.own[rows],
            self.squares[rows],
            self.single[rows],
        )
        return other


def _scale(left: _Side, right: _Side) -> np.ndarray:
    """What a tie is relative to."""
    scale: np.ndarray = np.maximum(1.0, left.squares + right.squares)
    return scale


def _count(asked: _Side, block: _Side, floor: np.ndarray, metric: Metric) -> np.ndarray:
    """[q] how many of the block score at least ``floor``."""
    products = asked.single @ block.single.T
    lengths, longest = np.sqrt(asked.squares), float(np.sqrt(block.squares.max(initial=0.0)))
    # |error| <= (D + 2) u |q| |v| for a float32 dot product in any order, and 2 u |q| |v| for
    # rounding the operands to float32; the rest is room for rounding the bounds.
    unit = (asked.own.shape[1] + 8) * 2.0**-23
    if metric == "l2":
        # floor <= 2 q·v - |v|² - |q|²  <=>  q·v - |v|²/2 >= (floor + |q|²)/2
        products -= (block.squares / 2).astype(np.float32)
        edge = (floor + asked.squares) / 2
        margin = unit * (lengths + longest) ** 2
    else:
        edge, margin = floor, unit * lengths * longest
    margin += 2.0**-22 * np.abs(edge)
    low, high = (edge - margin).astype(np.float32), (edge + margin).astype(np.float32)
    near = products >= low[:, None]
    sure = products > high[:, None]
    count: np.ndarray = np.count_nonzero(sure, axis=1).astype(np.int64)
    near ^= sure
    unsure = np.flatnonzero(near)  # one dimension: NumPy finds these ten times as fast
    step = max(1, PAIRS // max(1, asked.own.shape[1]))
    for start in range(0, len(unsure), step):
        q, n = np.divmod(unsure[start : start + step], near.shape[1])
        hit = exact_scores(asked.own[q], block.own[n], metric) >= floor[q]
        count += np.bincount(q[hit], minlength=len(count))
    return count


def _counted(
    queries: np.ndarray,
    gallery: np.ndarray,
    sets: Sequence[Collection[int]],
    floor: np.ndarray,
    metric: Metric,
) -> np.ndarray:
    """[Q] how many of each query's set score at least its floor."""
    sizes = np.array([len(members) for members in sets], dtype=np.int64)
    owner = np.repeat(np.arange(len(sets)), sizes)
    rows = np.fromiter((row for members in sets for row in members), np.int64, int(sizes.sum()))
    count = np.zeros(len(sets), np.int64)
    step = max(1, PAIRS // max(1, queries.shape[1]))
    for start in range(0, len(rows), step):
        q, n = owner[start : start + step], rows[start : start + step]
        pictures = _Side(gallery[n], "the gallery").own
        hit = exact_scores(queries[q], pictures, metric) >= floor[q]
        count += np.bincount(q[hit], minlength=len(count))
    return count


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
        raise ValueError(f"a target lies outside the gallery of {len(gallery)} pictures")
    if sets is None:
        return
    if len(sets) != len(queries):
        raise ValueError(f"{len(queries)} queries, but {len(sets)} sets of rows")
    for row, members in enumerate(sets):
        if int(targets[row]) in members:
            raise ValueError(f"query {row}: its own target is among the excluded rows or rivals")
