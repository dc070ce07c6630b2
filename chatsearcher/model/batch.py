"""What the network reads: packed sequences of tokens, and the pictures that stand in them.

Shape legend, here and in the other files of this room: B rows, T positions, I pictures in the
batch, N Q-former tokens of a picture, P patches, C channels of the tower's patches, F width of its
pooled feature, H hidden width of the language model, D width of the retrieval space, K entries of
the dictionary, V vocabulary.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

import torch
from torch import Tensor

IGNORE = -100
"""The label of a position without a loss."""


def image_id_hash(name: str) -> int:
    """A stable non-negative 63-bit number for a picture's id: the same in every process."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big") >> 1


class Features(NamedTuple):
    """What a frozen tower says of one picture: tokens [P, C], pooled feature [F]."""

    tokens_PC: Tensor
    pooled_F: Tensor


@dataclass
class KnownFeatures:
    """Where some pictures' features come from a cache, and the others' keys there.

    Attributes:
        places: [C], which of the batch's I pictures are known; ``pixel_values`` are the others'.
        tokens: [C, P, channels]; of any shape where C is 0.
        pooled: [C, F].
        keys: [I - C], the other pictures' keys.
    """

    places: Tensor
    tokens: Tensor
    pooled: Tensor
    keys: Tensor

    def to(self, device: torch.device | str, non_blocking: bool = False) -> KnownFeatures:
        """These features on a device; the keys stay where they are."""
        places, tokens, pooled = (
            tensor.to(device, non_blocking=non_blocking)
            for tensor in (self.places, self.tokens, self.pooled)
        )
        return KnownFeatures(places, tokens, pooled, self.keys)

    def pin_memory(self) -> KnownFeatures:
        """These features in page-locked memory."""
        return KnownFeatures(
            self.places, self.tokens.pin_memory(), self.pooled.pin_memory(), self.keys
        )


@dataclass
class Batch:
    """Rows of packed samples.

    Attributes:
        input_ids: [B, T]. A picture is the id of ``[IMG]``, 1 + N ids of ``<image>``, and that of
            ``[/IMG]``.
        position_ids: [B, T], from 0 in each packed sample.
        segment_ids: [B, T], 1, 2, … for the packed samples of a row, 0 for padding. A position sees
            those before it in its own segment.
        labels: [B, T], aligned with ``input_ids`` (the model shifts); -100 where there is no loss.
        pixel_values: [I, 3, height, width], normalised; I may be 0.
        image_positions: [I, 2], row and column of each picture's ``[IMG]``.
        image_ids: [I], :func:`image_id_hash` of each picture's id.
        image_targets: [I], whether the picture is to be retrieved from what stands before it.
        keys: the samples' keys, for error messages.
        known: features from a cache; ``pixel_values`` are then those of the other pictures only.
    """

    input_ids: Tensor
    position_ids: Tensor
    segment_ids: Tensor
    labels: Tensor
    pixel_values: Tensor
    image_positions: Tensor
    image_ids: Tensor
    image_targets: Tensor
    keys: list[str] = field(default_factory=list)
    known: KnownFeatures | None = None

    def to(
        self,
        device: torch.device | str,
        dtype: torch.dtype | None = None,
        non_blocking: bool = False,
    ) -> Batch:
        """This batch on a device; ``dtype`` is for the pixels alone."""
        moved = {
            name: tensor.to(device, non_blocking=non_blocking) for name, tensor in self.tensors()
        }
        if dtype is not None:
            moved["pixel_values"] = moved["pixel_values"].to(dtype)
        known = None if self.known is None else self.known.to(device, non_blocking)
        return Batch(**moved, keys=list(self.keys), known=known)

    def pin_memory(self) -> Batch:
        """This batch in page-locked memory (``DataLoader(pin_memory=True)`` calls it)."""
        pinned = {name: tensor.pin_memory() for name, tensor in self.tensors()}
        known = None if self.known is None else self.known.pin_memory()
        return Batch(**pinned, keys=list(self.keys), known=known)

    def tensors(self) -> list[tuple[str, Tensor]]:
        """The tensor fields, in order."""
        names = (f.name for f in fields(self) if f.name not in ("keys", "known"))
        return [(name, getattr(self, name)) for name in names]

    @classmethod
    def text(cls, input_ids: Tensor, **changes: Any) -> Batch:
        """A batch of whole rows of text, [B, T], one sample a row, no padding and no loss."""
        rows, length = input_ids.shape
        none = torch.zeros(0, dtype=torch.long, device=input_ids.device)
        values: dict[str, Any] = {
            "input_ids": input_ids,
            "position_ids": torch.arange(length, device=input_ids.device).expand(rows, length),
            "segment_ids": torch.ones_like(input_ids),
            "labels": torch.full_like(input_ids, IGNORE),
            "pixel_values": torch.zeros(0, 3, 1, 1, device=input_ids.device),
            "image_positions": none.view(0, 2),
            "image_ids": none,
            "image_targets": none.bool(),
            **changes,
        }
        return cls(**values)
