"""A sheet to look at: queries with the pictures that a system put first, as one PNG."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from chatsearcher.benchmarks.single_query import (
    GalleryVectors,
    LoadImage,
    Query,
    QuerySet,
    encode_dialogues,
)
from chatsearcher.index.exact import ExactIndex

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

    from chatsearcher.retriever import Retriever

SIDE, GAP, WORDS = 120, 8, 300
_INK, _PAPER, _RIGHT = (20, 20, 20), (255, 255, 255), (0, 150, 60)
_DASHES = str.maketrans("–—", "--")  # Pillow's own font lacks them


@dataclass(frozen=True)
class Row:
    """One query and its first pictures.

    Attributes:
        query: what was asked.
        found: ids, best first; what the query excludes is not among them.
    """

    query: Query
    found: tuple[str, ...]


def first_found(
    retriever: Retriever,
    queries: QuerySet,
    chosen: Sequence[Query],
    load: LoadImage,
    vectors: GalleryVectors | None = None,
    k: int = 5,
) -> list[Row]:
    """The first ``k`` pictures of some queries of a set."""
    gallery = (vectors or GalleryVectors()).get(retriever, queries.gallery, load)
    asked = encode_dialogues(retriever, [query.dialogue for query in chosen], load)
    rows = {name: row for row, name in enumerate(queries.gallery)}
    exclude = [{rows[name] for name in query.exclude if name in rows} for query in chosen]
    _, places = ExactIndex(gallery, metric=retriever.metric).search(asked, k, exclude=exclude)
    return [
        Row(query, tuple(queries.gallery[int(row)] for row in found if row >= 0))
        for query, found in zip(chosen, np.asarray(places), strict=True)
    ]


def draw(title: str, rows: Sequence[Row], load: LoadImage, note: str = "") -> PILImage:
    """One line a query: its words, its own picture if it has one, the target, what was found.

    The target has a green frame wherever it was found.
    """
    font = ImageFont.load_default(13)
    most = max((len(row.found) for row in rows), default=0)
    width = GAP + WORDS + (2 + most) * (SIDE + GAP) + GAP
    head, line = 46, SIDE + GAP
    page = Image.new("RGB", (width, head + len(rows) * line + 26), _PAPER)
    pen = ImageDraw.Draw(page)
    pen.text((GAP, 6), title, _INK, ImageFont.load_default(15))
    columns = ["shown", "wanted", *(str(n + 1) for n in range(most))]
    for number, heading in enumerate(columns):
        pen.text((GAP + WORDS + number * (SIDE + GAP), 26), heading, _INK, font)
    for number, row in enumerate(rows):
        top = head + number * line
        words = " ".join(turn.text for turn in row.query.dialogue.turns)
        pen.multiline_text((GAP, top), _wrapped(words), _INK, font, spacing=2)
        images = row.query.dialogue.images
        shown = images[-1].id if images else None
        for column, name in enumerate([shown, row.query.target, *row.found]):
            if name is None:
                continue
            left = GAP + WORDS + column * (SIDE + GAP)
            page.paste(ImageOps.pad(load(name), (SIDE, SIDE), color=_PAPER), (left, top))
            if column > 1 and name == row.query.target:
                pen.rectangle((left - 3, top - 3, left + SIDE + 2, top + SIDE + 2), None, _RIGHT, 3)
    pen.text((GAP, page.height - 20), note.translate(_DASHES), _INK, font)
    return page


def save(path: Path, page: PILImage) -> None:
    """Write a PNG, its folder too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    page.save(path)


def _wrapped(words: str, width: int = 44, lines: int = 7) -> str:
    kept = textwrap.wrap(words.translate(_DASHES), width)
    if len(kept) > lines:
        kept = [*kept[: lines - 1], kept[lines - 1] + " …"]
    return "\n".join(kept)
