"""Reading a sentence of the picture world: words -> what they say about a scene.

The inverse of the writing rooms (captions, edits, wishes, dialogues): known phrases are found
longest first, and adjectives are given to the noun they belong to. A word that is not known is an
error, so that nothing is read past.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from chatsearcher.world import lexicon, wishes
from chatsearcher.world.vocabulary import COLOURS

LOOK_NAMES = ("count", "size", "colour", "pattern")
_OPPOSITE = {"left": "right", "right": "left", "top": "bottom", "bottom": "top"}
_TOKENS = re.compile(r"[a-z']+|[.,:;?!]")
_FILLERS = """
    a picture of|there|and|also|please|the same|the same picture|same|but|with|make|made|put|move|it
    |them|i'd rather have|i'd like|i want|i mean|i meant|i would like|can you|could you|show me|show
    |give me|give|paint|no|sorry|actually|wait|yes|well|hmm|instead|or rather|ones|of those
    |what about|how about|now|then|again|have|let it be|let them be|just|only|all of it|it happens
    |find me|we see|look for|with it|i see|as well|take|this|this one|this picture|keep|too
    |nice|good|thanks|hello|hi|great|i am looking for|help me find a picture|ask me questions
    |let's find a picture step by step|everything|have to|do you have
    |i have a picture in mind|ask me about it|help me|find|a picture|pictures
    |let's look for pictures|from now on answer with pictures
    |i am looking for pictures|let's search|from it|on it|in it
""".replace("\n", " ")


@dataclass
class Said:
    """What a sentence says about one thing; only what is said is present in ``looks``."""

    kind: str | None = None
    generic: bool = False  # "the thing(s)": named by no kind and no fact
    looks: dict[str, Any] = field(default_factory=dict)
    place: str | None = None
    becomes: str | None = None
    fact: bool = False  # named by a fact about its kind


@dataclass
class Description:
    """Everything a sentence says. ``loose`` holds what belongs to no noun ("make it two")."""

    things: list[Said] = field(default_factory=list)
    loose: dict[str, Any] = field(default_factory=dict)
    place: str | None = None
    setting: str | None = None
    time: str | None = None
    swap: bool = False


@lru_cache(maxsize=1)
def _phrases() -> dict[tuple[str, ...], tuple[str, Any]]:
    table: dict[str, tuple[str, Any]] = {}
    for filler in _FILLERS.split("|"):
        table[" ".join(filler.split())] = ("filler", None)
    table["the"] = ("the", None)
    for word in ("is", "are", "be", "should be", "stand", "stands"):
        table[word] = ("be", None)
    table["in"] = ("in", None)
    for word in ("turn", "replace"):
        table[word] = ("filler", None)
    table["into"] = table["by"] = ("into", None)
    table["instead of"] = ("instead", None)
    for word in ("swap", "swapped", "the other way round"):
        table[word] = ("swap", None)
    for word in ("thing", "things", "something"):
        table[word] = ("noun", (None, False))
    for word, name_and_number in wishes.names().items():
        table[word] = ("noun", name_and_number)
    for words, kind in wishes.clauses().items():
        table[words] = ("fact", kind)
    for count, word in lexicon.NUMBERS.items():
        table[word] = ("count", count)
    table["a"] = table["an"] = ("count", 1)
    for pattern, ways in lexicon.PATTERN_WORDS.items():
        for word in ways:
            table[word] = ("behind" if word.startswith("with ") else "pattern", pattern)
    for colour in COLOURS:
        table[colour] = ("colour", colour)
    for name, wordings in (
        ("size", lexicon.SIZE_WORDS),
        ("place", lexicon.PLACE_WORDS),
        ("relation", lexicon.RELATIONS),
        ("setting", lexicon.SETTING_WORDS),
        ("time", lexicon.TIME_WORDS),
    ):
        for attribute, ways in wordings.items():
            table.update(dict.fromkeys(ways, (name, attribute)))
    table.update({f"to the {place}": ("place", place) for place in lexicon.PLACE_WORDS})
    table.update({time: ("time", time) for time in lexicon.TIME_WORDS})
    for mark in ",:;":
        table[mark] = ("comma", None)
    for mark in ".?!":
        table[mark] = ("stop", None)
    return {tuple(words.split()): token for words, token in table.items()}


@lru_cache(maxsize=1)
def _longest() -> dict[str, int]:
    longest: dict[str, int] = {}
    for words in _phrases():
        longest[words[0]] = max(longest.get(words[0], 0), len(words))
    return longest


def tokens(text: str) -> list[tuple[str, Any]]:
    """The known phrases of the text, longest first.

    Raises:
        ValueError: a word that no phrase begins with.
    """
    words = _TOKENS.findall(text.lower())
    phrases, longest = _phrases(), _longest()
    found, at = [], 0
    while at < len(words):
        for length in range(min(longest.get(words[at], 0), len(words) - at), 0, -1):
            token = phrases.get(tuple(words[at : at + length]))
            if token is not None:
                found.append(token)
                at += length
                break
        else:
            raise ValueError(f"cannot read {' '.join(words[at : at + 4])!r} in {text!r}")
    return found


def read(text: str) -> Description:
    """What one sentence says."""
    reader = _Reader()
    for name, value in tokens(text):
        getattr(reader, f"on_{name}")(value)
    return reader.finish()


def sentences(text: str) -> list[str]:
    """The sentences of a turn, with their end marks."""
    return [part.strip() for part in re.findall(r"[^.?!]+[.?!]*", text) if part.strip()]


class _Reader:
    """Gives each attribute to its noun: before it, or behind a copula, "in" or a lone noun."""

    def __init__(self) -> None:
        self.out = Description()
        self.pending: dict[str, Any] = {}
        self.back = False
        self.relation: str | None = None
        self.into = False
        self.instead = False
        self.dressed = False

    def finish(self) -> Description:
        self._flush()
        return self.out

    def _flush(self) -> None:
        looks = self.out.things[-1].looks if self.out.things else self.out.loose
        looks.update(self.pending)
        self.pending = {}

    def on_filler(self, value: None) -> None:
        pass

    def on_the(self, value: None) -> None:
        self._flush()
        self.back = False

    def on_be(self, value: None) -> None:
        self.back = bool(self.out.things)

    def on_comma(self, value: None) -> None:
        self._flush()

    def on_stop(self, value: None) -> None:
        self._flush()
        self.back = False

    def on_count(self, value: int) -> None:
        self._flush()
        self.back = False
        self.pending["count"] = value

    def _look(self, name: str, value: Any) -> None:
        if self.back:
            self.out.things[-1].looks[name] = value
        else:
            self.pending[name] = value

    def on_size(self, value: str) -> None:
        self._look("size", value)

    def on_colour(self, value: str) -> None:
        if self.dressed:
            self.out.things[-1].looks["colour"] = value
            self.dressed = False
        else:
            self._look("colour", value)

    def on_pattern(self, value: str) -> None:
        self._look("pattern", value)

    def on_in(self, value: None) -> None:
        """ "The cats in blue": the next colour belongs to the noun before."""
        self.dressed = bool(self.out.things)

    def on_behind(self, value: str) -> None:
        looks = self.out.things[-1].looks if self.out.things else self.pending
        looks["pattern"] = value

    def on_noun(self, value: tuple[str | None, bool]) -> None:
        kind = value[0]
        if self.into:
            changed = self.out.things[-1]
            changed.becomes = kind
            changed.looks.update(self.pending)
            self.into = kind is None  # a fact is to follow
        elif self.instead:
            new = self.out.things.pop()
            self.out.things.append(
                Said(kind, kind is None, {**new.looks, **self.pending}, new.place, new.kind)
            )
            self.instead = False
        else:
            said = Said(kind, kind is None, self.pending)
            if self.relation is not None:
                self.out.things[-1].place = self.relation
                said.place = _OPPOSITE[self.relation]
                self.relation = None
            self.out.things.append(said)
        self.pending, self.back = {}, False

    def on_fact(self, kind: str) -> None:
        if self.into:
            self.out.things[-1].becomes = kind
            self.out.things[-1].looks.update(self.pending)
            self.pending, self.into = {}, False
            return
        if not self.out.things or not self.out.things[-1].generic:
            self.out.things.append(Said())
        said = self.out.things[-1]
        said.kind, said.generic, said.fact = kind, False, True
        said.looks.update(self.pending)  # "something big and red that gives milk"
        self.pending = {}

    def on_into(self, value: None) -> None:
        self._flush()
        self.into = True

    def on_instead(self, value: None) -> None:
        self._flush()
        self.instead = True

    def on_swap(self, value: None) -> None:
        self.out.swap = True

    def on_place(self, value: str) -> None:
        if self.out.things:
            self.out.things[-1].place = value
        else:
            self.out.place = value

    def on_relation(self, value: str) -> None:
        self._flush()
        self.relation = value

    def on_setting(self, value: str) -> None:
        self.out.setting = value

    def on_time(self, value: str) -> None:
        self.out.time = value
