"""What a conversation is made of: values that never change."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from chatsearcher.dialogue import Image, Turn


@dataclass(frozen=True, slots=True)
class Candidate:
    """A picture on offer. ``number`` is what ``pick`` takes: 1 is the best."""

    number: int
    id: str
    score: float
    caption: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What the person gets to see after a move.

    Attributes:
        text: the assistant's words; may stand before candidates; may be empty.
        candidates: the pictures this move brought up, best first.
        fits: False where a search found nothing that reaches the threshold.
        search_probability: the model's probability of answering with a picture, NaN if unknown.
    """

    text: str = ""
    candidates: tuple[Candidate, ...] = ()
    fits: bool = True
    search_probability: float = float("nan")


@dataclass(frozen=True, slots=True)
class Round:
    """A user's message and all that came of it.

    Attributes:
        query: [D] float32 where the assistant searched, else None.
        shown: the candidates that can be picked, in the order of their numbers.
        rejected: ids turned down in this round, in the order they were shown.
        picked: the number of the picked candidate.
        continuation: the assistant's words after the picked picture.
    """

    user: Turn
    text: str = ""
    query: np.ndarray | None = field(default=None, compare=False, repr=False)
    shown: tuple[Candidate, ...] = ()
    rejected: tuple[str, ...] = ()
    picked: int | None = None
    fits: bool = True
    search_probability: float = field(default=float("nan"), compare=False)
    continuation: str = ""

    @property
    def answer(self) -> Candidate | None:
        """The picture that stands as the answer: the pick, or the first candidate."""
        if not self.shown:
            return None
        return self.shown[(self.picked or 1) - 1]


@dataclass(frozen=True, slots=True)
class State:
    """All that a conversation knows. ``attached`` waits for the next message."""

    rounds: tuple[Round, ...] = ()
    attached: tuple[Image, ...] = ()

    @property
    def rejected(self) -> frozenset[str]:
        """Every candidate turned down so far."""
        return frozenset(id for one in self.rounds for id in one.rejected)
