"""A language model that asks about a picture it cannot see (ChatIR, section 3: the questioner)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from chatsearcher.dialogue import Dialogue, Image
from chatsearcher.foundation.language import LanguageModel, Prompt, open_model

VERSION = "questioner-1"
SYSTEM = (
    "You help to find one picture among many by asking short questions about it. You cannot see "
    "it. Ask one new question about something that can be seen in the picture and that was not "
    "asked or said before. Write the question alone, in one line, with a question mark at its end."
)


class LanguageModelQuestioner:
    """Reads the dialogue so far and asks; does not look at the candidates.

    Args:
        model: a language model, or what ``open_model`` reads (``https://host/v1#MODEL``,
            ``local:PATH``).
        seed: of the model's draws; the number of the round is added to it.
    """

    def __init__(self, model: LanguageModel | str, seed: int = 0) -> None:
        self.model = open_model(model) if isinstance(model, str) else model
        self.seed = seed

    @property
    def identity(self) -> Mapping[str, Any]:
        return {"questioner": VERSION, "seed": self.seed, "model": dict(self.model.identity)}

    def ask(self, dialogue: Dialogue, candidates: Sequence[Image]) -> str:
        """The next question.

        Raises:
            ValueError: the model wrote no question.
        """
        lines = [
            f"{'Description' if number == 0 else turn.role.capitalize()}: {turn.text}"
            for number, turn in enumerate(dialogue.turns)
        ]
        prompt = Prompt("question", SYSTEM, "\n".join(lines))
        answer = asyncio.run(self.model.complete(prompt, self.seed + len(dialogue.turns)))
        words = " ".join(answer.text.split())
        if "?" not in words:
            raise ValueError(f"the questioner wrote no question: {words[:200]!r}")
        return words[: words.index("?") + 1]
