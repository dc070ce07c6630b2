"""The recorded dialogues of the picture world, asked at every round and not at their end alone.

Two to four rounds in words (the queries of world-t): what a system finds as it hears more. The
last round of each dialogue is the query of world-t itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from chatsearcher.benchmarks.card import Card
from chatsearcher.benchmarks.query_sets import task_of
from chatsearcher.benchmarks.ranking import target_ranks
from chatsearcher.benchmarks.rounds import (
    LOWER,
    MEANING,
    METRICS,
    dialogue_figures,
    rank_table,
    round_queries,
)
from chatsearcher.benchmarks.task import Task
from chatsearcher.benchmarks.vector_benchmark import Figures, VectorBenchmark
from chatsearcher.benchmarks.vectors import Vectors
from chatsearcher.benchmarks.world import WORLD, check_frozen, load_picture


class WorldRounds(VectorBenchmark):
    """One of the text sets.

    Args:
        name: the registered name.
        world_set: ``world-t`` or ``world-t-val``.
        sizes: counts of dialogues, queries and pictures.
    """

    def __init__(self, name: str, world_set: str, sizes: Mapping[str, int]) -> None:
        self.world_set = world_set
        self._card = Card(
            name=name,
            data="nothing: the pictures are drawn as they are needed",
            sizes=sizes,
            metrics=METRICS,
            primary=METRICS[0],
            protocol="recorded rounds: the query of a round is the dialogue up to that user's "
            f"turn; a dialogue that has ended keeps its last rank; {MEANING}",
            source="this project: chatsearcher/world, frozen by set_hashes.json",
            lower=LOWER,
        )

    @property
    def card(self) -> Card:
        return self._card

    def load(self, root: Path | None, options: Mapping[str, str]) -> Task:
        """The set, which must be the frozen one; no data root is needed."""
        found = WORLD["sets"](self.world_set)
        whole = task_of(found, load_picture, check_frozen(found), "world")
        asked = tuple(
            each
            for query in found.queries
            for each in round_queries(query.dialogue, query.id, query.target, query.exclude)
        )
        return Task(
            images=whole.images,
            queries=asked,
            pictures=whole.pictures,
            data=whole.data,
            space=whole.space,
        )

    def score(self, task: Task, vectors: Vectors, options: Mapping[str, str]) -> Figures:
        """Rank every round of every dialogue."""
        ranks = target_ranks(
            vectors.queries,
            vectors.images,
            task.target_rows(),
            metric=vectors.metric,
            exclude=task.exclude_rows(),
        )
        return dialogue_figures(rank_table(task.queries, ranks), ranks)


WORLD_ROUNDS = WorldRounds(
    "world-rounds", "world-t", {"dialogues": 1_000, "queries": 2_984, "gallery": 10_000}
)
WORLD_ROUNDS_VAL = WorldRounds(
    "world-rounds-val", "world-t-val", {"dialogues": 300, "queries": 905, "gallery": 3_000}
)
