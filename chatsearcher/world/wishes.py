"""Facts of everyday life, each true of exactly one kind of the vocabulary.

A fact is a clause that can follow "something" or "two things"; ``{s}`` marks the verb that agrees.
The question that it answers is derived from it ("that give{s} milk" -> "What gives milk?").
"""

from __future__ import annotations

import random
import re

from chatsearcher.world.lexicon import NUMBERS, PLURALS, adjectives, article, noun
from chatsearcher.world.scene import Thing

FACTS: dict[str, tuple[str, ...]] = {
    "cat": ("that purr{s}", "that chase{s} mice", "that say{s} meow"),
    "dog": ("that bark{s}", "that love{s} bones", "that fetch{es} sticks"),
    "fish": ("that breathe{s} with gills", "that live{s} under water"),
    "bird": ("that sing{s} in the morning", "that lay{s} eggs in a nest"),
    "rabbit": ("that love{s} carrots", "that live{s} in a burrow"),
    "cow": ("that give{s} milk", "that say{s} moo"),
    "elephant": ("with tusks", "that never forget{s}"),
    "butterfly": ("that come{s} from a caterpillar", "that leave{s} a cocoon"),
    "apple": ("that keep{s} the doctor away", "that fell on Newton"),
    "banana": ("a monkey would eat", "that make{s} people slip"),
    "pear": ("you can make perry from", "that share{s} a song with a partridge"),
    "carrot": ("that grow{s} under the ground", "that make{s} a snowman's nose"),
    "cake": ("you can put candles on", "you can bake for a birthday"),
    "car": ("a taxi driver would drive", "that race{s} in Monaco"),
    "bus": ("that take{s} pupils to school", "that stop{s} for many passengers"),
    "boat": ("a sailor would steer", "that sail{s} over the sea"),
    "plane": ("a pilot would fly", "that take{s} off from an airport"),
    "bicycle": ("you can pedal", "you can ride on two wheels"),
    "chair": ("you can sit on at a table", "with a seat and four legs"),
    "lamp": ("a moth would fly to", "that need{s} a light bulb"),
    "shirt": ("you can button up", "with a collar and sleeves"),
    "hat": ("you can wear on your head", "a gentleman would tip"),
    "boot": ("you can wear on your foot", "that keep{s} feet dry"),
    "cloud": ("that bring{s} rain", "that hide{s} the sun"),
    "umbrella": ("you can open in the rain", "Mary Poppins would fly with"),
    "house": ("a family would live in", "with a chimney and a doorbell"),
    "castle": ("a king would live in", "a knight would defend"),
    "tent": ("a camper would sleep in", "you can put up with pegs"),
    "tree": ("a squirrel would climb", "that drop{s} leaves in autumn"),
    "flower": ("a bee would visit", "you can put in a vase"),
    "mushroom": ("with a cap and a stem", "a gnome would sit under"),
    "cup": ("you can drink tea from", "that stand{s} on a saucer"),
}
_WOULD = re.compile(r"(.+) would (.+)")


def clause(fact: str, count: int = 1) -> str:
    """The fact behind a noun of that number: "that gives milk", "that give milk"."""
    if count == 1:
        return fact.replace("{s}", "s").replace("{es}", "es")
    return fact.replace("{s}", "").replace("{es}", "")


def question(fact: str) -> str:
    """The question that the fact answers."""
    said = clause(fact)
    if said.startswith("that "):
        return f"What {said[5:]}?"
    if said.startswith("with "):
        return f"What has {said[5:]}?"
    if said.startswith("you can "):
        return f"What can you {said[8:]}?"
    match = _WOULD.fullmatch(said)
    if match is None:
        raise ValueError(f"cannot turn the fact {fact!r} into a question")
    return f"What would {match[1]} {match[2]}?"


def answer(kind: str) -> str:
    """The answer to any of the kind's questions."""
    return f"{article(kind).capitalize()} {kind}."


def wish_phrase(thing: Thing, say: frozenset[str] | set[str], rng: random.Random) -> str:
    """The thing without its name: "two big red things that give milk"."""
    fact = rng.choice(FACTS[thing.kind])
    words, _ = adjectives(thing, set(say) - {"pattern"}, rng)
    if "pattern" in say:
        words.append(thing.pattern)
    if "count" not in say:
        if words:
            return f"something {' and '.join(words)} {clause(fact)}"
        return f"something {clause(fact)}"
    words.insert(0, NUMBERS[thing.count])
    words.append("thing" if thing.count == 1 else "things")
    return f"{' '.join(words)} {clause(fact, thing.count)}"


def clauses() -> dict[str, str]:
    """Every wording of every fact in lower case -> the kind it is true of."""
    found: dict[str, str] = {}
    for kind, facts in FACTS.items():
        for fact in facts:
            for words in (clause(fact), clause(fact, 2), question(fact)[:-1]):
                if found.setdefault(words.lower(), kind) != kind:
                    raise ValueError(f"{words!r} is said of {found[words.lower()]} and {kind}")
    return found


def names() -> dict[str, tuple[str, bool]]:
    """Every name of a kind -> (kind, whether it is a plural)."""
    plural = {PLURALS[kind]: (kind, True) for kind in FACTS}
    return {**plural, **{noun(kind, 1): (kind, False) for kind in FACTS}}
