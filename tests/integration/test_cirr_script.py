"""``eval/cirr.py``: one call from a system to figures beside the paper's, or to files to upload."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

from chatsearcher.benchmarks.results import read_results
from chatsearcher.retrievers import RETRIEVERS
from tests.fixtures.miniatures.cirr import make

SCRIPT = Path(__file__).resolve().parents[2] / "eval/cirr.py"


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch):
    RETRIEVERS.register("histogram", "tests.fixtures.histogram:load")

    def run(*words: str) -> None:
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), *words])
        runpy.run_path(str(SCRIPT), run_name="__main__")

    return run


def test_figures_beside_the_published_ones(call, tmp_path: Path, capsys) -> None:
    root, out = make(tmp_path / "cirr"), tmp_path / "r.json"
    call("histogram:", "--data-root", str(root), "--out", str(out))
    (result,) = read_results(out)
    assert result.settings["prompt"] == "one-change-1"
    printed = capsys.readouterr().out
    assert "histogram:, cirr-val (measured)" in printed
    assert "(published) | 26.89 | 58.94 | 72.68 | 91.42 | 43.61 | 67.47 | 80.43 |" in printed


def test_files_for_the_server(call, tmp_path: Path, capsys) -> None:
    root, up = make(tmp_path / "cirr"), tmp_path / "up"
    call("histogram:", "--data-root", str(root), "--split", "test1", "--submission", str(up))
    assert sorted(path.name for path in up.iterdir()) == ["recall.json", "recall_subset.json"]
    assert "published" not in capsys.readouterr().out
    with pytest.raises(SystemExit, match=r"error: .* give --submission FOLDER"):
        call("histogram:", "--data-root", str(root), "--split", "test1")
