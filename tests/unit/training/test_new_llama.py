"""First weights of a new LLaMA: their spread, heads that begin local, weights of another run."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb

from chatsearcher.model.tokenizer import nano_tokenizer
from chatsearcher.training.new_llama import (
    LOCAL_HEADS,
    LanguageModelSettings,
    begin_local,
    new_llama,
)

NARROW = LanguageModelSettings(hidden_size=128, layers=2, heads=4, intermediate_size=96)


@pytest.fixture(scope="module")
def tokenizer():
    return nano_tokenizer(["a red cat", "two blue birds at night"], 320)


@pytest.mark.parametrize("initialiser", ["width", "local"])
def test_layers_are_drawn_by_width_where_asked(initialiser, tokenizer):
    llm = new_llama(replace(NARROW, initialiser=initialiser), tokenizer)
    layer = llm.model.layers[0]
    for weight, wanted in (
        (layer.self_attn.q_proj.weight, 128**-0.5),
        (layer.mlp.gate_proj.weight, 128**-0.5),
        (layer.mlp.down_proj.weight, (128 * 4) ** -0.5),
        (llm.get_input_embeddings().weight, 0.02),
    ):
        assert weight.std().item() == pytest.approx(wanted, rel=0.1)
    plain = new_llama(NARROW, tokenizer)
    assert plain.model.layers[0].mlp.gate_proj.weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert plain.model.layers[0].self_attn.q_proj.bias is None


def test_local_heads_look_at_their_distance_first(tokenizer):
    llm = new_llama(replace(NARROW, initialiser="local"), tokenizer)
    length, size = 40, NARROW.hidden_size // NARROW.heads
    positions = torch.arange(length)[None]
    for layer in llm.model.layers:
        nothing = torch.zeros(1, length, NARROW.hidden_size)
        turn = LlamaRotaryEmbedding(llm.config)(nothing, positions)
        shape = (1, length, NARROW.heads, size)
        queries = layer.self_attn.q_proj(nothing).view(shape).transpose(1, 2)
        keys = layer.self_attn.k_proj(nothing).view(shape).transpose(1, 2)
        queries, keys = apply_rotary_pos_emb(queries, keys, *turn)
        scores = (queries @ keys.transpose(2, 3))[0, :, -1].flip(-1) / size**0.5  # by distance
        for head, (strength, distance) in enumerate(LOCAL_HEADS):
            if strength:
                assert scores[head].argmax() == distance
                assert scores[head].softmax(-1)[: distance + 4].sum() > 0.8
            else:
                assert scores[head].abs().max() < 1e-5


def test_heads_without_biases_cannot_begin_local(tokenizer):
    with pytest.raises(ValueError, match="attention_bias=False; expected True"):
        begin_local(new_llama(NARROW, tokenizer))


def test_weights_of_another_run_are_taken_whole_or_not_at_all(tokenizer, tmp_path):
    local = replace(NARROW, initialiser="local")
    taught = new_llama(local, tokenizer)
    taught.save_pretrained(tmp_path)
    same = new_llama(replace(local, start=str(tmp_path)), tokenizer)
    for name, value in taught.state_dict().items():
        assert torch.equal(value, same.state_dict()[name]), name
    with pytest.raises(ValueError, match="another shape"):
        new_llama(replace(local, start=str(tmp_path), intermediate_size=64), tokenizer)
    with pytest.raises(ValueError, match="another build"):
        new_llama(replace(local, start=str(tmp_path), layers=1), tokenizer)
    with pytest.raises(FileNotFoundError, match=r"train/words\.py"):
        new_llama(replace(local, start=str(tmp_path / "none")), tokenizer)
