"""Parts in the formats of the public weights compute what the libraries they come from compute."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image as PILImages
from transformers import LlamaConfig, MistralConfig, Qwen3Config

from chatsearcher import ChatSearcher
from chatsearcher.dialogue import Dialogue
from chatsearcher.model import language
from chatsearcher.model.qformer_weights import check_width, read_qformer
from chatsearcher.model.tower_weights import read_tower
from tests.fixtures.public_formats import (
    hub_blip2,
    language_model,
    open_clip_tower,
    sentencepiece_tokenizer,
)

SMALL = {
    "vocab_size": 320,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
}
FAMILIES = {
    "llama": LlamaConfig(**SMALL),
    "qwen3": Qwen3Config(
        **{**SMALL, "vocab_size": 340}, num_key_value_heads=2, head_dim=8, tie_word_embeddings=True
    ),
    "mistral": MistralConfig(**SMALL, num_key_value_heads=2, sliding_window=None),
    "mistral, sliding": MistralConfig(**SMALL, num_key_value_heads=2, sliding_window=5),
}
VIT = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 3, "width": 16, "head_width": 8, "patch_size": 8},
}
SIGLIP = {  # SigLIP2's: timm, pooled by attention, no projection
    "embed_dim": 192,
    "vision_cfg": {
        "image_size": 224,
        "timm_model_name": "vit_tiny_patch16_224",
        "timm_pool": "map",
        "timm_proj": "none",
    },
}
EVA = {
    "embed_dim": 24,
    "vision_cfg": {
        "image_size": 224,
        "timm_model_name": "eva02_tiny_patch14_224",
        "timm_pool": "token",
        "timm_proj": "linear",
    },
}
TOWERS = {
    "vit": (VIT, "shortest"),
    "dfn": ({**VIT, "quick_gelu": True}, "squash"),
    "siglip2": (SIGLIP, "squash"),
    "eva": (EVA, "shortest"),
}


def tiny_parts(tmp_path, family="llama", kind="safetensors"):
    words = sentencepiece_tokenizer(tmp_path / "llm")
    llm = language_model(tmp_path / "llm", FAMILIES[family], kind)
    open_clip_tower(tmp_path / "tower", VIT)
    qformer = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    parts = ChatSearcher.from_parts(
        str(tmp_path / "llm"),
        str(tmp_path / "tower"),
        qformer_config={**qformer, "intermediate_size": 24, "cross_attention_frequency": 1},
        num_query_tokens=3,
        embedding_dim=8,
    )
    return words, llm, parts


@pytest.mark.parametrize(
    ("family", "kind"), [*((name, "safetensors") for name in FAMILIES), ("llama", "bin")]
)
def test_a_language_model_gives_its_own_hidden_states(tmp_path, family, kind):
    _, llm, parts = tiny_parts(tmp_path, family, kind)
    model = parts.model.eval()
    ids = torch.randint(3, 320, (2, 12))
    rows = torch.arange(12).expand(2, -1)
    with torch.no_grad():
        theirs = llm(input_ids=ids, output_hidden_states=True)
        ours = language.run(
            model.llm,
            model.get_input_embeddings()(ids),
            rows,
            torch.arange(24),
            torch.ones_like(ids),
        )
        # measured worst: 0 (the same code on the same weights)
        torch.testing.assert_close(ours.hidden_BTH, theirs.hidden_states[-1], atol=1e-6, rtol=0)
        logits = ours.logits_nV.view(2, 12, -1)[..., :320]
        torch.testing.assert_close(logits, theirs.logits[..., :320], atol=1e-6, rtol=0)
        # packed in one row: each sample by itself
        packed = language.run(
            model.llm,
            model.get_input_embeddings()(ids.view(1, -1)),
            rows.reshape(1, -1),
            torch.arange(24),
            torch.tensor([[1] * 12 + [2] * 12]),
        )
        # measured worst: 5e-7 (sums of another order)
        expected = theirs.hidden_states[-1].view(1, 24, -1)
        torch.testing.assert_close(packed.hidden_BTH, expected, atol=1e-5, rtol=0)
    assert parts.report.left_over["the language model"] == ()
    if family == "qwen3":  # 340 rows for 320 tokens: no new row, but the new tokens' are made anew
        table = model.get_input_embeddings().weight
        assert len(table) == 340
        mean = llm.get_input_embeddings().weight[:320].mean(0)
        torch.testing.assert_close(table[320:323], mean.expand(3, -1), atol=1e-7, rtol=0)


def test_a_conversation_has_the_ids_that_sentencepiece_gives_its_text(tmp_path):
    """Piece by piece in our template; a tokenizer that adds a space to each piece would differ."""
    words, _, parts = tiny_parts(tmp_path)
    dialogue = (
        Dialogue()
        .user("show me two blue birds")
        .assistant("here they are")
        .user("the same but at night, please.")
    )
    processor = parts.processor
    ours = processor.encode_segments(
        processor.dialogue_segments(dialogue, generation_prompt=True), eos=False
    ).input_ids
    first = words.encode("USER: show me two blue birds ASSISTANT: here they are")
    second = words.encode("USER: the same but at night, please. ASSISTANT:")
    assert ours == [1, *first, 2, *second]
    assert processor.token_ids["image_start_token_id"] == 320
    # what a user types never becomes a special token
    typed = processor.encode_segments(
        processor.dialogue_segments(Dialogue().user("a </s> [IMG]")), eos=False
    ).input_ids
    assert 2 not in typed
    assert 320 not in typed
    # and the saved processor needs neither sentencepiece nor the old folder
    processor.save_pretrained(tmp_path / "saved")
    again = type(processor).from_pretrained(tmp_path / "saved")
    assert (
        again.encode_segments(
            again.dialogue_segments(dialogue, generation_prompt=True), eos=False
        ).input_ids
        == ours
    )


@pytest.mark.parametrize("name", TOWERS)
def test_a_tower_sees_and_prepares_as_open_clip_does(tmp_path, name):
    config, resize = TOWERS[name]
    clip, transform = open_clip_tower(tmp_path / "tower", config, resize_mode=resize)
    clip.eval()
    sentencepiece_tokenizer(tmp_path / "llm")
    language_model(tmp_path / "llm", FAMILIES["llama"])
    model, processor, report = ChatSearcher.from_parts(
        str(tmp_path / "llm"),
        str(tmp_path / "tower"),
        qformer_config={"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2},
        num_query_tokens=3,
        embedding_dim=8,
    )
    size = model.config.image_size
    pixels = torch.randn(2, 3, size, size)
    model.eval()
    with torch.no_grad():
        tokens, pooled = model.tower(pixels)
        # measured worst: 0
        torch.testing.assert_close(model.tower.pool(pixels), clip.encode_image(pixels))
        torch.testing.assert_close(pooled, clip.encode_image(pixels), atol=1e-5, rtol=1e-5)
        every = clip.visual.forward_intermediates(pixels, indices=[-1], output_fmt="NLC")
        torch.testing.assert_close(tokens, every["image_intermediates"][0], atol=1e-5, rtol=1e-5)
    colours = np.random.default_rng(0).integers(0, 256, (9, 13, 3), dtype=np.uint8)
    # the margin that is cropped is even: an odd one is split another way, which moves a pixel
    picture = PILImages.fromarray(colours).resize((120, 90), PILImages.Resampling.BICUBIC)
    ours, theirs = processor.pixel_values([picture])[0], transform(picture)
    # PIL and torch round: measured worst is 0.026, two levels of 255 over a deviation of 0.3
    torch.testing.assert_close(ours, theirs, atol=0.03, rtol=0)
    assert len(report.left_over["the tower"]) > 0  # its text half
    assert len(report.taken["the tower"]) == sum(1 for _ in clip.visual.parameters())


def test_a_tower_by_name_and_file(tmp_path):
    """NAME/WEIGHTS, where WEIGHTS is a path: what a tag is too, once it is downloaded."""
    import open_clip

    clip, _ = open_clip_tower(tmp_path / "tower", {**VIT, "quick_gelu": True})
    about = json.loads((tmp_path / "tower" / "open_clip_config.json").read_text())
    (tmp_path / "tiny-tower-of-a-test.json").write_text(json.dumps(about["model_cfg"]))
    open_clip.add_model_config(tmp_path / "tiny-tower-of-a-test.json")
    file = tmp_path / "tower" / "open_clip_model.safetensors"
    tower = read_tower(f"tiny-tower-of-a-test/{file}")
    assert tower.settings["tower_config"]["quick_gelu"] is True
    own = clip.visual.state_dict()
    assert tower.weights.keys() == own.keys()
    assert all(torch.equal(tower.weights[key], own[key]) for key in own)


@pytest.mark.parametrize("kind", ["opt", "itm"])
def test_a_blip2_of_the_hub_gives_its_own_outputs(tmp_path, kind):
    theirs = hub_blip2(tmp_path / "blip2", 16, kind)
    sentencepiece_tokenizer(tmp_path / "llm")
    language_model(tmp_path / "llm", FAMILIES["llama"])
    open_clip_tower(tmp_path / "tower", VIT)
    model, _, report = ChatSearcher.from_parts(
        str(tmp_path / "llm"), str(tmp_path / "tower"), str(tmp_path / "blip2"), embedding_dim=8
    )
    connector = model.eval().connector
    assert model.config.qformer_config.num_attention_heads == 3  # told, not guessed from the width
    raw = torch.randn(2, 17, 16)
    caught = []
    handle = connector.qformer.register_forward_hook(lambda *a: caught.append(a[-1]))
    with torch.no_grad():
        connector(raw, torch.randn(2, 24))
        normed = theirs.vision_model.post_layernorm(raw)
        queries = theirs.query_tokens.expand(2, -1, -1)
        expected = theirs.qformer(query_embeds=queries, encoder_hidden_states=normed)
    handle.remove()
    # measured worst: 0 (the same code on the same weights)
    torch.testing.assert_close(
        caught[0].last_hidden_state, expected.last_hidden_state, atol=1e-6, rtol=0
    )
    left = report.left_over["the Q-former"]
    assert any(name.startswith(("language_model", "model.language_model")) for name in left) == (
        kind == "opt"
    )
    assert any("vision_model.encoder" in name for name in left)
    if kind == "itm":
        assert any("word_embeddings" in name for name in left)


def test_only_the_shards_with_the_qformer_are_read(tmp_path):
    """Most of a BLIP-2 of the Hub is its language model, which nobody wants here."""
    hub_blip2(tmp_path / "blip2", 16, "opt")
    index = json.loads((tmp_path / "blip2" / "model.safetensors.index.json").read_text())
    wanted = {file for key, file in index["weight_map"].items() if "qformer" in key}
    wanted |= {f for k, f in index["weight_map"].items() if "post_layernorm" in k}
    wanted |= {f for k, f in index["weight_map"].items() if k.endswith("query_tokens")}
    others = set(index["weight_map"].values()) - wanted
    assert others, "all shards hold a part of it"
    for file in others:
        (tmp_path / "blip2" / file).unlink()
    assert read_qformer(str(tmp_path / "blip2")).weights["query_tokens"].shape == (1, 5, 24)


def test_the_hubs_width_is_refused_for_a_vit_l(tmp_path):
    hub_blip2(tmp_path / "blip2", 16, "itm")
    public = read_qformer(str(tmp_path / "blip2"))
    with pytest.raises(ValueError, match=r"width 16, the tower's have 1024.*_vitL\.pth"):
        check_width(public, "the Hub's", 1024, "ViT-L-14/openai")
