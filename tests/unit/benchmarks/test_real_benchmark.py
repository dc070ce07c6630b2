"""Recall on real pictures beside chance: closed forms, and a system that knows colours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImages

from chatsearcher.benchmarks import BENCHMARKS, Context
from chatsearcher.benchmarks.real import REAL
from chatsearcher.benchmarks.sheet import draw, first_found
from chatsearcher.benchmarks.single_query import GalleryVectors
from chatsearcher.benchmarks.tuning import tune
from tests.fixtures.histogram import HistogramRetriever
from tests.fixtures.real_shards import PER_SPLIT, write_images

GREEN = (0, 150, 60)


@pytest.fixture(autouse=True)
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CHATSEARCHER_IMAGES", str(tmp_path / "images"))
    return write_images(tmp_path / "images")


def test_chance_is_that_of_each_querys_own_candidates() -> None:
    figures = BENCHMARKS["real-openstax"].run(HistogramRetriever()).metrics
    # ten queries have 12 candidates, the two near-duplicates 11 each
    assert figures["R@1 by chance"] == pytest.approx(100 * (10 / 12 + 2 / 11) / 12)
    assert figures["R@10 by chance"] == pytest.approx(100 * (10 * 10 / 12 + 2 * 10 / 11) / 12)
    assert "beats neighbours" not in figures


def test_who_knows_colours_finds_one_picture_of_each_family() -> None:
    result = BENCHMARKS["real-openmoji"].run(HistogramRetriever(), Context(spec="histogram"))
    families = PER_SPLIT["test"] // 6
    assert result.counts["gallery"] == 6 * families
    assert result.metrics["R@5"] > 85 > result.metrics["R@5 by chance"]
    assert result.metrics["beats neighbours by chance"] == pytest.approx(100 / 6)
    assert result.metrics["beats neighbours"] == pytest.approx(100 * 6 / 7)  # not "ash"
    assert "CC BY-SA 4.0" in result.settings["attribution"]
    assert result.retriever["spec"] == "histogram"


def test_edits_count_the_reference_for_nobody() -> None:
    result = BENCHMARKS["real-edits"].run(HistogramRetriever())
    assert result.counts["candidates, fewest"] == PER_SPLIT["test"] - 1
    assert result.metrics["beats neighbours by chance"] == pytest.approx(100 / 5)
    assert result.metrics["beats neighbours"] == 100


def test_tuning_reads_the_validation_twin() -> None:
    class Blind(HistogramRetriever):
        def encode_queries(self, dialogues):
            return np.eye(1, self.embedding_dim, dtype=np.float32).repeat(len(dialogues), 0)

    found = tune({"blind": Blind(), "sees": HistogramRetriever()}, "real-edits")
    assert found.options == "sees"
    assert found.test.benchmark == "real-edits"


def test_a_sheet_frames_the_target_where_it_was_found() -> None:
    queries = BENCHMARKS["real-edits"].queries()
    retriever, load = HistogramRetriever(), REAL["pictures"]
    rows = first_found(retriever, queries, queries.queries[:2], load, GalleryVectors(), k=3)
    for row in rows:
        assert len(row.found) == 3
        assert not row.query.exclude & set(row.found)
        assert row.query.target in row.found
    page = draw("title", rows, load, REAL["attribution"])
    assert isinstance(page, PILImages.Image)
    assert _green(page) > 0
    missed = [type(row)(row.query, ()) for row in rows]
    assert _green(draw("title", missed, load)) == 0


def _green(page: PILImages.Image) -> int:
    return int((np.asarray(page) == GREEN).all(-1).sum())


def test_who_gives_everything_the_same_score_finds_nothing() -> None:
    class Constant(HistogramRetriever):
        def encode_images(self, images):
            return np.eye(1, self.embedding_dim, dtype=np.float32).repeat(len(images), 0)

    for name in ("real-openstax", "real-openmoji", "real-edits"):
        figures = BENCHMARKS[name].run(Constant()).metrics
        assert figures["R@10"] == 0 < figures["R@10 by chance"]
        assert figures.get("beats neighbours", 0) == 0
