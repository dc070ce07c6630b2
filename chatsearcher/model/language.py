"""Calling any causal language model: packed rows, and logits only where they are needed."""

from __future__ import annotations

import inspect
from contextvars import ContextVar
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import Cache, PreTrainedModel

from chatsearcher.model.attention import (
    automatic,
    boundary_arguments,
    check_attention,
    reads_boundaries,
)


class LanguageOutput(NamedTuple):
    """Last hidden states [B, T, H], and the logits [n, V] of the chosen positions."""

    hidden_BTH: Tensor
    logits_nV: Tensor


class _Selection:
    def __init__(self, positions_n: Tensor) -> None:
        self.positions_n = positions_n
        self.hidden: Tensor | None = None


_selection: ContextVar[_Selection | None] = ContextVar("selection", default=None)


def _select(module: nn.Module, arguments: Any, output: Any) -> Any:
    selection = _selection.get()
    if selection is None:
        return output
    selection.hidden = output.last_hidden_state
    chosen = selection.hidden.flatten(0, 1)[selection.positions_n.to(selection.hidden.device)]
    output.last_hidden_state = chosen[None]
    return output


def select_before_head(llm: PreTrainedModel) -> None:
    """Let :func:`run` choose the positions that reach the output head.

    The head is often the largest matrix. Calling it directly would miss what some models do around
    it (scaling, soft caps), and ``logits_to_keep`` takes the same columns of every row. So a hook
    narrows the decoder's output on its way to the head; calls from outside :func:`run` see nothing.
    """
    decoder = getattr(llm, llm.base_model_prefix, None)
    if decoder is None or decoder is llm:
        raise ValueError(
            f"{type(llm).__name__} has no decoder under {llm.base_model_prefix!r}; expected a "
            "causal language model of transformers with a decoder and an output head"
        )
    decoder.register_forward_hook(_select)


def run(
    llm: PreTrainedModel,
    embeddings_BTH: Tensor,
    position_ids_BT: Tensor,
    positions_n: Tensor,
    segment_ids_BT: Tensor | None = None,
    attention: str = "auto",
    cache: Cache | None = None,
) -> LanguageOutput:
    """Run the language model.

    Args:
        llm: prepared by :func:`select_before_head`.
        embeddings_BTH: input embeddings.
        position_ids_BT: from 0 in each packed sample.
        positions_n: flat positions in [B * T] whose logits are wanted.
        segment_ids_BT: packed samples; None when every row is one sample, as with a cache.
        attention: one of :data:`chatsearcher.model.attention.KNOWN`.
        cache: keys and values of what stands before; it grows.
    """
    rows, length, _ = embeddings_BTH.shape
    implementation = set_attention(llm, attention, embeddings_BTH)
    mask = None
    begins: dict[str, Any] = {}
    if segment_ids_BT is not None:
        if reads_boundaries(implementation):
            # one long row, and the places where its samples begin
            embeddings_BTH = embeddings_BTH.flatten(0, 1)[None]
            position_ids_BT = position_ids_BT.masked_fill(segment_ids_BT == 0, 0).view(1, -1)
            begins = boundary_arguments(segment_ids_BT)
        elif is_one_sample_a_row(segment_ids_BT):
            position_ids_BT = torch.arange(length, device=embeddings_BTH.device).expand(rows, -1)
        elif not has_sliding_layers(llm):  # such models find the samples by their positions
            mask = block_mask(segment_ids_BT, implementation, embeddings_BTH.dtype)
    selection = _Selection(positions_n)
    token = _selection.set(selection)
    try:
        output = llm(
            inputs_embeds=embeddings_BTH,
            attention_mask=mask,
            position_ids=position_ids_BT,
            use_cache=cache is not None,
            **({} if cache is None else {cache_argument(type(llm)): cache}),
            **begins,
        )
    finally:
        _selection.reset(token)
    if selection.hidden is None:
        raise ValueError(
            f"{type(llm).__name__} did not call its decoder; "
            "was select_before_head given this model?"
        )
    return LanguageOutput(selection.hidden.view(rows, length, -1), output.logits[0])


def decoder_layers(llm: PreTrainedModel) -> nn.ModuleList:
    """The decoder's layers, whatever its family calls them (``layers``, GPT-2 ``h``)."""
    base = getattr(llm, llm.base_model_prefix)
    (layers,) = (part for part in base.children() if isinstance(part, nn.ModuleList))
    return layers


def cache_argument(kind: type[PreTrainedModel]) -> str:
    """What a model calls its cache: ``past_key_values`` before transformers 5.24, ``cache`` now."""
    names = inspect.signature(kind.forward).parameters
    return "cache" if "cache" in names else "past_key_values"


def set_attention(llm: PreTrainedModel, attention: str, embeddings_BTH: Tensor) -> str:
    """Choose the attention implementation; returns its name.

    ``"auto"``: see :func:`chatsearcher.model.attention.automatic`.
    """
    if attention == "auto":
        attention = automatic(embeddings_BTH.device, embeddings_BTH.shape[1])
    for config in {id(c): c for c in (llm.config, llm.config.get_text_config())}.values():
        if config._attn_implementation != attention:
            check_attention(attention, embeddings_BTH.device)
            config._attn_implementation = attention
    return attention


def is_one_sample_a_row(segment_ids_BT: Tensor) -> bool:
    """Whether no row is packed, and padding, if any, is at the right."""
    falls = (segment_ids_BT[:, 1:] <= segment_ids_BT[:, :-1]).all()
    return bool(falls & (segment_ids_BT[:, 0] <= 1).all())


def has_sliding_layers(llm: PreTrainedModel) -> bool:
    """Whether some layers see a window only, so that one mask does not fit all layers."""
    config = llm.config.get_text_config()
    kinds = getattr(config, "layer_types", None) or []
    return any(kind != "full_attention" for kind in kinds) or (
        not kinds and getattr(config, "sliding_window", None) is not None
    )


def block_mask(segment_ids_BT: Tensor, implementation: str, dtype: torch.dtype) -> Tensor:
    """Causal attention inside each packed sample: [B, 1, T, T].

    True or 0 where a position sees another; False, or the lowest number, where it does not. Eager
    attention adds the mask to its scores and so needs numbers.
    """
    length = segment_ids_BT.shape[1]
    causal_TT = torch.ones(length, length, dtype=torch.bool, device=segment_ids_BT.device).tril()
    seen = (segment_ids_BT[:, :, None] == segment_ids_BT[:, None, :]) & causal_TT
    if implementation != "eager":
        return seen[:, None]
    return torch.zeros_like(seen, dtype=dtype).masked_fill(~seen, torch.finfo(dtype).min)[:, None]
