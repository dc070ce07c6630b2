"""The exact reader: from the words and pictures of a dialogue alone to the scene that is meant."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from chatsearcher.dialogue import Dialogue, Turn
from chatsearcher.world.edits import apply_description
from chatsearcher.world.reading import Description, Said, read, sentences
from chatsearcher.world.scene import Scene, Thing

_ORDINALS = {"first": 0, "second": 1, "third": 2, "last": -1}
_OPPOSITE = {"left": "right", "right": "left", "top": "bottom", "bottom": "top"}
_WHICH = re.compile(
    r"^(?:take |i like |back to )?the (?P<ordinal>first|second|third|last) "
    r"(?:one|picture)(?: again)?[,.]? (?:but |and )?(?P<rest>.+)$"
)
_WITH = re.compile(
    r"^(?:take |i like |back to )?the (?:one|picture) with (?P<what>the [a-z]+)(?: again)?[,.]? "
    r"(?:but |and )?(?P<rest>.+)$"
)
# What the assistant's question was about: a short answer belongs to it.
_TOPICS = {
    "count": "how many",
    "size": "how big",
    "colour": "colour",
    "pattern": "pattern",
    "place": "where should",
}
_TOPIC_NOUN = re.compile(r"(?:how many|the) ([a-z]+) (?:should|do|have|be|stand)|of the ([a-z]+)\?")


def scene_of(picture_id: str) -> Scene:
    """The graph of a picture, from its id (``"<graph>#<drawing seed>"``)."""
    return Scene.from_key(picture_id.rsplit("#", 1)[0])


def complete(said: Description) -> Scene | None:
    """The scene of a description that leaves nothing out."""
    things = []
    for named in said.things:
        if named.kind is None or named.place is None or len(named.looks) < 4:
            return None
        things.append(Thing(kind=named.kind, place=named.place, **named.looks))
    if not things or said.setting is None or said.time is None or said.swap:
        return None
    things.sort(key=lambda thing: thing.place in ("right", "bottom"))
    return Scene(said.setting, said.time, tuple(things))


def read_dialogue(dialogue: Dialogue) -> Scene:
    """The scene that the last user turn asks for.

    Pictures in the dialogue: an instruction about one of them. None: a telling in words.

    Raises:
        ValueError: words that cannot be read, or a scene that is not fully told.
    """
    if dialogue.images:
        return read_reference(dialogue)
    return read_telling(dialogue)


def read_reference(dialogue: Dialogue) -> Scene:
    """The instruction of the last turn, applied to the picture it refers to."""
    last = dialogue.turns[-1]
    shown = [scene_of(image.id) for image in last.images or dialogue.images]
    text = last.text.lower()
    if match := _WHICH.match(text):
        base, text = shown[_ORDINALS[match["ordinal"]]], match["rest"]
    elif match := _WITH.match(text):
        said = read(match["what"])
        fitting = [scene for scene in shown if all(_shows(scene, x) for x in said.things)]
        if len(fitting) != 1:
            raise ValueError(f"{len(fitting)} pictures with {match['what']!r}")
        base, text = fitting[0], match["rest"]
    else:
        base = shown[-1]
    return apply_description(base, read(text))


def selects(text: str) -> bool:
    """Whether the words point at one of the pictures shown: "the second one, but …"."""
    return bool(_WHICH.match(text.lower()) or _WITH.match(text.lower()))


def _shows(scene: Scene, said: Said) -> bool:
    return any(
        said.kind == thing.kind
        and all(getattr(thing, k) == v for k, v in said.looks.items())
        and said.place in (None, thing.place)
        for thing in scene.things
    )


def read_telling(dialogue: Dialogue) -> Scene:
    """The scene that the user's turns tell together; later words put earlier ones right."""
    draft = _Draft()
    question: Turn | None = None
    for turn in dialogue.turns:
        if turn.role == "user":
            for text in sentences(turn.text):
                draft.hear(read(text), question.text if question else "")
        else:
            question = turn
    return draft.scene()


class _Draft:
    """What is known of the scene so far."""

    def __init__(self) -> None:
        self.things: list[dict[str, Any]] = []
        self.unnamed: dict[str, Any] | None = None  # the thing said by a fact, not by its name
        self.frame: dict[str, str] = {}

    def hear(self, said: Description, question: str) -> None:
        """Take in one sentence."""
        for named in said.things:
            self._thing(named)
        if said.loose or said.place:
            self._answer(said, question.lower())
        if said.setting:
            self.frame["setting"] = said.setting
        if said.time:
            self.frame["time"] = said.time

    def _thing(self, named: Said) -> None:
        if named.generic:
            if self.unnamed is None:
                raise ValueError("which thing is meant?")
            found = self.unnamed
        else:
            found = next((x for x in self.things if x["kind"] == named.kind), {})
            if not found:
                found["kind"] = named.kind
                self.things.append(found)
                if named.fact:
                    self.unnamed = found
        found.update(named.looks)
        if named.becomes is not None:
            found["kind"] = named.becomes
        if named.place is not None:
            found["place"] = named.place

    def _answer(self, said: Description, question: str) -> None:
        match = _TOPIC_NOUN.search(question)
        if match is None:
            raise ValueError(f"{said} answers no question about a thing: {question!r}")
        asked = read(match[1] or match[2]).things[0]
        self._thing(replace(asked, looks=dict(said.loose), place=said.place))

    def scene(self) -> Scene:
        """The scene, if all of it is known."""
        if len(self.things) == 2:
            for one, other in (self.things, self.things[::-1]):
                if "place" in one:
                    other["place"] = _OPPOSITE[one["place"]]
        things = [Thing(**thing) for thing in self.things]
        things.sort(key=lambda thing: thing.place in ("right", "bottom"))
        return Scene(**self.frame, things=tuple(things))
