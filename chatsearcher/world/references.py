"""Dialogues about pictures: one round of picture and instruction, and several mixed rounds.

Both end in the same instruction about the same pictures, so they have the same target.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from chatsearcher.dialogue import Dialogue, Image
from chatsearcher.world.captions import EVERYTHING, describe
from chatsearcher.world.edits import choose_edits, commands, nominal, say_edits
from chatsearcher.world.lexicon import noun, sentence
from chatsearcher.world.questions import ask
from chatsearcher.world.reformulation import reformulation
from chatsearcher.world.scene import Edit, Scene, Split, sample_scene

Show = Callable[[Scene], Image]
ORDINALS = ("first", "second", "third")
SELECTIONS = (
    "{which}, but {n}",
    "take {which}, but {n}",
    "{which} again, but {n}",
    "i like {which}, but {v}",
    "take {which} and {v}",
    "back to {which}. {v}",
)
REQUESTS = (
    "I'd like {x}.",
    "Find me {x}.",
    "Show me {x}, please.",
    "Do you have {x}?",
    "{x}?",
    "{x}, please.",
)
OPENINGS = (
    "Let's look for pictures.",
    "From now on answer with pictures.",
    "I am looking for pictures.",
)
AGAIN = ("Nice.", "Good.", "Thanks.", "Great.", "And")
LOOK_ONE = ("Look at this picture.", "Here is a picture.", "I found this picture.")
LOOK_MANY = ("Look at these pictures.", "Here are some pictures.", "I found these pictures.")
SHOWN = ("Nice. What should I look for?", "I see. What would you like?", "Good. What now?")


@dataclass(frozen=True)
class Instruction:
    """What the last round says: the pictures it is about, and the words."""

    shown: tuple[Scene, ...]
    text: str
    selects: bool  # the words choose one of several pictures
    target: Scene


def difference(old: Scene, new: Scene) -> tuple[Edit, ...]:
    """The edits that turn one scene into another; at most one kind may differ."""
    edits = [
        Edit(name, 0, getattr(new, name))
        for name in ("setting", "time")
        if getattr(old, name) != getattr(new, name)
    ]
    for index, thing in enumerate(old.things):
        other = new.find(thing.kind)
        if other is None:
            kinds = {each.kind for each in old.things}
            other = next(each for each in new.things if each.kind not in kinds)
        for name in ("kind", "colour", "pattern", "size", "count"):
            if getattr(thing, name) != getattr(other, name):
                edits.append(Edit(name, index, getattr(other, name)))
        if index == 0 and thing.place != other.place:
            edits.append(Edit("place", index, other.place))
    return tuple(edits)


def instruction(
    target: Scene, split: Split, rng: random.Random, shared: float = 0.15
) -> Instruction:
    """Words that lead from one of one to three pictures to the target."""
    count = rng.choice((1, 1, 1, 2, 2, 3))
    back = choose_edits(target, rng, count, split)
    base = target
    for edit in sorted(back, key=lambda edit: edit.attribute == "place"):
        base = base.apply(edit)
    edits = difference(base, target)
    if rng.random() < 0.6:
        return Instruction((base,), say_edits(base, edits, rng, shared), False, target)
    others = _others(target, base, split, rng, rng.choice((1, 1, 2)))
    at = rng.randrange(len(others) + 1)
    shown = (*others[:at], base, *others[at:])
    which = f"the {ORDINALS[at]} {rng.choice(('one', 'picture'))}"
    unique = [
        thing
        for thing in base.things
        if all(other.find(thing.kind) is None for other in others)
        and thing.kind == target.things[0].kind
    ] or [thing for thing in base.things if all(o.find(thing.kind) is None for o in others)]
    if unique and rng.random() < 0.45:
        thing = rng.choice(unique)
        which = f"the one with the {noun(thing.kind, thing.count)}"
    elif at == len(shown) - 1 and rng.random() < 0.4:
        which = "the last one"
    form = rng.choice(SELECTIONS)
    if "{n}" in form:
        text = form.format(which=which, n=nominal(base, edits, rng))
    else:
        text = form.format(which=which, v=commands(base, edits, rng))
    text = ". ".join(sentence(part, "") for part in text.split(". ")) + "."
    return Instruction(shown, text, True, target)


def _others(
    target: Scene, base: Scene, split: Split, rng: random.Random, number: int
) -> list[Scene]:
    """Other pictures to show: half of them like the base."""
    found: list[Scene] = []
    while len(found) < number:
        if rng.random() < 0.5:
            other = sample_scene(rng, split)
        else:
            other = base
            for edit in choose_edits(base, rng, 2, split):
                other = other.apply(edit)
        if other not in (target, base, *found) and other.split == split:
            found.append(other)
    return found


def single_round(said: Instruction, show: Show) -> Dialogue:
    """The pictures and the instruction in one turn."""
    return Dialogue().user(*(show(scene) for scene in said.shown), said.text)


def mixed_rounds(said: Instruction, split: Split, show: Show, rng: random.Random) -> Dialogue:
    """Earlier rounds of words and pictures, then the same instruction.

    The pictures it is about stand in the last turn, or were shown before by either side.
    """
    dialogue = Dialogue()
    if not said.selects and rng.random() < 0.4:
        for scene in _others(said.target, said.shown[0], split, rng, rng.choice((1, 2))):
            dialogue = request(dialogue, scene, show, rng)
        return dialogue.user(*(show(scene) for scene in said.shown), said.text)
    scenes = list(said.shown)
    if not said.selects:
        number = rng.choice((0, 1, 1))
        others = _others(said.target, said.shown[0], split, rng, number)
        scenes = [*others, *scenes]
    attached = rng.choice((0, 0, 1, len(scenes)))
    if attached:
        look = LOOK_ONE if attached == 1 else LOOK_MANY
        dialogue = dialogue.user(*(show(scene) for scene in scenes[:attached]), rng.choice(look))
        dialogue = dialogue.assistant(rng.choice(SHOWN))
    before = scenes[attached - 1] if attached else None
    for scene in scenes[attached:]:
        dialogue = request(dialogue, scene, show, rng, before)
        before = scene
    if before is not None and rng.random() < 0.2:
        dialogue = dialogue.user((asked := ask(before, rng))[0]).assistant(asked[1])
    return dialogue.user(said.text)


def near(old: Scene, new: Scene) -> bool:
    """Whether an instruction can lead from one scene to the other: one to three edits."""
    if len(old.things) != len(new.things):
        return False
    if sum(new.find(thing.kind) is None for thing in old.things) > 1:
        return False
    edits = difference(old, new)
    attributes = {edit.attribute for edit in edits}
    if len(old.things) == 2 and {"kind", "place"} <= attributes:
        return False
    return 1 <= len(edits) <= 3


def request(
    dialogue: Dialogue,
    scene: Scene,
    show: Show,
    rng: random.Random,
    before: Scene | None = None,
) -> Dialogue:
    """A round in which the user describes a picture, or how it differs from the one before."""
    if before is not None and near(before, scene) and rng.random() < 0.6:
        text = say_edits(before, difference(before, scene), rng)
        return dialogue.user(text).assistant(reformulation(scene), show(scene))
    text = rng.choice(REQUESTS).format(x=describe(scene, rng, EVERYTHING, lead=False))
    text = text[:1].upper() + text[1:]
    opening = rng.choice(AGAIN if dialogue.turns else OPENINGS)
    if opening == "And":
        opening, text = "", f"And {text if text.startswith('I') else text[:1].lower() + text[1:]}"
    return dialogue.user(f"{opening} {text}".strip()).assistant(reformulation(scene), show(scene))
