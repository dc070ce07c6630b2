"""Benchmarks that need nothing but vectors: one way through for systems and for files of vectors.

A benchmark of this kind is a class with a ``card``, ``load`` (official files -> ``Task``) and
``score`` (task and vectors -> ``Figures``). Everything else is here: encoding, missing pictures,
prompts, intervals, counts, the result.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from chatsearcher.benchmarks import Context
from chatsearcher.benchmarks.card import Card
from chatsearcher.benchmarks.metrics import bootstrap_all
from chatsearcher.benchmarks.results import Result, write_json
from chatsearcher.benchmarks.task import Task
from chatsearcher.benchmarks.vectors import (
    Encoded,
    Vectors,
    encode,
    file_fingerprint,
    read_features,
)
from chatsearcher.retriever import Metric, Retriever

EXAMPLES, FOUND = 12, 10


@dataclass(frozen=True)
class Figures:
    """What a benchmark measured.

    Attributes:
        metrics: figures, shares in percent; the names of ``card.metrics``.
        samples: for some figures the values whose mean they are, [n] in percent, one a query (or a
            dialogue): the bootstrap intervals are drawn from them.
        ranks: [Q] 1-based rank of each query's (best) target.
        curves: figure -> its value at each round.
        counts: further counts.
        settings: choices that could change a figure.
    """

    metrics: Mapping[str, float]
    samples: Mapping[str, np.ndarray] = field(default_factory=dict)
    ranks: np.ndarray | None = None
    curves: Mapping[str, Sequence[float]] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)


class VectorBenchmark(ABC):
    """A benchmark that image vectors and query vectors are enough for."""

    @property
    @abstractmethod
    def card(self) -> Card:
        """The facts, without reading data."""

    @property
    def name(self) -> str:
        """The registered name."""
        return self.card.name

    @abstractmethod
    def load(self, root: Path | None, options: Mapping[str, str]) -> Task:
        """Read the official files.

        Args:
            root: ``--data-root``.
            options: checked ones of ``card.options``.

        Raises:
            FileNotFoundError, ValueError: with the file, the row and the remedy.
        """

    @abstractmethod
    def score(self, task: Task, vectors: Vectors, options: Mapping[str, str]) -> Figures:
        """The figures; ``task`` may lack pictures and queries of the official one."""

    def submission(self, task: Task, vectors: Vectors) -> Mapping[str, Any] | None:
        """Official submission files, name -> content for JSON; None where there is no such thing.

        Called for whole tasks only.
        """
        return None

    def run(self, system: Retriever, context: Context | None = None) -> Result:
        """Let a system make the vectors, and score them."""
        context = context or Context()
        started = time.perf_counter()
        task, settings = prepare(self, context)
        encoded = encode(system, task, context.vectors, context.progress)
        who = {"spec": context.spec, "fingerprint": str(system.fingerprint)}
        return conclude(self, task, encoded, who, settings, context, started)

    def run_features(
        self, path: Path, context: Context | None = None, metric: Metric | None = None
    ) -> Result:
        """Score vectors made by any other code (``vectors.read_features``)."""
        context = context or Context()
        started = time.perf_counter()
        task, settings = prepare(self, context)
        encoded = read_features(path, task, metric)
        who = {"spec": f"features:{path.name}", "fingerprint": file_fingerprint(path)}
        settings = {key: value for key, value in settings.items() if not key.startswith("prompt")}
        return conclude(self, task, encoded, who, settings, context, started)


def prepare(benchmark: VectorBenchmark, context: Context) -> tuple[Task, dict[str, Any]]:
    """The task with its prompt applied, and the settings to be noted."""
    card = benchmark.card
    options = card.checked_options(context.options)
    prompt, template = card.prompt(context.prompt)
    task = benchmark.load(context.data_root, options).prompted(template)
    settings: dict[str, Any] = {"prompt": prompt, "prompt text": template}
    if options:
        settings["options"] = dict(options)
    return task, settings


def conclude(
    benchmark: VectorBenchmark,
    whole: Task,
    encoded: Encoded,
    retriever: Mapping[str, str],
    settings: Mapping[str, Any],
    context: Context,
    started: float,
) -> Result:
    """Score what was encoded and put everything into one result."""
    card, task, vectors = benchmark.card, encoded.task, encoded.vectors
    if not task.queries:
        raise ValueError(f"{card.name}: no query is left; {len(encoded.missing)} pictures miss")
    public = all(query.targets for query in task.queries)
    figures = Figures({})
    if public:
        figures = benchmark.score(task, vectors, card.checked_options(context.options))
    settings = {**settings, "metric": vectors.metric, **figures.settings}
    files = write_submission(
        benchmark, task, vectors, encoded.missing, context, required=not public
    )
    if files:
        settings["submission"] = [str(path) for path in files]
    drawn = bootstrap_all(figures.samples)
    return Result(
        benchmark=card.name,
        protocol=card.protocol,
        primary=card.primary if public else "",
        metrics=figures.metrics,
        intervals={name: (value.low, value.high) for name, value in drawn.items()},
        counts={
            "queries": len(task.queries),
            "gallery": len(task.images),
            "missing images": len(encoded.missing),
            "queries left out": len(whole.queries) - len(task.queries),
            "truncated texts": encoded.truncated,
            **({} if encoded.divided is None else {"divided texts": encoded.divided}),
            **task.facts,
            **figures.counts,
        },
        data=task.data,
        retriever=retriever,
        settings=settings,
        seconds=time.perf_counter() - started,
        ranks=figures.ranks,
        missing=dict(sorted(encoded.missing.items())),
        shrunken=bool(encoded.missing),
        curves={name: [float(v) for v in values] for name, values in figures.curves.items()},
        examples=examples(task, vectors, figures.ranks),
        notes=notes(card, whole, encoded),
    )


def notes(card: Card, whole: Task, encoded: Encoded) -> list[str]:
    """What must be said beside the figures."""
    found = []
    read = {"queries": len(whole.queries), "gallery": len(whole.images)}
    for what, count in read.items():
        official = card.sizes.get(what)
        if official is not None and official != count:
            found.append(
                f"not the official data: {count:,} {what} where there are {official:,} of them"
            )
    if encoded.missing:
        found.append(
            f"shrunken: {len(encoded.missing):,} of {len(whole.images):,} pictures are missing, "
            f"{len(whole.queries) - len(encoded.task.queries):,} of {len(whole.queries):,} "
            "queries were left out; not comparable with figures over all of them"
        )
    return found


def write_submission(
    benchmark: VectorBenchmark,
    task: Task,
    vectors: Vectors,
    missing: Mapping[str, str],
    context: Context,
    required: bool,
) -> list[Path]:
    """The official submission files, where they are asked for.

    Raises:
        ValueError: the targets are not public and there is no folder to write the files to;
            pictures are missing; the benchmark has no such files.
    """
    if context.submission is None:
        if required:
            raise ValueError(
                f"the targets of {benchmark.name} are not public: give --submission FOLDER for the "
                "files to upload"
            )
        return []
    if missing:
        raise ValueError(
            f"{benchmark.name}: {len(missing)} pictures are missing ({next(iter(missing))!r} is "
            "one), so the submission would lack queries or candidates; get them first"
        )
    content = benchmark.submission(task, vectors)
    if content is None:
        raise ValueError(f"{benchmark.name} has no submission format; leave --submission out")
    paths = []
    for name, part in content.items():
        path = context.submission / name
        write_json(path, part)
        paths.append(path)
    return paths


def examples(task: Task, vectors: Vectors, ranks: np.ndarray | None) -> list[dict[str, Any]]:
    """Some queries that were answered best and some that were answered worst, with the pictures
    that came first: what a page of successes and failures shows."""
    if ranks is None or len(ranks) != len(task.queries):
        return []
    rng = np.random.default_rng(0)
    shuffled = rng.permutation(len(ranks))
    order = shuffled[np.argsort(ranks[shuffled], kind="stable")]
    count = min(EXAMPLES, len(order) // 2 or 1)
    chosen = list(dict.fromkeys([*order[:count].tolist(), *order[::-1][:count].tolist()]))
    found = first_pictures(task, vectors, chosen, FOUND)
    return [
        {
            "query": task.queries[row].id,
            "target": task.queries[row].target,
            "rank": int(ranks[row]),
            "found": names,
        }
        for row, names in zip(chosen, found, strict=True)
    ]


def first_pictures(task: Task, vectors: Vectors, chosen: Sequence[int], k: int) -> list[list[str]]:
    """The first k candidates of some queries, best first; equal scores: the lower row first."""
    from chatsearcher.index.exact import ExactIndex

    rows = task.rows
    asked = vectors.queries[list(chosen)].astype(np.float32)
    if task.own_galleries:
        found = []
        for place, row in enumerate(chosen):
            query = task.queries[row]
            own = list(dict.fromkeys((*query.members, *query.targets)))
            index = ExactIndex(vectors.images[[rows[n] for n in own]], metric=vectors.metric)
            _, places = index.search(asked[place : place + 1], min(k, len(own)))
            found.append([own[int(each)] for each in places[0] if each >= 0])
        return found
    exclude = [{rows[n] for n in task.queries[row].exclude if n in rows} for row in chosen]
    index = ExactIndex(vectors.images, metric=vectors.metric)
    _, places = index.search(asked, min(k, len(task.images)), exclude=exclude)
    return [[task.images[int(row)] for row in line if row >= 0] for line in places]
