"""LoRA and the rows of [IMG] and [/IMG]: trained, saved, loaded, merged; and PEFT's traps."""

from __future__ import annotations

import copy
import shutil

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, LlamaConfig

from chatsearcher.model import ChatSearcherModel
from tests.fixtures.tiny import seeing_model, tiny_processor, tiny_samples, tiny_tokenizer

pytest.importorskip("peft")

RANK = 3
TIED = [False, True]


def llama(tied: bool) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=len(tiny_tokenizer()),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        tie_word_embeddings=tied,
    )


def new_model(tied: bool, **changes) -> ChatSearcherModel:
    return seeing_model(llm_config=llama(tied), momentum=0.0, **changes)


def batch(numbers=(0, 1, 2)):
    processor = tiny_processor()
    return processor.batch(tiny_samples(processor, numbers))


def train(model: ChatSearcherModel, steps: int = 3, weight_decay: float = 0.0) -> None:
    from chatsearcher.training.schedule import build_optimiser
    from chatsearcher.training.settings import OptimiserSettings

    settings = OptimiserSettings(learning_rate=0.05, weight_decay=weight_decay)
    optimiser = build_optimiser(model, settings)
    model.train()
    for step in range(steps):
        model(batch((step, step + 1, 5))).loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    model.eval()


def answers(model: ChatSearcherModel) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits everywhere, and the loss."""
    model.eval()
    read = batch((7, 8))
    with torch.no_grad():
        loss = model(read).loss  # first: it chooses the attention
        embeddings = model._embed(read, model.embed_images(read.pixel_values))
        return model.llm(inputs_embeds=embeddings).logits, loss


def rows_of(model: ChatSearcherModel) -> list[int]:
    return sorted({model.config.image_start_token_id, model.config.image_end_token_id})


@pytest.mark.parametrize("tied", TIED)
def test_new_adapters_change_nothing(tied):
    model = new_model(tied)
    before = answers(model)
    model.add_lora(rank=RANK)
    for ours, theirs in zip(answers(model), before, strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("tied", TIED)
def test_adapters_two_rows_and_the_heads_are_trained_and_nothing_else(tied):
    model = new_model(tied).requires_grad_(True)
    model.add_lora(rank=RANK)
    inside = {n: p.numel() for n, p in model.llm.named_parameters() if p.requires_grad}
    rows = {n: count for n, count in inside.items() if "trainable_tokens" in n}
    # the embedding's two rows, and the head's where it has its own
    assert list(rows.values()) == [2 * 32] * (1 if tied else 2)
    attention, mlp = 4 * (32 + 32), 3 * (32 + 48)
    assert sum(inside.values()) - sum(rows.values()) == 2 * RANK * (attention + mlp)
    for part in (model.connector.qformer, model.query_projection, model.key_projection):
        assert all(p.requires_grad for p in part.parameters())
    assert not any(p.requires_grad for p in model.tower.parameters())


@pytest.mark.parametrize("tied", TIED)
def test_what_is_trained_survives_saving_loading_and_merging(tied, tmp_path):
    model = new_model(tied)
    plain = copy.deepcopy(model.llm.state_dict())
    model.add_lora(rank=RANK, dropout=0.1)
    train(model)
    trained = answers(model)
    assert not torch.allclose(trained[0], answers(new_model(tied))[0], atol=1e-2)
    model.save_pretrained(tmp_path / "saved")

    loaded = ChatSearcherModel.from_pretrained(tmp_path / "saved").eval()
    for ours, theirs in zip(answers(loaded), trained, strict=True):
        assert torch.equal(ours, theirs)
    trainable = {n for n, p in model.named_parameters() if p.requires_grad}
    assert {n for n, p in loaded.named_parameters() if p.requires_grad} == trainable
    for name in ("query_projection.weight", "key_projection.weight", "log_scale"):
        assert torch.equal(loaded.get_parameter(name), model.get_parameter(name))

    loaded.merge_lora()
    for ours, theirs in zip(answers(loaded), trained, strict=True):
        # measured worst: 1.1e-5 (float32; a sum of two products is not the product of a sum)
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
    merged = loaded.llm.state_dict()
    assert merged.keys() == plain.keys()
    rows = rows_of(model)
    others = [i for i in range(len(tiny_tokenizer())) if i not in rows]
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        assert torch.equal(merged[name][others], plain[name][others]), name
        assert (merged[name][rows] - plain[name][rows]).abs().min() > 0, name
    if tied:
        head, embedding = loaded.get_output_embeddings(), loaded.get_input_embeddings()
        assert head.weight is embedding.weight

    loaded.save_pretrained(tmp_path / "merged")
    assert not (tmp_path / "merged" / "lora").exists()
    again = ChatSearcherModel.from_pretrained(tmp_path / "merged")
    for ours, theirs in zip(answers(again), answers(loaded), strict=True):
        assert torch.equal(ours, theirs)
    assert again.config.lora is None


@pytest.mark.parametrize("tied", TIED)
def test_the_saved_adapters_hold_the_two_rows_and_not_the_vocabulary(tied, tmp_path):
    """PEFT's save_embedding_layers="auto" adds both matrices where the vocabulary was resized."""
    model = new_model(tied)
    model.add_lora(rank=RANK)
    train(model, 1)
    model.save_pretrained(tmp_path)
    saved = load_file(tmp_path / "lora" / "adapter_model.safetensors")
    inside = sum(p.numel() for p in model.llm.parameters() if p.requires_grad)
    assert sum(value.numel() for value in saved.values()) == inside
    deltas = [value for key, value in saved.items() if "trainable_tokens" in key]
    assert [tuple(value.shape) for value in deltas] == [(2, 32)] * (1 if tied else 2)
    whole = load_file(tmp_path / "model.safetensors")
    assert not any("lora" in key or "base_layer" in key or "token_adapter" in key for key in whole)


@pytest.mark.parametrize("tied", TIED)
def test_peft_itself_reads_them(tied, tmp_path):
    from peft import PeftModel

    model = new_model(tied)
    llm = AutoModelForCausalLM.from_config(llama(tied))
    llm.load_state_dict(model.llm.state_dict())
    model.add_lora(rank=RANK)
    train(model)
    model.save_pretrained(tmp_path)
    theirs = PeftModel.from_pretrained(llm, str(tmp_path / "lora")).eval()
    ids = torch.randint(6, 300, (2, 9))
    ids[:, 3] = model.config.image_start_token_id
    with torch.no_grad():
        ours = model.llm(input_ids=ids).logits
        # measured worst: 4e-7
        torch.testing.assert_close(theirs(input_ids=ids).logits, ours, atol=5e-6, rtol=0)


def test_adapters_without_the_rows_are_refused(tmp_path):
    """PEFT loads what is there and keeps new values for the rest, without a word."""
    from safetensors.torch import save_file

    model = new_model(False)
    model.add_lora(rank=RANK)
    model.save_pretrained(tmp_path)
    path = tmp_path / "lora" / "adapter_model.safetensors"
    kept = {k: v for k, v in load_file(path).items() if "trainable_tokens" not in k}
    save_file(kept, path, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"without the rows of \[IMG\]"):
        ChatSearcherModel.from_pretrained(tmp_path)
    shutil.rmtree(tmp_path / "lora")
    with pytest.raises(FileNotFoundError, match="copy the whole folder"):
        ChatSearcherModel.from_pretrained(tmp_path)


def test_adapters_that_nobody_gathered_are_not_saved(tmp_path):
    """What ZeRO-3 leaves in the module is empty."""
    model = new_model(False)
    model.add_lora(rank=RANK)
    empty = {key: value.new_empty(0) for key, value in model.state_dict().items()}
    with pytest.raises(ValueError, match="were not gathered from the ranks"):
        model.save_pretrained(tmp_path, state_dict=empty)


def test_rows_are_resized_before_adapters_and_not_after():
    model = new_model(False)
    model.resize_tokens(len(tiny_tokenizer()) + 5)
    model.add_lora(rank=RANK)
    with pytest.raises(ValueError, match="resize first"):
        model.resize_tokens(len(tiny_tokenizer()) + 9)
    with pytest.raises(ValueError, match="already"):
        model.add_lora(rank=RANK)
    model.merge_lora()
    assert all(weight.requires_grad for weight in model.llm.parameters())
    with pytest.raises(ValueError, match="no LoRA adapters"):
        model.merge_lora()


def test_a_resized_vocabulary_survives_saving(tmp_path):
    """The size in the configuration, the rows, and the head all grow, and load again."""
    model = new_model(False)
    old = copy.deepcopy(model.llm.state_dict())
    size = len(tiny_tokenizer()) + 5
    model.resize_tokens(size)
    model.save_pretrained(tmp_path)
    loaded = ChatSearcherModel.from_pretrained(tmp_path)
    assert loaded.config.llm_config.vocab_size == loaded.llm.config.vocab_size == size
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        rows, before = loaded.llm.state_dict()[name], old[name]
        assert torch.equal(rows[:-5], before)
        # measured worst: 0
        torch.testing.assert_close(rows[-5:], before.mean(0).expand(5, -1), atol=1e-7, rtol=0)


def test_new_tokens_in_a_padded_vocabulary_start_at_the_mean_of_the_trained_rows():
    """Qwen's matrices have hundreds of rows that no token has: they are not good beginnings."""
    model = new_model(False)
    before = model.get_input_embeddings().weight.detach().clone()
    model.resize_tokens(300, known=290)
    after = model.get_input_embeddings().weight.detach()
    assert torch.equal(after[:290], before[:290])
    assert torch.equal(after[300:], before[300:])
    # measured worst: 0
    torch.testing.assert_close(after[290:300], before[:290].mean(0).expand(10, -1))


@pytest.mark.parametrize("tied", TIED)
def test_adapters_learn_under_activation_checkpointing(tied):
    """Frozen embeddings give checkpointed layers inputs without a gradient: pictures have one."""
    gradients = []
    for checkpointing in (False, True):
        model = new_model(tied)
        torch.manual_seed(1)
        model.add_lora(rank=RANK)
        if checkpointing:
            model.gradient_checkpointing_enable()
        model.train()(batch()).loss.backward()
        named = model.llm.named_parameters()
        gradients.append({n: p.grad for n, p in named if p.requires_grad})
        assert all(g is not None for g in gradients[-1].values())
    for name, gradient in gradients[0].items():
        # measured worst: 0
        torch.testing.assert_close(gradients[1][name], gradient, atol=1e-6, rtol=1e-5)
    assert any(g.abs().sum() > 0 for n, g in gradients[0].items() if "trainable_tokens" in n)


@pytest.mark.parametrize("tied", TIED)
def test_a_frozen_language_model_learns_two_rows_whatever_the_weight_decay(tied, tmp_path):
    model = new_model(tied, freeze_llm=True)
    before = copy.deepcopy(model.llm.state_dict())
    train(model, weight_decay=0.5)
    model.save_pretrained(tmp_path)
    after = ChatSearcherModel.from_pretrained(tmp_path).llm.state_dict()
    rows = rows_of(model)
    for name, weight in before.items():
        changed = (after[name] != weight).nonzero()
        if name in ("model.embed_tokens.weight", "lm_head.weight"):
            assert changed[:, 0].unique().tolist() == rows, name
        else:
            assert not len(changed), name
