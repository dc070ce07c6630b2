from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PILImages

from chatsearcher.benchmarks.calibration import (
    best_scores,
    calibrate,
    choose_threshold,
    separation,
)
from chatsearcher.dialogue import Dialogue


@dataclass(frozen=True)
class ToyQuery:
    id: str
    dialogue: Dialogue
    target: str
    exclude: frozenset[str]
    neighbours: tuple[str, ...]


@dataclass(frozen=True)
class ToySet:
    name: str
    gallery: tuple[str, ...]
    queries: tuple[ToyQuery, ...]


class OneHot:
    """Picture n is direction n; neighbours 2k and 2k + 1 are at a cosine of 0.8."""

    embedding_dim = 8
    metric = "cosine"
    fingerprint = "one-hot"

    def vectors(self, numbers):
        axes = np.eye(8, dtype=np.float32)
        pairs = [axes[n] if n % 2 == 0 else 0.8 * axes[n - 1] + 0.6 * axes[n] for n in numbers]
        return np.stack(pairs)

    def encode_images(self, images):
        return self.vectors([image.getpixel((0, 0))[0] for image in images])

    def encode_queries(self, dialogues):
        return self.vectors([int(dialogue.text) for dialogue in dialogues])


def load(name: str) -> PILImages.Image:
    return PILImages.new("RGB", (1, 1), (int(name), 0, 0))


def test_absent_means_without_the_target_and_its_neighbours(tmp_path: Path) -> None:
    gallery = tuple(str(n) for n in range(8))
    queries = tuple(
        ToyQuery(n, Dialogue().user(n), n, frozenset(), (str(int(n) ^ 1),)) for n in gallery
    )
    found = calibrate(OneHot(), [ToySet("toy", gallery, queries)], load)
    # Present queries score 1; with neighbours gone too, the rest scores 0.
    assert found.no_match_threshold == pytest.approx(0.5)
    assert (found.refused, found.detected, found.separation) == (0.0, 1.0, 1.0)
    assert found.write(tmp_path).read_text().count("no_match_threshold") == 1


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_best_scores_equal_brute_force(metric: str) -> None:
    rng = np.random.default_rng(0)
    queries, gallery = rng.normal(size=(7, 4)), rng.normal(size=(11, 4))
    exclude = [{1, 2}, set(), {0}, {10}, {3, 4, 5}, set(), {7}]
    if metric == "cosine":
        scores = queries @ gallery.T
    else:
        scores = -((queries[:, None] - gallery[None]) ** 2).sum(-1)
    expected = [
        max(s for i, s in enumerate(row) if i not in out)
        for row, out in zip(scores, exclude, strict=True)
    ]
    found = best_scores(queries, gallery, exclude, metric, block=3)
    np.testing.assert_allclose(found, expected, atol=1e-9)


@settings(max_examples=100, deadline=None)
@given(
    present=st.lists(st.integers(0, 9), min_size=1, max_size=20),
    absent=st.lists(st.integers(0, 9), min_size=1, max_size=20),
    most=st.sampled_from([0.0, 0.05, 0.3]),
)
def test_the_threshold_is_the_best_of_those_allowed(
    present: list[int], absent: list[int], most: float
) -> None:
    there, gone = np.array(present, dtype=float), np.array(absent, dtype=float)

    def gain(threshold: float) -> float:
        refused = (there < threshold).mean()
        return (gone < threshold).mean() - refused if refused <= most else -np.inf

    chosen = choose_threshold(there, gone, most)
    assert gain(chosen) == pytest.approx(max(gain(t) for t in np.arange(0, 10) - 0.5))
    by_pairs = np.mean([(p > a) + 0.5 * (p == a) for p in present for a in absent])
    assert separation(there, gone) == pytest.approx(by_pairs)


def test_scores_that_mean_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        choose_threshold(np.array([1.0, np.nan]), np.array([0.0]), 0.05)
    with pytest.raises(ValueError, match="present and absent"):
        choose_threshold(np.array([]), np.array([0.0]), 0.05)
