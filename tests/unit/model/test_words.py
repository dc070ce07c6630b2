"""The words' loss in pieces is the plain one; attention over packed rows without a mask."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from chatsearcher.model import ChatSearcherModel, words
from chatsearcher.model.attention import boundaries, check_attention
from chatsearcher.model.losses import word_loss
from tests.fixtures.tiny import tiny_config, tiny_processor, tiny_samples


def train_step(**changes):
    processor = tiny_processor()
    torch.manual_seed(0)
    model = ChatSearcherModel(tiny_config(**changes)).train()
    output = model(processor.batch(tiny_samples(processor, range(3))))
    output.loss.backward()
    gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    return output.loss.item(), gradients


class OtherHead(nn.Linear):
    """As adapters are: no plain linear layer, so it is called as the module that it is."""


@pytest.mark.parametrize("kind", [nn.Linear, OtherHead])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("rows", [1, 7, 50, 64, 1000])
def test_pieces_of_any_size_give_the_plain_loss_and_gradients(rows, bias, kind):
    torch.manual_seed(0)
    head = kind(16, 97, bias=bias)
    hidden = torch.randn(64, 16, requires_grad=True)
    targets = torch.randint(0, 97, (64,))
    results = []
    for loss in (word_loss(head(hidden), targets), words.chunked(head, hidden, targets, rows)):
        head.zero_grad()
        hidden.grad = None
        (loss / 3).backward()
        rest = [p.grad for p in head.parameters()]
        results.append((loss.detach(), hidden.grad, *rest))
    for plain, pieces in zip(*results, strict=True):
        # float32; worst seen 8e-7 of sums of up to 300
        torch.testing.assert_close(pieces, plain, rtol=1e-5, atol=1e-5)


def test_no_words_lose_nothing_but_reach_the_head():
    head = nn.Linear(4, 11)
    loss = words.chunked(head, torch.zeros(0, 4), torch.zeros(0, dtype=torch.long))
    loss.backward()
    assert loss.item() == 0
    assert head.weight.grad is not None
    assert not head.weight.grad.any()


@pytest.mark.parametrize("kind", [nn.Linear, OtherHead])
def test_pieces_agree_under_autocast_and_in_bfloat16(kind):
    for dtype in (torch.float32, torch.bfloat16):
        torch.manual_seed(0)
        head = kind(32, 97, bias=False).to(dtype)
        hidden = torch.randn(200, 32).to(dtype).requires_grad_()
        targets = torch.randint(0, 97, (200,))
        results = []
        for rows in (None, 64):
            head.weight.grad = hidden.grad = None
            with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.float32):
                if rows is None:
                    loss = word_loss(head(hidden), targets)
                else:
                    loss = words.chunked(head, hidden, targets, rows)
            loss.backward()
            results.append((loss.detach(), head.weight.grad.float(), hidden.grad.float()))
        for plain, pieces in zip(*results, strict=True):
            # bfloat16's resolution is 4e-3; worst seen 5e-3
            assert (pieces - plain).norm() <= 1e-2 * plain.norm()


def test_evaluation_makes_no_gradients():
    head = nn.Linear(8, 97)
    with torch.no_grad():
        loss = words.chunked(head, torch.randn(9, 8), torch.zeros(9, dtype=torch.long), 4)
    assert not loss.requires_grad


@pytest.mark.parametrize("tied", [False, True])
def test_a_step_in_pieces_is_the_plain_step(tied, monkeypatch):
    monkeypatch.setattr(words, "CHUNK_LOGITS", 1)  # pieces of 64 positions, the least
    llm = tiny_config().llm_config
    llm.tie_word_embeddings = tied
    loss, gradients = train_step(llm_config=llm, word_loss="plain")
    other_loss, other = train_step(llm_config=llm, word_loss="chunked")
    assert other_loss == pytest.approx(loss, abs=1e-6)
    assert gradients.keys() == other.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(other[name], gradient, rtol=1e-4, atol=1e-6)  # worst seen 2e-7


def test_the_pieces_never_hold_more_logits_than_allowed(monkeypatch):
    monkeypatch.setattr(words, "CHUNK_LOGITS", 128 * 97)
    head = OtherHead(8, 97)
    seen: list[int] = []
    head.register_forward_hook(lambda _, __, output: seen.append(output.numel()))
    hidden = torch.randn(500, 8, requires_grad=True)
    words.chunked(head, hidden, torch.zeros(500, dtype=torch.long)).backward()
    assert max(seen) == 128 * 97
    assert len(seen) == 8  # four pieces, forward and again backward


def test_auto_is_plain_for_a_small_vocabulary_and_pieces_for_a_large_one():
    small = ChatSearcherModel(tiny_config()).llm
    assert words.choose("auto", small) == "plain"
    small.config.vocab_size = words.LARGE_VOCABULARY
    assert words.choose("auto", small) in ("chunked", "liger")
    with pytest.raises(ValueError, match="unknown word_loss 'fused'"):
        words.choose("fused", small)
    with pytest.raises((ImportError, ValueError), match="use 'chunked'"):
        words.choose("liger", small)  # not installed, or no GPU


def test_a_language_model_that_scales_its_logits_is_told_to_stay_plain():
    from transformers import GraniteConfig

    llm = GraniteConfig(
        vocab_size=320,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        logits_scaling=8.0,
    )
    train_step(llm_config=llm, word_loss="plain")
    with pytest.raises(ValueError, match=r"changes its logits after its head .* plain"):
        train_step(llm_config=llm, word_loss="chunked")


def test_packed_rows_without_a_mask_are_packed_rows_with_one():
    loss, gradients = train_step(attention="sdpa")
    other_loss, other = train_step(attention="varlen")
    assert other_loss == pytest.approx(loss, abs=1e-5)
    for name, gradient in gradients.items():
        torch.testing.assert_close(other[name], gradient, rtol=1e-3, atol=1e-6)


def test_grouped_heads_share_keys_and_values_without_a_mask_too():
    llm = tiny_config().llm_config
    llm.num_attention_heads, llm.num_key_value_heads, llm.head_dim = 4, 2, 8
    loss, _ = train_step(llm_config=llm, attention="sdpa")
    assert train_step(llm_config=llm, attention="varlen")[0] == pytest.approx(loss, abs=1e-5)


def test_samples_begin_where_segments_change_rows_begin_or_padding_does():
    segments = torch.tensor([[1, 1, 2, 0, 0], [1, 1, 1, 1, 2]])
    assert boundaries(segments).tolist() == [0, 2, 3, 5, 9, 10]


@pytest.mark.parametrize("name", ["flash_attention_2", "flash_attention_3"])
def test_a_kernel_that_is_not_there_is_named_with_the_remedy(name):
    with pytest.raises((ImportError, ValueError), match="'sdpa'"):
        check_attention(name, torch.device("cpu"))
    with pytest.raises(ValueError, match="unknown attention 'flash'"):
        check_attention("flash", torch.device("cpu"))
