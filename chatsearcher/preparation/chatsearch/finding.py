"""The stages in which a gallery is asked: ``neighbours`` (MDC-I) and ``answers`` (MDC-T).

- ``neighbours``: the ten pictures nearest to a picture, those within the threshold, one of them at
  random (figure 3a).
- ``answers``: the picture that fits the first round's caption best (figure 3b).

The picture itself, and near-duplicates of it, are never taken; nor is a picture that the source
holds in another split, for it would cost that split its own dialogues (``split``).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from chatsearcher.dialogue import Image
from chatsearcher.foundation.neighbours import Hit, PictureSearch
from chatsearcher.preparation.chatsearch.layout import Entry
from chatsearcher.preparation.chatsearch.names import Names
from chatsearcher.preparation.chatsearch.shown import (
    decoded,
    load_picture,
    near_signatures,
    picture_entry,
    same_place,
    signature,
)
from chatsearcher.preparation.chatsearch.stage import Plan, Result

PLAN = Plan(batch=50, window=2)

WIDER = 10
"""Where pictures of other splits take up room among the nearest, so many times as many are looked
at."""

Barred = Callable[[Entry, Hit], bool]
"""Whether a hit may not be taken for an entry."""

Q = TypeVar("Q")


def other_split(names: Names, splits: Mapping[str, str]) -> Barred:
    """Bars pictures that the source holds in another split.

    Args:
        names: the source's pictures, each with its split as a note.
        splits: the source's splits -> the data's.
    """

    def barred(entry: Entry, hit: Hit) -> bool:
        theirs = names.note(hit.id)
        return theirs is not None and splits[theirs] != splits[entry["split"]]

    return barred


@dataclass(frozen=True)
class Threshold:
    """Which neighbours are near enough, and not too near.

    The paper names no number; what fits depends on the gallery's retriever. The rejects of the
    stage tell the best similarity of every picture that none was found for.
    """

    least: float = 0.6
    most: float = 0.98
    k: int = 10

    def __post_init__(self) -> None:
        if self.k < 1 or not self.least < self.most:
            raise ValueError(
                f"similarity {self.least}:{self.most} among {self.k}: expected LEAST < MOST and at "
                "least 1 neighbour"
            )


async def neighbours_work(
    entries: Sequence[Entry],
    search: PictureSearch,
    threshold: Threshold,
    seed: int,
    barred: Barred,
) -> list[Result]:
    """A neighbour of each picture."""
    shown: list[Image | str] = [
        await asyncio.to_thread(_decoded_or_problem, entry["picture"]) for entry in entries
    ]
    asked = [
        (e, image) for e, image in zip(entries, shown, strict=True) if isinstance(image, Image)
    ]
    found = iter(await _nearest(asked, search.by_image, threshold.k, barred))
    results = []
    for entry, image in zip(entries, shown, strict=True):
        if isinstance(image, str):
            results.append(Result.drop(entry["id"], "unreadable", problem=image))
        else:
            results.append(await asyncio.to_thread(_choose, entry, next(found), threshold, seed))
    return results


async def _nearest(
    asked: Sequence[tuple[Entry, Q]],
    search: Callable[[Sequence[Q], int], Awaitable[list[list[Hit]]]],
    k: int,
    barred: Barred,
) -> list[list[Hit]]:
    """The k nearest pictures to each query, without the entry's own and those that are barred."""

    def allowed(entry: Entry, hits: Sequence[Hit]) -> list[Hit]:
        others = (hit for hit in hits if not _itself(entry["picture"], hit))
        return [hit for hit in others if not barred(entry, hit)][:k]

    if not asked:
        return []
    # One more than wanted: the picture itself may be in the gallery.
    hits = await search([query for _, query in asked], k + 1)
    found = [allowed(entry, each) for (entry, _), each in zip(asked, hits, strict=True)]
    again = [
        place
        for place, (entry, _) in enumerate(asked)
        if len(found[place]) < k and any(barred(entry, hit) for hit in hits[place])
    ]
    if again:
        wider = await search([asked[place][1] for place in again], WIDER * k + 1)
        for place, each in zip(again, wider, strict=True):
            found[place] = allowed(asked[place][0], each)
    return found


def _decoded_or_problem(picture: Entry) -> Image | str:
    try:
        return decoded(picture)
    except (FileNotFoundError, ValueError) as error:
        return str(error)


def _choose(entry: Entry, hits: list[Hit], threshold: Threshold, seed: int) -> Result:
    within = [hit for hit in hits if threshold.least <= hit.score <= threshold.most]
    if not within:
        best = [hit.score for hit in hits[:3]]
        return Result.drop(entry["id"], "no neighbour within the threshold", similarities=best)
    random.Random(f"neighbour {seed} {entry['id']}").shuffle(within)
    picture, hit, problems = _first_good(entry["picture"], within)
    if picture is None or hit is None:
        return Result.drop(entry["id"], "no usable neighbour", problems=problems)
    return Result.keep(
        {
            **entry,
            "neighbour": picture,
            "similarity": hit.score,
            "gallery_caption": hit.caption,
        }
    )


async def answers_work(
    entries: Sequence[Entry], search: PictureSearch, k: int, barred: Barred
) -> list[Result]:
    """The picture that stands for each first caption."""
    asked = [(entry, str(entry["first_caption"])) for entry in entries]
    found = await _nearest(asked, search.by_text, k, barred)
    return [
        await asyncio.to_thread(_answer, entry, hits)
        for entry, hits in zip(entries, found, strict=True)
    ]


def _answer(entry: Entry, hits: list[Hit]) -> Result:
    picture, hit, problems = _first_good(entry["picture"], hits)
    if picture is None or hit is None:
        return Result.drop(entry["id"], "no picture for the first caption", problems=problems)
    return Result.keep({**entry, "first_picture": picture, "similarity": hit.score})


def _itself(picture: Entry, hit: Hit) -> bool:
    if hit.id == picture["id"]:
        return True
    there, here = hit.source, picture["source"]
    return there is not None and here is not None and same_place(there, here)


def _first_good(
    picture: Entry, hits: Sequence[Hit]
) -> tuple[Entry | None, Hit | None, dict[str, str]]:
    """The first hit that can be read and is no near-duplicate, and why others before were not."""
    problems: dict[str, str] = {}
    for hit in hits:
        mark = None
        if hit.source is not None:
            try:
                mark = signature(load_picture(hit.source))
            except (FileNotFoundError, ValueError) as error:
                problems[hit.id] = str(error)
                continue
        if near_signatures(picture["signature"], mark):
            problems[hit.id] = "near-duplicate"
            continue
        return picture_entry(hit.id, hit.source, url=hit.url, signature=mark), hit, problems
    return None, None, problems
