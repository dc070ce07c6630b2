from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatsearcher.benchmarks import metrics


def test_recall_closed_form() -> None:
    ranks = np.array([1, 2, 5, 6, 11])
    assert metrics.recall_at(ranks, 1) == 1 / 5
    assert metrics.recall_at(ranks, 5) == 3 / 5
    assert metrics.recall_at(ranks, 10) == 4 / 5
    assert metrics.mean_recall(ranks) == pytest.approx((1 + 3 + 4) / 15)
    assert metrics.mean_rank(ranks) == 5
    expected = (1 + 1 / 2 + 1 / 5 + 1 / 6 + 1 / 11) / 5
    assert metrics.mean_reciprocal_rank(ranks) == pytest.approx(expected)


def test_cumulative_hits_keep_an_early_hit() -> None:
    ranks = np.array([[20, 3, 50], [1, 40, 40], [99, 99, 10]])
    assert metrics.hits_at(ranks, 10).tolist() == pytest.approx([1 / 3, 2 / 3, 1.0])
    assert metrics.recall_at(ranks[:, 2], 10) == pytest.approx(1 / 3)


def test_bri_closed_form() -> None:
    # 0-based best ranks 9, 4, 4: the area under their logs over two steps.
    expected = ((math.log(10) + math.log(5)) / 2 + math.log(5)) / 2
    areas = metrics.best_log_rank_areas(np.array([[10, 5, 7], [1, 1, 1]]))
    assert areas.tolist() == pytest.approx([expected, 0.0])


def test_ranks_from_zero_are_refused() -> None:
    with pytest.raises(ValueError, match="1-based"):
        metrics.recall_at(np.array([0, 1]), 1)
    with pytest.raises(ValueError, match="nothing to average"):
        metrics.recall_at(np.array([], dtype=int), 1)


def test_bootstrap_agrees_with_the_normal_interval() -> None:
    values = np.repeat([0.0, 1.0], [600, 400])
    found = metrics.bootstrap(values, resamples=20_000)
    half = 1.96 * math.sqrt(0.4 * 0.6 / 1000)
    assert found.mean == pytest.approx(0.4)
    assert found.low == pytest.approx(0.4 - half, abs=0.003)
    assert found.high == pytest.approx(0.4 + half, abs=0.003)
    assert metrics.bootstrap(values) == metrics.bootstrap(values)
    assert metrics.bootstrap(np.full(9, 0.25)) == metrics.Interval(0.25, 0.25, 0.25)


def test_bootstrap_draws_each_query_whole() -> None:
    pairs = np.array([[0.0, 1.0]] * 50)
    found = metrics.bootstrap(pairs)
    assert (found.low, found.high) == pytest.approx((0.5, 0.5))
    with pytest.raises(ValueError, match="finite"):
        metrics.bootstrap(np.array([0.1, np.nan]))


def test_balanced_accuracy_closed_form() -> None:
    truth = np.array([1, 1, 1, 1, 0, 0], bool)
    said = np.array([1, 1, 1, 0, 0, 1], bool)
    assert metrics.balanced_accuracy(truth, said) == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert metrics.balanced_accuracy(truth, np.ones(6, bool)) == 0.5
    with pytest.raises(ValueError, match="both kinds"):
        metrics.balanced_accuracy(np.ones(3, bool), np.ones(3, bool))


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(-5, 5)), min_size=2, max_size=30))
def test_the_best_threshold_is_the_best(cases: list[tuple[bool, int]]) -> None:
    truth = np.array([kind for kind, _ in cases])
    scores = np.array([score for _, score in cases], dtype=float)
    if truth.all() or not truth.any():
        with pytest.raises(ValueError, match="both kinds"):
            metrics.best_threshold(truth, scores)
        return
    threshold, accuracy = metrics.best_threshold(truth, scores)
    assert metrics.balanced_accuracy(truth, scores >= threshold) == pytest.approx(accuracy)
    for other in np.arange(-6, 7) - 0.5:
        assert metrics.balanced_accuracy(truth, scores >= other) <= accuracy + 1e-12
