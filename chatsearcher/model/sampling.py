"""Choosing the next token, and showing words as they come."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from chatsearcher.model.processing import ChatSearcherProcessor

NEVER = -torch.inf


class TextStream:
    """Token ids in, words out as soon as they are whole characters."""

    def __init__(
        self, processor: ChatSearcherProcessor, on_text: Callable[[str], None] | None
    ) -> None:
        self._tokenizer = processor.tokenizer
        self._on_text = on_text
        self._ids: list[int] = []
        self._sent = ""

    def put(self, token: int) -> None:
        """One more token."""
        self._ids.append(token)
        if self._on_text is not None:
            text = self._text()
            if not text.endswith("\ufffd"):  # half a character: wait for its other bytes
                self._send(text)

    def close(self) -> str:
        """Send what was held back; returns all the words."""
        text = self._text()
        self._send(text)
        return text

    def _send(self, text: str) -> None:
        if self._on_text is not None and len(text) > len(self._sent):
            self._on_text(text[len(self._sent) :])
            self._sent = text

    def _text(self) -> str:
        return self._tokenizer.decode(self._ids, skip_special_tokens=True).lstrip()


def never_generated(processor: ChatSearcherProcessor, start_id: int) -> Tensor:
    """[V] of the tokenizer: -inf for special tokens but ``</s>`` and ``[IMG]``, otherwise 0."""
    tokenizer = processor.tokenizer
    forbidden_V = torch.zeros(len(tokenizer))
    forbidden_V[tokenizer.all_special_ids] = NEVER
    forbidden_V[list(processor.token_ids.values())] = NEVER
    forbidden_V[[tokenizer.eos_token_id, start_id]] = 0
    return forbidden_V


def search_lead_ids(processor: ChatSearcherProcessor, lead: str) -> list[int]:
    """The tokens of ``config.search_lead`` behind ``ASSISTANT:``; none where there is no lead."""
    if not lead:
        return []
    ids: list[int] = processor.tokenizer(" " + lead, add_special_tokens=False)["input_ids"]
    return ids


def merge(log_p_V: Tensor, token: int, other: int) -> Tensor:
    """The distribution with the other token's probability given to ``token``."""
    both = log_p_V[[token, other]].logsumexp(dim=0)
    merged_V = log_p_V.clone()
    merged_V[other] = NEVER
    merged_V[token] = both
    return merged_V


def decide(log_p_V: Tensor, token: int, chosen: bool) -> Tensor:
    """The distribution once it is known whether ``token`` comes."""
    if chosen:
        only = torch.full_like(log_p_V, NEVER)
        only[token] = 0
        return only
    return log_p_V.index_fill(0, torch.tensor([token]), NEVER).log_softmax(dim=-1)


def draw(log_p_V: Tensor, temperature: float, top_p: float, generator: torch.Generator) -> int:
    """The likeliest token at temperature 0, otherwise one drawn from the nucleus ``top_p``."""
    if temperature <= 0:
        return int(log_p_V.argmax())
    p_V, order_V = (log_p_V / temperature).softmax(dim=-1).sort(descending=True)
    p_V[p_V.cumsum(dim=-1) - p_V >= top_p] = 0
    return int(order_V[torch.multinomial(p_V, 1, generator=generator)])
