"""CIRCO (Baldrati et al., ICCV 2023): a picture and a change in words, several right answers.

Rules (the authors' ``src/evaluation.py``): 123,403 pictures of COCO's unlabelled set are the
gallery, the reference among them; mAP@K divides by min(right answers, K), which the generic mAP of
other packages does not; Recall@K asks for the one target that the words were written for.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from chatsearcher.benchmarks import Context
from chatsearcher.benchmarks.annotations import (
    checksum,
    data_root,
    find_file,
    once,
    read_json,
    rows_of,
    strings,
    value,
)
from chatsearcher.benchmarks.card import PLAIN, Card
from chatsearcher.benchmarks.predictions import checked_list, result_of
from chatsearcher.benchmarks.ranking import relevant_ranks, target_ranks
from chatsearcher.benchmarks.recalls import recall_samples
from chatsearcher.benchmarks.results import Result
from chatsearcher.benchmarks.task import FilePictures, Query, Task
from chatsearcher.benchmarks.vector_benchmark import Figures, VectorBenchmark, first_pictures
from chatsearcher.benchmarks.vectors import Vectors
from chatsearcher.dialogue import Dialogue, Image

KS = (5, 10, 25, 50)
ASPECTS = (
    "cardinality",
    "addition",
    "negation",
    "direct_addressing",
    "compare_change",
    "comparative_statement",
    "statement_with_conjunction",
    "spatial_relations_background",
    "viewpoint",
)
SIZES = {"val": 220, "test": 800}
GALLERY = 123_403
INFO = "COCO2017_unlabeled/annotations/image_info_unlabeled2017.json"
REMEDY = (
    "it comes from github.com/miccunifi/CIRCO (annotations) and from COCO's own pages (pictures)"
)


@dataclass(frozen=True)
class CircoTask(Task):
    """A task with the semantic aspects of its queries.

    Attributes:
        aspects: query id -> names of ``ASPECTS``; empty where they are not public.
    """

    aspects: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class Circo(VectorBenchmark):
    """One split.

    Args:
        split: ``val`` or ``test`` (without public targets).
    """

    def __init__(self, split: str) -> None:
        self.split = split
        self._card = Card(
            name=f"circo-{split}",
            data=f"annotations/{split}.json, {INFO} and COCO2017_unlabeled/unlabeled2017/",
            sizes={"queries": SIZES[split], "gallery": GALLERY},
            metrics=(
                *(f"mAP@{k}" for k in KS),
                *(f"R@{k}" for k in KS),
                *(f"mAP@10, {aspect}" for aspect in ASPECTS),
            ),
            primary="mAP@5",
            protocol="CIRCO: the whole gallery, reference included; mAP@K over min(right answers, "
            "K); R@K of the one target; ties against the right answers",
            source="Baldrati et al., ICCV 2023; github.com/miccunifi/CIRCO; server "
            "circo.micc.unifi.it",
            prompts={
                PLAIN: "{text}",
                "the-one-that-1": "Something like this; the one that I want {text}.",
            },
        )

    @property
    def card(self) -> Card:
        return self._card

    def load(self, root: Path | None, options: Mapping[str, str]) -> CircoTask:
        """Read a split; see ``VectorBenchmark.load``."""
        root = data_root(root, self.name, self.card.data)
        file = find_file(root, f"annotations/{self.split}.json", remedy=REMEDY)
        info = find_file(root, INFO, remedy=REMEDY)
        names = _file_names(info)
        queries, aspects = [], {}
        seen: dict[str, str] = {}
        for where, entry in rows_of(read_json(file, list), file):
            query = _query(entry, where, self.split == "val")
            once(seen, query.id, where, "query")
            for each in (*query.targets, query.reference or ""):
                if each not in names:
                    raise ValueError(f"{where}: picture {each} is not in {info.name}")
            queries.append(query)
            if self.split == "val":
                aspects[query.id] = _aspects(entry, where)
        return CircoTask(
            images=tuple(names),
            queries=tuple(queries),
            pictures=FilePictures(root, lambda id: _places(names[id]) if id in names else ()),
            data=checksum(root, [file, info]),
            space="coco-unlabeled2017",
            aspects=aspects,
        )

    def score(self, task: Task, vectors: Vectors, options: Mapping[str, str]) -> Figures:
        """mAP over all right answers and recall of the target."""
        rows, targets = task.rows, task.target_rows()
        relevant = [[rows[name] for name in query.targets] for query in task.queries]
        asked, images, metric = vectors.queries, vectors.images, vectors.metric
        found = relevant_ranks(asked, images, relevant, metric=metric)
        ranks = target_ranks(asked, images, targets, metric=metric)
        aspects = task.aspects if isinstance(task, CircoTask) else {}
        samples = samples_of(task, [each.tolist() for each in found], ranks, aspects)
        return Figures({name: float(each.mean()) for name, each in samples.items()}, samples, ranks)

    def submission(self, task: Task, vectors: Vectors) -> Mapping[str, Any]:
        """``submission.json``: for every query the ids of the first 50 pictures."""
        first = first_pictures(task, vectors, range(len(task.queries)), KS[-1])
        lists = {
            query.id: [int(name) for name in names]
            for query, names in zip(task.queries, first, strict=True)
        }
        return {"submission.json": lists}


def average_precision(ranks: Sequence[float], right: int, k: int) -> float:
    """AP@k = Σ over right answers among the first k of (right answers so far / rank), divided by
    min(right, k).

    Args:
        ranks: 1-based ranks of right answers, rising; those that were not found may be left out.
        right: how many right answers there are.
    """
    hits = [(place, rank) for place, rank in enumerate(ranks, start=1) if rank <= k]
    return sum(place / rank for place, rank in hits) / min(right, k)


def samples_of(
    task: Task,
    found: Sequence[Sequence[float]],
    ranks: np.ndarray,
    aspects: Mapping[str, Sequence[str]],
) -> dict[str, np.ndarray]:
    """Figure -> its value for each query it is of, in percent.

    Args:
        found: for each query the rising ranks of its right answers.
        ranks: [Q] rank of the target; infinite where it was not found.
    """
    right = [len(query.targets) for query in task.queries]
    precision = {
        k: np.array([100 * average_precision(f, n, k) for f, n in zip(found, right, strict=True)])
        for k in KS
    }
    samples = {f"mAP@{k}": precision[k] for k in KS} | recall_samples(ranks, KS)
    for aspect in ASPECTS:
        those = [n for n, query in enumerate(task.queries) if aspect in aspects.get(query.id, ())]
        if those:
            samples[f"mAP@10, {aspect}"] = precision[10][those]
    return samples


class Submission:
    """``chatsearcher score circo``: the server's file, scored where the targets are public."""

    name = "circo"

    def score_predictions(self, paths: Sequence[Path], context: Context) -> Result:
        """Score a file of one split.

        Raises:
            ValueError: what the server would refuse, with the file, the key and the remedy.
        """
        started = time.perf_counter()
        if len(paths) != 1:
            raise ValueError(f"circo's submission is one file; got {len(paths)}")
        path = paths[0]
        root = data_root(context.data_root, "circo", VAL.card.data)
        content = read_json(path, dict)
        benchmark, task = _split_of(content, path, root)
        wanted = min(KS[-1], len(task.images))
        gallery = {int(name) for name in task.images}
        found, ranks = [], []
        for query in task.queries:
            where = f"{path}, key {query.id!r}"
            names = value(content, query.id, list, where)
            for place, name in enumerate(names):
                if not isinstance(name, int) or isinstance(name, bool):
                    raise ValueError(f"{where}, place {place}: {name!r}; expected a whole number")
            checked_list(names, gallery, frozenset(), wanted, where)
            place_of = {name: place for place, name in enumerate(names, start=1)}
            right = [int(name) for name in query.targets]
            found.append(sorted(place_of[name] for name in right if name in place_of))
            ranks.append(place_of.get(right[0], np.inf) if right else np.inf)
        public = all(query.targets for query in task.queries)
        samples = samples_of(task, found, np.array(ranks), task.aspects) if public else {}
        counts = {"queries": len(task.queries), "gallery": len(task.images)}
        return result_of(benchmark.card, paths, task.data, samples, counts, started=started)


def _split_of(content: Mapping[str, Any], path: Path, root: Path) -> tuple[Circo, CircoTask]:
    """The split whose queries the keys are: val's ids are among test's, so their number decides.

    Raises:
        ValueError: keys that are missing or strange.
    """
    tasks = {
        split: (benchmark, benchmark.load(root, {}))
        for split, benchmark in (("val", VAL), ("test", TEST))
        if (root / f"annotations/{split}.json").is_file()
    }
    if not tasks:
        find_file(root, "annotations/val.json", remedy=REMEDY)
    split = min(tasks, key=lambda name: abs(len(tasks[name][1].queries) - len(content)))
    known = [query.id for query in tasks[split][1].queries]
    lost = [key for key in known if key not in content]
    strange = [key for key in content if key not in set(known)]
    if lost:
        raise ValueError(
            f"{path}: no key {lost[0]!r} ({len(lost)} are missing); the file must have every query "
            f"of {split}, {len(known)} in all"
        )
    if strange:
        raise ValueError(f"{path}: key {strange[0]!r} is no query of {split}; leave it out")
    return tasks[split]


def _file_names(info: Path) -> dict[str, str]:
    """picture id -> file name, in the file's order."""
    names: dict[str, str] = {}
    seen: dict[str, str] = {}
    content = read_json(info, dict)
    for where, entry in rows_of(value(content, "images", list, str(info)), info):
        key = str(value(entry, "id", int, where))
        once(seen, key, where, "picture")
        names[key] = value(entry, "file_name", str, where)
    return names


def _places(name: str) -> tuple[str, ...]:
    return f"COCO2017_unlabeled/unlabeled2017/{name}", f"unlabeled2017/{name}"


def _query(entry: dict[str, Any], where: str, public: bool) -> Query:
    key = str(value(entry, "id", int, where))
    reference = str(value(entry, "reference_img_id", int, where))
    targets: tuple[str, ...] = ()
    if public:
        first = value(entry, "target_img_id", int, where)
        others = value(entry, "gt_img_ids", list, where)
        if first not in others or len(set(others)) != len(others):
            raise ValueError(
                f"{where}: gt_img_ids must hold the target {first} and each picture once"
            )
        targets = (str(first), *(str(each) for each in others if each != first))
    return Query(
        id=key,
        dialogue=Dialogue(id=key).user(
            Image(reference), value(entry, "relative_caption", str, where)
        ),
        targets=targets,
        reference=reference,
    )


def _aspects(entry: dict[str, Any], where: str) -> tuple[str, ...]:
    found = strings(entry, "semantic_aspects", where)
    strange = [name for name in found if name not in ASPECTS]
    if strange:
        raise ValueError(f"{where}: unknown semantic aspect {strange[0]!r}")
    return tuple(found)


VAL = Circo("val")
TEST = Circo("test")
SUBMISSION = Submission()
