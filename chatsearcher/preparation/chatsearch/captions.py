"""Stage ``captions``: each neighbour put in words (MDC-I: the pseudo target caption)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from chatsearcher.dialogue import Image
from chatsearcher.foundation.captioner import Captioner
from chatsearcher.preparation.chatsearch.layout import Entry
from chatsearcher.preparation.chatsearch.shown import decoded
from chatsearcher.preparation.chatsearch.stage import Plan, Result

PLAN = Plan(batch=20, window=2)


async def captions_work(entries: Sequence[Entry], captioner: Captioner | None) -> list[Result]:
    """A caption of each neighbour: the captioner's where the pixels are at hand (or are not needed
    by it), else the gallery's own. Without a captioner always the gallery's own."""
    return await asyncio.to_thread(_captions, entries, captioner)


def _captions(entries: Sequence[Entry], captioner: Captioner | None) -> list[Result]:
    results: dict[int, Result] = {}
    shown: list[tuple[int, Image]] = []
    for place, entry in enumerate(entries):
        picture = entry["neighbour"]
        if captioner is None or (captioner.needs_pixels and picture["source"] is None):
            results[place] = _keep(entry, entry["gallery_caption"], "gallery")
        elif not captioner.needs_pixels:
            shown.append((place, Image(picture["id"], picture["source"])))
        else:
            try:
                shown.append((place, decoded(picture)))
            except (FileNotFoundError, ValueError) as error:
                results[place] = Result.drop(entry["id"], "unreadable", problem=str(error))
    if captioner is not None and shown:
        words = captioner.caption([image for _, image in shown])
        for (place, _), text in zip(shown, words, strict=True):
            results[place] = _keep(entries[place], text, "captioner")
    return [results[place] for place in range(len(entries))]


def _keep(entry: Entry, caption: str | None, by: str) -> Result:
    words = " ".join((caption or "").split())
    if not words:
        return Result.drop(
            entry["id"], "no caption", neighbour=entry["neighbour"]["id"], captioned_by=by
        )
    record = {key: value for key, value in entry.items() if key != "gallery_caption"}
    return Result.keep({**record, "neighbour_caption": words, "captioned_by": by})
