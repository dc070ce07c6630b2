"""The arithmetic of a training step: model FLOPs, without what is computed twice.

A multiply-add is two operations. Backward passes count twice the forward's. Attention counts the
pairs of positions that see each other, and the head the positions whose word is learned.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM
from transformers.pytorch_utils import Conv1D

from chatsearcher.model.configuration import ChatSearcherConfig
from chatsearcher.model.connector import Connector
from chatsearcher.model.language import decoder_layers
from chatsearcher.model.tower import VisionTower
from chatsearcher.training.planning.memo import once_per_shape
from chatsearcher.training.planning.memory import Workload


@dataclass(frozen=True)
class StepFlops:
    """Operations of one step of one GPU, by part; ``total`` is what utilisation is measured by."""

    layers: float
    attention: float
    head: float
    connector: float
    tower: float

    @property
    def total(self) -> float:
        return self.layers + self.attention + self.head + self.connector + self.tower


def step_flops(
    config: ChatSearcherConfig,
    workload: Workload,
    *,
    pairs: float | None = None,
    words: int | None = None,
    adapters: bool = False,
) -> StepFlops:
    """Count one step.

    Args:
        pairs: pairs of positions that see each other, in all rows; by default those of rows that
            hold one sample each. Packed samples have fewer.
        words: learned words; by default all positions outside pictures.
        adapters: the language model is frozen under LoRA: its own weights get no gradients.
    """
    text = config.llm_config.get_text_config()
    if pairs is None:
        pairs = workload.rows * workload.length * (workload.length + 1) / 2
    if words is None:
        words = max(0, workload.positions - workload.images * config.image_length)
    head_dim = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    layers = _multiplied(config)
    factor = 2 if adapters or config.freeze_llm else 3  # forward, gradients of inputs, of weights
    attended = text.num_hidden_layers * text.num_attention_heads * head_dim * pairs
    connector, tower = _pictures(config)
    return StepFlops(
        layers=factor * 2.0 * layers * workload.positions,
        attention=3 * 4.0 * attended,
        head=factor * 2.0 * text.vocab_size * text.hidden_size * words,
        connector=3.0 * connector * workload.images,
        tower=(1.0 if config.freeze_tower else 3.0) * tower * workload.images,
    )


@once_per_shape
def _multiplied(config: ChatSearcherConfig) -> int:
    """Weights of the linear layers that every position goes through, without the head."""
    with torch.device("meta"):
        llm: Any = AutoModelForCausalLM.from_config(config.llm_config)
    return sum(
        module.weight.numel()
        for module in decoder_layers(llm).modules()
        if isinstance(module, (torch.nn.Linear, Conv1D))
    )


@once_per_shape
def _pictures(config: ChatSearcherConfig) -> tuple[int, int]:
    """Forward operations of connector and tower for one picture."""
    with torch.device("meta"), torch.no_grad():
        tower = VisionTower(config, "meta").requires_grad_(False)
        with FlopCounterMode(display=False) as counted:
            tokens, pooled = tower(torch.empty(1, 3, config.image_size, config.image_size))
        seen = counted.get_total_flops()
        connector = Connector(copy.deepcopy(config), tokens.shape[2], pooled.shape[1])
        connector.requires_grad_(False)
        tokens, pooled = torch.empty_like(tokens), torch.empty_like(pooled)
        with FlopCounterMode(display=False) as counted:
            connector(tokens, pooled)
    return counted.get_total_flops(), seen
