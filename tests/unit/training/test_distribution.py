"""The engine's configuration."""

from __future__ import annotations

import json

import pytest
import torch

from chatsearcher.training import distribution
from chatsearcher.training.settings import EngineSettings, OptimiserSettings, RunSettings


@pytest.mark.parametrize("path", sorted(distribution.CONFIG_FOLDER.glob("*.json")), ids=str)
def test_the_jsons_hold_engine_settings_only(path):
    config = json.loads(path.read_text())
    recipe_owned = ("train_batch_size", "train_micro_batch_size_per_gpu")
    recipe_owned += ("gradient_accumulation_steps", "gradient_clipping")
    assert {config[name] for name in recipe_owned} == {"auto"}
    assert not {"optimizer", "scheduler"} & set(config)
    run = RunSettings(
        optimiser=OptimiserSettings(clip=0.5, accumulation=3),
        engine=EngineSettings(deepspeed=str(path), precision="bf16-autocast"),
    )
    filled = distribution.deepspeed_config(run)
    assert "auto" not in [filled[name] for name in recipe_owned]
    assert filled["gradient_clipping"] == 0.5
    assert filled["gradient_accumulation_steps"] == 3
    assert filled["torch_autocast"] == {"enabled": True, "dtype": "bfloat16"}


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_each_stage_has_its_json(stage):
    config = distribution.deepspeed_config(RunSettings(engine=EngineSettings(zero=stage)))
    assert config["zero_optimization"]["stage"] == stage


@pytest.mark.parametrize("path", sorted(distribution.CONFIG_FOLDER.glob("*.json")), ids=str)
def test_a_named_json_says_which_stage_it_is(path):
    engine = EngineSettings(deepspeed=str(path), zero=0)
    assert distribution.zero_stage(engine) == int(path.name[len("zero")])
    offloads = "offload_optimizer" in json.loads(path.read_text())["zero_optimization"]
    assert offloads == ("offload" in path.name)
    assert distribution.zero_stage(EngineSettings(zero=2)) == 2


def test_a_missing_json_names_those_that_are_there(tmp_path):
    run = RunSettings(engine=EngineSettings(deepspeed=str(tmp_path / "zero9.json")))
    with pytest.raises(FileNotFoundError, match=r"zero9\.json; known: .*zero3\.json"):
        distribution.deepspeed_config(run)


def test_plain_python_uses_the_engine_only_when_asked(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    assert not distribution.uses_deepspeed(RunSettings())
    assert distribution.uses_deepspeed(RunSettings(engine=EngineSettings(zero=2)))
    assert distribution.uses_deepspeed(RunSettings(engine=EngineSettings(deepspeed="on")))
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert distribution.uses_deepspeed(RunSettings())
    assert not distribution.uses_deepspeed(RunSettings(engine=EngineSettings(deepspeed="off")))


def test_bfloat16_parameters_without_deepspeed_are_refused(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    run = RunSettings(engine=EngineSettings(precision="bf16"))
    with pytest.raises(ValueError, match="bf16-autocast"):
        distribution.build_accelerator(run)


@pytest.mark.parametrize(
    ("fast", "means"), [(torch.bfloat16, "bf16-autocast"), (torch.float32, "fp32")]
)
def test_automatic_precision_is_bfloat16_only_where_that_is_fast(fast, means, monkeypatch):
    monkeypatch.setattr(distribution, "pick_dtype", lambda device: fast)
    assert distribution.precision_here(EngineSettings()) == means
    filled = distribution.deepspeed_config(RunSettings())
    assert ("torch_autocast" in filled) == (means == "bf16-autocast")
    chosen = EngineSettings(precision="bf16")  # whoever names one gets that one
    assert distribution.precision_here(chosen) == "bf16"
