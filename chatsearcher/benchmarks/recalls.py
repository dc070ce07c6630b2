"""Recall figures of one list of ranks, as several benchmarks print them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def recall_samples(ranks: np.ndarray, ks: Sequence[int], name: str = "R") -> dict[str, np.ndarray]:
    """``name@k`` -> [Q] 100 where the target is among the first k, else 0.

    Args:
        ranks: [Q] 1-based.
    """
    ranks = np.asarray(ranks)
    return {f"{name}@{k}": 100.0 * (ranks <= k) for k in ks}


def means(samples: dict[str, np.ndarray]) -> dict[str, float]:
    """The mean of each."""
    return {name: float(values.mean()) for name, values in samples.items()}
