"""Typed settings of a training run. Everything here is frozen, printable and saved with the run."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

Precision = Literal["auto", "fp32", "bf16-autocast", "bf16"]


@dataclass(frozen=True)
class OptimiserSettings:
    """AdamW under a cosine schedule with linear warm-up.

    Attributes:
        steps: optimiser steps of the whole run.
        learning_rate: the peak, reached after ``warmup`` steps.
        floor: the learning rate at the last step, as a share of the peak.
        clip: largest gradient norm; 0 turns clipping off.
        accumulation: micro-batches per optimiser step.
        key_rate: the learning rate of the key projection M_Q, as a share of the others'; 0 keeps it
            as it is. Keys learn faster than queries: what queries cannot say yet, they forget.
        qformer_rate: the same for the Q-former, its queries and their projector. One that words do
            not listen to grows into constants.
    """

    steps: int = 1000
    learning_rate: float = 1e-3
    warmup: int = 100
    floor: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    clip: float = 1.0
    accumulation: int = 1
    key_rate: float = 1.0
    qformer_rate: float = 1.0


@dataclass(frozen=True)
class EngineSettings:
    """How the arithmetic is run; none of it belongs to the method.

    Attributes:
        deepspeed: "auto" uses ZeRO stage ``zero`` when started by a launcher (or where ``zero`` is
            above 0) and plain torch otherwise; "on" and "off" decide; a path names a JSON, whose
            own stage counts then.
        zero: ZeRO stage 0-3, one file each in ``ds_configs/``.
        precision: "bf16-autocast" keeps float32 parameters, "bf16" lets DeepSpeed keep bfloat16
            parameters and float32 master weights; "auto" is the first of them where the device
            multiplies bfloat16 fast, and "fp32" elsewhere.
        activation_checkpointing: keep each language model layer's input only, and compute the rest
            again in the backward pass: a third more arithmetic in them, a fraction of the memory.
        attention: "auto" (SDPA), "eager", "sdpa", "varlen" (torch's own flash kernel over packed
            rows), "flash_attention_2", "flash_attention_3".
        word_loss: "plain", or "chunked" or "liger", which never hold the logits of a whole batch;
            "auto" chooses by vocabulary and device.
        compile: compile each language model layer (torch.compile); not with ZeRO 3.
        feature_cache: a folder for the features of a frozen tower, so that later epochs neither
            decode pictures nor run it; empty turns it off.
        feature_cache_gb: the most it takes on disk.
        threads: torch threads of the main process; 0 leaves torch's choice.
    """

    deepspeed: str = "auto"
    zero: Literal[0, 1, 2, 3] = 0
    precision: Precision = "auto"
    activation_checkpointing: bool = False
    attention: Literal[
        "auto", "eager", "sdpa", "varlen", "flash_attention_2", "flash_attention_3"
    ] = "auto"
    word_loss: Literal["auto", "plain", "chunked", "liger"] = "auto"
    compile: bool = False
    feature_cache: str = ""
    feature_cache_gb: float = 100.0
    threads: int = 0

    @property
    def autocasts_on_gpus(self) -> bool:
        """Whether GPUs of today, which multiply bfloat16 fast, would train under autocast."""
        return self.precision in ("auto", "bf16-autocast")


@dataclass(frozen=True)
class LogSettings:
    """What is written while training, in optimiser steps; 0 turns a thing off."""

    every: int = 10
    save_every: int = 500
    keep: int = 2
    evaluate_every: int = 0
    trackers: tuple[str, ...] = ("tensorboard",)
    progress: bool = True


@dataclass(frozen=True)
class RunSettings:
    """What every training has, whatever its objective."""

    seed: int = 0
    optimiser: OptimiserSettings = field(default_factory=OptimiserSettings)
    engine: EngineSettings = field(default_factory=EngineSettings)
    log: LogSettings = field(default_factory=LogSettings)


def as_json(settings: Any) -> dict[str, Any]:
    """A settings dataclass as plain JSON types (tuples become lists)."""
    return dataclasses.asdict(settings)
