"""``eval/flickr30k.py``: one call from a system to rows of figures, a row a prompt."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

from chatsearcher.benchmarks.results import read_results
from tests.fixtures.miniatures.karpathy import make_coco, make_flickr30k
from tests.fixtures.toy_benchmark import register

SCRIPT = Path(__file__).resolve().parents[2] / "eval/flickr30k.py"


@pytest.mark.parametrize("name", ["flickr30k", "coco"])
def test_one_call_gives_a_row_a_prompt(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    register()
    root = {"flickr30k": make_flickr30k, "coco": make_coco}[name](tmp_path)
    out = tmp_path / "results.json"
    arguments = ["length:", "--data-root", str(root), "--benchmark", name, "--out", str(out)]
    prompts = ["--prompt", "plain-1", "--prompt", "show-1"]
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *arguments, *prompts])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    results = read_results(out)
    assert [each.settings["prompt"] for each in results] == ["plain-1", "show-1"]
    assert all(each.metrics["t→i R@10"] == 0 for each in results)  # every picture alike
    assert "t→i R@1" in capsys.readouterr().out


def test_what_is_not_there_is_said_before_a_model_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "no/such/model", "--data-root", str(tmp_path)])
    with pytest.raises(SystemExit, match=r"error: .* lacks dataset_flickr30k\.json"):
        runpy.run_path(str(SCRIPT), run_name="__main__")
