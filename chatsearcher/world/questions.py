"""Questions about a pictured scene with their true answers, and an exact answerer."""

from __future__ import annotations

import random
import re

from chatsearcher.world import wishes
from chatsearcher.world.lexicon import (
    NUMBERS,
    PLACE_WORDS,
    PLURALS,
    RELATIONS,
    SETTING_WORDS,
    article,
    noun,
    sentence,
)
from chatsearcher.world.reading import Description, Said, read
from chatsearcher.world.scene import Scene, Thing
from chatsearcher.world.vocabulary import KINDS

# What is asked -> wordings; {k} is the name of the thing, {ks} its plural, {be}/{do} agree.
FORMS: dict[str, tuple[str, ...]] = {
    "count": ("How many {ks} are there?", "How many {ks} do you see?"),
    "colour": ("What colour {be} the {k}?", "Which colour {do} the {k} have?"),
    "pattern": ("What pattern {do} the {k} have?", "What is the pattern of the {k}?"),
    "size": ("How big {be} the {k}?", "{Be} the {k} big or small?"),
    "place": ("Where {be} the {k}?", "Where {do} the {k} stand?"),
    "setting": ("Where is this?", "What place is this?"),
    "time": ("Is it day or night?", "What time is it?"),
    "there": ("Is there {a} {k}?", "Do you see any {ks}?"),
    "beside": ("What is {relation} the {k}?",),
}


def ask(scene: Scene, rng: random.Random) -> tuple[str, str]:
    """A question about the picture and its true answer; the wording asks for words."""
    names = [name for name in sorted(FORMS) if name != "beside" or len(scene.things) == 2]
    name = rng.choice(names)
    thing = rng.choice(scene.things)
    kind = rng.choice(sorted(KINDS)) if name == "there" and rng.random() < 0.5 else thing.kind
    one = thing.count == 1
    others = [each for each in scene.things if each != thing]
    text = rng.choice(FORMS[name]).format(
        k=kind if name == "there" else noun(kind, thing.count),
        ks=PLURALS[kind],
        a=article(kind),
        be="is" if one else "are",
        Be="Is" if one else "Are",
        do="does" if one else "do",
        relation=RELATIONS[others[0].place][0] if name == "beside" else "",
    )
    return text, answer(text, scene)


_PATTERNS: tuple[tuple[str, str], ...] = (
    ("count", r"how many (?P<k>\w+) (?:are there|do you see)\?"),
    ("colour", r"(?:what|which) colour (?:is|are|do|does) the (?P<k>\w+)(?: have)?\?"),
    ("pattern", r"what (?:pattern (?:do|does) the|is the pattern of the) (?P<k>\w+)(?: have)?\?"),
    ("size", r"(?:how big (?:is|are)|is|are) the (?P<k>\w+)(?: big or small)?\?"),
    ("place", r"where (?:is|are|do|does) the (?P<k>\w+)(?: stand)?\?"),
    ("setting", r"(?:where is|what place is) this\?"),
    ("time", r"(?:is it day or night|what time is it)\?"),
    ("there", r"(?:is there an?|do you see any) (?P<k>\w+)\?"),
    ("beside", r"what is (?P<relation>left of|right of|above|below) the (?P<k>\w+)\?"),
)
_COMPILED = tuple((name, re.compile(pattern)) for name, pattern in _PATTERNS)


def answer(question: str, scene: Scene) -> str:
    """The true answer to a question of ``ask``.

    Raises:
        ValueError: a question that cannot be read, or about a thing the scene does not have.
    """
    name, match = _match(question)
    if name == "setting":
        return sentence(SETTING_WORDS[scene.setting][0])
    if name == "time":
        return sentence(scene.time)
    kind = wishes.names()[match["k"]][0]
    thing = scene.find(kind)
    if name == "there":
        return "Yes." if thing else "No."
    if thing is None:
        raise ValueError(f"there is no {kind} in {scene.key}")
    if name == "count":
        return sentence(NUMBERS[thing.count])
    if name == "place":
        return sentence(PLACE_WORDS[thing.place][0])
    if name == "beside":
        return sentence(_counted(next(each for each in scene.things if each != thing)))
    return sentence(str(getattr(thing, name)))


def is_question(text: str) -> bool:
    """Whether the words are a question of ``ask``, to be answered in words in any mode."""
    return any(pattern.fullmatch(text.lower()) for _, pattern in _COMPILED)


def _match(question: str) -> tuple[str, re.Match[str]]:
    for name, pattern in _COMPILED:
        if match := pattern.fullmatch(question.lower()):
            return name, match
    raise ValueError(f"cannot read the question {question!r}")


def _counted(thing: Thing) -> str:
    number = article(thing.kind) if thing.count == 1 else NUMBERS[thing.count]
    return f"{number} {noun(thing.kind, thing.count)}"


def is_fact(said: Description) -> bool:
    """Whether the words ask for a fact of life alone: "What gives milk?"."""
    alone = len(said.things) == 1 and not (said.loose or said.place or said.setting or said.time)
    return alone and said.things[0].fact and not said.things[0].looks and not said.things[0].place


def judge(text: str, scene: Scene) -> str:
    """What is answered in words to a description: the fact, "Yes.", or what is wrong with it.

    "What gives milk?" -> "A cow."; "Two cats at night?" -> "No, there are three cats."
    """
    said = read(text)
    if is_fact(said):
        return wishes.answer(str(said.things[0].kind))
    if said.loose or said.place:
        if len(scene.things) != 1:
            raise ValueError(f"which of two things is meant in {text!r}?")
        loose = Said(scene.things[0].kind, looks=said.loose, place=said.place)
        said.things.append(loose)
    for named in said.things:
        if wrong := _wrong(named, scene):
            return f"No, {wrong}."
    if said.setting not in (None, scene.setting):
        return f"No, it is {SETTING_WORDS[scene.setting][0]}."
    if said.time not in (None, scene.time):
        return f"No, it is {scene.time}."
    return "Yes."


def _wrong(named: Said, scene: Scene) -> str | None:
    thing = scene.find(str(named.kind))
    if thing is None:
        return f"there is no {named.kind}"
    be = "is" if thing.count == 1 else "are"
    if named.looks.get("count", thing.count) != thing.count:
        return f"there {be} {NUMBERS[thing.count]} {noun(thing.kind, thing.count)}"
    the = f"the {noun(thing.kind, thing.count)} {be}"
    for name in ("size", "colour", "pattern"):
        if named.looks.get(name, getattr(thing, name)) != getattr(thing, name):
            return f"{the} {getattr(thing, name)}"
    if named.place not in (None, thing.place):
        return f"{the} {PLACE_WORDS[thing.place][0]}"
    return None
