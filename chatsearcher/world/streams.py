"""Endless, seeded training data of the picture world. Item i depends only on its place i.

A stream can therefore be resumed at any item, split over workers, and repeated exactly.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from typing import Literal, NamedTuple, TypeVar

from chatsearcher.dialogue import Dialogue, Image, Text
from chatsearcher.world.captions import caption
from chatsearcher.world.dialogues import conversation, search
from chatsearcher.world.look_alikes import HARD_TO_FIND, around, mixtures
from chatsearcher.world.pictures import picture_id
from chatsearcher.world.reformulation import without_reformulations
from chatsearcher.world.requests import Round, follow, plan
from chatsearcher.world.scene import Scene, Split, sample_scene
from chatsearcher.world.stories import story

Item = TypeVar("Item")

CHANGES = 3
FAMILY = 2**CHANGES
"""Look-alikes that follow one another in the streams of the two stages."""
TERSE = 0.3
"""How often an earlier answer of the training dialogues shows its picture without a word."""
SEARCHES = (("telling", 0.4), ("mixed", 0.3), ("single", 0.3))
"""The kinds of search in training; those that begin with a picture are the harder ones."""


class Decision(NamedTuple):
    """A round: the dialogue up to a user's turn, and how it is to be answered."""

    dialogue: Dialogue
    kind: Literal["words", "picture"]
    answer: str  # the words, or the picture's id


def item_rng(kind: str, split: Split, seed: int, index: int) -> random.Random:
    """The random numbers of one item."""
    return random.Random(f"{kind}/{split}/{seed}/{index}")


def picture(scene: Scene, rng: random.Random) -> Image:
    """A picture of that scene, with a random drawing seed."""
    return Image(picture_id(scene, rng.randrange(1_000_000)))


def _stream(
    kind: str, split: Split, seed: int, start: int, make: Callable[[random.Random], Item]
) -> Iterator[tuple[str, Item]]:
    index = start
    while True:
        yield f"{kind}/{split}/{seed}/{index}", make(item_rng(kind, split, seed, index))
        index += 1


def pairs(split: Split, seed: int, start: int = 0) -> Iterator[tuple[str, list[Text | Image]]]:
    """(key, [picture, caption]) for ever; the data room decides which of the two comes first."""

    def make(rng: random.Random) -> list[Text | Image]:
        scene = sample_scene(rng, split)
        return [picture(scene, rng), Text(caption(scene, rng))]

    return _stream("pair", split, seed, start, make)


def hard_pairs(
    split: Split, seed: int, start: int = 0, group: int = 4, complete: float = 1.0
) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """(key, [(picture id, caption)] * group): each differs from the first in one attribute.

    Args:
        complete: the share of captions that say everything (see ``captions.caption``).
    """

    def make(rng: random.Random) -> list[tuple[str, str]]:
        scenes = around(split, rng, group)
        return [(picture(s, rng).id, caption(s, rng, complete)) for s in scenes]

    return _stream(f"hard{group}", split, seed, start, make)


def look_alikes(
    split: Split, seed: int, start: int = 0, name: str = "look-alikes"
) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """(key, [(picture id, caption)] * FAMILY): a family of ``look_alikes.mixtures``.

    Args:
        name: streams of other names have other families.
    """

    def make(rng: random.Random) -> list[tuple[str, str]]:
        return [(picture(s, rng).id, caption(s, rng, 1.0)) for s in mixtures(split, rng, CHANGES)]

    return _stream(name, split, seed, start, make)


def documents(
    split: Split, seed: int, start: int = 0
) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """(key, [(picture id, sentence), …]): two to five pictures of one short narrative."""

    def make(rng: random.Random) -> list[tuple[str, str]]:
        return [(picture(scene, rng).id, text) for scene, text in story(split, rng)]

    return _stream("document", split, seed, start, make)


def conversations(split: Split, seed: int, start: int = 0) -> Iterator[tuple[str, Dialogue]]:
    """(key, dialogue that ends in an assistant's turn) for ever: tellings, instructions, modes."""

    def make(rng: random.Random) -> Dialogue:
        return _some_terse(conversation(split, rng, partial(picture, rng=rng)), rng)

    return _stream("conversation", split, seed, start, make)


def searches(split: Split, seed: int, start: int = 0) -> Iterator[tuple[str, Dialogue]]:
    """(key, dialogue that leads to a picture) for ever, as the test sets have them.

    ``FAMILY`` neighbours of the stream lead to pictures of one family (``look_alikes.mixtures``),
    so that a batch holds look-alikes of its targets.
    """
    index = start
    while True:
        target = _family("look-alikes", split, seed, index // FAMILY)[index % FAMILY]
        rng = item_rng("search", split, seed, index)
        dialogue = search(target, split, rng, partial(picture, rng=rng), SEARCHES)
        yield f"search/{split}/{seed}/{index}", _some_terse(dialogue, rng)
        index += 1


def requests(split: Split, seed: int, start: int = 0) -> Iterator[tuple[str, Dialogue]]:
    """(key, dialogue whose every round asks for a picture) for ever (``world.requests``).

    ``FAMILY`` neighbours of the stream follow one plan, each for its own member of the families.
    """
    index = start
    while True:
        run, member = divmod(index, FAMILY)
        rng = item_rng("request", split, seed, index)
        dialogue = follow(_plan(split, seed, run), member, split, rng, partial(picture, rng=rng))
        yield f"request/{split}/{seed}/{index}", _some_terse(dialogue, rng)
        index += 1


def _some_terse(dialogue: Dialogue, rng: random.Random) -> Dialogue:
    """Histories with and without words before their pictures: people's and test sets' have both."""
    return without_reformulations(dialogue, TERSE, rng)


@lru_cache(maxsize=8)
def _family(kind: str, split: Split, seed: int, run: int) -> list[Scene]:
    return mixtures(split, item_rng(kind, split, seed, run), CHANGES, HARD_TO_FIND)


@lru_cache(maxsize=8)
def _plan(split: Split, seed: int, run: int) -> tuple[Round, ...]:
    return plan(split, item_rng("plan", split, seed, run), CHANGES)


def decision_rounds(split: Split, count: int, seed: int = 0) -> list[Decision]:
    """Rounds on which the decision between words and a picture is measured.

    All rounds of the conversations of a stream that training does not draw from.
    """
    found: list[Decision] = []
    index = 0
    while len(found) < count:
        rng = item_rng("decision", split, seed, index)
        dialogue = conversation(split, rng, partial(picture, rng=rng))
        dialogue = without_reformulations(dialogue)
        for at, turn in enumerate(dialogue.turns):
            if turn.role != "assistant":
                continue
            prefix = Dialogue(dialogue.turns[:at], f"decision/{split}/{seed}/{index}/{at}")
            if turn.images:
                found.append(Decision(prefix, "picture", turn.images[0].id))
            else:
                found.append(Decision(prefix, "words", turn.text))
        index += 1
    return found[:count]
