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
    """Fused AdamW over the trainable parameters; weight decay spares gains, biases and scalars."""
    trainable = [p for p in model.parameters() if p.requires_grad]
    if not trainable:
        raise ValueError("the model has no trainable parameter; check what the recipe freezes")
    if settings.weight_decay:
        # A vocabulary of which two rows are trained must not decay: the others have no gradient.
        decaying = [p.ndim > 1 and not hasattr(p, "_only_image_rows") for p in trainable]
        groups = [
            {
                "params": [p for p, d in zip(trainable, decaying, strict=True) if d],
                "weight_decay": settings.weight_decay,
            },
            {
                "params": [p for p, d in zip(trainable, decaying, strict=True) if not d],
                "weight_decay": 0.0,
            },
        ]
    else:
        groups = [{"params": trainable, "weight_decay": 0.0}]
    return torch.optim.AdamW(
        [g for g in groups if g["params"]],
        lr=settings.learning_rate,
        betas=settings.betas,
        eps=settings.epsilon,
        fused=True,
    )
