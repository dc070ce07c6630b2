"""CIRR rc2 (Liu et al., ICCV 2021): a photograph and a change in words; real-life pictures.

Rules (the authors' test server): the corpus is every picture of the split's list minus the query's
own reference; ``target_hard`` is the target. R_subset ranks the target among the query's image set
of six, the reference left out: five candidates, so that chance at R_subset@1 is 20 %.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from chatsearcher.benchmarks import Context
from chatsearcher.benchmarks.annotations import (
    checksum,
    data_root,
    find_file,
    read_json,
    rows_of,
    strings,
    value,
)
from chatsearcher.benchmarks.card import PLAIN, Card
from chatsearcher.benchmarks.predictions import checked_list, result_of
from chatsearcher.benchmarks.ranking import ranks_among, target_ranks
from chatsearcher.benchmarks.recalls import means, recall_samples
from chatsearcher.benchmarks.results import Result
from chatsearcher.benchmarks.task import FilePictures, Query, Task
from chatsearcher.benchmarks.vector_benchmark import Figures, VectorBenchmark, first_pictures
from chatsearcher.benchmarks.vectors import Vectors
from chatsearcher.dialogue import Dialogue, Image

KS, SUBSET_KS = (1, 5, 10, 50), (1, 2, 3)
MEAN = "mean of R@5 and R_subset@1"
SIZES = {"val": (4_181, 2_297), "test1": (4_148, 2_315)}
DATA = (
    "captions/cap.rc2.{split}.json and image_splits/split.rc2.{split}.json of the cirr_dataset "
    "branch, and the pictures (dev/, test1/) beside them or under img_raw/"
)
REMEDY = "take it from the branch cirr_dataset of github.com/Cuberick-Orion/CIRR"


class Cirr(VectorBenchmark):
    """One split.

    Args:
        split: ``val`` or ``test1`` (without public targets).
    """

    def __init__(self, split: str) -> None:
        self.split = split
        queries, gallery = SIZES[split]
        self._card = Card(
            name=f"cirr-{split}",
            data=DATA.format(split=split),
            sizes={"queries": queries, "gallery": gallery},
            metrics=(MEAN, *(f"R@{k}" for k in KS), *(f"R_subset@{k}" for k in SUBSET_KS)),
            primary=MEAN,
            protocol="CIRR rc2: all pictures of the split without the query's own reference; "
            "R_subset among the other five of the image set; ties against the target",
            source="Liu et al., ICCV 2021; github.com/Cuberick-Orion/CIRR, branch cirr_dataset; "
            "test server cirr.cecs.anu.edu.au",
            prompts={
                PLAIN: "{text}",
                "one-change-1": "Something like this, please, with one change: {text}.",
            },
        )

    @property
    def card(self) -> Card:
        return self._card

    def load(self, root: Path | None, options: Mapping[str, str]) -> Task:
        """Read a split; see ``VectorBenchmark.load``."""
        root = data_root(root, self.name, self.card.data)
        captions, pictures = _files(root, self.split)
        paths = _paths(pictures)
        queries = tuple(
            _query(entry, where, self.split == "val") for where, entry in _rows(captions)
        )
        for place, query in enumerate(queries):
            for name in (*query.targets, *query.members, query.reference or ""):
                if name not in paths:
                    raise ValueError(
                        f"{captions}, row {place} (pairid {query.id}): {name!r} is not in "
                        f"{pictures.name}; the two files are of different versions"
                    )
        return Task(
            images=tuple(paths),
            queries=queries,
            pictures=FilePictures(root, lambda id: _places(paths[id])),
            data=checksum(root, [captions, pictures]),
            space="cirr",
        )

    def score(self, task: Task, vectors: Vectors, options: Mapping[str, str]) -> Figures:
        """Recall over the corpus and over the image set."""
        rows, targets = task.rows, task.target_rows()
        ranks = target_ranks(
            vectors.queries,
            vectors.images,
            targets,
            metric=vectors.metric,
            exclude=task.exclude_rows(),
        )
        rivals = [
            {rows[name] for name in query.members} - {target}
            for query, target in zip(task.queries, targets, strict=True)
        ]
        among = ranks_among(vectors.queries, vectors.images, targets, rivals, metric=vectors.metric)
        samples = recall_samples(ranks, KS) | recall_samples(among, SUBSET_KS, "R_subset")
        samples[MEAN] = (samples["R@5"] + samples["R_subset@1"]) / 2
        return Figures({n: means(samples)[n] for n in self.card.metrics}, samples, ranks)

    def submission(self, task: Task, vectors: Vectors) -> Mapping[str, Any]:
        """``recall.json`` (50 names) and ``recall_subset.json`` (3 names), the server's format."""
        everyone = list(range(len(task.queries)))
        first = first_pictures(task, vectors, everyone, KS[-1])
        return {
            "recall.json": _submitted(task, "recall", first),
            "recall_subset.json": _submitted(task, "recall_subset", _subset_order(task, vectors)),
        }


def _submitted(task: Task, metric: str, names: Sequence[Sequence[str]]) -> dict[str, Any]:
    head: dict[str, Any] = {"version": "rc2", "metric": metric}
    lists = {q.id: list(found) for q, found in zip(task.queries, names, strict=True)}
    return head | lists


def _subset_order(task: Task, vectors: Vectors) -> list[list[str]]:
    """The three best of each query's image set, equal scores by the order of the corpus."""
    from chatsearcher.index.exact import ExactIndex

    rows, found = task.rows, []
    for place, query in enumerate(task.queries):
        own = sorted(rows[name] for name in query.members)
        index = ExactIndex(vectors.images[own], metric=vectors.metric)
        _, best = index.search(vectors.queries[place : place + 1], SUBSET_KS[-1])
        found.append([task.images[own[int(each)]] for each in best[0] if each >= 0])
    return found


class Submission:
    """``chatsearcher score cirr``: the server's files, scored where the targets are public."""

    name = "cirr"

    def score_predictions(self, paths: Sequence[Path], context: Context) -> Result:
        """Score one or both of a split's two files.

        Raises:
            ValueError: what the server would refuse, with the file, the pairid and the remedy; two
                files of one kind or of different splits.
        """
        started = time.perf_counter()
        root = data_root(context.data_root, "cirr", DATA.format(split="val"))
        read = [_Predictions(path, root) for path in paths]
        kinds = [each.metric for each in read]
        if len(set(kinds)) != len(kinds) or len({each.split for each in read}) != 1:
            raise ValueError(
                f"{', '.join(map(str, paths))}: expected at most one file with metric recall and "
                f"one with recall_subset, both of one split; got {', '.join(kinds)}"
            )
        card = Cirr(read[0].split).card
        samples = {name: each for part in read for name, each in part.samples().items()}
        if {"R@5", "R_subset@1"} <= set(samples):
            samples[MEAN] = (samples["R@5"] + samples["R_subset@1"]) / 2
        task = read[0].task
        counts = {"queries": len(task.queries), "gallery": len(task.images)}
        return result_of(card, paths, task.data, samples, counts, started=started)


class _Predictions:
    """One checked file: query -> names, best first."""

    def __init__(self, path: Path, root: Path) -> None:
        content = read_json(path, dict)
        self.metric = value(content, "metric", str, str(path))
        if value(content, "version", str, str(path)) != "rc2":
            raise ValueError(f"{path}: version {content['version']!r}; expected 'rc2'")
        if self.metric not in ("recall", "recall_subset"):
            raise ValueError(
                f"{path}: metric {self.metric!r}; expected 'recall' or 'recall_subset'"
            )
        lists = {key: each for key, each in content.items() if key not in ("version", "metric")}
        self.split, self.task = _split_of(lists, path, root)
        self.ranks: list[int | None] = []
        gallery = set(self.task.images)
        for query in self.task.queries:
            where = f"{path}, pairid {query.id}"
            if query.id not in lists:
                raise ValueError(f"{where}: no list; every query of {self.split} needs one")
            allowed = gallery if self.metric == "recall" else set(query.members)
            most = KS[-1] if self.metric == "recall" else SUBSET_KS[-1]
            names = strings(lists, query.id, where)
            wanted = min(most, len(allowed - query.exclude))
            checked_list(names, allowed, query.exclude, wanted, where)
            target = query.target
            self.ranks.append(names.index(target) + 1 if target in names else None)

    def samples(self) -> dict[str, np.ndarray]:
        """As in ``Cirr.score``; nothing where the targets are not public."""
        if not self.task.queries[0].targets:
            return {}
        ranks = np.array([np.inf if rank is None else rank for rank in self.ranks])
        if self.metric == "recall":
            return recall_samples(ranks, KS)
        return recall_samples(ranks, SUBSET_KS, "R_subset")


def _split_of(lists: Mapping[str, Any], path: Path, root: Path) -> tuple[str, Task]:
    """The split that the keys belong to.

    Raises:
        ValueError: keys of no split.
    """
    unknown = {}
    for split in SIZES:
        if not (root / f"captions/cap.rc2.{split}.json").is_file():
            continue
        task = Cirr(split).load(root, {})
        known = {query.id for query in task.queries}
        strange = [key for key in lists if key not in known]
        if not strange:
            return split, task
        unknown[split] = (len(strange), strange[0])
    if not unknown:
        find_file(root, "captions/cap.rc2.val.json", remedy=REMEDY)
    split = min(unknown, key=lambda name: unknown[name][0])
    raise ValueError(
        f"{path}: key {unknown[split][1]!r} is no pairid of {split}; expected version, metric and "
        f"one list a pairid of val or of test1"
    )


def _files(root: Path, split: str) -> tuple[Path, Path]:
    return (
        find_file(root, f"captions/cap.rc2.{split}.json", remedy=REMEDY),
        find_file(root, f"image_splits/split.rc2.{split}.json", remedy=REMEDY),
    )


def _paths(file: Path) -> dict[str, str]:
    content = read_json(file, dict)
    for name, path in content.items():
        if not isinstance(path, str):
            raise ValueError(f"{file}, {name!r}: {path!r}; expected a path such as './dev/….png'")
    return dict(content)


def _places(path: str) -> tuple[str, ...]:
    path = path.removeprefix("./")
    return path, f"img_raw/{path}", f"images/{path}"


def _rows(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    seen: dict[int, str] = {}
    for where, entry in rows_of(read_json(file, list), file):
        pair = value(entry, "pairid", int, where)
        if pair in seen:
            raise ValueError(f"{where}: pairid {pair} stands in {seen[pair]} too; keep one")
        seen[pair] = where
        yield where, entry


def _query(entry: dict[str, Any], where: str, targets: bool) -> Query:
    reference = value(entry, "reference", str, where)
    members = strings(value(entry, "img_set", dict, where), "members", f"{where}, img_set")
    if reference not in members:
        raise ValueError(f"{where}: the reference {reference!r} is not in its own img_set")
    return Query(
        id=str(entry["pairid"]),
        dialogue=Dialogue(id=str(entry["pairid"])).user(
            Image(reference), value(entry, "caption", str, where)
        ),
        targets=(value(entry, "target_hard", str, where),) if targets else (),
        exclude=frozenset({reference}),
        reference=reference,
        group=tuple(name for name in members if name != reference),
    )


VAL = Cirr("val")
TEST1 = Cirr("test1")
SUBMISSION = Submission()
