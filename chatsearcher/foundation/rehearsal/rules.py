"""Rules that answer the pipeline's prompts from any caption. Plain, but always of the right form.

A writer is given what is asked (the prompt's name) and the captions in the prompt, and returns the
object that a model would.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from typing import Any, Protocol

from chatsearcher.registry import Registry

WRITERS = Registry(
    "writer",
    {
        "plain": "chatsearcher.foundation.rehearsal.rules:PlainWriter",
        "world": "chatsearcher.world.writer:WorldWriter",
    },
)
_CAPTION = re.compile(r"^caption[^:\n]*:[ \t]*(.+)$", re.IGNORECASE | re.MULTILINE)
_SMALL = frozenset(re.findall(r"\w+", """
    a an the of in on at by with and or to from is are was were be being it its this that these
    those there here as for into over under while which who whose their his her has have had
    shows show showing shown picture photo photograph image figure can one two
"""))  # fmt: skip
_OPENINGS = ("I am looking for a picture of {x}.", "Can you help me find a picture with {x}?")
_QUESTIONS = ("What else do you remember?", "Is anything else in it?", "Tell me more, please.")
_MORE = ("There is {x} in it too.", "I also remember {x}.", "It has something to do with {x}.")
_LAST = ("And {x}. Please show it to me.", "Then show me the one with {x}, please.")
_CHANGES = ("Like this one, but with {x}.", "Something similar, with {x} instead.")
_NEXT = ("Good. Now one with {x}, please.", "Nice. Can I see one with {x}?")
_SETTINGS = ("in winter", "seen from above", "in black and white", "at night", "from far away")


class Writer(Protocol):
    """Rules in place of a model."""

    def write(self, name: str, captions: Sequence[str], rng: random.Random) -> dict[str, Any]:
        """The answer.

        Raises:
            ValueError: these captions are not for this writer.
        """
        ...


def captions_in(text: str) -> list[str]:
    """What stands behind ``Caption …:`` at the beginning of a line."""
    return [" ".join(found.split()) for found in _CAPTION.findall(text)]


class PlainWriter:
    """Answers about any caption, by its longer words."""

    def write(self, name: str, captions: Sequence[str], rng: random.Random) -> dict[str, Any]:
        if name == "text_dialogue" and captions:
            return self._dialogue(captions[0], rng)
        if name == "modification" and len(captions) > 1:
            return self._modification(captions[0], captions[1], rng)
        if name == "two_rounds" and captions:
            return self._rounds(captions[0], rng)
        raise ValueError(f"no rule for {name!r} with {len(captions)} captions")

    def _dialogue(self, caption: str, rng: random.Random) -> dict[str, Any]:
        words = _words(caption)
        rounds = min(rng.choice((2, 3)), max(1, len(words) // 2))
        heaps = [words[start :: rounds + 1] for start in range(rounds + 1)]
        said = [_list(heap or words[:1]) for heap in heaps]
        return {
            "rounds": [
                {
                    "user": rng.choice(_OPENINGS if number == 0 else _MORE).format(x=text),
                    "assistant": rng.choice(_QUESTIONS),
                }
                for number, text in enumerate(said[:-1])
            ],
            "request": rng.choice(_LAST).format(x=said[-1]),
        }

    def _modification(self, first: str, second: str, rng: random.Random) -> dict[str, Any]:
        before = set(_words(first))
        new = [word for word in _words(second) if word not in before]
        return {"modification": rng.choice(_CHANGES).format(x=_list((new or _words(second))[:6]))}

    def _rounds(self, caption: str, rng: random.Random) -> dict[str, Any]:
        words = _words(caption)
        keep = words[: max(1, len(words) // 2)]
        setting = rng.choice(_SETTINGS)
        return {
            "first_request": f"Show me {_list(keep[:5])} {setting}, please.",
            "first_caption": f"{_list(keep[:5])} {setting}",
            "second_request": rng.choice(_NEXT).format(x=_list(words[len(keep) :][:6] or words)),
        }


def _words(caption: str) -> list[str]:
    """Its words of weight, each once; at least one."""
    found = [word.lower() for word in re.findall(r"[^\W_][\w'’-]*", caption)]
    weighty = [word for word in found if word not in _SMALL and len(word) > 2]
    return list(dict.fromkeys(weighty))[:16] or found[:1] or ["something"]


def _list(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
