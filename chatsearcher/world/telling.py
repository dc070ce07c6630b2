"""Multi-round text dialogues: a user tells a scene bit by bit, and the assistant asks back.

The cue of the assistant's question ("First …" or "Last question: …") says whether words or a
picture follow, so that the wording of a user's turn alone does not.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Any

from chatsearcher.dialogue import Dialogue
from chatsearcher.world import lexicon
from chatsearcher.world.lexicon import NUMBERS, RELATIONS, noun, noun_phrase, pick, sentence
from chatsearcher.world.scene import COLOURS, COUNTS, PATTERNS, SIZES, Scene, Thing
from chatsearcher.world.vocabulary import KINDS, SETTINGS, TIMES
from chatsearcher.world.wishes import wish_phrase

Fact = tuple[str, int]  # (attribute, index of the thing; 0 for place of a pair, setting and time)
LOOKS = ("count", "size", "colour", "pattern")
CHOICES: dict[str, tuple[Any, ...]] = {
    "kind": tuple(KINDS),
    "count": COUNTS,
    "size": SIZES,
    "colour": COLOURS,
    "pattern": PATTERNS,
    "setting": SETTINGS,
    "time": TIMES,
}
OPENERS = (
    "Help me find a picture and ask me questions. {x}.",
    "I have a picture in mind, ask me about it. {x}.",
    "Let's find a picture step by step. I'd like {x}.",
    "Hello, I have a picture in mind: {x}. Ask me questions.",
)
MORE_CUES = ("First, {q}", "Good. {q}", "All right, {q}", "Tell me more: {q}")
LAST_CUES = ("Last question: {q}", "One last thing: {q}", "Finally, {q}")
QUESTIONS: dict[str, tuple[str, ...]] = {
    "count": ("how many {k} should there be?", "how many {k} do you want?"),
    "size": ("how big should the {k} be?",),
    "colour": ("what colour should the {k} be?", "which colour do the {k} have?"),
    "pattern": ("which pattern should the {k} have?", "what is the pattern of the {k}?"),
    "place": ("where should the {k} stand?",),
    "setting": ("what is around it?", "where does it happen?"),
    "time": ("is it day or night?", "what time is it?"),
    "any": ("what else?", "what else should I know?"),
}
CORRECTIONS = ("No, {x}.", "Sorry, I meant {x}.", "Actually, {x}.", "Wait, {x}.")


@dataclass
class Teller:
    """Puts facts of one scene into words."""

    rng: random.Random
    scene: Scene
    told: Scene  # as said, mistakes included
    wish: int | None  # the thing that is never named

    def ref(self, index: int, plural: bool = False) -> str:
        """The thing's name in the number said so far."""
        thing = self.told.things[index]
        if index == self.wish:
            return "things" if plural or thing.count > 1 else "thing"
        return noun(thing.kind, 2 if plural else thing.count)

    def opening(self, facts: set[Fact]) -> str:
        """The things with what is said of them at once."""
        phrases = []
        for index, thing in enumerate(self.told.things):
            say = {name for name in LOOKS if (name, index) in facts}
            phrase = wish_phrase if index == self.wish else noun_phrase
            phrases.append(phrase(thing, say, self.rng))
        text = " and ".join(phrases)
        if ("place", 0) in facts:
            places = [thing.place for thing in self.told.things]
            if len(phrases) == 1:
                text = f"{text} {lexicon.PLACE_WORDS[places[0]][0]}"
            elif self.rng.random() < 0.5:
                text = f"{phrases[0]} {pick(self.rng, RELATIONS[places[0]])} {phrases[1]}"
            else:
                text = " and ".join(
                    f"{phrase} {lexicon.PLACE_WORDS[place][0]}"
                    for phrase, place in zip(phrases, places, strict=True)
                )
        return " ".join(filter(None, (text, self.frame(facts))))

    def frame(self, facts: set[Fact]) -> str:
        parts = []
        if ("setting", 0) in facts:
            parts.append(pick(self.rng, lexicon.SETTING_WORDS[self.told.setting]))
        if ("time", 0) in facts:
            parts.append(pick(self.rng, lexicon.TIME_WORDS[self.told.time]))
        return " ".join(parts)

    def statements(self, facts: set[Fact]) -> list[str]:
        """Sentences about things that are known already."""
        said = []
        for index, thing in enumerate(self.told.things):
            names = [name for name in LOOKS[1:] if (name, index) in facts]
            if ("count", index) in facts:
                said.append(self.count_statement(index))
            if names:
                be = "is" if thing.count == 1 else "are"
                words = _list([str(getattr(thing, name)) for name in names])
                said.append(f"the {self.ref(index)} {be} {words}")
        if ("place", 0) in facts:
            said.append(self.place_statement())
        if frame := self.frame(facts):
            said.append(f"it is {frame}")
        self.rng.shuffle(said)
        return said

    def count_statement(self, index: int) -> str:
        count = NUMBERS[self.told.things[index].count]
        if index == self.wish:
            return f"{count} of those things"
        be = "is" if count == "one" else "are"
        return f"there {be} {count} {self.ref(index)}"

    def place_statement(self) -> str:
        index = self.rng.randrange(len(self.told.things))
        thing = self.told.things[index]
        be = "is" if thing.count == 1 else "are"
        if len(self.told.things) == 2 and self.rng.random() < 0.5:
            relation = pick(self.rng, RELATIONS[thing.place])
            return f"the {self.ref(index)} {be} {relation} the {self.ref(1 - index)}"
        return f"the {self.ref(index)} {be} {lexicon.PLACE_WORDS[thing.place][0]}"

    def question(self, fact: Fact | None) -> str:
        if fact is None:
            return self.rng.choice(QUESTIONS["any"])
        form = self.rng.choice(QUESTIONS[fact[0]])
        return form.format(k=self.ref(fact[1], plural=True))

    def short_answer(self, fact: Fact) -> str:
        """An ellipsis: "Three.", "Blue.", "On the left."."""
        name, index = fact
        thing = self.told.things[index]
        if name == "count":
            text = NUMBERS[thing.count]
        elif name in LOOKS:
            text = str(getattr(thing, name))
        elif name == "place":
            text = lexicon.PLACE_WORDS[thing.place][0]
        else:
            text = self.frame({fact})
        return f"{text}, please" if self.rng.random() < 0.3 else text

    def correction(self, fact: Fact) -> str:
        """Puts a wrong fact right; ``told`` must hold the right value already."""
        name, index = fact
        thing = self.told.things[index]
        if name == "kind":
            new = noun_phrase(thing, {"count"} if self.rng.random() < 0.5 else set(), self.rng)
            text = f"{new} instead of the {{old}}"
        elif name == "count":
            text = self.count_statement(index)
        elif name in LOOKS:
            text = f"make the {self.ref(index)} {getattr(thing, name)}"
        else:
            text = f"it is {self.frame({fact})}"
        return text


def telling(scene: Scene, rng: random.Random) -> Dialogue:
    """Two to four rounds of words that tell all of the scene; ends with a user's turn."""
    rounds = rng.choice((2, 3, 3, 4))
    wish = rng.randrange(len(scene.things)) if rng.random() < 0.4 else None
    facts = facts_of(scene)
    first = {("count", i) for i, thing in enumerate(scene.things) if thing.count == 1 and i != wish}
    rest = [fact for fact in facts if fact not in first]
    rng.shuffle(rest)
    cut = max(1, len(rest) * 2 // 5)
    first |= set(rest[:cut])
    chunks = _chunks(rest[cut:], rounds - 1, rng)

    mistake = None
    if rng.random() < 0.5:
        mistake = _mistake(scene, sorted(first) + [("kind", i) for i in _named(scene, wish)], rng)
    told = scene if mistake is None else _wrong(scene, *mistake)
    teller = Teller(rng, scene, told, wish)
    opening = teller.opening(first)
    dialogue = Dialogue().user(opened_with(opening, rng))
    due = None if mistake is None else rng.randrange(len(chunks))
    for number, chunk in enumerate(chunks):
        asked = rng.choice(chunk) if chunk and rng.random() < 0.75 else None
        cue = LAST_CUES if number == len(chunks) - 1 else MORE_CUES
        dialogue = dialogue.assistant(_cue(rng.choice(cue), teller.question(asked)))
        said = []
        if asked is not None:
            said.append(sentence(teller.short_answer(asked)))
        left = {fact for fact in chunk if fact != asked}
        if mistake is not None and number == due:
            old = teller.ref(mistake[0][1]) if mistake[0][0] == "kind" else ""
            teller.told = scene
            text = teller.correction(mistake[0]).format(old=old)
            said.append(rng.choice(CORRECTIONS).format(x=text))
        said += [sentence(text) for text in teller.statements(left)]
        dialogue = dialogue.user(" ".join(said))
    return dialogue


def facts_of(scene: Scene) -> list[Fact]:
    """All there is to tell of a scene besides the kinds of its things."""
    looks = [(name, index) for index in range(len(scene.things)) for name in LOOKS]
    return [*looks, ("place", 0), ("setting", 0), ("time", 0)]


def _named(scene: Scene, wish: int | None) -> list[int]:
    return [index for index in range(len(scene.things)) if index != wish]


def _mistake(scene: Scene, said: list[Fact], rng: random.Random) -> tuple[Fact, Any] | None:
    """A fact that is told wrongly at first, and the wrong value."""
    fact = rng.choice(said)
    name, index = fact
    if name == "place":
        return None
    owner: Scene | Thing = scene if name in ("setting", "time") else scene.things[index]
    kinds = {thing.kind for thing in scene.things}
    values = [v for v in CHOICES[name] if v != getattr(owner, name) and v not in kinds]
    return fact, rng.choice(values)


def _wrong(scene: Scene, fact: Fact, value: Any) -> Scene:
    name, index = fact
    if name in ("setting", "time"):
        return replace(scene, **{name: value})
    things = list(scene.things)
    things[index] = replace(things[index], **{name: value})
    return replace(scene, things=tuple(things))


def _chunks(facts: list[Fact], number: int, rng: random.Random) -> list[list[Fact]]:
    """The facts in that many heaps, none empty."""
    ends = sorted(rng.sample(range(1, len(facts)), number - 1))
    return [facts[a:b] for a, b in zip([0, *ends], [*ends, len(facts)], strict=True)]


def opened_with(text: str, rng: random.Random) -> str:
    """The words as a user's first turn."""
    opener = rng.choice(OPENERS)
    return opener.format(
        x=text if not opener.startswith(("Help", "I have")) else sentence(text, "")
    )


def _cue(cue: str, question: str) -> str:
    if cue.startswith(("Good", "Tell")):
        question = question if cue.startswith("Tell") else sentence(question, "")
    return cue.format(q=question)


def _list(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
