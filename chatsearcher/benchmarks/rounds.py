"""Recorded dialogues asked at every round: from ranks to ChatIR's and PlugIR's figures.

Three figures that are easily taken for one another are kept apart: ``Hits@k`` is cumulative (the
target was among the first k at this round or at an earlier one), ``R@k`` is the recall of one round
alone, and ``ATR`` is the mean rank of the target at one round. ``BRI`` is the area under the log of
the best rank so far (``metrics.best_log_rank_areas``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from chatsearcher.benchmarks.metrics import best_log_rank_areas, hits_at, mean_rank, recall_at
from chatsearcher.benchmarks.task import Query
from chatsearcher.benchmarks.vector_benchmark import Figures
from chatsearcher.dialogue import Dialogue

KS = (1, 5, 10)
HITS, FIRST = "Hits@10", "Hits@10 round 0"
METRICS = (HITS, FIRST, *(f"R@{k}" for k in KS), "ATR", "BRI")
LOWER = frozenset({"ATR", "BRI"})
MEANING = (
    "Hits@10 is cumulative over the rounds, R@k, ATR and the like are of the last round alone; "
    "ranks from 1, ties against the target"
)


def round_queries(
    dialogue: Dialogue, name: str, target: str, exclude: frozenset[str] = frozenset()
) -> Iterator[Query]:
    """A query for each user's turn: what a system knows at that round."""
    for number, prefix in enumerate(dialogue.rounds()):
        key = f"{name}@{number}"
        yield Query(
            id=key,
            dialogue=Dialogue(prefix.turns, key),
            targets=(target,),
            exclude=exclude,
            round=number,
            group=name,
        )


def rank_table(queries: Sequence[Query], ranks: np.ndarray) -> np.ndarray:
    """[dialogues, rounds] from one rank a query.

    A dialogue that is shorter than the longest keeps its last rank: what was found stays found.

    Args:
        queries: each with the name of its dialogue (``group``) and its ``round``; any order.
        ranks: [Q] 1-based.

    Raises:
        ValueError: a query without group or round, a dialogue with a round twice or missing.
    """
    known: dict[str, int] = {}
    rows = np.empty(len(queries), np.int64)
    rounds = np.empty(len(queries), np.int64)
    for place, query in enumerate(queries):
        if not isinstance(query.group, str) or query.round is None:
            raise ValueError(f"query {query.id!r} does not say which round of which dialogue it is")
        rows[place] = known.setdefault(query.group, len(known))
        rounds[place] = query.round
    table = np.zeros((len(known), int(rounds.max(initial=0)) + 1), np.int64)
    table[rows, rounds] = ranks
    asked = np.bincount(rows, minlength=len(known))
    last = np.zeros(len(known), np.int64)
    np.maximum.at(last, rows, rounds)
    broken = np.flatnonzero((asked != last + 1) | ((table > 0).sum(axis=1) != asked))
    if len(broken):
        name = list(known)[int(broken[0])]
        raise ValueError(f"dialogue {name!r}: expected every round from 0 to its last, each once")
    for number in range(1, table.shape[1]):
        table[:, number] = np.where(last < number, table[:, number - 1], table[:, number])
    return table


def dialogue_figures(
    table: np.ndarray,
    ranks: np.ndarray | None = None,
    counts: Mapping[str, int] | None = None,
) -> Figures:
    """All figures of one table, in percent where they are shares.

    Args:
        table: [dialogues, rounds] 1-based ranks, two rounds at least.
        ranks: [Q] the rank of each query, for the result.
        counts: further counts.
    """
    best, last = table.min(axis=1), table[:, -1]
    samples = {
        HITS: 100.0 * (best <= 10),
        FIRST: 100.0 * (table[:, 0] <= 10),
        **{f"R@{k}": 100.0 * (last <= k) for k in KS},
        "ATR": last.astype(np.float64),
        "BRI": best_log_rank_areas(table),
    }
    metrics = {name: float(values.mean()) for name, values in samples.items()}
    curves: dict[str, list[float]] = {}
    for k in KS:
        curves[f"Hits@{k}"] = (100 * hits_at(table, k)).tolist()
    for k in KS:
        curves[f"R@{k}"] = [100 * recall_at(column, k) for column in table.T]
    curves["ATR"] = [mean_rank(column) for column in table.T]
    counted = {"dialogues": len(table), "rounds": table.shape[1], **(counts or {})}
    return Figures(metrics, samples, ranks, curves, counted)
