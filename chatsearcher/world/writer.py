"""A rule-based writer of the picture world: answers to the ChatSearch pipeline's prompts, exactly.

Everything it writes can be read back: the text dialogue and the modification lead to the very scene
of the caption that was given.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from chatsearcher.dialogue import Dialogue
from chatsearcher.world.captions import caption, describe
from chatsearcher.world.edits import apply_all, choose_edits, read_edit, say_edits
from chatsearcher.world.lexicon import sentence
from chatsearcher.world.reader import read_telling
from chatsearcher.world.scene import Edit, Scene
from chatsearcher.world.telling import telling

_LOOKS = ("kind", "colour", "pattern", "size", "count")
_PLACES = (None, "left", "right", "top", "bottom", "middle")
_TRIES = 20


class WorldWriter:
    """Writes about complete captions of the world; any other caption is a ValueError."""

    def write(self, name: str, captions: Sequence[str], rng: random.Random) -> dict[str, Any]:
        """The answer to a prompt of that name."""
        scenes = [scene_in(text) for text in captions]
        if name == "text_dialogue" and scenes:
            return _dialogue(scenes[0], rng)
        if name == "modification" and len(scenes) > 1:
            return {"modification": modification(scenes[0], scenes[1], rng)}
        if name == "two_rounds" and scenes:
            return _rounds(scenes[0], rng)
        raise ValueError(f"no rule for {name!r} with {len(scenes)} captions")


def scene_in(text: str) -> Scene:
    """The scene of a complete caption.

    Raises:
        ValueError: not one.
    """
    try:
        return read_telling(Dialogue().user(text))
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(f"not a complete caption of the world: {text!r}") from error


def edits_between(first: Scene, second: Scene) -> tuple[Edit, ...] | None:
    """What turns one scene into the other; None where they differ in their number of things."""
    if len(first.things) != len(second.things):
        return None
    for place in _PLACES:
        edits: list[Edit] = []
        order = list(range(len(first.things)))
        if place is not None:
            if place == first.things[0].place or (place == "middle" and len(order) == 2):
                continue
            edits.append(Edit("place", 0, place))
            if len(order) == 2 and place in ("right", "bottom"):
                order.reverse()
        for name in ("setting", "time"):
            if getattr(first, name) != getattr(second, name):
                edits.append(Edit(name, 0, getattr(second, name)))
        for index, other in enumerate(order):
            for name in _LOOKS:
                value = getattr(second.things[other], name)
                if getattr(first.things[index], name) != value:
                    edits.append(Edit(name, index, value))
        try:
            if apply_all(first, edits) == second:
                return tuple(edits)
        except ValueError:
            continue  # two things of one kind on the way
    return None


def modification(first: Scene, second: Scene, rng: random.Random) -> str:
    """Words that turn the first scene into the second: what changes where that is little, the
    whole scene otherwise."""
    edits = edits_between(first, second)
    if edits is not None and 0 < len(edits) <= 3:
        for _ in range(_TRIES):
            words = say_edits(first, edits, rng, shared=0.0)
            if reads_as(words, first, second):
                return words
    return sentence(f"I'd like {describe(second, rng, lead=False)}")


def reads_as(words: str, first: Scene, second: Scene) -> bool:
    """Whether the words, said of the first scene, mean the second."""
    try:
        return read_edit(words, first) == second
    except (ValueError, KeyError):
        return False


def _dialogue(scene: Scene, rng: random.Random) -> dict[str, Any]:
    texts = [turn.text for turn in telling(scene, rng).turns]
    pairs = zip(texts[:-1:2], texts[1::2], strict=True)
    return {
        "rounds": [{"user": user, "assistant": assistant} for user, assistant in pairs],
        "request": texts[-1],
    }


def _rounds(scene: Scene, rng: random.Random) -> dict[str, Any]:
    """A first scene that is one or two edits away, and the way from there."""
    for _ in range(_TRIES):
        first = apply_all(scene, choose_edits(scene, rng, rng.choice((1, 2))))
        edits = edits_between(first, scene)
        if not edits:
            continue
        words = say_edits(first, edits, rng, shared=0.0)
        if reads_as(words, first, scene):
            return {
                "first_request": sentence(f"I'd like {describe(first, rng, lead=False)}"),
                "first_caption": caption(first, rng, complete=1.0),
                "second_request": words,
            }
    raise ValueError(f"found no way to {scene.key}")
