"""Real pictures: a textbook figure by its description, an emoji by its name or by a change.

The sets and what they leave out: ``chatsearcher.data.real``. Chance is printed beside each recall:
that of a random order of the query's own candidates.
"""

from __future__ import annotations

import time

import numpy as np

from chatsearcher.benchmarks import Context
from chatsearcher.benchmarks.metrics import bootstrap, recall_at
from chatsearcher.benchmarks.results import Result
from chatsearcher.benchmarks.single_query import (
    Outcome,
    QuerySet,
    run_single_query,
    set_checksum,
)
from chatsearcher.benchmarks.world import KS, hit_matrix
from chatsearcher.registry import Registry
from chatsearcher.retriever import Retriever

# The data room is reached by name, never by import.
REAL = Registry(
    "part of the real pictures",
    {
        "sets": "chatsearcher.data.real:load_set",
        "pictures": "chatsearcher.data.real:load_picture",
        "attribution": "chatsearcher.data.real:ATTRIBUTION",
    },
)
PROTOCOL = (
    "single query over the distinct pictures of the split; rank from 1, ties against the target; "
    "reference pictures, near-duplicates and pictures of the same words are no candidates"
)


class RealBenchmark:
    """One set of real pictures.

    Args:
        name: ``real-openstax``, ``real-openmoji`` or ``real-edits``, perhaps with ``-val``.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def queries(self) -> QuerySet:
        """The set itself.

        Raises:
            FileNotFoundError: the pictures are not on this machine.
        """
        found: QuerySet = REAL["sets"](self.name)
        return found

    def run(self, system: Retriever, context: Context | None = None) -> Result:
        """Rank the gallery for every query of the set."""
        context = context or Context()
        started = time.perf_counter()
        queries = self.queries()
        outcome = run_single_query(
            system, queries, REAL["pictures"], context.vectors, context.progress
        )
        seconds = time.perf_counter() - started
        return summarise(queries, outcome, system, context.spec, seconds)


def summarise(
    queries: QuerySet, outcome: Outcome, retriever: Retriever, spec: str = "", seconds: float = 0.0
) -> Result:
    """The set's figures beside chance, in percent."""
    hits = hit_matrix(outcome.ranks)
    chance = np.minimum(1.0, np.array(KS)[None] / outcome.candidates[:, None])
    metrics, intervals = {}, {}
    for i, k in enumerate(KS):
        metrics[f"R@{k}"] = 100 * recall_at(outcome.ranks, k)
        metrics[f"R@{k} by chance"] = 100 * float(chance[:, i].mean())
        intervals[f"R@{k}"] = bootstrap(100 * hits[:, i])
    metrics["mean recall"] = 100 * float(hits.mean())
    metrics["mean recall by chance"] = 100 * float(chance.mean())
    metrics["median rank"] = float(np.median(outcome.ranks))
    intervals["mean recall"] = bootstrap(100 * hits)
    rivalled = outcome.rivals > 0
    if rivalled.any():
        wins = 100 * outcome.beats_neighbours[rivalled]
        metrics["beats neighbours"] = float(wins.mean())
        metrics["beats neighbours by chance"] = 100 * float(
            (1 / (1 + outcome.rivals[rivalled])).mean()
        )
        intervals["beats neighbours"] = bootstrap(wins)
    return Result(
        benchmark=queries.name,
        protocol=PROTOCOL,
        primary="mean recall",
        metrics=metrics,
        intervals={key: (value.low, value.high) for key, value in intervals.items()},
        counts={
            "queries": len(outcome.ranks),
            "targets": len({query.target for query in queries.queries}),
            "gallery": len(queries.gallery),
            "candidates, fewest": int(outcome.candidates.min()),
            "queries with neighbours": int(rivalled.sum()),
        },
        data=set_checksum(queries),
        retriever={"spec": spec, "fingerprint": retriever.fingerprint},
        settings={"metric": retriever.metric, "attribution": REAL["attribution"]},
        seconds=seconds,
        ranks=outcome.ranks,
    )


OPENSTAX = RealBenchmark("real-openstax")
OPENMOJI = RealBenchmark("real-openmoji")
EDITS = RealBenchmark("real-edits")
OPENSTAX_VAL = RealBenchmark("real-openstax-val")
OPENMOJI_VAL = RealBenchmark("real-openmoji-val")
EDITS_VAL = RealBenchmark("real-edits-val")
