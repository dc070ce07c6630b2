"""What a model says it looks for, written for many dialogues at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from chatsearcher.model.language import set_attention
from chatsearcher.model.modeling import ChatSearcherModel
from chatsearcher.model.processing import IGNORE, ChatSearcherProcessor, EncodedSample
from chatsearcher.model.sampling import NEVER, never_generated, search_lead_ids


@torch.no_grad()
def reformulate(
    model: ChatSearcherModel,
    processor: ChatSearcherProcessor,
    samples: Sequence[EncodedSample],
    max_new_tokens: int = 64,
) -> list[EncodedSample]:
    """Queries with the words before their ``[IMG]`` that the model finds likeliest.

    Args:
        model: in evaluation mode, with a ``search_lead``.
        samples: of :meth:`ChatSearcherProcessor.encode_query`, each ending in ``ASSISTANT: [IMG]``.
        max_new_tokens: the most tokens of an answer, as in ``ChatSession.generate``: the lead and
            ``[IMG]`` among them.

    Returns:
        samples that end in ``ASSISTANT:``, the words, ``[IMG]``.
    """
    start_id = model.config.token_ids()[0]
    lead = search_lead_ids(processor, model.config.search_lead)
    if not lead:
        raise ValueError("the model has no search_lead: it was not trained to say what it seeks")
    asked = [_ending(sample, lead[: max_new_tokens - 1]) for sample in samples]
    room = max_new_tokens - len(lead) - 1
    if room < 1:
        return [_ending(sample, [start_id], drop=0) for sample in asked]
    batch = processor.batch(asked).to(model.device)
    embeddings_BTH = model._embed(batch, model.embed_images(batch.pixel_values))
    lengths = [len(sample.input_ids) for sample in asked]
    embeddings_BTH, mask_BT = _to_the_right(embeddings_BTH, lengths)
    eos, pad = processor.tokenizer.eos_token_id, processor.tokenizer.pad_token_id
    set_attention(model.llm, "sdpa", embeddings_BTH)
    written_BN = model.llm.generate(  # type: ignore[operator]
        inputs_embeds=embeddings_BTH,
        attention_mask=mask_BT,
        generation_config=GenerationConfig(
            max_new_tokens=room,
            do_sample=False,
            eos_token_id=[start_id, eos],
            pad_token_id=eos if pad is None else pad,
        ),
        logits_processor=LogitsProcessorList([_Never(never_generated(processor, start_id))]),
    )
    ends = {start_id, eos}
    found = []
    for sample, row in zip(asked, written_BN.tolist(), strict=True):
        end = next((at for at, token in enumerate(row) if token in ends), len(row))
        found.append(_ending(sample, [*row[:end], start_id], drop=0))
    return found


def _ending(sample: EncodedSample, ids: list[int], drop: int = 1) -> EncodedSample:
    kept = len(sample.input_ids) - drop
    return replace(
        sample,
        input_ids=[*sample.input_ids[:kept], *ids],
        labels=[*sample.labels[:kept], *[IGNORE] * len(ids)],
    )


def _to_the_right(embeddings_BTH: Tensor, lengths: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Rows padded at the left, where words are added at the right; and what is not padding."""
    moved_BTH = torch.zeros_like(embeddings_BTH)
    mask_BT = torch.zeros(embeddings_BTH.shape[:2], dtype=torch.long, device=embeddings_BTH.device)
    for row, length in enumerate(lengths):
        moved_BTH[row, -length:] = embeddings_BTH[row, :length]
        mask_BT[row, -length:] = 1
    return moved_BTH, mask_BT


class _Never(LogitsProcessor):
    """Keeps special tokens, and rows behind the tokenizer's last word, from being written."""

    def __init__(self, forbidden_V: Tensor) -> None:
        self._forbidden_V = forbidden_V

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        known = len(self._forbidden_V)
        scores[:, known:] = NEVER
        scores[:, :known] += self._forbidden_V.to(scores)
        return scores
