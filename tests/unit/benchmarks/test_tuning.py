from __future__ import annotations

from dataclasses import dataclass

import pytest

from chatsearcher.benchmarks.tuning import chance, mean_of_recalls, tune
from chatsearcher.retrievers.clip import grid, parse_spec
from tests.fixtures import toy_benchmark


@dataclass
class Scripted:
    scores: dict[str, float]


def test_the_choice_is_made_on_validation_and_the_test_is_run_once() -> None:
    toy_benchmark.register()
    candidates = {
        "low": Scripted({"scripted-val": 10.0, "scripted": 90.0}),
        "high": Scripted({"scripted-val": 30.0, "scripted": 20.0}),
        "as high": Scripted({"scripted-val": 30.0, "scripted": 99.0}),
    }
    found = tune(candidates, "scripted")
    assert (found.options, found.validation) == ("high", 30.0)
    assert found.tried == {"low": 10.0, "high": 30.0, "as high": 30.0}
    assert found.test.metrics["mean recall"] == 20.0
    assert toy_benchmark.SCRIPTED.runs == ["high"]
    assert mean_of_recalls([found.test, found.test]) == 20.0
    with pytest.raises(ValueError, match="nothing to choose from"):
        tune({}, "scripted")


def test_the_grid_has_every_combination_once_and_each_can_be_parsed() -> None:
    assert len(grid("text")) == 4
    assert len(grid("image")) == 2
    both = grid("both")
    assert len(set(both)) == len(both) == 4 * 2 * 9
    parsed = {parse_spec(f"x:both,{options}")[1] for options in both}
    assert len(parsed) == len(both)


def test_chance_closed_form() -> None:
    assert chance(10_000) == pytest.approx((0.01 + 0.05 + 0.10) / 3)
    assert chance(2) == pytest.approx((50 + 100 + 100) / 3)
