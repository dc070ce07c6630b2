from __future__ import annotations

import math

import pytest

from chatsearcher.benchmarks.report import compare, spread, spreads
from chatsearcher.benchmarks.results import Result


def run(value: float, data: str = "x", **more: float) -> list[Result]:
    return [Result("world", "rules", "mean recall", {"mean recall": value, **more}, data=data)]


def test_the_interval_over_seeds_is_students() -> None:
    found = spread([50.0, 52.0, 54.0])
    assert found.mean == 52
    assert found.half == pytest.approx(4.303 * 2 / math.sqrt(3))
    assert found.lowest == 50
    assert math.isnan(spread([50.0]).half)
    assert str(spread([50.0])) == "50.00"
    with pytest.raises(ValueError, match="no runs"):
        spread([])


def test_two_rows_differ_only_if_their_intervals_do() -> None:
    low, high = spread([50.0, 50.1, 50.2]), spread([52.0, 52.1, 52.2])
    assert not low.overlaps(high)
    assert low.overlaps(spread([50.2, 50.3, 50.4]))
    assert low.overlaps(spread([90.0]))


def test_only_what_every_run_has_is_averaged() -> None:
    table = spreads([run(1.0, extra=3.0), run(2.0)])
    assert set(table) == {("world", "mean recall")}
    with pytest.raises(ValueError, match="different data"):
        spreads([run(1.0), run(2.0, data="y")])


def test_the_table_has_a_row_a_system_and_says_what_is_missing() -> None:
    columns = (("mean", "world", "mean recall"), ("t R@1", "world-t", "R@1"))
    table = compare({"on": [run(1.0), run(3.0)], "off": [run(5.0)]}, columns)
    head, _, on, off = table.splitlines()
    assert head == "| system | mean | t R@1 |"
    assert on.startswith("| on | 2.00 ± ")
    assert off == "| off | 5.00 | – |"
