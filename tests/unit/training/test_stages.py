"""What a stage says before it loads anything."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chatsearcher.data.records import SourceConfig
from chatsearcher.training.recipes import STAGE1, STAGE2
from chatsearcher.training.recipes.types import StageRecipe
from chatsearcher.training.stages import check_data, train_stage1, train_stage2


def reading(sources: dict[str, SourceConfig]) -> StageRecipe:
    recipe = STAGE1["vicuna-7b"]
    return replace(recipe, data=replace(recipe.data, sources=sources))


def test_missing_data_are_named_before_any_weight_is_looked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"'cc3m' .* reads data/cc3m.*docs/data\.md"):
        train_stage1(STAGE1["vicuna-7b"])
    with pytest.raises(FileNotFoundError, match=r"--data\.sources\.llava\.path"):
        train_stage2(STAGE2["vicuna-7b-llava665k"])


def test_files_that_are_there_satisfy_it_and_one_that_is_not_is_the_one_named(tmp_path):
    (tmp_path / "pairs").mkdir()
    there = SourceConfig("shard-pairs", 1, path=str(tmp_path / "pairs"))
    check_data(reading({"pairs": there}))
    missing = replace(there, path=str(tmp_path / "gone"))
    with pytest.raises(FileNotFoundError, match="source 'more' of the recipe"):
        check_data(reading({"pairs": there, "more": missing}))


@pytest.mark.parametrize("kind", ["world-pairs", "world-documents", "world-questions"])
def test_what_the_world_draws_needs_no_files_whatever_path_the_recipe_had(kind):
    """A recipe of files with its kinds overridden keeps their paths."""
    check_data(reading({"cc3m": SourceConfig(kind, 1, path="data/nowhere")}))
