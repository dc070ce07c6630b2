"""Fitting samples into rows: packing, cutting documents, shortening dialogues."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from chatsearcher.dialogue import Dialogue, Turn

if TYPE_CHECKING:
    from chatsearcher.model.processing import EncodedSample


def first_fit(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Rows of sample numbers: each sample goes into the first row with room for it.

    Raises:
        ValueError: a sample longer than ``capacity``; cut it first (``cut``).
    """
    rows: list[list[int]] = []
    room: list[int] = []
    for sample, length in enumerate(lengths):
        if length > capacity:
            raise ValueError(f"sample {sample} has {length} tokens, a row holds {capacity}")
        row = next((row for row, free in enumerate(room) if free >= length), None)
        if row is None:
            rows.append([])
            room.append(capacity)
            row = len(rows) - 1
        rows[row].append(sample)
        room[row] -= length
    return rows


def pack_rows(
    lengths: Sequence[int], capacity: int, multiple: int = 8
) -> tuple[list[list[int]], int]:
    """Few rows, and the narrowest width at which they stay as few: (rows of sample numbers, width).

    First-fit of the longest samples first; then the capacity is lowered as long as no further row
    is needed, so that the padding of a last, half empty row is not computed for nothing.

    Args:
        multiple: widths are multiples of this (or ``capacity``), for the sake of the matrix units.

    Raises:
        ValueError: a sample longer than ``capacity``.
    """
    order = sorted(range(len(lengths)), key=lambda sample: -lengths[sample])

    def fill(width: int) -> list[list[int]]:
        rows = first_fit([lengths[sample] for sample in order], width)
        return [[order[place] for place in row] for row in rows]

    best, width = fill(capacity), capacity
    if not best:
        return best, 0
    low = max(lengths[order[0]], -(-sum(lengths) // len(best)))
    steps = range(-(-low // multiple), -(-capacity // multiple))
    first, last = 0, len(steps)
    while first < last:
        middle = (first + last) // 2
        rows = fill(steps[middle] * multiple)
        if len(rows) <= len(best):
            best, width, last = rows, steps[middle] * multiple, middle
        else:
            first = middle + 1
    return best, width


def cut(
    sample: EncodedSample, length: int, image_tokens: int, bos: int | None
) -> list[EncodedSample]:
    """A sample as pieces of at most ``length`` tokens, none of which splits a picture.

    Args:
        image_tokens: tokens of one picture, ``[IMG]`` and ``[/IMG]`` counted.
        bos: a token to open every further piece with, so that its first word is predicted from
            something; None opens it with nothing.

    Raises:
        ValueError: ``length`` cannot hold a picture.
    """
    total = len(sample.input_ids)
    if total <= length:
        return [sample]
    lead = [] if bos is None else [bos]
    if image_tokens + len(lead) > length:
        raise ValueError(
            f"a picture takes {image_tokens} tokens, a row holds {length}; raise the data length"
        )
    pieces: list[EncodedSample] = []
    start = 0
    while start < total:
        head = lead if start else []
        end = _boundary(sample, start + length - len(head), image_tokens)
        images = [
            replace(
                image,
                start=image.start - start + len(head),
                target=image.target and image.start > start,  # what it went with is elsewhere now
            )
            for image in sample.images
            if start <= image.start < end
        ]
        pieces.append(
            replace(
                sample,
                input_ids=head + sample.input_ids[start:end],
                labels=[-100] * len(head) + sample.labels[start:end],
                images=images,
                key=f"{sample.key}+{len(pieces)}" if pieces else sample.key,
            )
        )
        start = end
    return pieces


def _boundary(sample: EncodedSample, end: int, image_tokens: int) -> int:
    """The last place at or before ``end`` that is not inside a picture."""
    for image in sample.images:
        if image.start < end < image.start + image_tokens:
            return image.start
    return min(end, len(sample.input_ids))


def rounds(dialogue: Dialogue) -> tuple[tuple[Turn, ...], list[tuple[Turn, ...]]]:
    """(what stands before the first user's turn, the rounds, each opened by a user's turn)."""
    starts = [place for place, turn in enumerate(dialogue.turns) if turn.role == "user"]
    if not starts:
        return dialogue.turns, []
    ends = [*starts[1:], len(dialogue.turns)]
    return dialogue.turns[: starts[0]], [
        dialogue.turns[start:end] for start, end in zip(starts, ends, strict=True)
    ]


def shorten(dialogue: Dialogue, fits: Callable[[Dialogue], bool]) -> tuple[Dialogue, int]:
    """Drop whole rounds from the front until the dialogue fits.

    A system's turn stays. Returns (dialogue, number of rounds dropped).

    Raises:
        ValueError: the last round alone does not fit.
    """
    opening, those = rounds(dialogue)
    for dropped in range(max(len(those), 1)):
        kept = [turn for each in those[dropped:] for turn in each]
        candidate = replace(dialogue, turns=(*opening, *kept))
        if fits(candidate):
            return candidate, dropped
    raise ValueError("the last round alone is longer than a row; raise the data length")
