"""What a training minimises: a model and a batch go in, a loss and its figures come out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import torch

if TYPE_CHECKING:
    from chatsearcher.model import Batch


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

    def begin_step(self, batches: Sequence[Any]) -> None:
        """Told this rank's micro-batches of the coming optimiser step."""
        ...

    def __call__(self, model: torch.nn.Module, batch: Any) -> StepResult: ...


class ChatSearcherObjective:
    """Equation 1 of the paper; the model computes it, this names its parts.

    With gradient accumulation the divisor is the number of targets of the whole optimiser step, so
    that a word counts the same in a short micro-batch and in a long one.
    """

    def __init__(self) -> None:
        self._share: float | None = None

    def begin_step(self, batches: Sequence[Batch]) -> None:
        if len(batches) == 1:
            self._share = None  # the model counts for itself
            return
        from chatsearcher.model.losses import word_targets

        count = sum(
            len(word_targets(b.labels, b.segment_ids)[1]) + int(b.image_targets.sum())
            for b in batches
        )
        total = torch.tensor(float(count), device=batches[0].input_ids.device)
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(total)
        self._share = max(1.0, float(total)) / len(batches)

    def __call__(self, model: torch.nn.Module, batch: Batch) -> StepResult:
        out = model(batch, target_count=self._share)
        nothing = torch.full_like(out.retrieval_accuracy, torch.nan)
        pictures, words = out.image_count > 0, out.text_count > 0
        metrics: dict[str, torch.Tensor | float] = {
            "text_loss": torch.where(words, out.text_loss, nothing).detach(),
            "image_loss": torch.where(pictures, out.image_loss, nothing).detach(),
            "retrieval_accuracy": torch.where(pictures, out.retrieval_accuracy, nothing).detach(),
            "logit_scale": out.logit_scale.detach(),
        }
        tokens = int((batch.segment_ids > 0).sum())
        return StepResult(out.loss, metrics, tokens=tokens, samples=_samples(batch))


def _samples(batch: Batch) -> int:
    return len(batch.keys)


def held_out_hook(batches: Sequence[Batch]) -> Callable[[torch.nn.Module, int], dict[str, float]]:
    """Evaluation on fixed batches: losses, and retrieval accuracy within batch and queue."""

    def evaluate(model: torch.nn.Module, step: int) -> dict[str, float]:
        device = next(model.parameters()).device
        sums = dict.fromkeys(("text", "image", "right", "words", "pictures"), 0.0)
        for batch in batches:
            out = model(batch.to(device))
            sums["words"] += float(out.text_count)
            sums["pictures"] += float(out.image_count)
            sums["text"] += float(out.text_loss * out.text_count)
            sums["image"] += float(out.image_loss * out.image_count)
            sums["right"] += float(out.retrieval_accuracy * out.image_count)
        words, pictures = max(1.0, sums["words"]), max(1.0, sums["pictures"])
        return {
            "val_text_loss": sums["text"] / words,
            "val_image_loss": sums["image"] / pictures,
            "val_retrieval_accuracy": sums["right"] / pictures,
        }

    return evaluate
