"""Real pictures: a textbook figure by its description, an emoji by its name or by a change.

The sets and what they leave out: ``chatsearcher.data.real``. Chance is printed beside each recall:
that of a random order of the query's own candidates.
"""

from __future__ import annotations

import numpy as np

from chatsearcher.benchmarks.card import Card
from chatsearcher.benchmarks.query_sets import Outcome, QuerySetBenchmark, task_of
from chatsearcher.benchmarks.single_query import QuerySet
from chatsearcher.benchmarks.task import Task
from chatsearcher.benchmarks.vector_benchmark import Figures
from chatsearcher.benchmarks.world import KS, hit_matrix
from chatsearcher.registry import Registry

# The data room is reached by name, never by import.
REAL = Registry(
    "part of the real pictures",
    {
        "sets": "chatsearcher.data.real:load_set",
        "pictures": "chatsearcher.data.real:load_picture",
        "attribution": "chatsearcher.data.real:ATTRIBUTION",
    },
)
BY_CHANCE = " by chance"
PROTOCOL = (
    "single query over the distinct pictures of the split; rank from 1, ties against the target; "
    "reference pictures, near-duplicates and pictures of the same words are no candidates"
)


class RealBenchmark(QuerySetBenchmark):
    """One set of real pictures.

    Args:
        name: ``real-openstax``, ``real-openmoji`` or ``real-edits``, perhaps with ``-val``.
    """

    def __init__(self, name: str) -> None:
        neighbours = "openstax" not in name
        self._card = Card(
            name=name,
            data="nothing under --data-root: the shards are looked for as docs/real.md says",
            sizes={},
            metrics=(
                *(f"R@{k}{chance}" for k in KS for chance in ("", BY_CHANCE)),
                "mean recall",
                f"mean recall{BY_CHANCE}",
                "median rank",
                *(("beats neighbours", f"beats neighbours{BY_CHANCE}") if neighbours else ()),
            ),
            primary="mean recall",
            protocol=PROTOCOL,
            source="this project: docs/real.md",
            lower=frozenset({"median rank"}),
            undirected=frozenset(
                [
                    *(f"R@{k}{BY_CHANCE}" for k in KS),
                    f"mean recall{BY_CHANCE}",
                    *([f"beats neighbours{BY_CHANCE}"] if neighbours else []),
                ]
            ),
        )

    @property
    def card(self) -> Card:
        return self._card

    def queries(self) -> QuerySet:
        """The set itself.

        Raises:
            FileNotFoundError: the pictures are not on this machine.
        """
        found: QuerySet = REAL["sets"](self.name)
        return found

    def task(self) -> Task:
        """The set as a task."""
        return task_of(self.queries(), REAL["pictures"], space="real")

    def figures(self, task: Task, outcome: Outcome) -> Figures:
        """The set's figures beside chance, in percent."""
        hits = hit_matrix(outcome.ranks)
        chance = np.minimum(1.0, np.array(KS)[None] / outcome.candidates[:, None])
        samples, metrics = {}, {}
        for i, k in enumerate(KS):
            samples[f"R@{k}"] = 100 * hits[:, i]
            metrics[f"R@{k}"] = 100 * float(hits[:, i].mean())
            metrics[f"R@{k}{BY_CHANCE}"] = 100 * float(chance[:, i].mean())
        samples["mean recall"] = 100 * hits.mean(axis=1)
        metrics["mean recall"] = 100 * float(hits.mean())
        metrics[f"mean recall{BY_CHANCE}"] = 100 * float(chance.mean())
        metrics["median rank"] = float(np.median(outcome.ranks))
        rivalled = outcome.rivals > 0
        if rivalled.any():
            samples["beats neighbours"] = 100.0 * outcome.beats_neighbours[rivalled]
            metrics["beats neighbours"] = float(samples["beats neighbours"].mean())
            metrics[f"beats neighbours{BY_CHANCE}"] = 100 * float(
                (1 / (1 + outcome.rivals[rivalled])).mean()
            )
        return Figures(
            metrics,
            samples,
            outcome.ranks,
            counts={
                "targets": len({query.target for query in task.queries}),
                "candidates, fewest": int(outcome.candidates.min()),
                "queries with neighbours": int(rivalled.sum()),
            },
            settings={"attribution": REAL["attribution"]},
        )


OPENSTAX = RealBenchmark("real-openstax")
OPENMOJI = RealBenchmark("real-openmoji")
EDITS = RealBenchmark("real-edits")
OPENSTAX_VAL = RealBenchmark("real-openstax-val")
OPENMOJI_VAL = RealBenchmark("real-openmoji-val")
EDITS_VAL = RealBenchmark("real-edits-val")
