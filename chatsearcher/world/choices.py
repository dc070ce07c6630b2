"""Multiple choice: what is asked of every picture, and the right answers of a scene.

A sentence has one right picture in a batch and tells a tower one thing at a time, the easiest
first; these questions ask it for every attribute of every picture at once. An answer is a short
phrase ("on the left: striped"); the others of its question are what the picture could have shown
instead.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from chatsearcher.world.scene import LOOKS, Scene
from chatsearcher.world.vocabulary import PLACES, SETTINGS, TIMES

UNASKED = -100
"""The answer of a question that makes no sense of a scene; what ``cross_entropy`` ignores."""


class Question(NamedTuple):
    """One question: the attribute it is about, where (None: the whole picture), the answers."""

    attribute: str
    place: str | None
    answers: tuple[Any, ...]

    def phrase(self, answer: int) -> str:
        """An answer in words, e.g. "on the left: striped"."""
        value = str(self.answers[answer])
        return value if self.place is None else f"{self.place}: {value}"


QUESTIONS: tuple[Question, ...] = (
    Question("setting", None, SETTINGS),
    Question("time", None, TIMES),
    *(Question("place", place, ("nothing", "something")) for place in PLACES),
    *(Question(name, place, values) for name, values in LOOKS.items() for place in PLACES),
)


def right_answers(scene: Scene) -> list[int]:
    """For each question the index of the scene's answer; ``UNASKED`` where nothing stands there."""
    there = {thing.place: thing for thing in scene.things}
    found = []
    for attribute, place, answers in QUESTIONS:
        if place is None:
            found.append(answers.index(getattr(scene, attribute)))
        elif attribute == "place":
            found.append(int(place in there))
        elif place in there:
            found.append(answers.index(getattr(there[place], attribute)))
        else:
            found.append(UNASKED)
    return found
