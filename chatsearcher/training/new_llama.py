"""A new, narrow LLaMA: its shape, and first weights with which it learns within minutes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from safetensors.torch import load_file
from torch import Tensor

from chatsearcher.model.language import decoder_layers

if TYPE_CHECKING:
    from transformers import LlamaConfig, PreTrainedModel, PreTrainedTokenizerBase

# (squared strength, distance) of the heads that begin local; the fourth sees everything alike. With
# 32 frequencies the first three put most of their weight on the words 0 to 3 back.
LOCAL_HEADS: tuple[tuple[float, int], ...] = ((0.0, 0), (3.0, 0), (6.0, 1), (6.0, 2))


@dataclass(frozen=True)
class LanguageModelSettings:
    """A new LLaMA; where ``pretrained`` names a causal language model, that one instead.

    Attributes:
        start: the ``model/`` folder of a finished run of ``train/words.py`` of this shape, whose
            weights it begins with.
        initialiser: "llama" draws all weights with a standard deviation of 0.02, which suits wide
            models; "width" draws the layers as open_clip draws its text side: 1 / sqrt(width), what
            is added to the residual stream divided by sqrt(2 * layers). Narrow layers of 0.02 add
            next to nothing at first, and the model stays a bag of words for thousands of steps.
            "local" is "width" with biases in the attention, by which most heads begin by looking at
            the words just before, so that what is said is bound to its thing sooner.
    """

    pretrained: str | None = None
    start: str | None = None
    hidden_size: int = 256
    layers: int = 5
    heads: int = 4
    intermediate_size: int = 704
    context: int = 2048
    tie_embeddings: bool = True
    initialiser: Literal["llama", "width", "local"] = "llama"


def llama_config(
    settings: LanguageModelSettings, vocabulary: int, **tokens: int | None
) -> LlamaConfig:
    """The configuration of a new LLaMA of that many words.

    Args:
        tokens: the ids of special tokens, as ``LlamaConfig`` names them.
    """
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=settings.hidden_size,
        intermediate_size=settings.intermediate_size,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        max_position_embeddings=settings.context,
        tie_word_embeddings=settings.tie_embeddings,
        attention_bias=settings.initialiser == "local",
        **tokens,  # type: ignore[arg-type]
    )


def special_tokens(tokenizer: PreTrainedTokenizerBase) -> dict[str, int | None]:
    """The ids of a tokenizer's special tokens, as a model's configuration names them."""
    ids: Any = (tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id)
    return dict(zip(("pad_token_id", "bos_token_id", "eos_token_id"), ids, strict=True))


def new_llama(
    settings: LanguageModelSettings, tokenizer: PreTrainedTokenizerBase
) -> PreTrainedModel:
    """A new LLaMA for that vocabulary; random numbers come from torch's global generator."""
    from transformers import LlamaForCausalLM

    llm = LlamaForCausalLM(llama_config(settings, len(tokenizer), **special_tokens(tokenizer)))
    first_weights(llm, settings)
    return llm


def first_weights(llm: PreTrainedModel, settings: LanguageModelSettings) -> None:
    """Give a new LLaMA the weights that its settings ask for; "llama" leaves it as it is.

    Raises:
        FileNotFoundError: no model in ``settings.start``.
        ValueError: the model there is of another shape.
    """
    if settings.start is not None:
        _load(llm, Path(settings.start))
        return
    if settings.initialiser != "llama":
        draw_by_width(llm)
    if settings.initialiser == "local":
        begin_local(llm)


def _load(llm: PreTrainedModel, folder: Path) -> None:
    file = folder / "model.safetensors"
    if not file.is_file():
        raise FileNotFoundError(
            f"no model.safetensors in {folder}; python train/words.py makes nano's, and "
            "--model.llm.start None begins without"
        )
    weights, own = load_file(file), llm.state_dict()
    for name, value in weights.items():
        if name in own and value.shape != own[name].shape:
            raise ValueError(
                f"the language model in {folder} is of another shape: {name} is "
                f"{tuple(value.shape)}, expected {tuple(own[name].shape)}"
            )
    found = llm.load_state_dict(weights, strict=False)
    missing = set(found.missing_keys) - set(llm.all_tied_weights_keys)
    if missing or found.unexpected_keys:
        wrong = sorted({*missing, *found.unexpected_keys})
        raise ValueError(f"the language model in {folder} is of another build: {wrong[:3]}")


@torch.no_grad()
def draw_by_width(llm: PreTrainedModel) -> None:
    """New weights for the layers' matrices; embeddings stay as they are."""
    layers = decoder_layers(llm)
    width = llm.config.hidden_size
    for name, weight in layers.named_parameters():
        if weight.ndim < 2:
            continue
        added = name.endswith(("o_proj.weight", "down_proj.weight"))
        depth = 2 * len(layers) if added else 1
        weight.normal_(std=(width * depth) ** -0.5)


@torch.no_grad()
def begin_local(llm: PreTrainedModel) -> None:
    """Three of four heads of every layer begin by looking a few words back.

    Biases of queries and keys make scores that depend on the distance alone: under rotary positions
    (RoFormer, arXiv:2104.09864) constant vectors score ``sum_f |q_f| |k_f| cos(w_f (i - j - d))``
    where their phases differ by ``w_f d``. Like all weights they are trained on.

    Raises:
        ValueError: the model has no biases in its attention; give its config
            ``attention_bias=True``.
    """
    config: Any = llm.config
    if not getattr(config, "attention_bias", False):
        raise ValueError(
            f"{type(llm).__name__} has attention_bias=False; expected True: heads begin local by "
            "the biases of their queries and keys"
        )
    size, heads = int(config.head_dim), int(config.num_key_value_heads)
    base = float(config.rope_parameters["rope_theta"])
    biases = [_biases(size, base, *LOCAL_HEADS[head % len(LOCAL_HEADS)]) for head in range(heads)]
    shared = int(config.num_attention_heads) // heads  # by so many heads of queries
    queries = torch.cat([query for query, _ in biases for _ in range(shared)])
    keys = torch.cat([key for _, key in biases])
    for layer in decoder_layers(llm):
        attention: Any = layer.self_attn
        attention.q_proj.bias.copy_(queries)
        attention.k_proj.bias.copy_(keys)


def _biases(size: int, base: float, strength: float, distance: int) -> tuple[Tensor, Tensor]:
    """(query's, key's) biases of one head, each [size]: they score highest at a distance."""
    frequencies = torch.tensor(base) ** -(torch.arange(0, size, 2).float() / size)
    amplitude = (strength * 64 / size) ** 0.5
    angles = frequencies * distance
    query = torch.cat([torch.ones_like(angles), torch.zeros_like(angles)])
    key = torch.cat([angles.cos(), angles.sin()])
    return amplitude * query, amplitude * key
