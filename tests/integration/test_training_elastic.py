"""Ranks that save memory in every way, then fewer or more go on: the run of one rank alone."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from chatsearcher.training import checkpoints
from chatsearcher.training.elastic import load, make_universal
from tests.fixtures import efficient_ranks, training_ranks
from tests.fixtures.launcher import launch

SCRIPT = "tests/fixtures/efficient_ranks.py"

pytest.importorskip("deepspeed")


def rows(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    outcome = training_ranks.run(folder, "off", 0)
    return rows(folder), {k: v.float().clone() for k, v in outcome.state_dict.items()}


SHRINK = tuple(f"2-1/{case}" for case in efficient_ranks.CASES)
GROW = ("1-2/thrifty3",)


@pytest.fixture(scope="module")
def elastic(tmp_path_factory):
    """Two steps on as many ranks as a case begins with, a universal checkpoint, the third step."""
    out = tmp_path_factory.mktemp("elastic")
    launch(2, SCRIPT, str(out), "begin", *SHRINK)
    for name in SHRINK:
        make_universal(checkpoints.newest(out / name))
    launch(1, SCRIPT, str(out), "resume", *SHRINK, "begin", *GROW)
    for name in GROW:
        make_universal(checkpoints.newest(out / name))
    launch(2, SCRIPT, str(out), "resume", *GROW)
    return out


@pytest.mark.parametrize("name", [*SHRINK, *GROW])
def test_checkpointing_pieces_and_another_number_of_ranks_change_nothing(alone, elastic, name):
    expected_rows, expected = alone
    got = rows(elastic / name)
    assert [row["step"] for row in got] == [1, 2, 3]
    for row, wanted in zip(got, expected_rows, strict=True):
        assert row["loss"] == pytest.approx(wanted["loss"], abs=2e-5)  # measured worst: 1e-6
        assert row["gradient_norm"] == pytest.approx(wanted["gradient_norm"], rel=1e-4)
    # the queue and its average came along; logged of one rank, so on two it is another mean
    if name in SHRINK:
        assert got[2]["image_loss"] == pytest.approx(expected_rows[2]["image_loss"], abs=1e-4)
    assert any(name.startswith("queue.") for name in expected)
    weights = load_file(elastic / f"{name}.safetensors")
    assert set(weights) == set(expected)
    for name, value in expected.items():
        # Adam makes much of rounding where gradients are near zero (see test_training_zero).
        torch.testing.assert_close(weights[name], value, atol=1e-3, rtol=0)


def test_another_number_of_ranks_without_a_universal_checkpoint_is_told_the_command(tmp_path):
    path = tmp_path / "runs" / "checkpoints" / "step-00000002"
    with pytest.raises(ValueError, match=r"by 2 ranks, this run has 1; .* python train/elastic.py"):
        load(None, path, ranks=1, ranks_before=2)


def test_ranks_without_deepspeed_are_not_sent_to_a_conversion_that_refuses_them(tmp_path):
    path = checkpoints.folder(tmp_path) / "step-00000002"
    path.mkdir(parents=True)
    about = {"engine": False, "ranks": 1, "step": 2}
    (path / "about.json").write_text(json.dumps(about), encoding="utf-8")
    two = SimpleNamespace(num_processes=2)
    with pytest.raises(ValueError, match="without DeepSpeed, by 1 ranks; resume the same way"):
        checkpoints.load(two, torch.nn.Linear(1, 1), None, None, tmp_path)


def test_a_checkpoint_that_needs_no_conversion_says_so(tmp_path):
    with pytest.raises(ValueError, match="without DeepSpeed"):
        make_universal(tmp_path)
    with pytest.raises(FileNotFoundError, match="holds no checkpoint"):
        checkpoints.newest(tmp_path)
