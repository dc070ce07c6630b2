"""Exact search is plain float64 arithmetic, whatever the matrix product does."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from chatsearcher.index import INDEXES, Index, make_index
from chatsearcher.index import exact as exact_module
from chatsearcher.index.exact import ExactIndex
from chatsearcher.index.ties import settle

Found = tuple[np.ndarray, np.ndarray]


def brute_force(
    vectors: np.ndarray, queries: np.ndarray, k: int, metric: str, exclude: Any = None
) -> Found:
    """An independent answer: float64, rounded to float32, sorted by (-score, row)."""
    scores = np.full((len(queries), k), -np.inf, np.float32)
    rows = np.full((len(queries), k), -1, np.int64)
    for number, query in enumerate(queries.astype(np.float64)):
        found = []
        for row, vector in enumerate(vectors.astype(np.float64)):
            if exclude is not None and row in exclude[number]:
                continue
            value = (
                query @ vector if metric == "cosine" else -np.sqrt(((query - vector) ** 2).sum())
            )
            found.append((-np.float32(value), row))
        for place, (score, row) in enumerate(sorted(found)[:k]):
            scores[number, place], rows[number, place] = -score, row
    return scores, rows


# Coordinates of few values make many exact ties; signed unit axes are of length one.
GRID = st.integers(-2, 2).map(float)


@st.composite
def problems(draw: st.DrawFn, metric: str) -> tuple[np.ndarray, np.ndarray, int, list[set[int]]]:
    rows, width, queries = (
        draw(st.integers(0, 40)),
        draw(st.integers(1, 5)),
        draw(st.integers(1, 4)),
    )
    if metric == "l2":
        vectors = draw(arrays.arrays(np.float32, (rows, width), elements=GRID))
        asked = draw(arrays.arrays(np.float32, (queries, width), elements=GRID))
    else:
        axes = np.concatenate([np.eye(width), -np.eye(width)]).astype(np.float32)
        picks = st.integers(0, 2 * width - 1)
        vectors = axes[draw(arrays.arrays(np.int64, rows, elements=picks))]
        asked = axes[draw(arrays.arrays(np.int64, queries, elements=picks))]
    exclude = [draw(st.sets(st.integers(0, 45), max_size=45)) for _ in range(queries)]
    return vectors, asked, draw(st.integers(1, 50)), exclude


@pytest.mark.parametrize("metric", ["cosine", "l2"])
@given(data=st.data())
@settings(deadline=None, max_examples=50)
def test_equals_brute_force_with_ties_and_exclusions(metric: Any, data: st.DataObject) -> None:
    vectors, queries, k, exclude = data.draw(problems(metric))
    got = ExactIndex(vectors, metric).search(queries, k, exclude)
    expected = brute_force(vectors, queries, k, metric, exclude)
    np.testing.assert_array_equal(got[1], expected[1])
    np.testing.assert_array_equal(got[0], expected[0])


@pytest.mark.parametrize("metric", ["cosine", "l2"])
@pytest.mark.parametrize("number", [1, 3])
def test_equals_brute_force_over_many_blocks(
    metric: Any, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exact_module, "BLOCK_SCORES", 4096)
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((9_001, 24)).astype(np.float32)
    vectors[rng.integers(0, 9_001, 3_000)] = vectors[17]  # thousands of equal rows
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    queries = np.concatenate([vectors[17:18], vectors[rng.integers(0, 9_001, number)]])
    exclude = [set(range(0, 9_001, 3)) for _ in queries]
    got = ExactIndex(vectors, metric).search(queries, 40, exclude)
    expected = brute_force(vectors, queries, 40, metric, exclude)
    np.testing.assert_array_equal(got[1], expected[1])
    np.testing.assert_allclose(got[0], expected[0], rtol=0, atol=1e-7)


def test_near_equals_are_ordered_by_float64_not_by_the_product() -> None:
    # 5,000 vectors within the rounding of a float32 product of one another.
    rng = np.random.default_rng(2)
    middle = rng.standard_normal(256)
    vectors = (middle + 1e-7 * rng.standard_normal((5_000, 256))).astype(np.float32)
    query = middle[None].astype(np.float32)
    index = ExactIndex(vectors, "l2")
    got = index.search(query, 10)
    expected = brute_force(vectors, query, 10, "l2")
    np.testing.assert_array_equal(got[1], expected[1])


def test_distances_survive_a_far_origin() -> None:
    """|q|² + |v|² - 2qv would lose every digit here."""
    vectors = (10_000 + np.arange(200, dtype=np.float32) / 8)[:, None] * np.ones((1, 8), np.float32)
    got = ExactIndex(vectors, "l2").search(vectors[100:101], 3)
    assert got[1].tolist() == [[100, 99, 101]]
    np.testing.assert_allclose(got[0], [[0, -(8**0.5) / 8, -(8**0.5) / 8]], rtol=1e-6)


def test_a_loose_matrix_precision_changes_nothing() -> None:
    rng = np.random.default_rng(3)
    vectors, queries = rng.standard_normal((3_000, 64)), rng.standard_normal((5, 64))
    before = ExactIndex(vectors).search(queries, 10)
    torch.set_float32_matmul_precision("medium")
    try:
        after = ExactIndex(vectors).search(queries, 10)
    finally:
        torch.set_float32_matmul_precision("highest")
    np.testing.assert_array_equal(before[1], after[1])
    np.testing.assert_array_equal(before[0], after[0])


def test_cosine_ignores_length() -> None:
    rng = np.random.default_rng(4)
    vectors, queries = rng.standard_normal((50, 6)), rng.standard_normal((3, 6))
    lengths = rng.uniform(0.01, 100, (50, 1))
    one = ExactIndex(vectors).search(queries, 5)
    other = ExactIndex(vectors * lengths).search(queries * 7, 5)
    np.testing.assert_array_equal(one[1], other[1])
    np.testing.assert_allclose(one[0], other[0], atol=2e-7)
    assert np.abs(one[0]).max() <= 1 + 1e-6


@pytest.mark.parametrize("name", ["exact", "faiss"])
@pytest.mark.parametrize(
    ("spoil", "metric", "match"),
    [
        (np.nan, "cosine", "row 3 of 8 vectors is not finite"),
        (np.inf, "l2", "row 3 of 8 vectors is not finite"),
        (0.0, "cosine", "row 3 of 8 vectors is zero"),
    ],
)
def test_vectors_without_a_place_are_refused(
    name: str, spoil: float, metric: Any, match: str
) -> None:
    if name == "faiss":
        pytest.importorskip("faiss")
    vectors = np.ones((8, 4), np.float32)
    vectors[3] = spoil
    with pytest.raises(ValueError, match=match):
        make_index(name, vectors, metric)
    good = make_index(name, np.ones((8, 4)), metric)
    with pytest.raises(ValueError, match="not finite"):
        good.search(np.full((1, 4), np.nan), 1)
    with pytest.raises(ValueError, match="width 3; the index holds width 4"):
        good.search(np.ones((1, 3)), 1)
    with pytest.raises(ValueError, match="k = 0"):
        good.search(np.ones((1, 4)), 0)
    with pytest.raises(ValueError, match="2 sets of excluded rows for 1 queries"):
        good.search(np.ones((1, 4)), 1, [set(), set()])


def test_names() -> None:
    with pytest.raises(ValueError, match="did you mean 'exact'"):
        make_index("exakt", np.ones((1, 2)))
    with pytest.raises(ValueError, match="unknown metric 'dot'"):
        make_index("exact", np.ones((1, 2)), "dot")  # type: ignore[arg-type]


def test_settle_breaks_ties_by_the_lower_row_and_fills_up() -> None:
    scores = np.array([[1.0, 2.0, 2.0, np.nan, 1.0]], np.float32)
    rows = np.array([[7, 9, 4, -1, 3]])
    got = settle(scores, rows, 7)
    assert got[1].tolist() == [[4, 9, 3, 7, -1, -1, -1]]
    assert got[0].tolist() == [[2.0, 2.0, 1.0, 1.0, -np.inf, -np.inf, -np.inf]]


@pytest.fixture(params=["faiss", "milvus"])
def build(request: pytest.FixtureRequest, tmp_path: Any) -> Callable[..., Index]:
    package = {"faiss": "faiss", "milvus": "pymilvus"}[request.param]
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    options = {"address": tmp_path / "vectors.db"} if request.param == "milvus" else {}
    return lambda vectors, metric: make_index(request.param, vectors, metric, **options)


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_the_way_up_agrees_with_exact(build: Callable[..., Index], metric: Any) -> None:
    rng = np.random.default_rng(5)
    vectors = rng.standard_normal((500, 16)).astype(np.float32)
    vectors[100] = vectors[200] = vectors[50]
    queries = np.concatenate([vectors[50:51], rng.standard_normal((3, 16)).astype(np.float32)])
    exclude = [{100}, set(), set(range(250)), {1}]
    index = build(vectors, metric)
    assert isinstance(index, Index)
    got = index.search(queries, 12, exclude)
    expected = ExactIndex(vectors, metric).search(queries, 12, exclude)
    np.testing.assert_array_equal(got[1], expected[1])
    np.testing.assert_allclose(got[0], expected[0], atol=1e-6)
    assert got[1][0, :2].tolist() == [50, 200]


def test_a_stored_faiss_index_is_read_only_for_its_own_vectors(tmp_path: Any) -> None:
    pytest.importorskip("faiss")
    rng = np.random.default_rng(6)
    vectors, others = rng.standard_normal((2, 300, 8)).astype(np.float32)
    file = tmp_path / "index.faiss"
    make_index("faiss", vectors, file=file)
    written = file.read_bytes()
    make_index("faiss", vectors, file=file)
    assert file.read_bytes() == written
    changed = vectors.copy()
    changed[7] = others[7]  # one row of 300
    got = make_index("faiss", changed, file=file).search(others[7:8], 1)
    assert got[1].tolist() == [[7]]
    assert file.read_bytes() != written


@pytest.mark.parametrize(("name", "package"), [("faiss", "faiss"), ("milvus", "pymilvus")])
def test_a_missing_package_names_its_extra(
    name: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"chatsearcher\[{name}\]"):
        make_index(name, np.ones((2, 2)))
    assert name in INDEXES
