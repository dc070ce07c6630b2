"""A language model that begins as the words of a CLIP: what nano has instead of Vicuna's weights.

open_clip's causal text transformer and GPT-2 are the same network (layer norm before each part,
learned positions, GELU), so the weights of one are those of the other. A decoder that has learned
from captions which word belongs to which thing can be asked for pictures at once; a new one takes
all things and sides for one bag of words.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel

_PARTS = {
    "ln_1": "ln_1",
    "ln_2": "ln_2",
    "attn.out_proj": "attn.c_proj",
    "mlp.c_fc": "mlp.c_fc",
    "mlp.c_proj": "mlp.c_proj",
}


def decoder_of_words(
    weights: dict[str, Tensor], text_config: dict[str, Any], layers: int, context: int
) -> GPT2LMHeadModel:
    """The text side of an open_clip CLIP as a causal language model with tied embeddings.

    Up to the text's last layer the hidden states are the CLIP's own. Layers beyond it begin as
    identities; positions beyond its context begin as its positions over again.

    Args:
        weights: the CLIP's state dict.
        text_config: its ``text_cfg``.
        layers: of the language model; not fewer than the text side has.
        context: its longest sequence.

    Raises:
        ValueError: fewer layers than the text side has.
    """
    known = text_config["layers"]
    if layers < known:
        raise ValueError(
            f"a language model of {layers} layers from words of {known}; give --model.llm.layers "
            f"{known} or more, or --model.llm.start new"
        )
    config = config_of_words(text_config, layers, context)
    model = GPT2LMHeadModel(config)
    model.load_state_dict(_renamed(weights, known, context), strict=False)
    with torch.no_grad():
        for layer in model.transformer.h[known:]:
            layer.attn.c_proj.weight.zero_()
            layer.mlp.c_proj.weight.zero_()
    return model


def config_of_words(text_config: dict[str, Any], layers: int, context: int) -> GPT2Config:
    """The configuration of :func:`decoder_of_words`."""
    width = text_config["width"]
    return GPT2Config(
        vocab_size=text_config["vocab_size"],
        n_positions=context,
        n_embd=width,
        n_layer=layers,
        n_head=text_config["heads"],
        n_inner=int(width * text_config.get("mlp_ratio", 4.0)),
        activation_function="gelu",
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=text_config.get("bos_id"),
        eos_token_id=text_config.get("eos_id"),
        pad_token_id=text_config.get("pad_id"),
    )


def _renamed(weights: dict[str, Tensor], layers: int, context: int) -> dict[str, Tensor]:
    """The weights under GPT-2's names; its linear maps are stored the other way round."""
    positions = weights["positional_embedding"]
    repeats = -(-context // len(positions))
    found = {
        "transformer.wte.weight": weights["token_embedding.weight"],
        "lm_head.weight": weights["token_embedding.weight"],
        "transformer.wpe.weight": positions.repeat(repeats, 1)[:context],
        "transformer.ln_f.weight": weights["ln_final.weight"],
        "transformer.ln_f.bias": weights["ln_final.bias"],
    }
    for number in range(layers):
        theirs, ours = f"transformer.resblocks.{number}", f"transformer.h.{number}"
        found[f"{ours}.attn.c_attn.weight"] = weights[f"{theirs}.attn.in_proj_weight"].T
        found[f"{ours}.attn.c_attn.bias"] = weights[f"{theirs}.attn.in_proj_bias"]
        for old, new in _PARTS.items():
            weight = weights[f"{theirs}.{old}.weight"]
            found[f"{ours}.{new}.weight"] = weight.T if weight.ndim == 2 else weight
            found[f"{ours}.{new}.bias"] = weights[f"{theirs}.{old}.bias"]
    return {name: value.float().contiguous() for name, value in found.items()}
