"""Figures computed from ranks and decisions. Ranks are 1-based; shares lie in [0, 1]."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np


def recall_at(ranks: np.ndarray, k: int) -> float:
    """The share of queries whose target is among the first ``k``."""
    ranks = _ranks(ranks)
    if k < 1:
        raise ValueError(f"recall@{k}: expected k >= 1")
    return float((ranks <= k).mean())


def mean_recall(ranks: np.ndarray, ks: Sequence[int] = (1, 5, 10)) -> float:
    """The mean of recall@k over ``ks``."""
    return float(np.mean([recall_at(ranks, k) for k in ks]))


def mean_rank(ranks: np.ndarray) -> float:
    """The average target rank, ATR (1 is best)."""
    return float(_ranks(ranks).mean())


def mean_reciprocal_rank(ranks: np.ndarray) -> float:
    """MRR: the mean of 1 / rank."""
    return float((1.0 / _ranks(ranks)).mean())


def hits_at(ranks: np.ndarray, k: int) -> np.ndarray:
    """Cumulative Hits@k (ChatIR): the share of dialogues that hit at *any* round up to each.

    Args:
        ranks: [dialogues, rounds].

    Returns:
        [rounds], never falling. Plain recall of a round is ``recall_at(ranks[:, round], k)``.
    """
    return (np.minimum.accumulate(_ranks(ranks, 2), axis=1) <= k).mean(axis=0)


def best_log_rank_areas(ranks: np.ndarray) -> np.ndarray:
    """[dialogues] the area under the log of the best rank so far; BRI (PlugIR, lower is better) is
    its mean.

    ``1/T * sum_t (ln(b_t + 1) + ln(b_{t+1} + 1)) / 2`` over T + 1 rounds, with ``b`` the best
    **0-based** rank so far, so that ``ln(b + 1)`` is the log of our 1-based rank.
    """
    best = np.log(np.minimum.accumulate(_ranks(ranks, 2), axis=1))
    if best.shape[1] < 2:
        raise ValueError("BRI needs at least two rounds")
    areas: np.ndarray = ((best[:, :-1] + best[:, 1:]) / 2).mean(axis=1)
    return areas


DRAWS = 1 << 20
"""Draws that one step of resampling holds."""


@dataclass(frozen=True)
class Interval:
    """A mean and the percentile bootstrap interval around it."""

    mean: float
    low: float
    high: float


def bootstrap(
    values: np.ndarray, *, resamples: int = 1000, level: float = 0.95, seed: int = 0
) -> Interval:
    """The bootstrap interval of a mean over queries.

    Args:
        values: [Q] one number a query (a hit as 0 or 1, a mean of hits, …), or [Q, M] for means
            over M figures of the same query, which are averaged first.

    Raises:
        ValueError: no values, or NaN among them.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim == 2:
        values = values.mean(axis=1)
    return bootstrap_all({"": values}, resamples=resamples, level=level, seed=seed)[""]


def bootstrap_all(
    samples: Mapping[str, np.ndarray], *, resamples: int = 1000, level: float = 0.95, seed: int = 0
) -> dict[str, Interval]:
    """``bootstrap`` of several figures; those over equally many queries share their draws.

    Args:
        samples: figure -> [Q] values whose mean it is.
    """
    sizes = sorted({len(values) for values in samples.values()})
    found = {}
    tail = (1.0 - level) / 2
    for size in sizes:
        names = [name for name, values in samples.items() if len(values) == size]
        table = np.stack([_finite(samples[name]) for name in names], axis=1)
        means = resampled_means(table, resamples=resamples, seed=seed)
        low, high = np.quantile(means, [tail, 1.0 - tail], axis=0)
        for column, name in enumerate(names):
            mean = float(table[:, column].mean())
            found[name] = Interval(mean, float(low[column]), float(high[column]))
    return {name: found[name] for name in samples}


def _finite(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise ValueError(f"expected finite values, one a query, got shape {values.shape}")
    return values


def bootstrap_means(values: np.ndarray, *, resamples: int = 1000, seed: int = 0) -> np.ndarray:
    """The means of ``resamples`` draws of Q values with replacement: [resamples]."""
    return resampled_means(_finite(values)[:, None], resamples=resamples, seed=seed)[:, 0]


def resampled_means(values: np.ndarray, *, resamples: int = 1000, seed: int = 0) -> np.ndarray:
    """The same draws for several figures of the same queries: [Q, M] -> [resamples, M]."""
    count = len(values)
    generator = np.random.default_rng(seed)
    found = np.empty((resamples, values.shape[1]))
    step = max(1, DRAWS // count)
    for start in range(0, resamples, step):
        some = min(step, resamples - start)
        drawn = generator.integers(0, count, size=(some, count), dtype=np.int32)
        drawn += np.arange(some, dtype=np.int32)[:, None] * count
        # How often each row comes in each resample: no [resamples, Q, M] gather.
        times = np.bincount(drawn.ravel(), minlength=some * count).reshape(some, count)
        found[start : start + some] = times @ values / count
    return found


def balanced_accuracy(truth: np.ndarray, said: np.ndarray) -> float:
    """The mean of the accuracies on the true and on the false cases.

    Raises:
        ValueError: one of the two kinds does not occur.
    """
    truth, said = np.asarray(truth, dtype=bool), np.asarray(said, dtype=bool)
    if truth.shape != said.shape:
        raise ValueError(f"truth of shape {truth.shape}, decisions of shape {said.shape}")
    if truth.all() or not truth.any():
        raise ValueError("balanced accuracy needs cases of both kinds")
    return float((said[truth].mean() + (~said[~truth]).mean()) / 2)


def best_threshold(truth: np.ndarray, scores: np.ndarray) -> tuple[float, float]:
    """The threshold t for which ``score >= t`` has the best balanced accuracy.

    Returns:
        (threshold, balanced accuracy). The threshold lies halfway between two observed scores, the
        widest gap first among equally good ones.

    Raises:
        ValueError: one of the two kinds does not occur, or a score is NaN.
    """
    truth, scores = np.asarray(truth, dtype=bool), np.asarray(scores, dtype=np.float64)
    if truth.all() or not truth.any():
        raise ValueError("a threshold needs cases of both kinds")
    if not np.isfinite(scores).all():
        raise ValueError("a threshold cannot be chosen from NaN or infinite scores")
    values = np.unique(scores)
    edges = np.concatenate(([values[0]], (values[:-1] + values[1:]) / 2, [values[-1] + 1e-9]))
    widths = np.concatenate(([0.0], np.diff(values), [0.0]))
    right, wrong = np.sort(scores[truth]), np.sort(scores[~truth])
    hit = 1.0 - np.searchsorted(right, edges, side="left") / len(right)
    rejected = np.searchsorted(wrong, edges, side="left") / len(wrong)
    accuracy = (hit + rejected) / 2
    best = np.flatnonzero(accuracy >= accuracy.max() - 1e-12)
    chosen = best[np.argmax(widths[best])]
    return float(edges[chosen]), float(accuracy[chosen])


def _ranks(ranks: np.ndarray, dimensions: int | None = None) -> np.ndarray:
    ranks = np.asarray(ranks)
    if ranks.size == 0:
        raise ValueError("no ranks: there is nothing to average")
    if ranks.min() < 1:
        raise ValueError(f"ranks are 1-based here, got {ranks.min()}")
    if dimensions is not None and ranks.ndim != dimensions:
        raise ValueError(f"expected ranks of {dimensions} dimensions, got shape {ranks.shape}")
    return ranks
