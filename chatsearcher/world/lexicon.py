"""How the attributes of a scene are put in words: the phrases, as data, for writer and reader."""

from __future__ import annotations

import random

from chatsearcher.world.scene import Thing
from chatsearcher.world.vocabulary import KINDS

NUMBERS: dict[int, str] = {1: "one", 2: "two", 3: "three", 4: "four"}
SIZE_WORDS: dict[str, tuple[str, ...]] = {"small": ("small", "little"), "big": ("big", "large")}
PATTERN_WORDS: dict[str, tuple[str, ...]] = {
    "plain": ("plain",),
    "striped": ("striped", "with stripes"),
    "spotted": ("spotted", "with spots"),
    "checked": ("checked", "with checks"),
}
PLACE_WORDS: dict[str, tuple[str, ...]] = {
    "left": ("on the left",),
    "right": ("on the right",),
    "top": ("at the top",),
    "bottom": ("at the bottom",),
    "middle": ("in the middle",),
}
SETTING_WORDS: dict[str, tuple[str, ...]] = {
    "beach": ("on a beach", "on the beach"),
    "meadow": ("in a meadow", "on a meadow"),
    "desert": ("in the desert", "in a desert"),
    "mountains": ("in the mountains",),
    "city": ("in the city", "in a city"),
    "forest": ("in the forest", "in a forest"),
    "snow": ("in the snow",),
    "lake": ("by the lake", "by a lake"),
    "room": ("in a room", "in the room"),
    "garden": ("in the garden", "in a garden"),
}
TIME_WORDS: dict[str, tuple[str, ...]] = {
    "day": ("by day", "during the day"),
    "night": ("at night", "by night"),
}
# The first thing of a pair (left, top) and the second one (right, bottom), seen from each other.
RELATIONS: dict[str, tuple[str, ...]] = {
    "left": ("left of", "to the left of"),
    "right": ("right of", "to the right of"),
    "top": ("above",),
    "bottom": ("below", "under"),
}
_PLURALS = {"fish": "fish", "bus": "buses", "butterfly": "butterflies"}
PLURALS: dict[str, str] = {kind: _PLURALS.get(kind, kind + "s") for kind in KINDS}
_VOWELS = tuple("aeiou")


def pick(rng: random.Random, words: tuple[str, ...]) -> str:
    """One of several wordings; the first one is the usual one."""
    return words[0] if len(words) == 1 or rng.random() < 0.6 else words[rng.randrange(len(words))]


def noun(kind: str, count: int) -> str:
    """The kind's name, in the plural for more than one."""
    return kind if count == 1 else PLURALS[kind]


def article(word: str) -> str:
    """ "a" or "an" before that word."""
    return "an" if word.startswith(_VOWELS) else "a"


def number(count: int, following: str, rng: random.Random) -> str:
    """The count as a word; a single thing has an article most of the time."""
    if count == 1 and rng.random() < 0.7:
        return article(following)
    return NUMBERS[count]


def adjectives(
    thing: Thing, say: frozenset[str] | set[str], rng: random.Random
) -> tuple[list[str], str]:
    """The words before the noun (size, colour, pattern as far as said) and those behind it."""
    words, behind = [], ""
    if "size" in say:
        words.append(pick(rng, SIZE_WORDS[thing.size]))
    if "colour" in say:
        words.append(thing.colour)
    if "pattern" in say:
        pattern = pick(rng, PATTERN_WORDS[thing.pattern])
        if pattern.startswith("with"):
            behind = " " + pattern
        else:
            words.append(pattern)
    if len(words) > 1 and rng.random() < 0.25:
        rng.shuffle(words)
    return words, behind


def noun_phrase(thing: Thing, say: frozenset[str] | set[str], rng: random.Random) -> str:
    """E.g. "two big red striped cats"; the count of a single thing is always said."""
    words, behind = adjectives(thing, say, rng)
    words.append(noun(thing.kind, thing.count))
    if thing.count == 1 or "count" in say:
        words.insert(0, number(thing.count, words[0], rng))
    return " ".join(words) + behind


def sentence(text: str, end: str = ".") -> str:
    """Capitalised, with an end mark."""
    return text[:1].upper() + text[1:] + end
