"""Packed stage 1 batches of any size without data: for measuring, not for learning."""

from __future__ import annotations

import torch

from chatsearcher.model import Batch, ChatSearcherConfig
from chatsearcher.model.batch import IGNORE

PAIRS = 4
"""Pairs for each document: the paper's 256 to 64."""
CAPTION = 16
SPACING = 180
"""Words between two pictures of a document: mmc4-core has some 425 words and 3 pictures in one."""


def stage1_batch(
    config: ChatSearcherConfig, rows: int, length: int, seed: int = 0
) -> tuple[Batch, int]:
    """Rows of four pairs and a document each, packed to the brim, everything learned.

    Returns:
        the batch, on the CPU, and the pairs of positions that see each other in it.

    Raises:
        ValueError: a row that does not hold a document and a pair.
    """
    generator = torch.Generator().manual_seed(seed)
    pair = config.image_length + CAPTION
    pairs = min(PAIRS, length // pair - 1)
    if pairs < 1:
        raise ValueError(
            f"rows of {length} positions; expected at least {2 * pair}, a pair and a document"
        )
    document = length - pairs * pair
    start, image, end = config.token_ids()
    ids = torch.randint(3, min(config.token_ids()), (rows, length), generator=generator)
    labels, segments, positions = ids.clone(), torch.empty_like(ids), torch.empty_like(ids)
    samples = [(number * pair, pair) for number in range(pairs)] + [(pairs * pair, document)]
    pictures = []
    for number, (begin, size) in enumerate(samples, start=1):
        segments[:, begin : begin + size] = number
        positions[:, begin : begin + size] = torch.arange(size)
        places = [begin]
        if size == document and number == len(samples):
            step = config.image_length + SPACING
            places = list(range(begin, begin + size - config.image_length + 1, step))
        for place in places:
            inside = slice(place + 1, place + config.image_length - 1)
            last = place + config.image_length - 1
            ids[:, place], ids[:, inside], ids[:, last] = start, image, end
            labels[:, place], labels[:, inside], labels[:, last] = start, IGNORE, end
            pictures += [(row, place) for row in range(rows)]
    where = torch.tensor(sorted(pictures))
    size = config.image_size
    batch = Batch(
        input_ids=ids,
        position_ids=positions,
        segment_ids=segments,
        labels=labels,
        pixel_values=torch.randn(len(where), 3, size, size, generator=generator),
        image_positions=where,
        image_ids=torch.randint(0, 1 << 62, (len(where),), generator=generator),
        image_targets=torch.ones(len(where), dtype=torch.bool),
    )
    seen = sum(size * (size + 1) // 2 for _, size in samples)
    return batch, rows * seen
