"""How far reviewers agree beyond chance: Cohen's kappa for pairs, Fleiss' for all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from chatsearcher.preparation.chatsearch.review.log import KEEPING, Decision

CATEGORIES = ("keep", "quality", "relevance")


def category(decision: Decision) -> str:
    """A rewrite keeps the record, as an acceptance does."""
    return "keep" if decision.choice in KEEPING else decision.choice


def cohen_kappa(pairs: Sequence[tuple[str, str]]) -> float:
    """Of two raters: (observed − expected) / (1 − expected); nan where chance alone would agree
    always (both used one and the same category throughout), or there is no pair."""
    if not pairs:
        return float("nan")
    count = len(pairs)
    observed = sum(a == b for a, b in pairs) / count
    first, second = Counter(a for a, _ in pairs), Counter(b for _, b in pairs)
    expected = sum(first[name] * second[name] for name in first) / count**2
    return float("nan") if expected == 1 else (observed - expected) / (1 - expected)


def fleiss_kappa(table: np.ndarray) -> float:
    """Fleiss (1971).

    Args:
        table: [subjects, categories], how many raters chose what; all rows have one sum.

    Returns:
        nan where there is nothing to compare.

    Raises:
        ValueError: rows of different sums, or of less than two raters.
    """
    table = np.asarray(table, np.float64)
    if not len(table):
        return float("nan")
    raters = table.sum(1)
    if (raters != raters[0]).any() or raters[0] < 2:
        raise ValueError(
            f"{sorted(set(raters))} raters a subject; Fleiss' kappa needs the same number, 2 or "
            "more, for all"
        )
    n = raters[0]
    observed = ((table**2).sum(1) - n).mean() / (n * (n - 1))
    shares = table.sum(0) / table.sum()
    expected = (shares**2).sum()
    return float("nan") if expected == 1 else float((observed - expected) / (1 - expected))


def agreement(latest: Mapping[str, Mapping[str, Decision]]) -> dict[str, Any]:
    """Everything that can be said of agreement.

    Fleiss' kappa is taken over the records with one number of raters, the number that most records
    with two or more have; how many those are is told.
    """
    votes = {
        record: {reviewer: category(decision) for reviewer, decision in said.items()}
        for record, said in latest.items()
    }
    reviewers = sorted({reviewer for said in votes.values() for reviewer in said})
    pairs = []
    for first, second in combinations(reviewers, 2):
        both = [
            (said[first], said[second])
            for said in votes.values()
            if first in said and second in said
        ]
        if both:
            same = sum(a == b for a, b in both) / len(both)
            pairs.append(
                {
                    "reviewers": [first, second],
                    "records": len(both),
                    "same": round(same, 4),
                    "cohen_kappa": _rounded(cohen_kappa(both)),
                }
            )
    sizes = Counter(len(said) for said in votes.values() if len(said) > 1)
    raters = max(sizes, key=lambda size: (sizes[size], size)) if sizes else 0
    table = np.array(
        [
            [list(said.values()).count(name) for name in CATEGORIES]
            for said in votes.values()
            if len(said) == raters and raters
        ]
    )
    return {
        "reviewers": {
            name: dict(sorted(Counter(v[name] for v in votes.values() if name in v).items()))
            for name in reviewers
        },
        "records": len([said for said in votes.values() if said]),
        "pairs": pairs,
        "fleiss": {
            "raters": raters,
            "records": len(table),
            "kappa": _rounded(fleiss_kappa(table)) if len(table) else None,
        },
    }


def _rounded(value: float) -> float | None:
    """Four digits; None for nan, which JSON has no word for."""
    return None if np.isnan(value) else round(value, 4)
