"""What a forward pass keeps for the backward pass, counted on tensors without storage.

The real modules run on fake tensors, and autograd tells which it would keep. Parameters do not
count, and views of one storage count once.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks
from transformers import AutoModelForCausalLM

from chatsearcher.model.attention import VARLEN
from chatsearcher.model.configuration import ChatSearcherConfig
from chatsearcher.model.connector import Connector
from chatsearcher.training.planning.memo import once_per_shape


@dataclass(frozen=True)
class Kept:
    """Bytes kept for the backward pass.

    Attributes:
        once: by the language model, whatever its depth (embeddings, last norm, mask).
        layer: by each of its layers.
        layer_input: the hidden states between two layers: all that checkpointing keeps of one.
        connector: by the Q-former and projectors, for all pictures.
    """

    once: int
    layer: int
    layer_input: int
    connector: int


@once_per_shape
def kept(
    config: ChatSearcherConfig,
    rows: int,
    length: int,
    images: int,
    *,
    patches: int,
    channels: int,
    dtype: torch.dtype,
    autocast: bool,
    attention: str,
    packed: bool = True,
    adapter_rank: int = 0,
    adapter_dropout: float = 0.0,
) -> Kept:
    """Count for one micro-batch.

    Args:
        rows, length: of the language model's input.
        images: pictures in it; ``patches`` x ``channels`` is what the tower says of one.
        dtype: of the weights; with ``autocast``, products are bfloat16.
        attention: ``sdpa``, ``eager``, or a kernel that needs no mask (``varlen``, ``flash…``).
        packed: several samples a row, which SDPA and eager attention need a mask for.
        adapter_rank: of LoRA on the frozen language model; 0: all of it is trained.
    """
    adapters = (adapter_rank, adapter_dropout)
    frozen = config.freeze_llm
    one, two = (
        _decoder(config, n, rows, length, dtype, autocast, attention, packed, adapters, frozen)
        for n in (1, 2)
    )
    width = 2 if autocast else dtype.itemsize
    hidden = config.llm_config.get_text_config().hidden_size
    with FakeTensorMode():
        feature_dim = int((config.tower_config or {})["embed_dim"])
        with _made_in(dtype):
            connector = Connector(copy.deepcopy(config), channels, feature_dim).train()
            connector.attention = "sdpa"  # as on a GPU, whatever stands in for it here
        tokens = torch.empty(images, patches, channels, dtype=dtype)
        pooled = torch.empty(images, feature_dim, dtype=dtype)
        with _autocast(autocast):
            seen = saved_bytes(connector, lambda: connector(tokens, pooled)) if images else 0
    residual = dtype.itemsize if autocast else width
    return Kept(2 * one - two, two - one, rows * length * hidden * residual, seen)


def saved_bytes(module: nn.Module, forward: Callable[[], Any]) -> int:
    """Bytes that autograd keeps of a forward pass, beyond the module's parameters."""
    weights = {p.untyped_storage()._cdata for p in module.parameters()}
    seen: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        seen.setdefault(tensor.untyped_storage()._cdata, tensor)
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        output = forward()
    total = sum(t.untyped_storage().nbytes() for key, t in seen.items() if key not in weights)
    del output
    return total


def _decoder(
    config: ChatSearcherConfig,
    layers: int,
    rows: int,
    length: int,
    dtype: torch.dtype,
    autocast: bool,
    attention: str,
    packed: bool,
    adapters: tuple[int, float],
    frozen: bool,
) -> int:
    shortened = copy.deepcopy(config.llm_config)
    text = shortened.get_text_config()
    text.num_hidden_layers = layers
    if getattr(text, "layer_types", None):
        text.layer_types = text.layer_types[:layers]
    masked = attention in ("sdpa", "eager")
    shortened._attn_implementation = attention if masked else VARLEN  # kernels keep alike
    with FakeTensorMode(), _autocast(autocast):
        llm: Any = AutoModelForCausalLM.from_config(shortened, dtype=dtype).train()
        if adapters[0]:
            _adapt(llm, *adapters, dtype)
        elif frozen:
            llm.requires_grad_(False)
        decoder = getattr(llm, llm.base_model_prefix)
        embeddings = torch.empty(rows, length, text.hidden_size, dtype=dtype, requires_grad=True)
        places = torch.empty(rows, length, dtype=torch.long)
        mask = None
        if packed and masked:
            mask = torch.empty(rows, 1, length, length, dtype=torch.bool)
            if attention == "eager":
                mask = torch.empty(rows, 1, length, length, dtype=dtype)
        return saved_bytes(
            decoder,
            lambda: decoder(
                inputs_embeds=embeddings * 1,
                attention_mask=mask,
                position_ids=places,
                use_cache=False,
            ),
        )


class _Adapted(nn.Module):
    """A frozen linear layer with a low-rank one beside it, as PEFT computes it.

    PEFT's own converts weights as it is put in, which weights without storage do not bear.
    """

    def __init__(self, base: nn.Linear, rank: int, dropout: float) -> None:
        super().__init__()
        self.base = base
        self.drop = nn.Dropout(dropout)
        self.down = nn.Linear(base.in_features, rank, bias=False)
        self.up = nn.Linear(rank, base.out_features, bias=False)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.base(inputs) + self.up(self.down(self.drop(inputs))) * 2.0


def _adapt(llm: Any, rank: int, dropout: float, dtype: torch.dtype) -> None:
    llm.requires_grad_(False)
    head = llm.get_output_embeddings()
    for module in list(llm.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Linear) and child is not head:
                with _made_in(dtype):
                    setattr(module, name, _Adapted(child, rank, dropout))


def _autocast(enabled: bool) -> contextlib.AbstractContextManager[Any]:
    return torch.autocast("cpu", torch.bfloat16) if enabled else contextlib.nullcontext()


@contextlib.contextmanager
def _made_in(dtype: torch.dtype) -> Iterator[None]:
    """New modules in this precision: fake weights cannot be converted afterwards."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
