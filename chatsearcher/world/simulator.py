"""The picture world's own roles: a user who knows the truth and can be made to err, a questioner
who looks at the candidates, an answerer.

A user wants one picture. It tells two fifths of the scene at first; says of a picture that it is
shown what to change, one or two things at a time; and answers questions. A question that it cannot
read, or "What else?", is answered by one fact that was not told yet. With an error rate, each value
that it says is wrong with that probability, drawn from the user's own seed; what a thing is called
is always right.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import log
from typing import Any

from chatsearcher.dialogue import Dialogue, Image, Text, Turn
from chatsearcher.world import wishes
from chatsearcher.world.edits import say_edits
from chatsearcher.world.lexicon import PLURALS, sentence
from chatsearcher.world.questions import answer as exact_answer
from chatsearcher.world.questions import is_question
from chatsearcher.world.reader import scene_of
from chatsearcher.world.scene import Edit, Scene, Thing
from chatsearcher.world.telling import (
    CHOICES,
    LOOKS,
    QUESTIONS,
    Fact,
    Teller,
    facts_of,
    opened_with,
)
from chatsearcher.world.vocabulary import PLACES

VERSION = "world-1"
FRAME = ("setting", "time")
NOTHING_MORE = "That is all I know."
_FORMS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (name, re.compile(re.escape(form.lower()).replace(r"\{k\}", "(?P<k>[a-z]+)") + "$"))
    for name, forms in QUESTIONS.items()
    for form in forms
)


class WorldSimulator:
    """Users of the picture world.

    Args:
        error_rate: how often a value that is said is wrong, in [0, 1].
    """

    def __init__(self, error_rate: float = 0.0) -> None:
        if not 0.0 <= error_rate <= 1.0:
            raise ValueError(f"error rate {error_rate}; expected a probability in [0, 1]")
        self.error_rate = error_rate

    @property
    def identity(self) -> Mapping[str, Any]:
        return {"simulator": VERSION, "error rate": self.error_rate}

    def user(self, target: str, seed: int) -> WorldUser:
        """A user who wants that picture; the same one for the same seed."""
        return WorldUser(target, random.Random(f"{VERSION}/{seed}/{target}"), self.error_rate)


class WorldUser:
    """One user; see the module's text."""

    def __init__(self, target: str, rng: random.Random, error_rate: float) -> None:
        self.target = target
        self.scene = scene_of(target)
        self.rng = rng
        self.error_rate = error_rate
        self._untold = facts_of(self.scene)
        rng.shuffle(self._untold)

    def begin(self) -> Dialogue:
        """Two fifths of the facts, as a wish."""
        first = set(self._untold[: max(1, len(self._untold) * 2 // 5)])
        self._told(first)
        teller, facts = self._teller(first)
        return Dialogue().user(opened_with(teller.opening(facts), self.rng))

    def respond(self, dialogue: Dialogue) -> Dialogue | None:
        """See ``chatsearcher.roles.User``; None when the wanted picture is the one shown."""
        turn = dialogue.turns[-1]
        if turn.role != "assistant":
            raise ValueError("expected a dialogue that ends in the system's turn")
        if not turn.images:
            return dialogue.user(self._answer(turn.text))
        if any(image.id == self.target for image in turn.images):
            return None
        return dialogue.user(self._correct(scene_of(turn.images[-1].id)))

    def _correct(self, shown: Scene) -> str:
        """What to change in the picture that was shown."""
        edits = differences(shown, self.scene)
        if edits is None:  # one thing more or less: no change of an attribute helps
            everything = set(facts_of(self.scene))
            self._told(everything)
            teller, facts = self._teller(everything)
            return sentence(f"no, i'd like {teller.opening(facts)}")
        self.rng.shuffle(edits)
        chosen = edits[: self.rng.choice((1, 2))]
        kinds = [edit for edit in chosen if edit.attribute == "kind"]
        if kinds and any(edit.attribute == "place" for edit in chosen):
            chosen = kinds[:1]  # a thing that changes its kind has no name to be moved by
        wanted = dict(_pairs(shown, self.scene))
        for edit in chosen:
            index = self.scene.things.index(wanted[edit.thing]) if edit.attribute in LOOKS else 0
            self._told({(edit.attribute, index)})
        said = [self._erring(edit, shown) for edit in chosen]
        return say_edits(shown, said, self.rng, shared=0.0)

    def _erring(self, edit: Edit, shown: Scene) -> Edit:
        if self.rng.random() >= self.error_rate or edit.attribute == "kind":
            return edit
        values = {
            other.value
            for other in shown.edits()
            if (other.attribute, other.thing) == (edit.attribute, edit.thing)
        }
        wrong = sorted(values - {edit.value}, key=str)
        return replace(edit, value=self.rng.choice(wrong)) if wrong else edit

    def _answer(self, question: str) -> str:
        asked = read_question(question)
        if asked is not None and asked[0] != "any":
            name, kind = asked
            fact = self._fact(name, kind)
            if fact is None:
                return f"There is no {kind}."
            self._told({("place", 0) if name == "place" else fact})
            teller, _ = self._teller({fact})
            return sentence(teller.short_answer(_moved(fact, self.scene, teller.told)))
        try:
            return exact_answer(question, self.scene)
        except ValueError:  # not one of the world's questions: what was not told yet
            if not self._untold:
                return NOTHING_MORE
            fact = self._untold[0]
            self._told({fact})
            teller, facts = self._teller({fact})
            return sentence(teller.statements(facts)[0])

    def _fact(self, name: str, kind: str | None) -> Fact | None:
        if name in FRAME:
            return name, 0
        places = [n for n, thing in enumerate(self.scene.things) if kind in (None, thing.kind)]
        if not places:
            return None
        open_ones = [n for n in places if (name, n) in self._untold]
        return name, (open_ones or places)[0]

    def _told(self, facts: set[Fact]) -> None:
        self._untold = [fact for fact in self._untold if fact not in facts]

    def _teller(self, facts: set[Fact]) -> tuple[Teller, set[Fact]]:
        """Speaks of the scene with each of these facts wrong as often as users err; and the facts,
        as the things are counted in that scene."""
        told = self.scene
        for fact in sorted(facts, key=lambda fact: (fact[0] == "place", fact)):  # moves are last
            if self.rng.random() < self.error_rate:
                told = mistaken(told, fact, self.rng)
        moved = {_moved(fact, self.scene, told) if fact[0] in LOOKS else fact for fact in facts}
        return Teller(self.rng, self.scene, told, None), moved


def _moved(fact: Fact, scene: Scene, told: Scene) -> Fact:
    """The same fact in a scene whose things may stand in another order; kinds are the same."""
    name, index = fact
    if name in FRAME:
        return fact
    kinds = [thing.kind for thing in told.things]
    return name, kinds.index(scene.things[index].kind)


def mistaken(scene: Scene, fact: Fact, rng: random.Random) -> Scene:
    """The scene with another value of that fact."""
    name, index = fact
    if name == "place":
        places = PLACES if len(scene.things) == 1 else ("left", "right", "top", "bottom")
        now = scene.things[index].place
        return scene.apply(Edit("place", index, rng.choice([p for p in places if p != now])))
    owner: Scene | Thing = scene if name in FRAME else scene.things[index]
    values = [value for value in CHOICES[name] if value != getattr(owner, name)]
    return scene.apply(Edit(name, index, rng.choice(values)))


def differences(shown: Scene, target: Scene) -> list[Edit] | None:
    """The edits of single attributes that lead from one scene to the other; None where the number
    of things differs. The thing of an edit is counted in the scene that is shown."""
    if len(shown.things) != len(target.things):
        return None
    edits = [
        Edit(name, 0, getattr(target, name))
        for name in FRAME
        if getattr(shown, name) != getattr(target, name)
    ]
    for index, wanted in _pairs(shown, target):
        thing = shown.things[index]
        for name in ("kind", *LOOKS):
            if getattr(thing, name) != getattr(wanted, name):
                edits.append(Edit(name, index, getattr(wanted, name)))
        if index == 0 and thing.place != wanted.place:  # the other one moves with it
            edits.append(Edit("place", index, wanted.place))
    return edits


def _pairs(shown: Scene, target: Scene) -> list[tuple[int, Thing]]:
    """Each thing that is shown with the one it should become: its own kind first."""
    left = list(target.things)
    found: dict[int, Thing] = {}
    for index, thing in enumerate(shown.things):
        own = next((each for each in left if each.kind == thing.kind), None)
        if own is not None:
            found[index] = own
            left.remove(own)
    for index in range(len(shown.things)):
        if index not in found:
            found[index] = left.pop(0)
    return sorted(found.items())


def read_question(text: str) -> tuple[str, str | None] | None:
    """What a question of the world's assistants is about: (attribute, kind of thing or None);
    ("any", None) for "What else?"; None where it is none of theirs."""
    words = text.lower().strip()
    for name, pattern in _FORMS:
        match = pattern.search(words)
        if match is None:
            continue
        kind = match.groupdict().get("k")
        if kind is None or kind in ("thing", "things"):
            return name, None
        known = wishes.names()
        if kind in known:
            return name, known[kind][0]
    return None


class WorldQuestioner:
    """Asks for what tells the candidates apart best: the attribute of largest entropy among them
    that was not asked for yet. Without candidates: "What else?"."""

    @property
    def identity(self) -> Mapping[str, Any]:
        return {"questioner": VERSION}

    def ask(self, dialogue: Dialogue, candidates: Sequence[Image]) -> str:
        """See ``chatsearcher.roles.Questioner``; the candidates are pictures of the world."""
        asked = {read_question(turn.text) for turn in dialogue.turns if _speaks(turn, "assistant")}
        values: dict[tuple[str, str | None], list[Any]] = {}
        for scene in (scene_of(image.id) for image in candidates):
            for name in FRAME:
                values.setdefault((name, None), []).append(getattr(scene, name))
            for thing in scene.things:
                for name in (*LOOKS, "place"):
                    values.setdefault((name, thing.kind), []).append(getattr(thing, name))
        open_ones = {key: _spread(found) for key, found in values.items() if key not in asked}
        best = max(open_ones, key=lambda key: (open_ones[key], str(key)), default=None)
        if best is None or open_ones[best] == 0:
            return sentence(QUESTIONS["any"][0], "")
        name, kind = best
        return sentence(QUESTIONS[name][0].format(k=PLURALS.get(str(kind), "things")), "")


def _speaks(turn: Turn, role: str) -> bool:
    return turn.role == role and any(isinstance(part, Text) for part in turn.content)


def _spread(values: Sequence[Any]) -> float:
    """Entropy in nats, times how many candidates have the attribute at all."""
    counts = Counter(values).values()
    total = len(values)
    return -sum(n * log(n / total) for n in counts)


class WorldAnswerer:
    """Answers questions about a picture of the world from its graph."""

    @property
    def identity(self) -> Mapping[str, Any]:
        return {"answerer": VERSION}

    def answer(self, question: str, picture: Image) -> str:
        """See ``chatsearcher.roles.Answerer``."""
        scene = scene_of(picture.id)
        asked = read_question(question)
        if is_question(question) or asked is None or asked[0] == "any":
            return exact_answer(question, scene)
        name, kind = asked
        fits = [n for n, thing in enumerate(scene.things) if kind in (None, thing.kind)]
        if name not in FRAME and not fits:
            return f"There is no {kind}."
        fact = (name, 0 if name in FRAME else fits[0])
        return sentence(Teller(random.Random(0), scene, scene, None).short_answer(fact))
