"""The learning-rate schedule and the optimiser."""

from __future__ import annotations

import math

import torch

from chatsearcher.training.settings import OptimiserSettings


def learning_rate(step: int, settings: OptimiserSettings) -> float:
    """The rate of optimiser step ``step`` (0-based): linear warm-up, then half a cosine.

    A pure function of the step, so a resumed run needs no scheduler state.
    """
    if step < settings.warmup:
        return settings.learning_rate * (step + 1) / settings.warmup
    span = max(1, settings.steps - settings.warmup)
    progress = min(1.0, (step - settings.warmup) / span)
    share = settings.floor + (1 - settings.floor) * 0.5 * (1 + math.cos(math.pi * progress))
    return settings.learning_rate * share


def build_optimiser(model: torch.nn.Module, settings: OptimiserSettings) -> torch.optim.Optimizer:
    """Fused AdamW over the trainable parameters; weight decay spares gains, biases and scalars.

    Each group's ``share`` is its learning rate over the schedule's. A part with a rate of 0 stops
    being trainable.

    Raises:
        ValueError: nothing is trainable.
    """
    groups: dict[tuple[float, float], list[torch.nn.Parameter]] = {}
    for name, weight in model.named_parameters():
        share = _share(name, settings)
        weight.requires_grad_(weight.requires_grad and share > 0)
        if weight.requires_grad:
            # A vocabulary of which two rows are trained must not decay: the others have no
            # gradient.
            decaying = weight.ndim > 1 and not hasattr(weight, "_only_image_rows")
            decay = settings.weight_decay if decaying else 0.0
            groups.setdefault((-decay, -share), []).append(weight)
    if not groups:
        raise ValueError("the model has no trainable parameter; check what the recipe freezes")
    return torch.optim.AdamW(
        [
            {"params": weights, "weight_decay": -decay, "share": -share}
            for (decay, share), weights in sorted(groups.items(), key=lambda item: item[0])
        ],
        lr=settings.learning_rate,
        betas=settings.betas,
        eps=settings.epsilon,
        fused=True,
    )


def _share(name: str, settings: OptimiserSettings) -> float:
    if name == "key_projection.weight":
        return settings.key_rate
    if name.startswith("connector.") and not name.startswith("connector.cls_projection."):
        return settings.qformer_rate
    return 1.0
