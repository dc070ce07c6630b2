"""What a training minimises: a model and a batch go in, a loss and its figures come out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import torch


@dataclass
class StepResult:
    """One micro-batch's outcome.

    Attributes:
        loss: scalar with a gradient.
        metrics: name -> scalar (tensor or float), averaged over micro-batches and logged.
        tokens: positions the language model read, for tokens per second.
        samples: samples in the batch.
    """

    loss: torch.Tensor
    metrics: dict[str, torch.Tensor | float] = field(default_factory=dict)
    tokens: int = 0
    samples: int = 0


class Objective(Protocol):
    """Calls the (wrapped) model itself, so that gradient synchronisation sees its forward."""

    def __call__(self, model: torch.nn.Module, batch: Any) -> StepResult: ...


class ChatSearcherObjective:
    """Equation 1 of the paper; the model computes it, this names its parts."""

    def __call__(self, model: torch.nn.Module, batch: Any) -> StepResult:
        out = model(batch)
        metrics = {"text_loss": out.text_loss, "image_loss": out.image_loss}
        metrics["retrieval_accuracy"] = out.retrieval_accuracy
        return StepResult(
            loss=out.loss,
            metrics={k: v.detach() if isinstance(v, torch.Tensor) else v for k, v in metrics.items()},
            tokens=int(batch.input_ids.numel()),
            samples=len(batch.keys),
        )
