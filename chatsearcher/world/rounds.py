"""What the next answer of a conversation must be, read from its words and pictures alone.

The proof that the conversation decides between words and a picture, although the wording of its
last turn does not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from chatsearcher.dialogue import Dialogue, Text, Turn
from chatsearcher.world import questions
from chatsearcher.world.dialogues import SET_MODE, THANKS, Mode
from chatsearcher.world.edits import apply_description
from chatsearcher.world.reader import (
    complete,
    read_reference,
    read_telling,
    scene_of,
    selects,
)
from chatsearcher.world.reading import Description, read
from chatsearcher.world.references import LOOK_MANY, LOOK_ONE
from chatsearcher.world.scene import Scene
from chatsearcher.world.telling import LAST_CUES, OPENERS

_LAST = tuple(cue.split("{")[0] for cue in LAST_CUES)
_ASKED = tuple(part for opener in OPENERS for part in opener.split("{x}") if len(part) > 9)


@dataclass(frozen=True)
class Due:
    """The answer that is due.

    ``words`` is None where any fitting words do (a nod, a question back); ``scene`` is None where
    any picture will do that fits a loose wish.
    """

    kind: Literal["words", "picture"]
    words: str | None = None
    scene: Scene | None = None


def read_round(dialogue: Dialogue) -> Due:
    """What the last user turn is to be answered with.

    Raises:
        ValueError: words that cannot be read.
    """
    told = any(part in dialogue.turns[0].text for part in _ASKED)
    if told and not any(turn.images for turn in dialogue.turns):
        asked = dialogue.last("assistant")
        if asked is None or not asked.text.startswith(_LAST):
            return Due("words")
        return Due("picture", scene=read_telling(dialogue))
    if told:  # the telling has been answered: what follows is about that picture
        shown = next(at for at, turn in enumerate(dialogue.turns) if turn.images)
        dialogue = Dialogue(dialogue.turns[shown:])
    listener = _Listener()
    for at, turn in enumerate(dialogue.turns):
        if turn.role == "user":
            due = listener.hear(turn, Dialogue(dialogue.turns[: at + 1]))
        elif turn.images:
            listener.scene = scene_of(turn.images[-1].id)
    return due


class _Listener:
    """The mode of the conversation, and the scene that is talked about."""

    def __init__(self) -> None:
        self.mode: Mode = "picture"
        self.noted = False
        self.scene: Scene | None = None

    def hear(self, turn: Turn, dialogue: Dialogue) -> Due:
        text = turn.text
        if turn.images:
            self.scene = scene_of(turn.images[-1].id)
        for mode, phrases in SET_MODE.items():
            for phrase in phrases:
                if text.startswith(phrase):
                    text = text[len(phrase) :].strip()
                    asked_for = mode == "picture" and self.noted
                    self.mode, self.noted = mode, False
                    if not text:
                        return Due("picture", scene=self.scene) if asked_for else Due("words")
        if text in (said for said, _ in THANKS) or text in (*LOOK_ONE, *LOOK_MANY):
            return Due("words")
        if questions.is_question(text):
            return Due("words", None if self.scene is None else questions.answer(text, self.scene))
        if self.mode == "talk":
            return Due("words", None if self.scene is None else questions.judge(text, self.scene))
        scene = self._wished(text, dialogue)
        if self.mode == "picture":
            return Due("picture", scene=scene)
        self.scene, self.noted = scene, True
        return Due("words")

    def _wished(self, text: str, dialogue: Dialogue) -> Scene | None:
        if selects(text):
            last = replace(dialogue.turns[-1], content=(*dialogue.turns[-1].images, Text(text)))
            return read_reference(Dialogue((*dialogue.turns[:-1], last)))
        said = read(text)
        fact = questions.is_fact(said)
        if fact and (self.scene is None or len(self.scene.things) > 1):
            return None
        if (scene := complete(said)) is not None:
            return scene
        if self.scene is None or not (fact or _fits(said, self.scene)):
            return None  # a loosely said new scene
        return apply_description(self.scene, said)


def _fits(said: Description, scene: Scene) -> bool:
    """Whether the words speak of the things of this scene."""
    return all(scene.find(str(named.kind)) is not None for named in said.things)
