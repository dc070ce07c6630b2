from __future__ import annotations

import json
from pathlib import Path

import pytest

from chatsearcher.benchmarks import BENCHMARKS, SUITES, expand
from chatsearcher.benchmarks.results import Result, read_results, result_table, write_results

RESULT = Result(
    benchmark="world-t",
    protocol="single query",
    primary="R@1",
    metrics={"R@1": 12.345, "R@5": 30.0},
    intervals={"R@1": (10.0, 14.0)},
    counts={"queries": 1000},
    data="abc",
    retriever={"spec": "nano", "fingerprint": "f"},
)


def test_results_come_back_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "r.json"
    write_results(path, [RESULT])
    assert read_results(path) == [RESULT]
    assert list(path.parent.iterdir()) == [path]


def test_the_table_marks_the_primary_figure() -> None:
    table = result_table([RESULT])
    assert "12.35*" in table or "12.34*" in table
    assert "30.00" in table
    assert "30.00*" not in table


def test_wrong_results_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="primary figure 'R@9'"):
        Result("b", "p", "R@9", {"R@1": 1.0})
    path = tmp_path / "x.json"
    path.write_text(json.dumps({"results": [{"benchmark": "b"}]}))
    with pytest.raises(ValueError, match="no file of results"):
        read_results(path)
    with pytest.raises(ValueError, match="Out of range"):
        write_results(path, [Result("b", "p", "m", {"m": float("nan")})])


def test_suites_name_known_benchmarks() -> None:
    for members in SUITES.values():
        for name in members:
            assert BENCHMARKS[name].name == name
    assert expand(["world-i", "world"]) == ["world-i", "world-t", "world-m"]
    with pytest.raises(ValueError, match="did you mean 'world-t'"):
        expand(["world_t"])
