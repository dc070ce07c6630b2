"""CIRR: the official files' counts, the rules, submissions, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from chatsearcher.benchmarks import Context
from chatsearcher.benchmarks.cirr import MEAN, SUBMISSION, TEST1, VAL, Cirr
from chatsearcher.benchmarks.task import Task
from chatsearcher.benchmarks.vectors import Vectors
from tests.fixtures.histogram import HistogramRetriever
from tests.fixtures.miniatures.cirr import SETS, make

SHARED = Path(__file__).resolve().parents[4] / "shared/data/benchmarks/cirr"
official = pytest.mark.skipif(not SHARED.is_dir(), reason="../shared has no CIRR files here")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make(tmp_path / "cirr")


def change(file: Path, edit) -> None:
    content = json.loads(file.read_text())
    edit(content)
    file.write_text(json.dumps(content))


@official
@pytest.mark.parametrize(
    ("benchmark", "queries", "images"), [(VAL, 4_181, 2_297), (TEST1, 4_148, 2_315)]
)
def test_official_counts(benchmark: Cirr, queries: int, images: int) -> None:
    task = benchmark.load(SHARED, {})
    assert (len(task.queries), len(task.images)) == (queries, images)
    assert benchmark.card.sizes == {"queries": queries, "gallery": images}
    assert all(len(query.members) == 5 for query in task.queries)
    assert all(query.reference in query.exclude for query in task.queries)
    blank = [query.id for query in task.queries if not query.dialogue.text.strip()]
    assert blank == ([] if benchmark is VAL else ["27098"])
    assert sum(query.target in query.members for query in task.queries) == (
        queries if benchmark is VAL else 0
    )


@official
def test_official_files_are_those_that_were_read_when_this_was_written() -> None:
    found = {each.name: each.load(SHARED, {}).data[:16] for each in (VAL, TEST1)}
    assert found == {"cirr-val": "6cd752408baa624e", "cirr-test1": "1ef0f7b04e90fc2c"}


@official
def test_the_hard_target_counts_where_the_soft_ones_lack_it() -> None:
    rows = json.loads((SHARED / "captions/cap.rc2.val.json").read_text())
    task = VAL.load(SHARED, {})
    assert sum(row["target_hard"] not in row["target_soft"] for row in rows) == 37
    assert [query.target for query in task.queries] == [row["target_hard"] for row in rows]
    train = json.loads((SHARED / "image_splits/split.rc2.train.json").read_text())
    assert len(train) == 16_939
    assert not set(train) & set(task.images)


@official
def test_chance_in_the_image_set_is_one_in_five() -> None:
    task = VAL.load(SHARED, {})
    figures = VAL.score(task, _random(task), {}).metrics
    assert figures["R_subset@1"] == pytest.approx(20, abs=2)
    assert figures["R_subset@3"] == pytest.approx(60, abs=2.5)
    assert figures["R@50"] == pytest.approx(100 * 50 / 2_296, abs=1)


def test_who_finds_the_target_and_nothing_else(root: Path) -> None:
    task = VAL.load(root, {})
    images = np.eye(len(task.images), dtype=np.float32)
    queries = (
        images[task.target_rows()] + 10 * images[[task.rows[q.reference] for q in task.queries]]
    )
    figures = VAL.score(task, Vectors(images, _unit(queries)), {}).metrics
    assert set(figures.values()) == {100.0}  # the reference, which scores best, is no candidate


def test_a_real_system_runs_and_a_broken_picture_is_left_out(root: Path) -> None:
    (root / "dev/dev-0-2-img0.png").write_bytes(b"no picture")
    (root / "dev/dev-1-0-img0.png").unlink()
    result = VAL.run(HistogramRetriever(), Context(spec="histogram", data_root=root))
    assert result.shrunken
    assert set(result.missing) == {"dev-0-2-img0", "dev-1-0-img0"}
    assert "not a picture" in result.missing["dev-0-2-img0"]
    assert "no file" in result.missing["dev-1-0-img0"]
    assert result.counts["gallery"] == 6 * SETS - 2
    # each is a reference once and a target once
    assert result.counts["queries left out"] == 4
    assert result.counts["truncated texts"] is None
    assert result.retriever == {"spec": "histogram", "fingerprint": "histogram-1"}
    with pytest.raises(ValueError, match="submission would lack"):
        VAL.run(HistogramRetriever(), Context(data_root=root, submission=root / "up"))
    for file in (root / "dev").iterdir():
        file.unlink()
    with pytest.raises(FileNotFoundError, match="none of the 18 pictures of the gallery is there"):
        VAL.run(HistogramRetriever(), Context(data_root=root))


def test_a_submission_scores_as_the_vectors_do(root: Path, tmp_path: Path) -> None:
    task = VAL.load(root, {})
    for seed in range(3):
        vectors = _random(task, seed)
        own = VAL.score(task, vectors, {}).metrics
        paths = _written(VAL.submission(task, vectors), tmp_path)
        result = SUBMISSION.score_predictions(paths, Context(data_root=root))
        assert result.metrics == pytest.approx(own)
        assert result.primary == MEAN
        one = SUBMISSION.score_predictions(paths[:1], Context(data_root=root))
        assert set(one.metrics) == {"R@1", "R@5", "R@10", "R@50"}


def test_a_submission_to_the_server_has_its_format(root: Path, tmp_path: Path) -> None:
    result = TEST1.run(HistogramRetriever(), Context(data_root=root, submission=tmp_path / "up"))
    assert result.metrics == {}
    recall, subset = (
        json.loads((tmp_path / "up" / name).read_text())
        for name in ("recall.json", "recall_subset.json")
    )
    assert (recall.pop("version"), recall.pop("metric")) == ("rc2", "recall")
    assert (subset.pop("version"), subset.pop("metric")) == ("rc2", "recall_subset")
    for query in TEST1.load(root, {}).queries:
        assert len(recall[query.id]) == min(50, 6 * SETS - 1)
        assert len(subset[query.id]) == 3
        assert query.reference not in recall[query.id] + subset[query.id]
        assert set(subset[query.id]) <= set(query.members)
    files = [tmp_path / "up/recall.json"]
    scored = SUBMISSION.score_predictions(files, Context(data_root=root))
    assert scored.metrics == {}
    assert any("not public" in note for note in scored.notes)
    with pytest.raises(ValueError, match="give --submission"):
        TEST1.run(HistogramRetriever(), Context(data_root=root))


def _drop_first(lists: dict) -> None:
    del lists["0"]


def _repeat(lists: dict) -> None:
    lists["3"][1] = lists["3"][0]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda s: s.update(version="rc1"), "version 'rc1'; expected 'rc2'"),
        (lambda s: s.update(metric="R@5"), "metric 'R@5'; expected 'recall'"),
        (lambda s: s.pop("metric"), "no key 'metric'"),
        (_drop_first, "pairid 0: no list"),
        (lambda s: s.update({"99": []}), "key '99' is no pairid of val"),
        (_repeat, "pairid 3, place 1: .* stands twice"),
        (
            lambda s: s["4"].__setitem__(2, "dev-9-9-img0"),
            "pairid 4, place 2: .* not in the galler",
        ),
        (lambda s: s["4"].__setitem__(2, "dev-0-0-img0.png"), "names have no .png"),
        (lambda s: s["1"].__setitem__(0, "dev-0-1-img0"), "is the reference; leave it out"),
        (lambda s: s["2"].pop(), "pairid 2: 16 pictures, expected 17"),
        (lambda s: s.update({"5": "dev-0-1-img0"}), "'5' is 'dev-0-1-img0'; expected a list"),
    ],
)
def test_what_the_server_would_refuse_is_refused(
    edit, message: str, root: Path, tmp_path: Path
) -> None:
    task = VAL.load(root, {})
    path = _written(VAL.submission(task, _random(task)), tmp_path)[0]
    change(path, edit)
    with pytest.raises(ValueError, match=message) as error:
        SUBMISSION.score_predictions([path], Context(data_root=root))
    assert str(path) in str(error.value)


def test_a_key_that_stands_twice_is_refused(root: Path, tmp_path: Path) -> None:
    path = tmp_path / "twice.json"
    path.write_text('{"version": "rc2", "metric": "recall", "0": [], "0": []}')
    with pytest.raises(ValueError, match="key '0' stands twice"):
        SUBMISSION.score_predictions([path], Context(data_root=root))
    path.write_text('{"version": "rc2",\n "metric": ')
    with pytest.raises(ValueError, match="line 2"):
        SUBMISSION.score_predictions([path], Context(data_root=root))


@pytest.mark.parametrize(
    ("file", "edit", "message"),
    [
        ("captions/cap.rc2.val.json", lambda c: c[3].pop("caption"), "row 3: no key 'caption'"),
        ("captions/cap.rc2.val.json", lambda c: c[3].update(pairid="x"), "row 3: 'pairid' is 'x'"),
        (
            "captions/cap.rc2.val.json",
            lambda c: c[3].update(pairid=0),
            "pairid 0 stands in .*row 0",
        ),
        ("captions/cap.rc2.val.json", lambda c: c[3].update(reference="z"), "not in its own img_s"),
        (
            "captions/cap.rc2.val.json",
            lambda c: c[3].update(target_hard="z"),
            "'z' is not in split",
        ),
        ("captions/cap.rc2.val.json", lambda c: c.insert(0, 7), "row 0: expected an object"),
        ("image_splits/split.rc2.val.json", lambda c: c.update(a=1), "'a': 1; expected a path"),
    ],
)
def test_broken_annotations_name_the_file_and_the_row(
    file: str, edit, message: str, root: Path
) -> None:
    change(root / file, edit)
    with pytest.raises(ValueError, match=message) as error:
        VAL.load(root, {})
    assert file.rpartition("/")[2] in str(error.value)


def test_what_is_not_there_is_said_with_the_remedy(root: Path, tmp_path: Path) -> None:
    (root / "image_splits/split.rc2.val.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks image_splits/.*cirr_dataset"):
        VAL.load(root, {})
    with pytest.raises(FileNotFoundError, match="needs --data-root"):
        VAL.load(None, {})
    with pytest.raises(FileNotFoundError, match="is no folder"):
        VAL.load(tmp_path / "nowhere", {})


def test_a_path_out_of_the_data_root_is_refused(root: Path) -> None:
    file = root / "image_splits/split.rc2.val.json"
    change(file, lambda c: c.update({"dev-0-0-img0": "../../secret.png"}))
    with pytest.raises(ValueError, match="leads out of"):
        VAL.run(HistogramRetriever(), Context(data_root=root))


def _random(task: Task, seed: int = 0) -> Vectors:
    rng = np.random.default_rng(seed)
    images, queries = (rng.normal(size=(len(s), 16)) for s in (task.images, task.queries))
    return Vectors(_unit(images), _unit(queries))


def _unit(rows: np.ndarray) -> np.ndarray:
    unit: np.ndarray = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return unit


def _written(files, folder: Path) -> list[Path]:
    paths = []
    for name, content in files.items():
        paths.append(folder / name)
        paths[-1].write_text(json.dumps(content))
    return paths
