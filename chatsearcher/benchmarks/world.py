"""The test sets of the picture world: dialogues of text (t), picture + instruction (i), mixed (m).

Each set: queries over a gallery in which, for every target, stand pictures that differ from it in
exactly one attribute (its neighbours). Figures: R@1/5/10, their mean, and the share of queries
whose target scores above all of its own neighbours; chance for the latter is printed beside.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from chatsearcher.benchmarks.card import Card
from chatsearcher.benchmarks.metrics import bootstrap_means, mean_rank
from chatsearcher.benchmarks.query_sets import Outcome, QuerySetBenchmark, task_of
from chatsearcher.benchmarks.results import Result
from chatsearcher.benchmarks.single_query import QuerySet
from chatsearcher.benchmarks.task import Task
from chatsearcher.benchmarks.vector_benchmark import Figures
from chatsearcher.registry import Registry

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

# The world is reached by name, never by import.
WORLD = Registry(
    "part of the picture world",
    {
        "sets": "chatsearcher.world.sets:load_set",
        "hash": "chatsearcher.world.sets:set_hash",
        "frozen": "chatsearcher.world.sets:frozen_hashes",
        "pictures": "chatsearcher.world.pictures:load",
        "decisions": "chatsearcher.world.streams:decision_rounds",
        "acknowledgements": "chatsearcher.world.dialogues:NOTED",
    },
)
KS = (1, 5, 10)
PROTOCOL = (
    "single query; rank from 1, ties against the target; the query's own reference pictures are "
    "no candidates"
)


@lru_cache(maxsize=4096)  # a validation gallery: tuning looks at the same pictures many times
def load_picture(name: str) -> PILImage:
    """A picture of the world by its id; not to be changed."""
    return WORLD["pictures"](name)


class WorldBenchmark(QuerySetBenchmark):
    """One of the world's sets.

    Args:
        name: the set's name, e.g. ``world-t`` or ``world-t-val``.
    """

    def __init__(self, name: str) -> None:
        self._card = Card(
            name=name,
            data="nothing: the pictures are drawn as they are needed",
            sizes={"queries": 300, "gallery": 3_000}
            if name.endswith("-val")
            else {"queries": 1_000, "gallery": 10_000},
            metrics=(
                *(f"R@{k}" for k in KS),
                "mean recall",
                "beats neighbours",
                "beats neighbours by chance",
                "mean rank",
            ),
            primary="mean recall",
            protocol=PROTOCOL,
            source="this project: chatsearcher/world, frozen by set_hashes.json",
            lower=frozenset({"mean rank"}),
            undirected=frozenset({"beats neighbours by chance"}),
        )

    @property
    def card(self) -> Card:
        return self._card

    def queries(self) -> QuerySet:
        """The set itself."""
        found: QuerySet = WORLD["sets"](self.name)
        return found

    def task(self) -> Task:
        """The set, which must be the frozen one."""
        queries = self.queries()
        return task_of(queries, load_picture, check_frozen(queries), "world")

    def figures(self, task: Task, outcome: Outcome) -> Figures:
        """See ``figures_of``."""
        return figures_of(task, outcome)


def check_frozen(queries: QuerySet) -> str:
    """The set's hash; a set that is not the published one is refused.

    Raises:
        ValueError: the set came out otherwise than when it was frozen.
    """
    found, frozen = WORLD["hash"](queries), WORLD["frozen"]()
    if frozen.get(queries.name) != found:
        raise ValueError(
            f"{queries.name} came out with hash {found[:12]}, frozen is "
            f"{str(frozen.get(queries.name))[:12]}; its figures would not compare with any other"
        )
    return found


def figures_of(task: Task, outcome: Outcome) -> Figures:
    """The set's figures, in percent."""
    hits = hit_matrix(outcome.ranks)
    samples = {f"R@{k}": 100 * hits[:, i] for i, k in enumerate(KS)}
    samples["mean recall"] = 100 * hits.mean(axis=1)
    samples["beats neighbours"] = 100.0 * outcome.beats_neighbours
    metrics = {name: float(values.mean()) for name, values in samples.items()}
    metrics["beats neighbours by chance"] = 100 * float((1 / (1 + outcome.rivals)).mean())
    metrics["mean rank"] = mean_rank(outcome.ranks)
    return Figures(
        metrics,
        samples,
        outcome.ranks,
        counts={
            "targets": len({query.target for query in task.queries}),
            "candidates, fewest": int(outcome.candidates.min()),
            "neighbours, fewest": int(outcome.rivals.min()),
        },
    )


def hit_matrix(ranks: np.ndarray) -> np.ndarray:
    """[Q, 3] 0 or 1: whether the target is among the first 1, 5, 10."""
    return (np.asarray(ranks)[:, None] <= np.array(KS)).astype(np.float64)


def suite_result(name: str, results: Sequence[Result]) -> Result:
    """The joint figure of several sets: the mean of all their recalls (nine, for three sets).

    Raises:
        ValueError: results of different systems.
    """
    systems = {result.retriever.get("fingerprint") for result in results}
    if len(systems) != 1:
        raise ValueError(f"{name}: results of {len(systems)} different systems cannot be joined")
    recalls = [result.metrics[f"R@{k}"] for result in results for k in KS]
    ranks = [result.ranks for result in results if result.ranks is not None]
    known = len(ranks) == len(results)
    return Result(
        benchmark=name,
        protocol=f"the mean of the {len(recalls)} recalls of "
        + ", ".join(result.benchmark for result in results),
        primary="mean recall",
        metrics={
            "mean recall": float(np.mean(recalls)),
            "R@1, lowest": min(result.metrics["R@1"] for result in results),
            "beats neighbours": float(
                np.mean([result.metrics["beats neighbours"] for result in results])
            ),
        },
        intervals={"mean recall": joint_interval(ranks)} if known else {},
        counts={"sets": len(results), "queries": sum(r.counts["queries"] or 0 for r in results)},
        data=",".join(result.data for result in results),
        retriever=results[0].retriever,
        settings=results[0].settings,
        seconds=sum(result.seconds for result in results),
    )


def joint_interval(ranks: Sequence[np.ndarray], seed: int = 0) -> tuple[float, float]:
    """The 95 % interval of the mean of all recalls, queries drawn anew within each set.

    Args:
        ranks: for each set, [Q] ranks.
    """
    means = np.mean(
        [
            bootstrap_means(100 * hit_matrix(part).mean(axis=1), seed=seed + number)
            for number, part in enumerate(ranks)
        ],
        axis=0,
    )
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


WORLD_T = WorldBenchmark("world-t")
WORLD_I = WorldBenchmark("world-i")
WORLD_M = WorldBenchmark("world-m")
WORLD_T_VAL = WorldBenchmark("world-t-val")
WORLD_I_VAL = WorldBenchmark("world-i-val")
WORLD_M_VAL = WorldBenchmark("world-m-val")
