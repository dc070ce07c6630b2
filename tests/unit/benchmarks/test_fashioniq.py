"""Fashion IQ, one turn: the four protocols, official counts, a plain implementation, bad files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from chatsearcher.benchmarks import BENCHMARKS, SUITES, Context
from chatsearcher.benchmarks.fashioniq.files import CATEGORIES, Pair, read_split
from chatsearcher.benchmarks.fashioniq.single import (
    MEAN,
    PROTOCOLS,
    FashionIQ,
    suite_result,
    texts,
)
from chatsearcher.benchmarks.vectors import Vectors
from tests.fixtures.miniatures.fashioniq import Alike, asin, make

SHARED = Path(__file__).resolve().parents[4] / "shared/data/benchmarks/fashion_iq"
needs_shared = pytest.mark.skipif(
    not SHARED.is_dir(), reason="no ../shared: the official files lie there"
)


def random_vectors(task, seed: int) -> Vectors:
    rng = np.random.default_rng(seed)
    images, queries = (rng.normal(size=(n, 5)) for n in (len(task.images), len(task.queries)))
    images /= np.linalg.norm(images, axis=1, keepdims=True)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    images[1] = images[2]  # the first target has a twin
    return Vectors(images, queries)


def plainly(task, asked: np.ndarray, targets: list[str], images: np.ndarray) -> dict[str, float]:
    hits: dict[int, int] = {10: 0, 50: 0}
    for vector, target in zip(asked, targets, strict=True):
        scores = [float(vector @ image) for image in images]
        own = scores[task.images.index(target)]
        rank = sum(score >= own - 1e-12 for score in scores)  # itself among them; ties ahead
        for k in hits:
            hits[k] += rank <= k
    recall = {f"R@{k}": 100 * count / len(targets) for k, count in hits.items()}
    return recall | {MEAN: sum(recall.values()) / 2}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_figures_agree_with_plain_counting(tmp_path: Path, protocol) -> None:
    benchmark = FashionIQ("dress", protocol)
    task = benchmark.load(make(tmp_path), {})
    for seed in range(4):
        vectors = random_vectors(task, seed)
        expected = plainly(
            task, vectors.queries, [query.targets[0] for query in task.queries], vectors.images
        )
        assert benchmark.score(task, vectors, {}).metrics == pytest.approx(expected, abs=1e-9)


def test_the_two_orders_can_be_averaged(tmp_path: Path) -> None:
    benchmark = FashionIQ("dress", "both-orders")
    task = benchmark.load(make(tmp_path), {"average": "yes"})
    vectors = random_vectors(task, 5)
    mean = (vectors.queries[0::2] + vectors.queries[1::2]) / 2
    targets = [query.targets[0] for query in task.queries[0::2]]
    expected = plainly(task, mean, targets, vectors.images)  # no direction changes by its length
    figures = benchmark.score(task, vectors, {"average": "yes"})
    assert figures.metrics == pytest.approx(expected, abs=1e-9)
    assert figures.settings == {"average": True}
    with pytest.raises(ValueError, match="average='maybe'; expected yes or no"):
        benchmark.load(tmp_path, {"average": "maybe"})


def test_each_protocol_has_its_words() -> None:
    pair = Pair("a", "b", (" is Shiny, and SILVER.", "Fit and Flare?"), "here")
    assert list(texts(pair, "paper")) == [(0, "is Shiny, and SILVER."), (1, "Fit and Flare?")]
    # CLIP4Cir's join writes the rest of the first caption small: Python's capitalize
    assert list(texts(pair, "joined")) == [(0, "Is shiny, and silver and Fit and Flare")]
    assert list(texts(pair, "both-orders")) == [
        (0, " is Shiny, and SILVER. and Fit and Flare?"),
        (1, "Fit and Flare? and  is Shiny, and SILVER."),
    ]
    empty = Pair("a", "b", (" ", "longer"), "here")
    assert list(texts(empty, "val-pool")) == [(1, "longer")]
    assert list(texts(empty, "paper")) == [(0, ""), (1, "longer")]


def test_the_reference_stays_a_candidate_and_the_pool_is_that_of_the_pairs(tmp_path: Path) -> None:
    root = make(tmp_path)
    whole, pool = (FashionIQ("shirt", name).load(root, {}) for name in ("paper", "val-pool"))
    assert not any(query.exclude for query in (*whole.queries, *pool.queries))
    assert {query.reference for query in whole.queries} <= set(whole.images)
    assert asin("shirt", "val", 0) in whole.images
    assert asin("shirt", "val", 0) not in pool.images
    assert len(pool.queries) == len(whole.queries) - 1
    assert pool.facts["empty captions"] == 1


def test_the_suite_is_the_mean_over_the_categories(tmp_path: Path) -> None:
    root = make(tmp_path)
    results = [
        BENCHMARKS[n].run(Alike(), Context(data_root=root)) for n in SUITES["fashioniq-joined"]
    ]
    joint = suite_result("fashioniq-joined", results)
    assert joint.primary == MEAN
    for name, value in joint.metrics.items():
        assert value == pytest.approx(sum(each.metrics[name] for each in results) / 3)
    assert any("not the official data" in note for note in results[0].notes)


@needs_shared
@pytest.mark.parametrize("category", CATEGORIES)
def test_official_counts(category: str) -> None:
    for protocol in PROTOCOLS:
        benchmark = FashionIQ(category, protocol)
        task = benchmark.load(SHARED, {})
        sizes = benchmark.card.sizes
        assert (len(task.queries), len(task.images)) == (sizes["queries"], sizes["gallery"])
    official = {
        "dress": (4_034, 2_017, 4_034, 4_034, 3_817, 2_628, 3_818),
        "shirt": (4_076, 2_038, 4_076, 4_075, 6_346, 3_089, 6_346),
        "toptee": (3_922, 1_961, 3_922, 3_920, 5_373, 2_902, 5_374),
    }[category]
    sizes = [FashionIQ(category, protocol).card.sizes for protocol in PROTOCOLS]
    assert tuple(each["queries"] for each in sizes) == official[:4]
    assert [each["gallery"] for each in sizes] == [official[4]] * 3 + [official[5]]
    empty = {"dress": (0, 0, 0), "shirt": (0, 1, 1), "toptee": (12, 2, 0)}[category]
    listed = {"dress": 11_452, "shirt": 19_036, "toptee": 16_121}[category]
    for split, count in zip(("train", "val", "test"), empty, strict=True):  # 16 in all
        rows = json.loads((SHARED / f"captions/cap.{category}.{split}.json").read_text())
        assert sum(not text.strip() for row in rows for text in row["captions"]) == count
    assert len(read_split(SHARED / f"image_splits/split.{category}.train.json")) == listed
    tested = read_split(SHARED / f"image_splits/split.{category}.test.json")
    assert len(tested) == official[6]
    assert BENCHMARKS[f"fashioniq-dialogue-{category}"].card.sizes["gallery"] == official[6]


def test_bad_files_name_the_row_and_the_remedy(tmp_path: Path) -> None:
    root = make(tmp_path)
    file = root / "captions/cap.dress.val.json"
    listed = root / "image_splits/split.dress.val.json"
    good, names = json.loads(file.read_text()), json.loads(listed.read_text())
    benchmark = FashionIQ("dress", "paper")

    def broken(message: str, kind: type[Exception] = ValueError, **change) -> None:
        row = {**good[2], **change}
        row = {key: each for key, each in row.items() if each is not None}
        file.write_text(json.dumps([*good[:2], row, *good[3:]]))
        with pytest.raises(kind, match=message):
            benchmark.load(root, {})

    broken(r"cap.dress.val.json, row 2: no target; .* use val", target=None)
    broken(r"row 2: 1 captions; expected two", captions=["a"])
    broken(r"row 2: 'captions'\[1\] is 3", captions=["a", 3])
    broken(r"row 2: 'elsewhere' is not in split.dress.val.json", target="elsewhere")
    broken(r"row 2: no key 'candidate'", candidate=None)
    file.write_text("[")
    with pytest.raises(ValueError, match="line 1, column 2: no JSON"):
        benchmark.load(root, {})
    file.write_text(json.dumps(good))
    listed.write_text(json.dumps([*names, names[4]]))
    with pytest.raises(ValueError, match=r"row 60: 'BDV0004' stands in row 4 too"):
        benchmark.load(root, {})
    listed.unlink()
    with pytest.raises(FileNotFoundError, match="XiaoxiaoGuo/fashion-iq"):
        benchmark.load(root, {})


def test_pictures_that_are_gone_are_counted_by_a_system_that_looks(tmp_path: Path) -> None:
    root = make(tmp_path)
    lost = asin("toptee", "val", 2)  # the first pair's target
    (root / f"images/{lost}.png").unlink()
    result = FashionIQ("toptee", "joined").run(Alike(), Context(data_root=root))
    assert result.shrunken
    assert list(result.missing) == [lost]
    assert result.counts["queries left out"] == 1
    assert any(note.startswith("shrunken: 1 of 60 pictures") for note in result.notes)
