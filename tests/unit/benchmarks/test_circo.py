"""CIRCO: average precision in closed form, its task's counts, submissions, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from chatsearcher.benchmarks import Context
from chatsearcher.benchmarks.circo import SUBMISSION, TEST, VAL, average_precision
from chatsearcher.benchmarks.vectors import Vectors
from tests.fixtures.histogram import HistogramRetriever
from tests.fixtures.miniatures.circo import IDS, RIGHT, make


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make(tmp_path / "circo")


@pytest.mark.parametrize(
    ("ranks", "right", "k", "expected"),
    [
        ([1, 2, 3], 3, 5, 1.0),
        ([1], 3, 5, 1 / 3),  # not 1, which is what dividing by the hits would give
        ([2, 4], 2, 5, (1 / 2 + 2 / 4) / 2),
        ([2, 6], 2, 5, (1 / 2) / 2),
        (list(range(1, 8)), 7, 5, 1.0),  # not 5/7, which dividing by all would give
        ([3], 7, 5, (1 / 3) / 5),
        ([], 2, 5, 0.0),
    ],
)
def test_average_precision(ranks: list, right: int, k: int, expected: float) -> None:
    assert average_precision(ranks, right, k) == pytest.approx(expected)


def test_card_has_the_official_sizes() -> None:
    assert VAL.card.sizes == {"queries": 220, "gallery": 123_403}
    assert TEST.card.sizes == {"queries": 800, "gallery": 123_403}


def test_the_reference_stays_and_the_target_comes_first(root: Path) -> None:
    task = VAL.load(root, {})
    assert task.images == tuple(map(str, IDS))
    assert [query.targets for query in task.queries] == [
        tuple(map(str, right)) for right in RIGHT.values()
    ]
    assert all(not query.exclude for query in task.queries)
    first = task.queries[0]
    assert first.reference in task.images
    images = np.eye(len(IDS), dtype=np.float32)
    rows = task.rows
    queries = np.stack([images[rows[query.reference or ""]] for query in task.queries])
    queries += 0.5 * images[task.target_rows()]
    figures = VAL.score(task, Vectors(images, queries), {}).metrics
    # the reference first, the target second, all others equal and so behind the wrong ones
    precision = [average_precision([2, *range(13 - r, 12)], r, 5) for r in map(len, RIGHT.values())]
    assert figures["mAP@5"] == pytest.approx(100 * np.mean(precision))
    assert figures["R@5"] == 100


def test_a_submission_scores_as_the_vectors_do(root: Path, tmp_path: Path) -> None:
    task = VAL.load(root, {})
    for seed in range(3):
        rng = np.random.default_rng(seed)
        vectors = Vectors(*(rng.normal(size=(n, 5)).astype(np.float32) for n in (12, 4)), "l2")
        own = VAL.score(task, vectors, {}).metrics
        path = tmp_path / "s.json"
        path.write_text(json.dumps(VAL.submission(task, vectors)["submission.json"]))
        found = SUBMISSION.score_predictions([path], Context(data_root=root))
        assert found.metrics == pytest.approx(own)
        assert found.benchmark == "circo-val"


def test_the_servers_file_has_every_query(root: Path, tmp_path: Path) -> None:
    context = Context(data_root=root, submission=tmp_path / "up")
    assert TEST.run(HistogramRetriever(), context).metrics == {}
    lists = json.loads((tmp_path / "up/submission.json").read_text())
    assert list(lists) == ["0", "1", "2", "3", "4"]
    assert all(sorted(found) == sorted(IDS) for found in lists.values())
    scored = SUBMISSION.score_predictions([tmp_path / "up/submission.json"], context)
    assert scored.benchmark == "circo-test"
    assert not scored.metrics


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda s: s.pop("2"), r"no key '2' \(1 are missing\)"),
        (lambda s: s.update({"9": s["0"]}), "key '4'|no key|'9' is no query"),
        (lambda s: s["1"].__setitem__(3, s["1"][0]), "key '1', place 3: .* stands twice"),
        (lambda s: s["1"].__setitem__(3, 7), "key '1', place 3: 7 is not in the gallery"),
        (lambda s: s["1"].__setitem__(3, "7"), "key '1', place 3: '7'; expected a whole number"),
        (lambda s: s["3"].pop(), "key '3': 11 pictures, expected 12"),
        (lambda s: s.update({"3": 5}), "'3' is 5; expected a list"),
    ],
)
def test_what_the_server_would_refuse_is_refused(
    edit, message: str, root: Path, tmp_path: Path
) -> None:
    lists = {str(key): list(IDS) for key in RIGHT}
    edit(lists)
    path = tmp_path / "s.json"
    path.write_text(json.dumps(lists))
    with pytest.raises(ValueError, match=message) as error:
        SUBMISSION.score_predictions([path], Context(data_root=root))
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda c: c[1].pop("gt_img_ids"), "row 1: no key 'gt_img_ids'"),
        (lambda c: c[1].update(target_img_id=97553), "row 1: gt_img_ids must hold the target"),
        (lambda c: c[1].update(reference_img_id=1), "row 1: picture 1 is not in image_info"),
        (
            lambda c: c[1].update(id=0),
            r"val\.json, row 1: query '0' stands in .*val\.json, row 0 too; keep one",
        ),
        (lambda c: c[1].update(semantic_aspects=["size"]), "unknown semantic aspect 'size'"),
    ],
)
def test_broken_annotations_name_the_row(edit, message: str, root: Path) -> None:
    file = root / "annotations/val.json"
    content = json.loads(file.read_text())
    edit(content)
    file.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        VAL.load(root, {})
