from __future__ import annotations

import math
from pathlib import Path

import pytest

from chatsearcher.benchmarks.results import read_results
from chatsearcher.cli import main
from tests.fixtures import toy_benchmark


@pytest.fixture(autouse=True)
def _toys() -> None:
    toy_benchmark.register()


def test_evaluate_writes_results_and_prints_a_table(tmp_path: Path, capsys) -> None:
    out = tmp_path / "new" / "r.json"
    assert main(["evaluate", "toy", "--retriever", "length:", "--out", str(out), "--quiet"]) == 0
    (result,) = read_results(out)
    expected = (math.cos(0.2) + math.cos(0.4)) / 2
    assert result.metrics["first"] == pytest.approx(expected)
    assert result.retriever == {"spec": "length:", "fingerprint": "length"}
    printed = capsys.readouterr().out
    assert f"{expected:.2f}*" in printed
    assert "length:" in printed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["evaluate", "tox", "--retriever", "length:"], "did you mean 'toy'"),
        (["evaluate", "toy", "--retriever", "lengt:"], "did you mean 'length'"),
        (["evaluate", "world-decision", "--retriever", "length:"], "only searches"),
    ],
)
def test_errors_say_what_was_meant(words: list[str], message: str, capsys) -> None:
    assert main(words) == 1
    assert message in capsys.readouterr().err
