"""The memory of one training step on one GPU, by kind.

What is counted exactly: weights, gradients, optimiser states and the feature queue (from the
parameter counts), activations (:mod:`.activations`) and logits. What is assumed is named in
``RESERVE_BYTES``, ``RESERVE_SHARE`` and the bucket sizes, which are DeepSpeed's defaults.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch

from chatsearcher.model.configuration import ChatSearcherConfig
from chatsearcher.model.words import CHUNK_LOGITS, LARGE_VOCABULARY
from chatsearcher.training.planning.activations import Kept
from chatsearcher.training.planning.shapes import Counts
from chatsearcher.training.settings import EngineSettings

RESERVE_BYTES = int(1.5e9)
"""Context of the GPU, communication library, kernels' workspaces: an assumption."""
RESERVE_SHARE = 0.04
"""Blocks that the allocator cannot use (fragmentation): an assumption."""

BUCKET = 500_000_000
"""Elements of a gradient bucket (DeepSpeed's ``reduce_bucket_size``); two with overlap."""
LIVE = 1_000_000_000
"""Parameters that ZeRO-3 keeps gathered at most (``stage3_max_live_parameters``)."""


@dataclass(frozen=True)
class Workload:
    """One micro-batch of one GPU.

    Attributes:
        rows, length: of the language model's input.
        images: pictures in it.
    """

    rows: int
    length: int
    images: int

    @property
    def positions(self) -> int:
        return self.rows * self.length


@dataclass(frozen=True)
class Memory:
    """Bytes on one GPU.

    Attributes:
        weights: as the network computes with them; under ZeRO-3 a share, and what is gathered.
        gradients: until they are reduced and after.
        optimiser: Adam's two averages, and float32 weights where the others are bfloat16.
        activations: what the forward pass keeps, and what one layer's backward pass adds.
        logits: at the highest moment of the words' loss.
        queue: the feature queue, its copy of the step, and the keys made of it.
        communication: DeepSpeed's buckets.
        reserve: what is assumed for everything that is not ours.
        host: on the host instead, by offloading; not part of the sum.
        overlap: activations and logits are gone before the last gradients come; the sum counts the
            larger of the two, and this is the smaller.
    """

    weights: int
    gradients: int
    optimiser: int
    activations: int
    logits: int
    queue: int
    communication: int = 0
    reserve: int = 0
    host: int = 0
    overlap: int = 0

    KINDS = (
        "weights",
        "gradients",
        "optimiser",
        "activations",
        "logits",
        "queue",
        "communication",
        "reserve",
    )

    @property
    def peak(self) -> int:
        return sum(getattr(self, kind) for kind in self.KINDS) - self.overlap

    def as_json(self) -> dict[str, int]:
        """Every figure by its name, in bytes."""
        return {**{f.name: getattr(self, f.name) for f in fields(self)}, "peak": self.peak}


def need(
    config: ChatSearcherConfig,
    counts: Counts,
    kept: Kept,
    workload: Workload,
    engine: EngineSettings,
    *,
    gpus: int = 1,
    offload: bool = False,
    deepspeed: bool = True,
    reserve: bool = True,
) -> Memory:
    """The memory of a step.

    Args:
        kept: for this workload.
        offload: optimiser and parameters on the host (``ds_configs/zero3_offload.json``).
        deepspeed: False for plain torch on one GPU.
        reserve: False leaves the assumptions out, to compare with what an allocator measured.
    """
    text = config.llm_config.get_text_config()
    layers, wide = text.num_hidden_layers, 2 if engine.precision == "bf16" else 4
    autocast = engine.autocasts_on_gpus
    zero = engine.zero if deepspeed else 0
    weights, gradients, optimiser, communication, host = _states(
        counts, wide, zero, gpus, offload, deepspeed
    )
    narrow = 2 if autocast or wide == 2 else 4
    hidden, intermediate = text.hidden_size, getattr(text, "intermediate_size", text.hidden_size)
    # One layer's backward pass: the gradients of its two widest products stand at once.
    passing = workload.positions * narrow * (3 * intermediate + 2 * hidden)
    # Autocast keeps its narrow copies of trained weights from the forward pass to the backward.
    copies = 2 * (counts.llm - counts.head) if autocast and not config.freeze_llm else 0
    if engine.activation_checkpointing:
        activations = layers * kept.layer_input + kept.once + kept.connector
        moment = kept.layer + passing
        activations += copies
    else:
        activations = layers * kept.layer + kept.once + kept.connector
        moment = passing
    logits = _logits(config, counts, workload, engine, narrow)
    # After the loss the logits are gone, and the first layer goes backward.
    activations += max(0, moment - logits)
    size = config.queue_size
    feature = int((config.tower_config or {})["embed_dim"])
    queue = 4 * size * (2 * feature + (2 if config.momentum else 1) * 2 * config.embedding_dim)
    head = counts.head * wide  # its gradient is there before any other
    early = activations + logits + head
    late = gradients + kept.connector + passing
    memory = Memory(
        weights=weights,
        gradients=gradients,
        optimiser=optimiser,
        activations=activations,
        logits=logits,
        queue=queue,
        communication=communication,
        host=host,
        overlap=activations + logits + gradients - max(early, late),
    )
    if not reserve:
        return memory
    spare = RESERVE_BYTES + int(RESERVE_SHARE * memory.peak)
    values = {f.name: getattr(memory, f.name) for f in fields(memory)}
    return Memory(**{**values, "reserve": spare})


def _states(
    counts: Counts, wide: int, zero: int, gpus: int, offload: bool, deepspeed: bool
) -> tuple[int, int, int, int, int]:
    """Weights, gradients, optimiser states, buckets, and what is on the host."""
    trained, every = counts.trained, counts.total
    if not deepspeed:
        return wide * every, wide * trained, 2 * wide * trained, 0, 0
    part = -(-trained // gpus)
    bucket = 2 * wide * min(BUCKET, trained)
    if zero == 0:
        # bfloat16 weights have float32 masters, and gradients are added up in float32
        masters = 4 * trained if wide == 2 else 0
        return wide * every, (wide + 4) * trained, 8 * trained + masters, 0, 0
    states = 12 * part
    stepping = 4 * part  # the float32 gradients of this part, in the step
    if zero in (1, 2):
        gradients = wide * (trained if zero == 1 else part) + stepping
        if offload:
            return wide * every, gradients - stepping, 0, bucket, states + stepping
        return wide * every, gradients, states, bucket, 0
    gathered = wide * max(min(LIVE, every), counts.largest)
    if offload:
        host = states + stepping + wide * -(-every // gpus)
        return gathered, wide * part, 0, bucket, host
    return wide * -(-every // gpus) + gathered, wide * part + stepping, states, bucket, 0


def _logits(
    config: ChatSearcherConfig,
    counts: Counts,
    workload: Workload,
    engine: EngineSettings,
    wide: int,
) -> int:
    """At the highest moment: all logits, their log-probabilities and gradients, in float32.

    In pieces the gradients take the place of the logits.
    """
    text = config.llm_config.get_text_config()
    words = max(0, workload.positions - workload.images * config.image_length)
    kind = engine.word_loss
    if kind == "auto":
        kind = "plain" if text.vocab_size < LARGE_VOCABULARY else "chunked"
    at_once = words * text.vocab_size
    if kind == "plain":
        return 12 * at_once
    hidden = 2 * words * text.hidden_size * wide  # the chosen states and their gradients
    copy = 2 * counts.head if engine.autocasts_on_gpus else 0
    return 8 * min(at_once, CHUNK_LOGITS) + hidden + copy


def weight_dtype(engine: EngineSettings) -> torch.dtype:
    """The precision of the weights that the network computes with."""
    return torch.bfloat16 if engine.precision == "bf16" else torch.float32
