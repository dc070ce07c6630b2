"""Exact search in torch: every vector is compared, in blocks."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import numpy as np
import torch

from chatsearcher.index import Metric
from chatsearcher.index.ties import checked_queries, checked_vectors, score_candidates, settle

BLOCK_SCORES = 1 << 24
"""Scores that one step holds: 64 MB of float32."""
SPARE = 16
"""Candidates taken beyond k, to be scored again in float64."""
GROUP = 32
"""Rows whose best score is looked at first."""


class ExactIndex:
    """All of a gallery's vectors, compared one by one with each query.

    The k best by float32 matrix product, with some spare, are scored again in float64, whose
    rounding to float32 is the score; where the spare cannot cover the rounding of the product
    (many near-equal vectors), every row that might belong is scored again. So the answer is that of
    plain float64 arithmetic, whatever the matrix product does.

    Args:
        vectors: [N, D], finite; under cosine of any length but zero.
        metric: ``cosine``, or ``l2`` (scores are minus distances).
        device: where the product is computed; the CPU by default.
    """

    def __init__(
        self,
        vectors: np.ndarray,
        metric: Metric = "cosine",
        device: torch.device | str | None = None,
    ) -> None:
        self.metric = metric
        self.vectors = checked_vectors(vectors, metric)
        self.device = torch.device(device or "cpu")
        # Distances are the same around any point, and the expansion of (q - v)² loses least
        # around the middle.
        self._centre = np.zeros(self.vectors.shape[1], np.float32)
        shifted = self.vectors
        if metric == "l2" and len(self.vectors):
            self._centre = self.vectors.mean(0, dtype=np.float64).astype(np.float32)
            shifted = self.vectors - self._centre
        if not shifted.flags.writeable:
            shifted = shifted.copy()  # torch has no read-only tensors
        self._matrix = torch.from_numpy(np.ascontiguousarray(shifted)).to(self.device)
        squares = self._matrix.square().sum(1)
        self._half_squares = squares / 2 if metric == "l2" else None
        self._longest = float(squares.max().sqrt()) if len(self.vectors) else 0.0

    def __len__(self) -> int:
        return len(self.vectors)

    @torch.inference_mode()
    def search(
        self,
        queries: np.ndarray,
        k: int,
        exclude: Sequence[Collection[int]] | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """See ``Index.search``."""
        queries = checked_queries(queries, self.vectors.shape[1], self.metric, k, exclude)
        scores = np.full((len(queries), k), -np.inf, np.float32)
        rows = np.full((len(queries), k), -1, np.int64)
        step = max(1, min(256, len(queries)))
        # One piece of memory for all products: fresh memory costs a quarter of a product's time.
        room = torch.empty(min(BLOCK_SCORES, step * len(self)), device=self.device)
        for start in range(0, len(queries), step):
            here = slice(start, start + step)
            left_out = None if exclude is None else exclude[here]
            scores[here], rows[here] = self._search(queries[here], k, left_out, room)
        return scores, rows

    def _search(
        self,
        queries: np.ndarray,
        k: int,
        exclude: Sequence[Collection[int]] | None,
        room: torch.Tensor,
    ) -> tuple[np.ndarray, np.ndarray]:
        asked = torch.from_numpy(queries - self._centre).to(self.device)
        taken = min(k + SPARE, len(self))
        best = torch.empty((len(queries), 0), device=self.device)
        rows = best.long()
        step = max(GROUP, BLOCK_SCORES // len(queries) // GROUP * GROUP)
        for start in range(0, len(self), step):
            products = self._products(asked, start, start + step, exclude, room)
            values, columns = _top(products, taken)
            if start == 0:
                best, rows = values, columns
                continue
            best, rows = torch.cat([best, values], 1), torch.cat([rows, columns + start], 1)
            if best.shape[1] > taken:
                order = _largest(best, taken)
                best, rows = _gather(best, order), _gather(rows, order)
        approximate = best.cpu().numpy()
        candidates = rows.cpu().numpy()
        candidates[np.isneginf(approximate)] = -1
        exact = score_candidates(queries, self.vectors, candidates, self.metric)
        scores, chosen = settle(exact, candidates, k)
        if taken < len(self):
            self._widen(queries, asked, approximate, exclude, scores, chosen)
        return scores, chosen

    def _products(
        self,
        asked: torch.Tensor,
        start: int,
        stop: int,
        exclude: Sequence[Collection[int]] | None,
        room: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """[Q, rows] numbers that order like the scores: q·v, or q·v - |v|²/2.

        Written into ``room``, where it is given.
        """
        block = self._matrix[start:stop]
        shape = (len(asked), len(block))
        out = None if room is None else room[: math.prod(shape)].view(shape)
        if self._half_squares is None:
            products = torch.mm(asked, block.T, out=out)
        else:
            offset = self._half_squares[start:stop]
            products = torch.addmm(offset, asked, block.T, beta=-1, out=out)
        if exclude is not None:
            pairs = [
                (query, row - start)
                for query, left_out in enumerate(exclude)
                for row in left_out
                if start <= row < start + len(block)
            ]
            if pairs:
                where = torch.tensor(pairs, device=self.device)
                products[where[:, 0], where[:, 1]] = -torch.inf
        return products

    def _widen(
        self,
        queries: np.ndarray,
        asked: torch.Tensor,
        approximate: np.ndarray,
        exclude: Sequence[Collection[int]] | None,
        scores: np.ndarray,
        chosen: np.ndarray,
    ) -> None:
        """Search again, in place, where a row that was not taken could belong among the k."""
        k = scores.shape[1]
        margin = self._rounding(queries)
        kth = np.partition(approximate, -k, 1)[:, -k]  # the k-th best product
        last = approximate.min(1)  # none that was not taken has a larger one
        unsure = np.flatnonzero(np.isfinite(last) & (last >= kth - 2 * margin))
        for query in unsure.tolist():
            floor = float(kth[query] - 2 * margin[query])
            left_out = None if exclude is None else exclude[query : query + 1]
            products = self._products(asked[query : query + 1], 0, len(self), left_out)[0]
            near = torch.nonzero(products >= floor).flatten().cpu().numpy()[None]
            one = queries[query : query + 1]
            exact = score_candidates(one, self.vectors, near, self.metric)
            scores[query], chosen[query] = (part[0] for part in settle(exact, near, k))

    def _rounding(self, queries: np.ndarray) -> np.ndarray:
        """[Q] bound on the error of a product, D · eps · |q| · |v|, with room for the rounding of a
        distance to float32."""
        precise = torch.get_float32_matmul_precision() == "highest"
        unit = 2.0**-23 if precise else 2.0**-8  # TF32 or bfloat16 inside, where allowed
        lengths = np.linalg.norm(queries - self._centre, axis=1)
        reach = lengths * self._longest
        if self.metric == "l2":
            reach = (lengths + self._longest) ** 2
        return (self.vectors.shape[1] + 4) * unit * reach


def _top(products: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The k largest of each row, in any order: first the groups with the largest maxima, then
    their members. Reading once for the maxima is much cheaper than a heap over everything.

    A group's members stand ``groups`` columns apart, so that the maxima are taken of whole
    stretches of memory.
    """
    queries, length = products.shape
    groups = length // GROUP
    if groups <= 4 * k:
        columns = _largest(products, min(k, length))
        return _gather(products, columns), columns
    whole = products[:, : groups * GROUP].view(queries, GROUP, groups)
    chosen = _largest(_maxima(whole), k)
    steps = torch.arange(0, groups * GROUP, groups, device=products.device)
    columns = (chosen[:, :, None] + steps).flatten(1)
    if groups * GROUP < length:
        rest = torch.arange(groups * GROUP, length, device=products.device)
        columns = torch.cat([columns, rest.expand(queries, -1)], 1)
    members = _gather(products, columns)
    best = _largest(members, k)
    return _gather(members, best), _gather(columns, best)


def _maxima(values: torch.Tensor) -> torch.Tensor:
    """[Q, members, groups] -> the largest of each group [Q, groups]."""
    if values.device.type != "cpu" or values.numel() > 1 << 20:
        return values.amax(1)
    return torch.from_numpy(values.numpy().max(1))


def _largest(values: torch.Tensor, k: int) -> torch.Tensor:
    """Columns [Q, k] of the k largest of each row, in any order."""
    if values.device.type != "cpu":
        return values.topk(k, 1, sorted=False).indices
    # NumPy selects in one thread: for so few numbers, waking torch's others costs more, and most
    # of all where the cores are busy.
    if k == values.shape[1]:
        return torch.arange(k).repeat(len(values), 1)  # not expand: it will be written to
    return torch.from_numpy(np.argpartition(values.numpy(), -k, 1)[:, -k:])


def _gather(values: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    if values.device.type != "cpu":
        return values.gather(1, columns)
    return torch.from_numpy(np.take_along_axis(values.numpy(), columns.numpy(), 1))
