"""evaluate --list and --features, score, and list benchmarks, as a person types them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from chatsearcher.benchmarks import BENCHMARKS
from chatsearcher.benchmarks.results import read_results
from chatsearcher.cli import main
from chatsearcher.retrievers import RETRIEVERS
from tests.fixtures.miniatures import cirr, genecis


@pytest.fixture(autouse=True)
def _histogram() -> None:
    RETRIEVERS.register("histogram", "tests.fixtures.histogram:load")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return genecis.make(cirr.make(tmp_path / "data"))


def listed(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict]:
    assert main(["evaluate", *words]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_vectors_made_elsewhere(root: Path, tmp_path: Path, capsys) -> None:
    images = listed(capsys, "cirr-val", "--list", "images", "--data-root", str(root))
    queries = listed(capsys, "cirr-val", "--list", "queries", "--data-root", str(root))
    assert images[0] == {"id": "dev-0-0-img0", "path": "dev/dev-0-0-img0.png"}
    assert queries[0]["target"] == "dev-0-1-img0"
    assert queries[0]["reference"] == "dev-0-0-img0"
    assert queries[0]["group"] == [f"dev-0-{n}-img0" for n in range(1, 6)]
    assert queries[0]["dialogue"][0]["content"][0]["path"] == "dev/dev-0-0-img0.png"
    rows = {line["id"]: row for row, line in enumerate(images)}
    eye = np.eye(len(images), dtype=np.float32)
    file, out = tmp_path / "v.safetensors", tmp_path / "r.json"
    targets = eye[[rows[line["target"]] for line in queries]]
    save_file({"images": eye, "queries": targets}, file)
    words = ["cirr-val", "--features", str(file), "--data-root", str(root), "--quiet"]
    assert main(["evaluate", *words, "--out", str(out)]) == 0
    (result,) = read_results(out)
    assert set(result.metrics.values()) == {100.0}
    assert result.retriever["spec"] == "features:v.safetensors"
    assert len(result.data) == len(result.retriever["fingerprint"]) == 64
    assert "not the official data" in capsys.readouterr().out


def test_a_shrunken_gallery_is_never_printed_bare(root: Path, tmp_path: Path, capsys) -> None:
    (root / "dev/dev-0-2-img0.png").unlink()
    out = tmp_path / "r.json"
    words = ["cirr-val", "--retriever", "histogram:", "--data-root", str(root), "--quiet"]
    assert main(["evaluate", *words, "--out", str(out)]) == 0
    printed = capsys.readouterr().out.splitlines()
    figures = printed[2].split()[2:]
    assert figures
    assert all(figure.endswith("†") for figure in figures)
    assert any(line.startswith("† cirr-val: shrunken: 1 of 18 pictures") for line in printed)
    written = json.loads(out.read_text())["results"][0]
    assert written["shrunken"] is True
    assert list(written["missing"]) == ["dev-0-2-img0"]
    assert written["counts"]["missing images"] == 1


def test_a_suite_adds_its_mean(root: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "r.json"
    words = ["genecis", "--retriever", "histogram:", "--data-root", str(root), "--quiet"]
    assert main(["evaluate", *words, "--out", str(out)]) == 0
    results = read_results(out)
    assert [result.benchmark for result in results[-1:]] == ["genecis"]
    mean = np.mean([result.metrics["R@1"] for result in results[:4]])
    assert results[-1].metrics["mean"] == pytest.approx(mean)


def test_a_submission_written_here_is_scored_here(root: Path, tmp_path: Path, capsys) -> None:
    up, out = tmp_path / "up", tmp_path / "r.json"
    words = ["cirr-val", "--retriever", "histogram:", "--data-root", str(root), "--quiet"]
    assert main(["evaluate", *words, "--submission", str(up), "--out", str(out)]) == 0
    own = read_results(out)[0].metrics
    files = [str(up / name) for name in ("recall.json", "recall_subset.json")]
    data = ["--data-root", str(root), "--out", str(out)]
    assert main(["score", "cirr", "--predictions", *files, *data]) == 0
    scored = read_results(out)[0]
    # equal scores: the vectors' figures put the target last, a list has some order
    assert all(scored.metrics[name] >= value - 1e-9 for name, value in own.items())
    assert scored.retriever["spec"] == "predictions:recall.json,recall_subset.json"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["evaluate", "cirr-val", "--retriever", "histogram:"], "needs --data-root FOLDER with"),
        (["evaluate", "cirr-val", "genecis", "--list", "images"], "--list is of one benchmark"),
        (["evaluate", "cirr-val", "--list", "images", "--option", "a"], "expected NAME=VALUE"),
        (["evaluate", "cirr-val", "--list", "images", "--option", "a=1"], "has no option 'a'"),
        (["evaluate", "cirr-val", "--features", "none.safetensors"], "needs --data-root"),
        (["evaluate", "world-decision", "--features", "x"], "vectors cannot be scored on it"),
        (["evaluate", "world-decision", "--list", "queries"], "has no list of queries"),
        (["score", "cirr", "--predictions", "none.json"], "no such file of predictions: none.json"),
        (["score", "genecis-focus-object", "--predictions", "x"], "--features FILE.safetensors"),
        (["score", "cirrr", "--predictions", "x"], "did you mean 'cirr'"),
    ],
)
def test_wrong_words_say_what_was_meant(words: list[str], message: str, capsys) -> None:
    assert main(words) == 1
    assert message in capsys.readouterr().err


def test_list_benchmarks_tells_what_each_needs(capsys) -> None:
    assert main(["list", "benchmarks"]) == 0
    printed = capsys.readouterr().out
    assert "4,181 queries, 2,297 gallery" in printed
    assert "R_subset@1" in printed
    assert "github.com/Cuberick-Orion/CIRR" in printed
    assert main(["list", "benchmarks", "--json"]) == 0
    cards = json.loads(capsys.readouterr().out)["benchmarks"]
    assert [card["name"] for card in cards] == list(BENCHMARKS)
    for card in cards:
        assert card["data"]
        assert card["source"]
        assert card["primary"] in card["metrics"]
