"""Modifications: changes of one to three attributes of a scene, said in words and read back."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from chatsearcher.world.lexicon import (
    NUMBERS,
    PATTERN_WORDS,
    PLACE_WORDS,
    RELATIONS,
    SETTING_WORDS,
    SIZE_WORDS,
    TIME_WORDS,
    noun,
    noun_phrase,
    pick,
    sentence,
)
from chatsearcher.world.reading import LOOK_NAMES, Description, Said, read
from chatsearcher.world.scene import Edit, Scene, Split, Thing
from chatsearcher.world.vocabulary import (
    COLOURS,
    COUNTS,
    KINDS,
    PATTERNS,
    PLACES,
    SETTINGS,
    SIZES,
    TIMES,
)
from chatsearcher.world.wishes import wish_phrase

_LOOKS = frozenset(LOOK_NAMES)
_VALUES: dict[str, tuple[Any, ...]] = {
    "colour": COLOURS,
    "pattern": PATTERNS,
    "size": SIZES,
    "count": COUNTS,
}
_ATTRIBUTES = sorted([*_VALUES, "kind", "place", "setting", "time"])
# Where a clause goes: {n} stands for noun phrases ("two blue cats on a beach"),
# {v} for commands ("make the cats blue and put them on a beach").
NOMINAL = (
    "the same but {n}",
    "the same picture but {n}",
    "i'd like {n} instead",
    "i'd rather have {n}",
    "{n}, please",
    "the same with {n}",
)
SHARED = ("and {n}?", "what about {n}?", "{n}?", "how about {n}?")
COMMANDS = ("{v}", "{v}", "please {v}", "can you {v}?", "now {v}", "{v}, please", "but {v}")


def choose_edits(
    scene: Scene, rng: random.Random, number_of: int, split: Split | None = None
) -> tuple[Edit, ...]:
    """Edits of different attributes whose common result stays in the split.

    The kind of attribute is drawn first, so that rare ones (time, place) are as frequent as others.
    """
    while True:
        chosen = []
        for attribute in rng.sample(_ATTRIBUTES, number_of):
            values = _other_values(scene, attribute)
            index, value = values[rng.randrange(len(values))]
            chosen.append(Edit(attribute, index, value))
        attributes = {edit.attribute for edit in chosen}
        if len(scene.things) == 2 and {"kind", "place"} <= attributes:
            continue
        if split is None or apply_all(scene, chosen).split == split:
            return tuple(chosen)


def _other_values(scene: Scene, attribute: str) -> list[tuple[int, Any]]:
    """(index of the thing, value) of every edit of the attribute, as ``Scene.edits`` has them."""
    if attribute in ("setting", "time"):
        choices: tuple[Any, ...] = SETTINGS if attribute == "setting" else TIMES
        return [(0, value) for value in choices if value != getattr(scene, attribute)]
    if attribute == "place":
        alone = len(scene.things) == 1
        places = PLACES if alone else ("left", "right", "top", "bottom")
        return [(0, value) for value in places if value != scene.things[0].place]
    if attribute == "kind":
        kinds = {thing.kind for thing in scene.things}
        others = [kind for kind in KINDS if kind not in kinds]
        return [(index, kind) for index in range(len(scene.things)) for kind in others]
    return [
        (index, value)
        for index, thing in enumerate(scene.things)
        for value in _VALUES[attribute]
        if value != getattr(thing, attribute)
    ]


def apply_all(scene: Scene, edits: Sequence[Edit]) -> Scene:
    """All edits at once; a move is last, since it may reorder the things."""
    for edit in sorted(edits, key=lambda edit: edit.attribute == "place"):
        scene = scene.apply(edit)
    return scene


def say_edits(scene: Scene, edits: Sequence[Edit], rng: random.Random, shared: float = 0.15) -> str:
    """An instruction that turns ``scene`` into ``apply_all(scene, edits)``, as a sentence.

    Args:
        shared: how often a wording is used that could as well be a question about the picture.
    """
    if rng.random() < shared:
        return _finish(rng.choice(SHARED).format(n=nominal(scene, edits, rng)))
    if rng.random() < 0.5:
        words = nominal(scene, edits, rng)
        frame = rng.choice(NOMINAL)
        if frame.startswith("i'd") and words.startswith(("in ", "on ", "at ", "by ", "during ")):
            frame = NOMINAL[0]
        return _finish(frame.format(n=words))
    return _finish(rng.choice(COMMANDS).format(v=commands(scene, edits, rng)))


def commands(scene: Scene, edits: Sequence[Edit], rng: random.Random) -> str:
    """The changes as commands: "make the cats blue and put it on a beach"."""
    return _join(_commands(scene, edits, rng))


def nominal(scene: Scene, edits: Sequence[Edit], rng: random.Random) -> str:
    """The changes as noun phrases and places: "two blue cats on a beach"."""
    target = scene
    for edit in edits:
        target = target if edit.attribute == "place" else target.apply(edit)
    parts = []
    for index, thing in enumerate(target.things):
        changed = {e.attribute for e in edits if e.attribute in _LOOKS and e.thing == index}
        kind = any(e.attribute == "kind" and e.thing == index for e in edits)
        if kind:
            parts.append(_other_kind(scene.things[index], thing, changed, rng))
        elif changed:
            parts.append(_changed_thing(thing, changed, rng))
    parts += [_place_phrase(scene, edit, rng) for edit in edits if edit.attribute == "place"]
    rng.shuffle(parts)
    return " ".join(filter(None, (_join(parts), _frame(target, edits, rng))))


def _frame(target: Scene, edits: Sequence[Edit], rng: random.Random) -> str:
    attributes = {edit.attribute for edit in edits}
    parts = []
    if "setting" in attributes:
        parts.append(pick(rng, SETTING_WORDS[target.setting]))
    if "time" in attributes:
        parts.append(pick(rng, TIME_WORDS[target.time]))
    return " ".join(parts)


def _other_kind(old: Thing, new: Thing, changed: set[str], rng: random.Random) -> str:
    what = wish_phrase(new, changed, rng) if rng.random() < 0.3 else noun_phrase(new, changed, rng)
    return f"{what} instead of the {noun(old.kind, old.count)}"


def _changed_thing(thing: Thing, changed: set[str], rng: random.Random) -> str:
    if changed == {"colour"} and rng.random() < 0.4:
        return f"the {noun(thing.kind, thing.count)} in {thing.colour}"
    return noun_phrase(thing, changed, rng)


def _place_phrase(scene: Scene, edit: Edit, rng: random.Random) -> str:
    """The move, said of the thing or of the pair."""
    if len(scene.things) == 1:
        name = scene.things[0]
        place = pick(rng, PLACE_WORDS[edit.value])
        return f"the {noun(name.kind, name.count)} {place}" if rng.random() < 0.6 else place
    thing, other = scene.things[edit.thing], scene.things[1 - edit.thing]
    names = [f"the {noun(each.kind, each.count)}" for each in (thing, other)]
    if rng.random() < 0.5:
        return f"{names[0]} {pick(rng, RELATIONS[edit.value])} {names[1]}"
    return f"{names[0]} {pick(rng, PLACE_WORDS[edit.value])}"


def _commands(scene: Scene, edits: Sequence[Edit], rng: random.Random) -> list[str]:
    """One command for each changed attribute, or for the looks of one thing together."""
    target = scene
    for edit in edits:
        target = target if edit.attribute == "place" else target.apply(edit)
    said = []
    for index, (old, thing) in enumerate(zip(scene.things, target.things, strict=True)):
        changed = {e.attribute for e in edits if e.attribute in _LOOKS and e.thing == index}
        if old.kind != thing.kind:
            what = (
                wish_phrase(thing, changed, rng)
                if rng.random() < 0.3
                else noun_phrase(thing, changed, rng)
            )
            verb = rng.choice(("turn {a} into {b}", "replace {a} by {b}"))
            said.append(verb.format(a=f"the {noun(old.kind, old.count)}", b=what))
        elif changed:
            said.append(_look_command(scene, old, thing, changed, rng))
    for edit in edits:
        if edit.attribute == "place":
            said.append(_place_command(scene, edit, rng))
        elif edit.attribute == "setting":
            said.append(f"put it {pick(rng, SETTING_WORDS[target.setting])}")
        elif edit.attribute == "time":
            said.append(f"make it {target.time}")
    rng.shuffle(said)
    return said


def _look_command(
    scene: Scene, old: Thing, thing: Thing, changed: set[str], rng: random.Random
) -> str:
    alone = len(scene.things) == 1
    if "count" in changed:
        if changed == {"count"} and alone and rng.random() < 0.6:
            return f"make it {NUMBERS[thing.count]}"
        return f"make it {noun_phrase(thing, changed, rng)}"
    words = []
    if "size" in changed:
        words.append(SIZE_WORDS[thing.size][0])
    if "colour" in changed:
        words.append(thing.colour)
    if "pattern" in changed:
        words.append(PATTERN_WORDS[thing.pattern][0])
    name = f"the {noun(old.kind, old.count)}"
    if alone and rng.random() < 0.5:
        name = "it" if old.count == 1 else "them"
    verb = "paint" if changed == {"colour"} and rng.random() < 0.4 else "make"
    return f"{verb} {name} {' and '.join(words)}"


def _place_command(scene: Scene, edit: Edit, rng: random.Random) -> str:
    thing = scene.things[edit.thing]
    if len(scene.things) == 1:
        name = f"the {noun(thing.kind, thing.count)}"
        return f"{rng.choice(('put', 'move'))} {name} to the {edit.value}"
    if rng.random() < 0.6 and {edit.value, thing.place} in ({"left", "right"}, {"top", "bottom"}):
        return "swap them"
    return f"put {_place_phrase(scene, edit, rng)}"


def read_edit(text: str, scene: Scene) -> Scene:
    """The scene that the instruction asks for, given the one it refers to.

    Raises:
        ValueError: words that cannot be read, or that name a thing the scene does not have.
    """
    return apply_description(scene, read(text))


def apply_description(scene: Scene, said: Description) -> Scene:
    """The scene with everything changed that the description says."""
    things = list(scene.things)
    place: tuple[int, str] | None = None
    if said.loose or said.place:
        if len(things) != 1:
            raise ValueError(f"which of two things is meant by {said.loose or said.place}?")
        things[0] = replace(things[0], **said.loose)
        place = (0, said.place) if said.place else None
    for named in said.things:
        index = _find(scene, named)
        changes = dict(named.looks)
        if named.becomes is not None:
            changes["kind"] = named.becomes
        elif named.kind not in (None, scene.things[index].kind):
            changes["kind"] = named.kind
        things[index] = replace(things[index], **changes)
        if named.place is not None and place is None:
            place = (index, named.place)
    if said.swap:
        opposite = {"left": "right", "right": "left", "top": "bottom", "bottom": "top"}
        place = (0, opposite[things[0].place])
    scene = replace(
        scene,
        things=tuple(things),
        setting=said.setting or scene.setting,
        time=said.time or scene.time,
    )
    if place is not None and scene.things[place[0]].place != place[1]:
        scene = scene.apply(Edit("place", *place))
    return scene


def _find(scene: Scene, named: Said) -> int:
    for index, thing in enumerate(scene.things):
        if thing.kind == named.kind:
            return index
    if len(scene.things) == 1:
        return 0
    raise ValueError(f"the scene {scene.key} has no {named.kind}")


def _join(parts: Sequence[str]) -> str:
    if len(parts) < 3:
        return " and ".join(parts)
    return ", ".join(parts[:-1]) + " and " + parts[-1]


def _finish(text: str) -> str:
    return sentence(text[:-1], text[-1]) if text.endswith("?") else sentence(text)
