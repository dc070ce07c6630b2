"""A new model from settings: every setting arrives, and what is missing is named."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from chatsearcher.model.tokenizer import nano_tokenizer
from chatsearcher.training.build import (
    ModelSettings,
    QFormerSettings,
    build_model,
    load_run,
)
from chatsearcher.training.new_llama import LanguageModelSettings
from chatsearcher.training.tower import TowerSettings, build_clip, save_clip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("parts")
    tokenizer = nano_tokenizer(["a red cat", "two blue birds at night"], 320)
    small = {"image_size": 32, "text_layers": 1, "text_width": 16, "text_heads": 2}
    config = TowerSettings(embedding_dim=24, **small).model_config(tokenizer)
    save_clip(made / "tower", build_clip(config).state_dict(), config, tokenizer)
    tokenizer.save_pretrained(made / "tokenizer")
    llm = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=1,
            num_attention_heads=2,
        )
    )
    llm.save_pretrained(made / "llm")
    return made


@pytest.fixture
def settings(folder):
    return ModelSettings(
        tower=str(folder / "tower"),
        tokenizer=str(folder / "tokenizer"),
        llm=LanguageModelSettings(hidden_size=32, layers=1, heads=2, intermediate_size=48),
        qformer=QFormerSettings(hidden_size=16, layers=1, heads=2, intermediate_size=24),
        query_tokens=3,
        embedding_dim=12,
        queue_size=7,
        momentum=0.25,
        negatives="batch",
        retrieval_weight=2.5,
        temperature=0.2,
        freeze_llm=True,
    )


@pytest.mark.parametrize("public", [False, True])
def test_every_setting_arrives(folder, settings, public):
    if public:
        llm = LanguageModelSettings(pretrained=str(folder / "llm"))
        settings = replace(settings, llm=llm)
    model, processor = build_model(settings)
    config = model.config
    assert (config.num_query_tokens, config.embedding_dim, config.queue_size) == (3, 12, 7)
    assert (config.momentum, config.negatives, config.retrieval_weight) == (0.25, "batch", 2.5)
    assert (config.temperature, config.freeze_llm, config.freeze_tower) == (0.2, True, True)
    assert config.qformer_config.hidden_size == 16
    assert config.llm_config.hidden_size == 32
    assert config.image_size == 32
    assert processor.num_query_tokens == 3
    assert processor.token_ids["image_start_token_id"] == config.image_start_token_id
    assert float(model.logit_scale) == pytest.approx(5)


def test_the_towers_weights_arrive(folder, settings):
    import open_clip

    clip, _ = open_clip.create_model_from_pretrained(f"local-dir:{folder / 'tower'}")
    model, _ = build_model(settings)
    pixels = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(model.tower.pool(pixels), clip.eval().encode_image(pixels))


def test_a_public_language_model_keeps_its_weights(folder, settings):
    name = str(folder / "llm")
    model, _ = build_model(replace(settings, llm=LanguageModelSettings(pretrained=name)))
    theirs = LlamaForCausalLM.from_pretrained(name).state_dict()
    ours = model.llm.state_dict()
    for key, value in theirs.items():
        torch.testing.assert_close(ours[key][: len(value)], value)


def test_a_new_language_model_beside_a_public_tower_is_refused(settings):
    with pytest.raises(ValueError, match=r"--model\.llm\.pretrained"):
        build_model(replace(settings, tower="ViT-B-32/openai"))


def test_first_weights_of_new_models_are_refused_beside_public_parts(folder, settings):
    public = replace(settings, llm=LanguageModelSettings(pretrained=str(folder / "llm")))
    width = replace(public.qformer, initialiser="width")
    local = replace(public.llm, initialiser="local")
    begun = replace(public.llm, start="runs/none/model")
    for changed, name in (
        (replace(public, start="runs/none/model"), "start"),
        (replace(public, qformer=width), "qformer.initialiser"),
        (replace(public, llm=local), "llm.initialiser"),
        (replace(public, llm=begun), "llm.start"),
    ):
        with pytest.raises(ValueError, match=rf"--model\.{name} .* public parts"):
            build_model(changed)


@pytest.mark.parametrize("momentum", [0.0, 0.25])
def test_parts_of_a_finished_stage(folder, settings, tmp_path, momentum):
    settings = replace(settings, momentum=momentum, freeze_llm=False)
    reader, processor = build_model(replace(settings, momentum=0.5))
    reader.save_pretrained(tmp_path / "model")
    processor.save_pretrained(tmp_path / "model")
    begun = replace(settings, start=str(tmp_path / "model"))
    model, _ = build_model(begun)
    for part in ("connector", "llm"):
        theirs = getattr(reader, part).state_dict()
        for name, value in getattr(model, part).state_dict().items():
            assert torch.equal(value, theirs[name]), name
    keys = model.key_projection
    assert not torch.equal(keys.weight, reader.key_projection.weight)
    assert model.config.momentum == momentum
    if keys.average is not None:
        assert torch.equal(keys.average.value, keys.weight)
    with pytest.raises(ValueError, match=r"connector in .* of another build"):
        build_model(replace(begun, query_tokens=4))
    with pytest.raises(FileNotFoundError, match=r"train/reading\.py"):
        build_model(replace(begun, start=str(tmp_path)))


def test_what_is_missing_is_named(settings, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"train/tower\.py"):
        build_model(replace(settings, tower="runs/none/model"))
    with pytest.raises(FileNotFoundError, match=r"no tokenizer\.json"):
        build_model(replace(settings, tokenizer=str(tmp_path)))
    with pytest.raises(FileNotFoundError, match="train stage 1 first"):
        load_run(tmp_path)
