"""Dialogues in which every round asks for a picture among its look-alikes.

Two to the power of ``changes`` dialogues have one plan: round by round they ask for the members of
one family (``look_alikes.mixtures``), in whole descriptions, by a change of the picture shown
last, or by one of the user's own pictures. Only what is asked for tells them apart.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

from chatsearcher.dialogue import Dialogue
from chatsearcher.world.edits import choose_edits, say_edits
from chatsearcher.world.look_alikes import HARD_TO_FIND, mixtures
from chatsearcher.world.references import Show, instruction, request
from chatsearcher.world.reformulation import reformulation
from chatsearcher.world.scene import Edit, Scene, Split


class Round(NamedTuple):
    """What the dialogues of a plan ask for, each for its own member of the family."""

    by: Literal["description", "own picture", "change"]
    family: tuple[Scene, ...]
    edits: tuple[Edit, ...] = ()
    """The one change that leads from the members of the round before to these."""


def plan(split: Split, rng: random.Random, changes: int) -> tuple[Round, ...]:
    """Three or four rounds; about half of the later ones change what was shown last."""
    rounds: list[Round] = []
    for number in range(rng.choice((3, 4))):
        if number and rng.random() < 0.55 and (changed := _changed(rounds[-1].family, split, rng)):
            rounds.append(changed)
            continue
        family = tuple(mixtures(split, rng, changes, HARD_TO_FIND))
        rounds.append(Round("description" if rng.random() < 0.55 else "own picture", family))
    return tuple(rounds)


def follow(
    rounds: Sequence[Round], member: int, split: Split, rng: random.Random, show: Show
) -> Dialogue:
    """The plan's dialogue for one member of its families, ending in the assistant's picture."""
    dialogue = Dialogue()
    before: Scene | None = None
    for each in rounds:
        target = each.family[member]
        if each.by == "description":
            dialogue = request(dialogue, target, show, rng)
        elif each.by == "own picture":
            said = instruction(target, split, rng)
            shown = (show(scene) for scene in said.shown)
            dialogue = dialogue.user(*shown, said.text).assistant(
                reformulation(target), show(target)
            )
        else:
            assert before is not None
            words = say_edits(before, (each.edits[member],), rng, shared=0.3)
            dialogue = dialogue.user(words).assistant(reformulation(target), show(target))
        before = target
    return dialogue


def _changed(family: Sequence[Scene], split: Split, rng: random.Random) -> Round | None:
    """The family after one edit of all members, none of which becomes another; None if none fits.

    The edited thing is the one of that kind: members in which things changed sides list them in
    another order.
    """
    for _ in range(8):
        (edit,) = choose_edits(family[0], rng, 1, split)
        kind = family[0].things[edit.thing].kind
        kinds = {thing.kind for scene in family for thing in scene.things}
        if edit.value in kinds or any(scene.find(kind) is None for scene in family):
            continue
        edits = [
            replace(edit, thing=[thing.kind for thing in scene.things].index(kind))
            for scene in family
        ]
        changed = tuple(scene.apply(each) for scene, each in zip(family, edits, strict=True))
        if (
            len(set(changed)) == len(family)
            and set(changed).isdisjoint(family)
            and all(scene.split == split for scene in changed)
        ):
            return Round("change", changed, tuple(edits))
    return None
