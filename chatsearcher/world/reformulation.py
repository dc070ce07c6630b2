"""What an assistant says before the picture it shows: the user's wish as one complete query.

The conversational search literature's query reformulation. What was said in many turns, or stands
in a picture, is written out in words before ``[IMG]``; so each attribute is learned as a word of
its own, and people read what is looked for.
"""

from __future__ import annotations

import random
from dataclasses import replace

from chatsearcher.dialogue import Dialogue, Image, Turn
from chatsearcher.world.captions import EVERYTHING, plain_description
from chatsearcher.world.lexicon import sentence
from chatsearcher.world.reader import complete
from chatsearcher.world.reading import read
from chatsearcher.world.scene import Scene

LEAD = "Looking for"
"""How every reformulation begins; ``search_lead`` of models that are trained with them."""


def reformulation(scene: Scene, say: frozenset[str] = EVERYTHING) -> str:
    """The wish for that scene, with the attributes that are known: always the same words."""
    return sentence(f"{LEAD} {plain_description(scene, say)}")


def read_reformulation(text: str) -> Scene | None:
    """The scene that such words tell in full; None where they do not."""
    if not text.lower().startswith(f"{LEAD} ".lower()):
        return None
    try:
        return complete(read(text[len(LEAD) :].strip().rstrip(".")))
    except ValueError:  # words that a model made up
        return None


def without_reformulations(
    dialogue: Dialogue, share: float = 1.0, rng: random.Random | None = None
) -> Dialogue:
    """Answers that show a picture show it without a word, in that share of turns.

    Args:
        rng: decides which turns, where ``share`` is below 1; the last turn then keeps its words.
    """
    last = len(dialogue.turns) - 1

    def bare(at: int, turn: Turn) -> Turn:
        if turn.role != "assistant" or not turn.images:
            return turn
        if rng is not None and (at == last or rng.random() >= share):
            return turn
        return replace(turn, content=tuple(p for p in turn.content if isinstance(p, Image)))

    return replace(dialogue, turns=tuple(bare(at, turn) for at, turn in enumerate(dialogue.turns)))
