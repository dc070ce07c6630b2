"""Encoded samples -> the packed batch that the network reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from chatsearcher.data.packing import cut, pack_rows
from chatsearcher.model.batch import IGNORE, Batch, Features, KnownFeatures, image_id_hash

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

    from chatsearcher.model.processing import ChatSearcherProcessor, EncodedImage, EncodedSample


def collate(
    samples: Sequence[EncodedSample],
    processor: ChatSearcherProcessor,
    length: int | None = None,
    pack: bool = True,
    cached: bool = False,
) -> Batch:
    """Samples -> rows of tokens, without attention from one sample to another.

    Pictures are listed in the order of the samples, whatever row they land in, so that packing
    changes neither their order nor what the feature queue receives.

    Args:
        samples: a sample longer than ``length`` goes on in further rows or segments.
        length: tokens of a row at most; None takes the longest sample's.
        pack: several samples a row, in as few rows of at most ``length`` as they fill, all of one
            width; False gives each its own row and pads to the longest.
        cached: some pictures may be features from a cache, and the others are to be kept there.

    Raises:
        ValueError: ``length`` is too small for a picture.
    """
    tokenizer = processor.tokenizer
    pieces = list(samples)
    if length is not None:
        pieces = [
            piece
            for sample in samples
            for piece in cut(sample, length, processor.num_query_tokens + 3, tokenizer.bos_token_id)
        ]
    sizes = [len(piece.input_ids) for piece in pieces]
    if pack:
        rows, width = pack_rows(sizes, length if length is not None else max(sizes, default=0))
    else:
        width = max(sizes, default=0)
        rows = [[number] for number in range(len(pieces))]

    pad = tokenizer.pad_token_id
    ids = torch.full((len(rows), width), 0 if pad is None else pad, dtype=torch.long)
    labels = torch.full_like(ids, IGNORE)
    positions = torch.zeros_like(ids)
    segments = torch.zeros_like(ids)
    places: dict[int, tuple[int, int]] = {}
    for row, numbers in enumerate(rows):
        start = 0
        for order, number in enumerate(numbers, start=1):
            piece = pieces[number]
            end = start + sizes[number]
            ids[row, start:end] = torch.tensor(piece.input_ids)
            labels[row, start:end] = torch.tensor(piece.labels)
            positions[row, start:end] = torch.arange(sizes[number])
            segments[row, start:end] = order
            places[number] = (row, start)
            start = end

    images = [(number, image) for number, piece in enumerate(pieces) for image in piece.images]
    where = [(places[n][0], places[n][1] + image.start) for n, image in images]
    known = [isinstance(image.pixels, Features) for _, image in images]
    unread = [i.pixels for (_, i), found in zip(images, known, strict=True) if not found]
    return Batch(
        input_ids=ids,
        position_ids=positions,
        segment_ids=segments,
        labels=labels,
        pixel_values=_pixel_values(unread, processor),
        image_positions=torch.tensor(where, dtype=torch.long).view(-1, 2),
        image_ids=torch.tensor([image_id_hash(i.id) for _, i in images], dtype=torch.long),
        image_targets=torch.tensor([i.target for _, i in images], dtype=torch.bool),
        keys=[sample.key for sample in samples],
        known=_known_features([image for _, image in images]) if cached else None,
    )


def _known_features(images: Sequence[EncodedImage]) -> KnownFeatures:
    found = [(n, i.pixels) for n, i in enumerate(images) if isinstance(i.pixels, Features)]
    other = [i.key for i in images if not isinstance(i.pixels, Features)]
    none = torch.zeros(0)
    return KnownFeatures(
        places=torch.tensor([place for place, _ in found], dtype=torch.long),
        tokens=torch.stack([each.tokens_PC for _, each in found]) if found else none,
        pooled=torch.stack([each.pooled_F for _, each in found]) if found else none,
        keys=torch.tensor([-1 if key is None else key for key in other], dtype=torch.long),
    )


def _pixel_values(
    pictures: Sequence[PILImage | Tensor | Features], processor: ChatSearcherProcessor
) -> Tensor:
    """[I, 3, height, width]; pictures that are tensors have been normalised before."""
    decoded: list[Any] = [picture for picture in pictures if not isinstance(picture, Tensor)]
    if len(decoded) == len(pictures):
        return processor.pixel_values(decoded)
    fresh = iter(processor.pixel_values(decoded))
    return torch.stack([p if isinstance(p, Tensor) else next(fresh) for p in pictures])
