"""The feature queue: a dictionary of pictures to tell the right one from (paper, section 4.1)."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor
from transformers import initialization as init

from chatsearcher.model.precision import Float32Module

EMPTY = -1
"""The id of a slot that holds nothing yet."""


class Dictionary(NamedTuple):
    """What a picture is told apart from.

    Attributes:
        features_KF: raw pooled features of the tower.
        ids_K: the pictures' ids; -1 where a slot is empty.
        own_n: for each picture of the global batch, the slot of the newest entry with its id.
        slot_n: for each picture of the global batch, the slot it was put in.
    """

    features_KF: Tensor
    ids_K: Tensor
    own_n: Tensor
    slot_n: Tensor

    def excluded(self, rows_n: Tensor) -> Tensor:
        """Slots that do not count for these pictures of the batch: [n, K].

        Empty ones, and other entries of the same picture, which would be false negatives.
        """
        own = self.own_n[rows_n]
        slots = torch.arange(len(self.ids_K), device=own.device)
        twins = (self.ids_K[None] == self.ids_K[own][:, None]) & (slots[None] != own[:, None])
        return twins | (self.ids_K == EMPTY)[None]


class FeatureQueue(Float32Module):
    """A ring of raw tower features and their pictures' ids; it is part of every checkpoint.

    Args:
        size: K, the number of entries.
        feature_dim: F.
    """

    features: Tensor
    ids: Tensor
    pushed: Tensor

    def __init__(self, size: int, feature_dim: int) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("features", torch.zeros(size, feature_dim, dtype=torch.float32))
        self.register_buffer("ids", torch.full((size,), EMPTY, dtype=torch.long))
        self.register_buffer("pushed", torch.zeros((), dtype=torch.long))

    def init_weights(self) -> None:
        """Empty the queue."""
        init.zeros_(self.features)
        init.constant_(self.ids, EMPTY)
        init.zeros_(self.pushed)

    def __len__(self) -> int:
        """Entries held."""
        return int((self.ids != EMPTY).sum())

    @torch.no_grad()
    def enqueue(self, features_nF: Tensor, ids_n: Tensor) -> Dictionary:
        """Put a global batch in, the oldest entries out; returns the dictionary to score with.

        A batch larger than the queue is a dictionary of its own; its newest K stay.
        """
        n = len(ids_n)
        features_nF = features_nF.to(self.features.dtype)
        kept = min(n, self.size)
        slots = (self.pushed + torch.arange(n - kept, n, device=ids_n.device)) % self.size
        self.features[slots] = features_nF[n - kept :]
        self.ids[slots] = ids_n[n - kept :]
        self.pushed += n
        if n > self.size:
            return batch_dictionary(features_nF, ids_n)
        # copies: the next batch overwrites slots that this one's backward pass still needs
        return Dictionary(self.features.clone(), self.ids.clone(), slots[newest(ids_n)], slots)

    @torch.no_grad()
    def peek(self, features_nF: Tensor, ids_n: Tensor) -> Dictionary:
        """The dictionary of a batch in evaluation: the queue and the batch; nothing is changed."""
        features = torch.cat([self.features, features_nF.to(self.features.dtype)])
        slots = self.size + torch.arange(len(ids_n), device=ids_n.device)
        return Dictionary(features, torch.cat([self.ids, ids_n]), slots[newest(ids_n)], slots)


def batch_dictionary(features_nF: Tensor, ids_n: Tensor) -> Dictionary:
    """The global batch alone as the dictionary: in-batch negatives."""
    slots = torch.arange(len(ids_n), device=ids_n.device)
    return Dictionary(features_nF.detach().float(), ids_n, newest(ids_n), slots)


def newest(ids_n: Tensor) -> Tensor:
    """For each entry, the index of the last one with the same id: [n]."""
    if not len(ids_n):
        return ids_n
    positions = torch.arange(len(ids_n), device=ids_n.device)
    return torch.where(ids_n[:, None] == ids_n[None], positions[None], -1).amax(dim=1)


class GlobalPictures(NamedTuple):
    """The pictures of all ranks, in rank order; ``start`` is where this rank's begin.

    ``counts`` are the sums over ranks of the numbers given to :func:`gather_pictures`.
    """

    features_nF: Tensor
    ids_n: Tensor
    start: int
    counts: Tensor


def gather_pictures(features_IF: Tensor, ids_I: Tensor, counts: Tensor) -> GlobalPictures:
    """Gather pictures of all ranks; ranks may have different numbers, also none.

    Args:
        features_IF: this rank's features; gradients flow back to their own ranks.
        ids_I: their ids.
        counts: [c] integers to add up over the ranks.
    """
    features_IF = features_IF.float()
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        return GlobalPictures(features_IF, ids_I, 0, counts)
    ranks, rank = dist.get_world_size(), dist.get_rank()
    own = torch.cat([torch.tensor([len(ids_I)], device=counts.device), counts])
    tables = [torch.empty_like(own) for _ in range(ranks)]
    dist.all_gather(tables, own)
    table = torch.stack(tables)
    lengths = table[:, 0].tolist()
    longest = max(lengths)
    if longest == 0:
        return GlobalPictures(features_IF, ids_I, 0, table[:, 1:].sum(0))
    padding = longest - len(ids_I)
    ids = [torch.empty(longest, dtype=ids_I.dtype, device=ids_I.device) for _ in range(ranks)]
    dist.all_gather(ids, torch.nn.functional.pad(ids_I, (0, padding)))
    padded = torch.nn.functional.pad(features_IF, (0, 0, 0, padding))
    if padded.requires_grad:
        import torch.distributed.nn.functional as differentiable

        features = list(differentiable.all_gather(padded))
    else:
        features = [torch.empty_like(padded) for _ in range(ranks)]
        dist.all_gather(features, padded.contiguous())
    return GlobalPictures(
        torch.cat([f[:n] for f, n in zip(features, lengths, strict=True)]),
        torch.cat([i[:n] for i, n in zip(ids, lengths, strict=True)]),
        sum(lengths[:rank]),
        table[:, 1:].sum(0),
    )
