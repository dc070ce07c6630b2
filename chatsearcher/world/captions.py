"""Captions: a scene in one sentence, in several wordings and orders."""

from __future__ import annotations

import random

from chatsearcher.world.lexicon import (
    NUMBERS,
    PLACE_WORDS,
    RELATIONS,
    SETTING_WORDS,
    SIZE_WORDS,
    TIME_WORDS,
    article,
    noun,
    noun_phrase,
    pick,
    sentence,
)
from chatsearcher.world.scene import Scene, Thing

LOOKS: frozenset[str] = frozenset({"size", "colour", "pattern", "count"})
EVERYTHING: frozenset[str] = LOOKS | {"place", "setting", "time"}
_LEADS = ("", "", "", "a picture of ", "there {be} ")


def caption(scene: Scene, rng: random.Random, complete: float = 0.7) -> str:
    """One wording of the scene.

    Args:
        scene: what is in the picture.
        rng: the source of the choice of words.
        complete: probability that every attribute is said; otherwise about half are left out.
    """
    say = EVERYTHING
    if rng.random() >= complete:
        say = frozenset(name for name in sorted(EVERYTHING) if rng.random() < 0.5)
    text = describe(scene, rng, say)
    return sentence(text) if rng.random() < 0.5 else text


def describe(
    scene: Scene, rng: random.Random, say: frozenset[str] = EVERYTHING, lead: bool = True
) -> str:
    """The attributes named in ``say``, as lower-case words without an end mark.

    With ``lead``, the sentence may open with "there are" or with setting and time; without it, the
    words fit behind "I'd like".
    """
    things = _things(scene, rng, say)
    frame = frame_phrase(scene, rng, say)
    opening = rng.choice(_LEADS) if lead else ""
    if frame and lead and rng.random() < 0.25 and opening != _LEADS[3]:
        inner = opening.format(be=_be(scene, things))
        return f"{frame}, {inner}{things}" if inner else f"{frame}: {things}"
    text = opening.format(be=_be(scene, things)) + things
    if not frame:
        return text
    return f"{text}, {frame}" if rng.random() < 0.5 else f"{text} {frame}"


def plain_description(scene: Scene, say: frozenset[str] = EVERYTHING) -> str:
    """The same attributes in the one usual wording and order: nothing is left to chance."""
    things = " and ".join(_plain_thing(thing, say) for thing in scene.things)
    frame = [SETTING_WORDS[scene.setting][0]] if "setting" in say else []
    if "time" in say:
        frame.append(TIME_WORDS[scene.time][0])
    return f"{things}, {' '.join(frame)}" if frame else things


def _plain_thing(thing: Thing, say: frozenset[str]) -> str:
    words = [SIZE_WORDS[thing.size][0]] if "size" in say else []
    words += [str(getattr(thing, name)) for name in ("colour", "pattern") if name in say]
    words.append(noun(thing.kind, thing.count))
    if thing.count == 1:
        words.insert(0, article(words[0]))
    elif "count" in say:
        words.insert(0, NUMBERS[thing.count])
    if "place" in say:
        words.append(PLACE_WORDS[thing.place][0])
    return " ".join(words)


def keywords(scene: Scene) -> list[str]:
    """Every attribute in one word, always as many and in one order; "no" for a missing thing."""
    words = []
    for index in range(2):
        if index == len(scene.things):
            words += ["no"] * 6
            continue
        thing = scene.things[index]
        words += [NUMBERS[thing.count], thing.size, thing.colour, thing.pattern]
        words += [thing.kind, thing.place]
    return [*words, scene.setting, scene.time]


def frame_phrase(scene: Scene, rng: random.Random, say: frozenset[str] = EVERYTHING) -> str:
    """Setting and time, e.g. "on a beach at night"."""
    parts = []
    if "setting" in say:
        parts.append(pick(rng, SETTING_WORDS[scene.setting]))
    if "time" in say:
        parts.append(pick(rng, TIME_WORDS[scene.time]))
    if len(parts) == 2 and rng.random() < 0.3:
        parts.reverse()
    return " ".join(parts)


def _things(scene: Scene, rng: random.Random, say: frozenset[str]) -> str:
    things = list(scene.things)
    if len(things) == 2 and rng.random() < 0.5:
        things.reverse()
    phrases = [noun_phrase(thing, say, rng) for thing in things]
    if "place" not in say:
        return " and ".join(phrases)
    if len(things) == 2 and rng.random() < 0.4:
        return f"{phrases[0]} {pick(rng, RELATIONS[things[0].place])} {phrases[1]}"
    return " and ".join(
        f"{phrase} {pick(rng, PLACE_WORDS[thing.place])}"
        for phrase, thing in zip(phrases, things, strict=True)
    )


def _be(scene: Scene, text: str) -> str:
    """Agrees with the thing that is named first."""
    return "is" if text.startswith(("a ", "an ", "one ")) else "are"
