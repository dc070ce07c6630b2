"""Engine settings reach the model for the training and leave no trace in what is saved."""

from __future__ import annotations

import pytest
import torch

from chatsearcher.model import ChatSearcherModel
from chatsearcher.training.distribution import CONFIG_FOLDER
from chatsearcher.training.efficiency import engine_settings
from chatsearcher.training.main import parse
from chatsearcher.training.recipes import STAGE1, STAGE2
from chatsearcher.training.settings import EngineSettings
from tests.fixtures.tiny import tiny_config, tiny_processor, tiny_samples

CPU = torch.device("cpu")


def test_settings_hold_within_and_are_gone_afterwards():
    model = ChatSearcherModel(tiny_config()).train()
    settings = EngineSettings(attention="sdpa", word_loss="chunked", activation_checkpointing=True)
    with engine_settings(model, settings, CPU):
        assert (model.config.attention, model.config.word_loss) == ("sdpa", "chunked")
        assert model.llm.model.layers[0].gradient_checkpointing
    assert (model.config.attention, model.config.word_loss) == ("auto", "auto")


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"attention": "flash_attention_3"}, (ImportError, ValueError), "flash_attention_3"),
        ({"word_loss": "liger"}, ValueError, "use 'chunked'"),
        ({"compile": True, "zero": 3}, ValueError, "ZeRO 3"),
        (
            {"compile": True, "deepspeed": f"{CONFIG_FOLDER}/zero3_offload.json"},
            ValueError,
            "ZeRO 3",
        ),
    ],
)
def test_what_cannot_work_is_said_before_the_first_step(changes, error, said):
    model = ChatSearcherModel(tiny_config())
    with pytest.raises(error, match=said), engine_settings(model, EngineSettings(**changes), CPU):
        pytest.fail("no error")


def test_checkpointed_activations_change_neither_loss_nor_gradients():
    results = []
    for settings in (EngineSettings(), EngineSettings(activation_checkpointing=True)):
        torch.manual_seed(0)
        model = ChatSearcherModel(tiny_config()).train()
        with engine_settings(model, settings, CPU):
            loss = model(tiny_processor().batch(tiny_samples(tiny_processor(), range(3)))).loss
            loss.backward()
        results.append((loss.item(), [p.grad for p in model.parameters() if p.grad is not None]))
    assert results[0][0] == results[1][0]
    for plain, again in zip(results[0][1], results[1][1], strict=True):
        torch.testing.assert_close(again, plain)


@pytest.mark.parametrize("table", [STAGE1, STAGE2], ids=["stage1", "stage2"])
def test_every_engine_setting_is_reachable_from_the_command_line(table):
    words = ["--engine.zero", "3", "--engine.deepspeed", "ds_configs/zero3_offload.json"]
    words += ["--engine.activation-checkpointing", "--engine.attention", "flash_attention_2"]
    words += ["--engine.word-loss", "chunked", "--engine.compile"]
    words += ["--engine.feature-cache", "/tmp/features", "--engine.feature-cache-gb", "5"]
    engine = parse(table, "vicuna-7b", ["--recipe", "vicuna-7b", *words]).recipe.engine
    assert engine == EngineSettings(
        deepspeed="ds_configs/zero3_offload.json",
        zero=3,
        precision="bf16",
        activation_checkpointing=True,
        attention="flash_attention_2",
        word_loss="chunked",
        compile=True,
        feature_cache="/tmp/features",
        feature_cache_gb=5.0,
    )
