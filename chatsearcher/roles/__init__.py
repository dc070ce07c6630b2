"""Who speaks to a system that is being measured or trained: people who look for a picture, those
who ask about one, those who answer; live, simulated or recorded.

A *user* knows which picture is wanted and speaks in user's turns. A *questioner* stands in for the
system and asks about the picture that the user has in mind. An *answerer* looks at a picture and
answers questions about it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from chatsearcher.dialogue import Dialogue, Image
from chatsearcher.registry import Registry

# The world's own roles know the truth of every picture; they are reached by name, never by import.
SIMULATORS = Registry(
    "user simulator",
    {"world": "chatsearcher.world.simulator:WorldSimulator"},
)
QUESTIONERS = Registry(
    "questioner",
    {
        "world": "chatsearcher.world.simulator:WorldQuestioner",
        "language-model": "chatsearcher.roles.questioner:LanguageModelQuestioner",
    },
)
ANSWERERS = Registry(
    "answerer",
    {"world": "chatsearcher.world.simulator:WorldAnswerer"},
)


@runtime_checkable
class User(Protocol):
    """Somebody who looks for one picture."""

    def begin(self) -> Dialogue:
        """The first thing said: a dialogue that ends in the user's turn."""
        ...

    def respond(self, dialogue: Dialogue) -> Dialogue | None:
        """React to what the system showed or asked.

        Args:
            dialogue: ends in the system's turn: words, or the pictures that it shows.

        Returns:
            The dialogue with the user's next turn; None when the user has what they wanted, or
            has nothing more to say.
        """
        ...


@runtime_checkable
class UserSimulator(Protocol):
    """Makes users."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """All that decides what its users say; written into results."""
        ...

    def user(self, target: str, seed: int) -> User:
        """A user who wants that picture; the same one for the same seed."""
        ...


@runtime_checkable
class Questioner(Protocol):
    """Asks about the picture that a user has in mind."""

    @property
    def identity(self) -> Mapping[str, Any]: ...

    def ask(self, dialogue: Dialogue, candidates: Sequence[Image]) -> str:
        """The next question.

        Args:
            dialogue: ends in the user's turn.
            candidates: what the search finds at this moment, best first; perhaps none.
        """
        ...


@runtime_checkable
class Answerer(Protocol):
    """Answers questions about a picture."""

    @property
    def identity(self) -> Mapping[str, Any]: ...

    def answer(self, question: str, picture: Image) -> str:
        """A short answer.

        Raises:
            ValueError: the question cannot be understood, or the picture cannot be seen.
        """
        ...
