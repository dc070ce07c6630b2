"""AdamW in float32 for weights in bfloat16, on one GPU and without DeepSpeed.

Sixteen bytes a weight: two for the weight, two for its gradient, twelve for its float32 master and
Adam's two averages. The averages are moved a bucket at a time, so that float32 gradients exist for
a bucket only.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

BUCKET = 1 << 27
"""Weights that are moved at once, at least one tensor."""


class MasterAdamW:
    """AdamW on float32 masters of the given weights; gradients are dropped in each step.

    Args:
        weights: of any precision; those that are float32 already have masters all the same.
    """

    def __init__(
        self,
        weights: Iterable[Tensor],
        learning_rate: float,
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
        bucket: int = BUCKET,
    ) -> None:
        self.buckets = _buckets([weight for weight in weights if weight.requires_grad], bucket)
        self.masters = []
        self.optimisers = []
        for some in self.buckets:
            master = torch.cat([weight.detach().float().flatten() for weight in some])
            self.masters.append(master.requires_grad_())
            self.optimisers.append(
                torch.optim.AdamW(
                    [master],
                    lr=learning_rate,
                    betas=betas,
                    eps=epsilon,
                    weight_decay=0.0,
                    fused=True,
                )
            )

    @torch.no_grad()
    def step(self) -> None:
        """Move every weight; one without a gradient as if that were zero."""
        for some, master, optimiser in zip(
            self.buckets, self.masters, self.optimisers, strict=True
        ):
            gradient = torch.empty_like(master)
            for weight, part in zip(some, gradient.split([w.numel() for w in some]), strict=True):
                if weight.grad is None:
                    part.zero_()
                else:
                    part.copy_(weight.grad.flatten())
                    weight.grad = None
            master.grad = gradient
            optimiser.step()
            master.grad = None
            for weight, part in zip(some, master.split([w.numel() for w in some]), strict=True):
                weight.copy_(part.view_as(weight))


def _buckets(weights: list[Tensor], size: int) -> list[list[Tensor]]:
    buckets: list[list[Tensor]] = []
    filled = size
    for weight in weights:
        if filled + weight.numel() > size:
            buckets.append([])
            filled = 0
        buckets[-1].append(weight)
        filled += weight.numel()
    return buckets
