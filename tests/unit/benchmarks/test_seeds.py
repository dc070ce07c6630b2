from __future__ import annotations

import math
from pathlib import Path

import pytest

from chatsearcher.benchmarks.reporting.seeds import compare, refresh, spread, spreads
from chatsearcher.benchmarks.results import Result, write_results


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


PAGE = """# Results

<!-- table world
with a queue = a.json b.json
without = a.json
-->
old
<!-- end table -->

The end.
"""


def test_a_page_gets_its_tables_from_the_files_it_names(tmp_path: Path) -> None:
    write_results(tmp_path / "a.json", run(1.0))
    write_results(tmp_path / "b.json", run(3.0))
    page = refresh(PAGE, tmp_path)
    assert "old" not in page
    assert page.startswith("# Results\n")
    assert page.endswith("The end.\n")
    rows = [line for line in page.splitlines() if line.startswith("| with")]
    assert " 2.00 ± " in rows[0]
    assert rows[1].startswith("| without | – |")
    assert refresh(page, tmp_path) == page
    with pytest.raises(ValueError, match="unknown table 'word'"):
        refresh(PAGE.replace("table world", "table word"), tmp_path)
    with pytest.raises(ValueError, match="expected TITLE = FILE"):
        refresh(PAGE.replace("= a.json b.json", "="), tmp_path)
