"""Whole conversations for training: every assistant turn is either words, or one picture.

Before a picture stands what is looked for (``world.reformulation``).

What decides between the two is the conversation, not the wording of the last turn. The user sets a
mode ("Let's look for pictures.", "Let's just talk.", "Don't search yet.") and the same words are
then answered by a picture, by a true statement, or by a nod.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from chatsearcher.dialogue import Dialogue, Image
from chatsearcher.world.captions import EVERYTHING, describe
from chatsearcher.world.edits import SHARED, apply_all, choose_edits, nominal, say_edits
from chatsearcher.world.lexicon import sentence
from chatsearcher.world.questions import ask, judge
from chatsearcher.world.references import instruction, mixed_rounds, single_round
from chatsearcher.world.reformulation import reformulation
from chatsearcher.world.scene import Edit, Scene, Split, Thing, sample_scene
from chatsearcher.world.telling import telling
from chatsearcher.world.wishes import FACTS, clause, question

Mode = Literal["picture", "talk", "note"]
Show = Callable[[Scene], Image]
# How often each kind of conversation occurs in training.
MIX: tuple[tuple[str, float], ...] = (("modes", 0.72), ("search", 0.28))
SEARCHES: tuple[tuple[str, float], ...] = (("telling", 0.5), ("mixed", 0.33), ("single", 0.17))
SET_MODE: dict[Mode, tuple[str, ...]] = {
    "picture": (
        "Let's look for pictures.",
        "From now on answer with pictures.",
        "I am looking for pictures.",
        "Now find me pictures.",
    ),
    "talk": (
        "Let's just talk.",
        "From now on answer with words.",
        "I am only asking questions.",
        "Now tell me in words.",
    ),
    "note": (
        "Don't search yet.",
        "Wait a moment.",
        "From now on only take notes.",
        "Now just listen.",
    ),
}
AGREED: dict[Mode, tuple[str, ...]] = {
    "picture": ("All right. What should it show?", "Sure. What are you looking for?"),
    "talk": ("All right. What do you want to know?", "Sure. Ask me."),
    "note": ("All right. Tell me.", "Sure. I am listening."),
}
NOTED = ("Noted.", "All right, noted.", "I will keep that in mind.")
FULL = ("{x}?", "and {x}?", "what about {x}?", "how about {x}?", "{x}.")
PART = (*SHARED, "{n}.", "and {n}.", "now {n}.", "{n}, then.")
FACT = ("{q}", "something {c}?", "and something {c}?", "how about something {c}?", "something {c}.")
REQUEST = (
    "i'd like {x}.",
    "find me {x}.",
    "show me {x}, please.",
    "do you have {x}?",
    "{x}, please.",
)
THANKS = (("Thanks.", "You are welcome."), ("Great, thanks.", "You are welcome."))

# How often a user who has no picture yet brings one along.
_ATTACH: dict[Mode, float] = {"picture": 0.9, "talk": 1.0, "note": 0.4}


def conversation(split: Split, rng: random.Random, show: Show) -> Dialogue:
    """One conversation that ends in an assistant's turn.

    Args:
        show: makes the picture of a scene; called once for each picture of the dialogue.
    """
    names, shares = zip(*MIX, strict=True)
    if rng.choices(names, shares)[0] == "modes":
        return modes(split, rng, show)
    return search(sample_scene(rng, split), split, rng, show)


def search(
    target: Scene,
    split: Split,
    rng: random.Random,
    show: Show,
    kinds: tuple[tuple[str, float], ...] = SEARCHES,
) -> Dialogue:
    """A conversation that leads to one picture: a telling, an instruction, or mixed rounds.

    Args:
        kinds: how often each of the three occurs.
    """
    names, shares = zip(*kinds, strict=True)
    name = rng.choices(names, shares)[0]
    if name == "telling":
        return _refined(telling(target, rng), target, split, rng, show)
    said = instruction(target, split, rng, shared=0.3)
    start = single_round(said, show) if name == "single" else mixed_rounds(said, split, show, rng)
    return _refined(start, target, split, rng, show)


def _refined(
    dialogue: Dialogue, scene: Scene, split: Split, rng: random.Random, show: Show
) -> Dialogue:
    """The answer, and perhaps rounds that change one attribute of it.

    A batch then holds near neighbours of the answer, and the loss has to tell them apart.
    """
    dialogue = dialogue.assistant(reformulation(scene), show(scene))
    for _ in range(rng.choice((0, 1, 1, 2))):
        edits = choose_edits(scene, rng, 1, split)
        dialogue = dialogue.user(say_edits(scene, edits, rng, shared=0.3))
        scene = apply_all(scene, edits)
        dialogue = dialogue.assistant(reformulation(scene), show(scene))
    return dialogue


def modes(split: Split, rng: random.Random, show: Show) -> Dialogue:
    """Five to nine rounds under a mode that the user sets and sometimes changes."""
    talk = _Talk(split, rng, show)
    for _ in range(rng.randint(5, 9)):
        talk.round()
    return talk.dialogue


@dataclass
class _Turn:
    """A user's words, and what they are answered with: words, or the scene of a picture."""

    text: str
    answer: str | Scene
    known: frozenset[str] = EVERYTHING
    """What of the scene can be told beforehand, besides its kinds."""


class _Talk:
    """A conversation as it grows: its mode, and the scene that is talked about."""

    def __init__(self, split: Split, rng: random.Random, show: Show) -> None:
        self.split, self.rng, self.show = split, rng, show
        self.dialogue = Dialogue()
        self.mode: Mode | None = None
        self.scene: Scene | None = None
        self.noted = 0

    def round(self) -> None:
        """One round: perhaps a change of mode, a picture of the user's, words, and the answer."""
        rng, lead = self.rng, ""
        start = self.mode is None
        if start and rng.random() < 0.27:
            self.mode = "picture"  # what a user who says nothing of it expects
        elif start or rng.random() < 0.03:
            lead = self._change_mode()
            if rng.random() < (0.75 if self.mode == "picture" else 0.5):
                self._say((), _Turn(lead, rng.choice(AGREED[self.mode or "picture"])))
                return
        pictures: tuple[Image, ...] = ()
        if self.mode != "talk" and rng.random() < (0.2 if self.mode == "note" else 0.02):
            self._instruct(lead)
            return
        if rng.random() < (0.1 if self.scene else _ATTACH[self.mode or "picture"]):
            self.scene = sample_scene(rng, self.split)
            pictures = (self.show(self.scene),)
        turn = self._turn()
        turn.text = f"{lead} {turn.text}".strip()
        self._say(pictures, turn)

    def _instruct(self, lead: str) -> None:
        """The user's own pictures, and an instruction about one of them."""
        target = sample_scene(self.rng, self.split)
        said = instruction(target, self.split, self.rng, shared=0.0)
        turn = _Turn(f"{lead} {said.text}".strip(), said.target)
        self._say(tuple(self.show(scene) for scene in said.shown), self._kept(turn))

    def _kept(self, wished: _Turn) -> _Turn:
        """A wish as it is answered in this mode: by its picture, or by a nod."""
        if self.mode != "note":
            return wished
        assert isinstance(wished.answer, Scene)
        self.scene = wished.answer
        self.noted += 1
        return _Turn(wished.text, self.rng.choice(NOTED))

    def _say(self, pictures: tuple[Image, ...], turn: _Turn) -> None:
        dialogue = self.dialogue.user(*pictures, turn.text)
        if isinstance(turn.answer, Scene):
            self.scene = turn.answer
            words = reformulation(turn.answer, turn.known)
            self.dialogue = dialogue.assistant(words, self.show(turn.answer))
        else:
            self.dialogue = dialogue.assistant(turn.answer)

    def _change_mode(self) -> str:
        weights: dict[Mode, float] = {"picture": 0.16, "talk": 0.46, "note": 0.38}
        kept = ("picture",) if self.noted else ()  # after notes these words ask for their picture
        choices = [mode for mode in weights if mode != self.mode and mode not in kept]
        self.mode = self.rng.choices(choices, [weights[mode] for mode in choices])[0]
        self.noted = 0
        return self.rng.choice(SET_MODE[self.mode])

    def _turn(self) -> _Turn:
        rng = self.rng
        if self.mode == "note" and self.noted and rng.random() < 0.16:
            self.mode, self.noted = "picture", 0
            assert self.scene is not None
            return _Turn(rng.choice(SET_MODE["picture"]), self.scene)
        if self.scene is not None and rng.random() < 0.03:
            return _Turn(*ask(self.scene, rng))
        if self.dialogue.turns and rng.random() < 0.01:
            return _Turn(*rng.choice(THANKS))
        if self.mode == "talk":
            return self._talk_turn()
        return self._kept(self._wished())

    def _wished(self) -> _Turn:
        """Words that ask for a picture, in wordings that other modes share."""
        rng, draw = self.rng, self.rng.random()
        plain = 0.7 if self.mode == "note" else 0.15  # how often a wording only a wish has
        if draw < 0.1 and self.mode == "picture":
            return self._wished_fact()
        if self.scene is None or draw < 0.35:
            scene = sample_scene(rng, self.split)
            say = EVERYTHING
            if self.mode == "picture" and rng.random() < 0.1:  # any picture that fits will do
                say = frozenset(name for name in sorted(EVERYTHING) if rng.random() < 0.5)
            forms = REQUEST if rng.random() < plain else FULL
            return _Turn(_form(forms, rng, x=describe(scene, rng, say, lead=False)), scene, say)
        edits = choose_edits(self.scene, rng, rng.choice((1, 1, 2)), self.split)
        if self.mode == "picture" and any(e.attribute == "kind" for e in edits):
            edits = choose_edits(self.scene, rng, 1, self.split)  # talk has no such wordings
        target = apply_all(self.scene, edits)
        if any(edit.attribute == "kind" for edit in edits) or rng.random() < plain:
            return _Turn(say_edits(self.scene, edits, rng, shared=0.0), target)
        return _Turn(_form(PART, rng, n=nominal(self.scene, edits, rng)), target)

    def _wished_fact(self) -> _Turn:
        """A wish by a fact: it takes the place of a single thing; else any picture that fits."""
        rng = self.rng
        while True:
            if self.scene is not None and len(self.scene.things) == 1:
                scene = self.scene.apply(Edit("kind", 0, rng.choice(sorted(FACTS))))
                known = EVERYTHING
            else:
                scene = sample_scene(rng, self.split, things=1)
                known = frozenset()
            if scene.split == self.split:
                return _Turn(_fact(scene.things[0].kind, rng), scene, known)

    def _talk_turn(self) -> _Turn:
        """The same wordings, answered by what is true of the scene at hand."""
        rng, scene = self.rng, self.scene
        assert scene is not None
        draw = rng.random()
        if draw < 0.15:
            text = _fact(rng.choice(sorted(FACTS)), rng)
        elif draw < 0.5:
            shown = scene
            if rng.random() < 0.55:
                shown = apply_all(scene, choose_edits(scene, rng, 1))
            text = _form(FULL, rng, x=describe(shown, rng, EVERYTHING, lead=False))
        else:
            edits = _claims(scene, rng)
            text = _form(PART, rng, n=nominal(scene, edits, rng))
        return _Turn(text, judge(text, scene))


def _claims(scene: Scene, rng: random.Random) -> list[Edit]:
    """One or two attributes with values that are true of the scene half of the time."""
    owners: list[tuple[str, int]] = [("setting", 0), ("time", 0), ("place", 0)]
    claims = []
    for name in rng.sample(
        ["setting", "time", "place", "colour", "pattern", "size", "count"], rng.choice((1, 1, 2))
    ):
        index = rng.randrange(len(scene.things))
        thing = scene.things[index]
        owner: Scene | Thing = scene if (name, 0) in owners[:2] else thing
        if rng.random() < 0.5:
            claims.append(Edit(name, index, getattr(owner, name)))
            continue
        options = [edit for edit in scene.edits() if edit.attribute == name]
        claims.append(rng.choice(options))
    return claims


def _fact(kind: str, rng: random.Random) -> str:
    fact = rng.choice(FACTS[kind])
    return _form(FACT, rng, q=question(fact), c=clause(fact))


def _form(forms: tuple[str, ...], rng: random.Random, **words: str) -> str:
    text = rng.choice(forms).format(**words)
    return sentence(text[:-1], text[-1])
