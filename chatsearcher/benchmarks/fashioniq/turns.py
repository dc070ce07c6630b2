"""Dialogues about products: a picture is shown, the user says what should be different, and again.

The user, who alone knows the target, reacts to the picture that is shown; the system reads the
whole dialogue so far and ranks the gallery; its first picture is shown next. Any retriever plays,
with any ``roles.UserSimulator``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from chatsearcher.benchmarks.ranking import target_ranks
from chatsearcher.benchmarks.single_query import GalleryVectors, Progress
from chatsearcher.benchmarks.task import Query, Task
from chatsearcher.benchmarks.vectors import Encoded, Vectors, encode
from chatsearcher.dialogue import Dialogue, Image
from chatsearcher.retriever import Retriever
from chatsearcher.roles import User, UserSimulator


@dataclass(frozen=True)
class Played:
    """What came of it.

    Attributes:
        task: what is left of the task; its dialogues are those of the last turn.
        missing: picture id -> why it could not be used.
        vectors: those of the last turn.
        ranks: [Q, turns] 1-based rank of the target after each turn.
        truncated: how many texts the system cut over all turns; None where it does not count.
    """

    task: Task
    missing: dict[str, str]
    vectors: Vectors
    ranks: np.ndarray
    truncated: int | None


def play(
    system: Retriever,
    task: Task,
    simulator: UserSimulator,
    turns: int,
    seed: int,
    cache: GalleryVectors | None = None,
    progress: Progress | None = None,
) -> Played:
    """Let a system and a simulated user talk.

    Args:
        task: queries with one target and a ``reference``, the picture shown first, which each
            dialogue begins with. A picture once shown stays a candidate.
        turns: how often the user speaks. One who has nothing more to say keeps the last rank.
        seed: of the users.

    Raises:
        ValueError: a query without target or reference; a user who says nothing at first.
        FileNotFoundError: no picture is there, or some vanished on the way.
    """
    if turns < 1:
        raise ValueError(f"{turns} turns; expected at least one")
    cache = cache or GalleryVectors()
    opening = encode(system, replace(task, queries=()), cache, progress)
    queries = tuple(
        replace(query, dialogue=Dialogue(id=query.id))
        for query in task.queries
        if not {_first_shown(query), *query.targets} & set(opening.missing)
    )
    if not queries:
        raise ValueError(f"no dialogue is left; {len(opening.missing)} pictures miss")
    told = replace(opening.task, queries=queries)
    shown = [_first_shown(query) for query in told.queries]
    users = [simulator.user(query.targets[0], seed) for query in told.queries]
    ranks: list[np.ndarray] = []
    truncated: int | None = 0
    for turn in range(turns):
        told = _spoken(told, shown, users)
        encoded = encode(system, told, cache, progress)
        if encoded.missing:
            gone = ", ".join(encoded.missing)
            raise FileNotFoundError(f"pictures vanished during the dialogues: {gone}")
        vectors = encoded.vectors
        targets = told.target_rows()
        ranks.append(target_ranks(vectors.queries, vectors.images, targets, metric=vectors.metric))
        truncated = _sum(truncated, encoded.truncated)
        shown = _best(encoded)
        if progress is not None:
            progress("turns", turn + 1, turns)
    return Played(told, opening.missing, vectors, np.stack(ranks, axis=1), truncated)


def _first_shown(query: Query) -> str:
    if query.reference is None or not query.targets:
        raise ValueError(f"query {query.id!r} lacks its target or the picture shown first")
    return query.reference


def _spoken(task: Task, shown: Sequence[str], users: Sequence[User]) -> Task:
    """Every dialogue with one more picture shown and one more thing said; as it was, where the user
    has nothing more to say."""
    queries = []
    for query, picture, user in zip(task.queries, shown, users, strict=True):
        said = user.respond(query.dialogue.assistant(Image(picture)))
        if said is None and not query.dialogue.turns:
            raise ValueError(f"the user who wants {query.targets[0]!r} says nothing at all")
        queries.append(query if said is None else replace(query, dialogue=said))
    return replace(task, queries=tuple(queries))


def _best(encoded: Encoded) -> list[str]:
    """The first picture of each query; equal scores: the lower row."""
    from chatsearcher.index.exact import ExactIndex

    vectors = encoded.vectors
    index = ExactIndex(vectors.images, metric=vectors.metric)
    _, rows = index.search(vectors.queries.astype(np.float32), 1)
    return [encoded.task.images[int(row)] for row in rows[:, 0]]


def _sum(total: int | None, more: int | None) -> int | None:
    return None if total is None or more is None else total + more
