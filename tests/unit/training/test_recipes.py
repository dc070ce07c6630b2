"""Every recipe parses, prints, and says what the paper says."""

from __future__ import annotations

import json

import pytest

from chatsearcher.data.sources import SOURCES
from chatsearcher.training.main import parse
from chatsearcher.training.recipes import STAGE1, STAGE2, TOWERS
from chatsearcher.training.settings import as_json

ALL = [(table, name) for table in (TOWERS, STAGE1, STAGE2) for name in table]


@pytest.mark.parametrize(("table", "name"), ALL, ids=lambda v: v if isinstance(v, str) else v.what)
def test_every_recipe_takes_overrides_and_saves_as_json(table, name):
    call = parse(
        table, "none", ["--recipe", name, "--optimiser.steps", "17", "--run", "x", "--seed", "5"]
    )
    assert (call.recipe.optimiser.steps, call.recipe.run, call.recipe.seed) == (17, "x", 5)
    assert call.resume is False
    untouched = table[name]
    assert call.recipe.optimiser.learning_rate == untouched.optimiser.learning_rate
    assert json.loads(json.dumps(as_json(call.recipe)))["optimiser"]["steps"] == 17


def test_the_launchers_rank_and_resume_are_understood():
    call = parse(STAGE1, "nano", ["--local_rank=0", "--resume", "--data.sources.pairs.count", "3"])
    assert call.resume
    assert call.recipe.data.sources["pairs"].count == 3
    assert call.recipe.data.sources["documents"] == STAGE1["nano"].data.sources["documents"]


def test_an_unknown_recipe_gets_the_nearest_name():
    with pytest.raises(ValueError, match="did you mean 'vicuna-7b'"):
        parse(STAGE1, "nano", ["--recipe", "vicuna7b"])


def test_a_misspelt_setting_is_an_error(capsys):
    with pytest.raises(SystemExit):
        parse(STAGE1, "nano", ["--optimizer.steps", "3"])
    assert "optimiser" in capsys.readouterr().err


def test_nano_reads_what_the_world_gives_and_stage_2_follows_stage_1():
    for table in (STAGE1, STAGE2):
        for name in ("nano", "nano-short"):
            kinds = {source.kind for source in table[name].data.sources.values()}
            assert all(kind in SOURCES for kind in kinds)
    for name in STAGE2:
        assert STAGE2[name].start == STAGE1[name].run
    for name in STAGE1:
        first = STAGE1[name]
        if first.tower_recipe:
            assert first.model.tower == f"{TOWERS[first.tower_recipe].run}/model"
            assert first.model.tokenizer == f"{TOWERS[first.tower_recipe].run}/tokenizer"


def test_vicuna_is_the_papers_table():
    """Section 5.1: the two stages' settings."""
    first, second = STAGE1["vicuna-7b"], STAGE2["vicuna-7b"]
    counts = {name: source.count for name, source in first.data.sources.items()}
    assert counts == {"cc3m": 256, "mmc4": 64}
    assert first.data.batch == 0  # exactly these counts in every step
    assert second.data.batch == 64
    for recipe, steps, rate, warmup in (
        (first, 200_000, 2e-5, 6_000),
        (second, 10_000, 2e-6, 300),
    ):
        optimiser = recipe.optimiser
        assert (optimiser.steps, optimiser.learning_rate, optimiser.warmup) == (steps, rate, warmup)
        assert optimiser.weight_decay == 0
        assert optimiser.floor == 0
        assert optimiser.accumulation == 1
    model = first.model
    assert (model.query_tokens, model.queue_size, model.momentum) == (32, 1000, 0.0)
    assert (model.negatives, model.retrieval_weight) == ("queue", 1.0)
    assert model.freeze_tower
    assert not model.freeze_llm
