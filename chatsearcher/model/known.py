"""Reading a batch some of whose pictures' features come from a cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from chatsearcher.model.batch import Batch
from chatsearcher.model.tower import VisionTower

FeatureSink = Callable[[Sequence[int], Tensor, Tensor], Any]
"""Takes keys, tokens [n, P, C] and pooled features [n, F]."""


def read_with_known(
    tower: VisionTower, batch: Batch, image_size: int, sink: FeatureSink | None
) -> tuple[Tensor, Tensor]:
    """Tokens [I, P, C] and pooled features [I, F] of a batch whose features are known in part.

    The tower reads the other pictures, and ``sink`` is given what it says of them.
    """
    known, pixels = batch.known, batch.pixel_values
    assert known is not None
    read = None
    if len(pixels):
        read = tower(pixels)
        if sink is not None:
            kept = (known.keys >= 0).nonzero().squeeze(1)
            rows = kept.to(pixels.device)
            sink(known.keys[kept].tolist(), read[0][rows], read[1][rows])
    elif tower.is_parted:  # the other ranks gather its weights, and wait for this one
        tower(known.pooled.new_zeros(1, 3, image_size, image_size))
    if not len(known.places):
        assert read is not None
        return read
    if read is None:
        return known.tokens, known.pooled
    others = torch.ones(len(batch.image_ids), dtype=torch.bool, device=pixels.device)
    others[known.places] = False
    whole = []
    for found, fresh in zip((known.tokens, known.pooled), read, strict=True):
        joined = fresh.new_empty(len(others), *fresh.shape[1:])
        joined[others], joined[known.places] = fresh, found.to(fresh.dtype)
        whole.append(joined)
    return whole[0], whole[1]
