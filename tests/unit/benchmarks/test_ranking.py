from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatsearcher.benchmarks.ranking import (
    beats_all,
    ranks_among,
    relevant_ranks,
    target_ranks,
)


def scores_of(queries: np.ndarray, gallery: np.ndarray, metric: str) -> np.ndarray:
    if metric == "cosine":
        return queries.astype(np.float64) @ gallery.astype(np.float64).T
    difference = queries[:, None].astype(np.float64) - gallery[None].astype(np.float64)
    return -(difference**2).sum(-1)


def brute_rank(scores: np.ndarray, target: int, exclude: set[int]) -> int:
    rivals = [
        s
        for i, s in enumerate(scores)
        if i != target and i not in exclude and s >= scores[target] - 1e-9
    ]
    return 1 + len(rivals)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    metric=st.sampled_from(["cosine", "l2"]),
    gallery_block=st.integers(1, 40),
    query_block=st.integers(1, 9),
    copies=st.booleans(),
)
def test_ranks_equal_brute_force_for_any_block_size(
    seed: int, metric: str, gallery_block: int, query_block: int, copies: bool
) -> None:
    rng = np.random.default_rng(seed)
    gallery = rng.normal(size=(31, 5)).astype(np.float32)
    if copies:
        gallery[10:20] = gallery[:10]
    queries = rng.normal(size=(8, 5)).astype(np.float32)
    targets = rng.integers(0, 31, 8)
    exclude = [set(rng.integers(0, 31, 6).tolist()) - {int(t)} for t in targets]
    ranks = target_ranks(
        queries,
        gallery,
        targets,
        metric=metric,  # type: ignore[arg-type]
        exclude=exclude,
        gallery_block=gallery_block,
        query_block=query_block,
    )
    scores = scores_of(queries, gallery, metric)
    expected = [brute_rank(scores[i], int(targets[i]), exclude[i]) for i in range(8)]
    assert ranks.tolist() == expected


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_a_constant_scorer_puts_the_target_last(metric: str) -> None:
    gallery = np.ones((50, 4), dtype=np.float32) / 2
    queries = np.ones((7, 4), dtype=np.float32) / 2
    ranks = target_ranks(queries, gallery, np.arange(7), metric=metric)  # type: ignore[arg-type]
    assert ranks.tolist() == [50] * 7
    wins = beats_all(queries, gallery, np.arange(7), [{20, 21}] * 7, metric=metric)  # type: ignore[arg-type]
    assert not wins.any()


def test_copies_of_the_target_tie_with_it_wherever_they_stand() -> None:
    rng = np.random.default_rng(0)
    target = rng.normal(size=256).astype(np.float32)
    target /= np.linalg.norm(target)
    others = rng.normal(size=(997, 256)).astype(np.float32)
    others /= np.linalg.norm(others, axis=1, keepdims=True)
    gallery = np.concatenate([others[:5], target[None], others[5:900], target[None], others[900:]])
    gallery = np.concatenate([gallery, target[None]])
    query = target[None]
    gallery[[0, 1]] = query  # four further equals in all
    for block in (1, 3, 7, 64, 1000):
        assert target_ranks(query, gallery, [5], gallery_block=block).tolist() == [5]


def test_an_excluded_picture_counts_for_other_queries() -> None:
    gallery = np.eye(3, dtype=np.float32)
    query = np.array([[0.9, 0.4, 0.1]], dtype=np.float32)
    assert target_ranks(query, gallery, [1]).tolist() == [2]
    both = np.repeat(query, 2, axis=0)
    assert target_ranks(both, gallery, [1, 1], exclude=[{0}, set()]).tolist() == [1, 2]


def test_beats_all_needs_a_strict_win_over_every_rival() -> None:
    gallery = np.array([[1.0, 0], [0.8, 0.6], [0.8, 0.6], [0, 1]], dtype=np.float32)
    query = np.array([[1.0, 0.0]], dtype=np.float32)
    assert beats_all(query, gallery, [0], [{1, 2, 3}]).tolist() == [True]
    assert beats_all(query, gallery, [1], [{2}]).tolist() == [False]
    assert beats_all(query, gallery, [1], [{3}]).tolist() == [True]
    assert beats_all(query, gallery, [1], [{0, 3}]).tolist() == [False]
    assert beats_all(query, gallery, [3], [set()]).tolist() == [True]


def test_what_means_nothing_is_refused() -> None:
    gallery, queries = np.eye(3, dtype=np.float32), np.eye(3, dtype=np.float32)
    broken = gallery.copy()
    broken[1, 1] = np.nan
    with pytest.raises(ValueError, match="gallery hold NaN"):
        target_ranks(queries, broken, [0, 1, 2])
    with pytest.raises(ValueError, match="queries hold NaN"):
        target_ranks(broken, gallery, [0, 1, 2])
    with pytest.raises(ValueError, match="own target"):
        target_ranks(queries, gallery, [0, 1, 2], exclude=[{0}, set(), set()])
    with pytest.raises(ValueError, match="outside the gallery"):
        target_ranks(queries, gallery, [0, 1, 3])
    with pytest.raises(ValueError, match="unknown metric"):
        target_ranks(queries, gallery, [0, 1, 2], metric="dot")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="do not fit"):
        target_ranks(queries[:, :2], gallery, [0, 1, 2])


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**31), metric=st.sampled_from(["cosine", "l2"]), ties=st.booleans())
def test_several_right_pictures_rank_behind_equal_wrong_ones(
    seed: int, metric: str, ties: bool
) -> None:
    rng = np.random.default_rng(seed)
    gallery = rng.normal(size=(23, 4)).astype(np.float32)
    if ties:
        gallery[12:] = gallery[:11]
    queries = rng.normal(size=(6, 4)).astype(np.float32)
    relevant = [rng.choice(23, size=int(n), replace=False).tolist() for n in rng.integers(1, 6, 6)]
    exclude = [set(rng.integers(0, 23, 4).tolist()) - set(rows) for rows in relevant]
    found = relevant_ranks(queries, gallery, relevant, metric=metric, exclude=exclude)  # type: ignore[arg-type]
    for row, scores in enumerate(scores_of(queries, gallery, metric)):
        left = [n for n in range(23) if n not in exclude[row]]
        # worst order that the scores allow: among equals (to 1e-9) the wrong ones first
        order = sorted(left, key=lambda n: (-round(scores[n], 9), n in relevant[row]))
        places = [place for place, n in enumerate(order, start=1) if n in relevant[row]]
        assert found[row].tolist() == places


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), metric=st.sampled_from(["cosine", "l2"]))
def test_the_rank_among_a_few_is_that_of_a_gallery_of_them(seed: int, metric: str) -> None:
    rng = np.random.default_rng(seed)
    gallery = rng.normal(size=(20, 4)).astype(np.float32)
    gallery[10] = gallery[3]
    queries = rng.normal(size=(5, 4)).astype(np.float32)
    targets = [0, 3, 3, 10, 19]
    rivals = [set(range(20)) - {t} - set(rng.integers(0, 20, 9).tolist()) for t in targets]
    among = ranks_among(queries, gallery, targets, rivals, metric=metric)  # type: ignore[arg-type]
    for row, (target, others) in enumerate(zip(targets, rivals, strict=True)):
        own = [target, *sorted(others)]
        expected = target_ranks(queries[row : row + 1], gallery[own], [0], metric=metric)  # type: ignore[arg-type]
        assert among[row] == expected[0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_what_float32_cannot_tell_apart_is_told_apart(metric: str, dtype: type) -> None:
    """Candidates around the target closer than a float32 product's rounding, on either side."""
    rng = np.random.default_rng(0)
    width = 768
    query = rng.normal(size=width)
    query /= np.linalg.norm(query)
    side = rng.normal(size=width)
    side -= (side @ query) * query
    side /= np.linalg.norm(side)
    angles = 0.9 + 2e-7 * np.arange(-40, 41)
    gallery = (np.cos(angles)[:, None] * query + np.sin(angles)[:, None] * side).astype(dtype)
    asked = query[None].astype(dtype)
    scores = scores_of(asked, gallery, metric)[0]
    for target in (0, 40, 80):
        rank = target_ranks(asked, gallery, [target], metric=metric)  # type: ignore[arg-type]
        assert rank[0] == 1 + int((scores >= scores[target] - 1e-12).sum()) - 1


def test_a_query_without_a_right_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="query 1 has no right picture"):
        relevant_ranks(np.eye(2, dtype=np.float32), np.eye(2, dtype=np.float32), [[0], []])
