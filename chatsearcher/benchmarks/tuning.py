"""Fair baselines: choose a system's options on validation sets, then measure once on the tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from chatsearcher.benchmarks import BENCHMARKS, Context
from chatsearcher.benchmarks.results import Result
from chatsearcher.benchmarks.single_query import GalleryVectors
from chatsearcher.benchmarks.world import KS
from chatsearcher.retriever import Retriever


@dataclass(frozen=True)
class Tuned:
    """The best options on one validation set, and what they do on the test set.

    Attributes:
        options: the chosen candidate's name.
        validation: its mean recall on the validation set, in percent.
        tried: every candidate's mean recall there.
        test: the test set's result, measured once.
    """

    options: str
    validation: float
    tried: Mapping[str, float]
    test: Result


def tune(
    candidates: Mapping[str, Retriever],
    name: str,
    context: Context | None = None,
) -> Tuned:
    """Choose among candidates on ``NAME-val`` by mean recall, measure the chosen one on ``NAME``.

    The first of equally good candidates is taken.

    Raises:
        ValueError: no candidates.
    """
    if not candidates:
        raise ValueError(f"{name}: there is nothing to choose from")
    context = context or Context()
    if context.vectors is None:
        context.vectors = GalleryVectors()
    tried = {}
    for options, candidate in candidates.items():
        quiet = Context(spec=options, vectors=context.vectors)
        result = BENCHMARKS[f"{name}-val"].run(candidate, quiet)
        tried[options] = result.metrics["mean recall"]
        if context.progress is not None:
            context.progress(f"{name}-val", len(tried), len(candidates))
    best = max(tried, key=tried.__getitem__)
    found = Context(spec=best, vectors=context.vectors, progress=context.progress)
    return Tuned(best, tried[best], tried, BENCHMARKS[name].run(candidates[best], found))


def mean_of_recalls(results: Sequence[Result]) -> float:
    """The mean of all recalls of several sets, in percent."""
    return float(np.mean([result.metrics[f"R@{k}"] for result in results for k in KS]))


def chance(gallery: int, ks: Sequence[int] = KS) -> float:
    """The mean recall of a random order, in percent."""
    return float(np.mean([100 * min(k, gallery) / gallery for k in ks]))
