"""Sets that the package makes itself: one target a query, near neighbours to tell it from."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from chatsearcher.benchmarks.ranking import beats_all, target_ranks
from chatsearcher.benchmarks.single_query import LoadImage, QuerySet, set_checksum
from chatsearcher.benchmarks.task import Query, Task
from chatsearcher.benchmarks.vector_benchmark import Figures, VectorBenchmark
from chatsearcher.benchmarks.vectors import Vectors

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage


@dataclass(frozen=True)
class Outcome:
    """What came out for each query.

    Attributes:
        ranks: [Q] int64, 1-based rank of the target.
        beats_neighbours: [Q] bool, the target scores above each of its own neighbours that is a
            candidate of that query.
        candidates: [Q] how many pictures were ranked for that query, the target among them.
        rivals: [Q] how many neighbours were compared.
    """

    ranks: np.ndarray
    beats_neighbours: np.ndarray
    candidates: np.ndarray
    rivals: np.ndarray


class _Loaded:
    """Pictures that a function makes; all of them are there."""

    def __init__(self, load: LoadImage) -> None:
        self._load = load

    def missing(self, ids: Collection[str]) -> dict[str, str]:
        return {}

    def path(self, id: str) -> str | None:
        return None

    def load(self, id: str) -> PILImage:
        return self._load(id)


def task_of(queries: QuerySet, load: LoadImage, data: str | None = None, space: str = "") -> Task:
    """A set as a task; a query's neighbours are its group.

    Args:
        data: the set's checksum; by default that of ``set_checksum``.
        space: see ``Task``.

    Raises:
        ValueError: a target or a neighbour that is not in the gallery, an id that stands twice.
    """
    return Task(
        images=tuple(queries.gallery),
        queries=tuple(
            Query(
                id=query.id,
                dialogue=query.dialogue,
                targets=(query.target,),
                exclude=query.exclude,
                group=tuple(query.neighbours) or None,
            )
            for query in queries.queries
        ),
        pictures=_Loaded(load),
        data=data or set_checksum(queries),
        space=space,
    )


def outcome_of(task: Task, vectors: Vectors) -> Outcome:
    """Rank the gallery for every query of such a task."""
    rows, targets, exclude = task.rows, task.target_rows(), task.exclude_rows()
    rivals = [
        {rows[name] for name in query.members} - left_out
        for query, left_out in zip(task.queries, exclude, strict=True)
    ]
    asked, gallery, metric = vectors.queries, vectors.images, vectors.metric
    return Outcome(
        ranks=target_ranks(asked, gallery, targets, metric=metric, exclude=exclude),
        beats_neighbours=beats_all(asked, gallery, targets, rivals, metric=metric),
        candidates=np.array([len(rows) - len(left_out) for left_out in exclude]),
        rivals=np.array([len(others) for others in rivals]),
    )


class QuerySetBenchmark(VectorBenchmark):
    """A benchmark over one such set."""

    @abstractmethod
    def queries(self) -> QuerySet:
        """The set itself."""

    @abstractmethod
    def task(self) -> Task:
        """The set as a task, its data checked."""

    @abstractmethod
    def figures(self, task: Task, outcome: Outcome) -> Figures:
        """What is printed."""

    def load(self, root: Path | None, options: Mapping[str, str]) -> Task:
        """The set; no data root is needed."""
        return self.task()

    def score(self, task: Task, vectors: Vectors, options: Mapping[str, str]) -> Figures:
        """Rank, and say what is printed."""
        return self.figures(task, outcome_of(task, vectors))
