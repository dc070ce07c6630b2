"""The language model that begins as a CLIP's words says what the CLIP says."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from chatsearcher.training.decoder import decoder_of_words
from chatsearcher.training.tower import build_clip

TEXT = {
    "context_length": 12,
    "vocab_size": 40,
    "width": 32,
    "heads": 2,
    "layers": 2,
    "pool_type": "eos",
    "eos_id": 2,
    "pad_id": 0,
}


@pytest.fixture(scope="module")
def clip() -> Any:
    torch.manual_seed(0)
    vision = {"image_size": 32, "patch_size": 16, "width": 16, "layers": 1, "head_width": 8}
    return build_clip({"embed_dim": 8, "vision_cfg": vision, "text_cfg": TEXT}).eval()


def states(clip: Any, ids: Tensor) -> Tensor:
    """open_clip's own states before its projection: [B, T, width]."""
    length = ids.shape[1]
    hidden = clip.token_embedding(ids) + clip.positional_embedding[:length]
    hidden = clip.transformer(hidden, attn_mask=clip.attn_mask[:length, :length])
    found: Tensor = clip.ln_final(hidden)
    return found


@pytest.mark.parametrize("further", [0, 3])
def test_its_states_are_the_states_of_the_words(clip: Any, further: int) -> None:
    llm = decoder_of_words(clip.state_dict(), TEXT, TEXT["layers"] + further, 30).eval()
    ids = torch.randint(3, 40, (4, 11))
    with torch.no_grad():
        ours = llm.transformer(input_ids=ids).last_hidden_state
        torch.testing.assert_close(ours, states(clip, ids), atol=1e-5, rtol=1e-5)
        again = llm.transformer(input_ids=ids, position_ids=torch.arange(12, 23)[None])
    torch.testing.assert_close(ours, again.last_hidden_state)  # the positions over again


def test_words_are_told_by_their_own_vectors(clip: Any) -> None:
    llm = decoder_of_words(clip.state_dict(), TEXT, 2, 12)
    assert llm.lm_head.weight is llm.transformer.wte.weight
    torch.testing.assert_close(llm.lm_head.weight, clip.token_embedding.weight)


def test_layers_are_not_left_out(clip: Any) -> None:
    with pytest.raises(ValueError, match=r"1 layers from words of 2"):
        decoder_of_words(clip.state_dict(), TEXT, 1, 12)
