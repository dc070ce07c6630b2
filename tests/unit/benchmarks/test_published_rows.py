"""Published figures: of benchmarks and figures that exist, and as their sources print them."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

import pytest

from chatsearcher.benchmarks import BENCHMARKS, SUITES
from chatsearcher.benchmarks.reporting.published import PublishedRow, rows, sources

SHARED = Path(__file__).resolve().parents[4] / "shared"
PAPERS = {"chatsearch": "chatsearch", "chatir": "chatir", "fashion-iq": "fashion_iq", "dar": "dar"}
NUMBER = re.compile(r"(?<![\d.])\d+(?:\.\d+)?(?![\d])")


def label(row: PublishedRow) -> str:
    return f"{row.benchmark}, {row.system}, {row.where}"


@pytest.mark.parametrize("row", rows(), ids=label)
def test_a_row_is_of_a_benchmark_and_its_own_figures(row: PublishedRow) -> None:
    assert row.source in sources()
    assert row.metrics
    if row.benchmark in SUITES:
        assert set(row.metrics) == {"mean"}
        return
    card = BENCHMARKS[row.benchmark].card
    assert set(row.metrics) <= set(card.metrics)
    for name, points in row.curves.items():
        rounds = card.sizes.get("rounds", card.sizes.get("turns", 0) + 1)
        assert points
        assert all(0 <= number < rounds for number in points)
        assert any(metric.startswith(name) for metric in card.metrics)
    for value in [*row.metrics.values(), *(v for p in row.curves.values() for v in p.values())]:
        assert 0 <= value <= 100


def test_no_row_stands_twice() -> None:
    titles = [label(row) for row in rows()]
    assert len(titles) == len(set(titles))


@lru_cache
def lines(source: str) -> tuple[frozenset[float], ...]:
    """The numbers of each line of the source's text; a table's row is a line."""
    if source in PAPERS:
        file = SHARED / "papers" / f"{PAPERS[source]}.txt"
    else:
        file = SHARED / "facts" / "protocols.md"
    if not file.is_file():
        pytest.skip(f"{file.name} is not beside this checkout")
    text = file.read_text(encoding="utf-8")
    return tuple(frozenset(map(float, NUMBER.findall(line))) for line in text.splitlines())


@pytest.mark.parametrize("row", rows(), ids=label)
def test_a_row_is_as_the_source_prints_it(row: PublishedRow) -> None:
    wanted = {*row.metrics.values(), *(v for p in row.curves.values() for v in p.values())}
    if "table" in row.where or row.source not in PAPERS:
        assert any(wanted <= line for line in lines(row.source)), "no line has all of these"
    else:  # figures that stand in running text
        assert wanted <= frozenset().union(*lines(row.source))
