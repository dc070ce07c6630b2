"""Simulated shoppers for the Fashion IQ dialogues, by name: ``--option simulator=NAME:ARGUMENT``.

``attributes`` knows the truth of the published attribute lists (``asin2attr.CATEGORY.SPLIT.json``,
six lists of words a product) and says in a few words what the wanted product has and the shown one
lacks; its argument is the share of words that it gets wrong. A learned relative captioner, as in
the paper, is another line in the table.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chatsearcher.benchmarks.annotations import checksum, find_file, read_json
from chatsearcher.benchmarks.single_query import LoadImage
from chatsearcher.dialogue import Dialogue
from chatsearcher.registry import Registry
from chatsearcher.roles import UserSimulator

WANTED, UNWANTED = 3, 1
"""Words a turn, so that what is said stays within the eight words of the paper's simulator."""


@dataclass(frozen=True)
class Setting:
    """What a simulated user may know.

    Attributes:
        root: the data root.
        category, split: of the pictures.
        images: all of them, in order.
        load: picture id -> decoded picture, for users that look.
    """

    root: Path
    category: str
    split: str
    images: tuple[str, ...]
    load: LoadImage


# name -> a callable (argument, setting) -> UserSimulator.
SIMULATORS = Registry(
    "simulated user", {"attributes": "chatsearcher.benchmarks.fashioniq.simulators:attribute_users"}
)


def load_simulator(spec: str, setting: Setting) -> UserSimulator:
    """The user that ``NAME`` or ``NAME:ARGUMENT`` stands for.

    Raises:
        ValueError: an unknown name, or an argument that the user does not take.
    """
    name, _, argument = spec.partition(":")
    simulator: UserSimulator = SIMULATORS[name](argument, setting)
    return simulator


def attribute_users(argument: str, setting: Setting) -> AttributeUsers:
    """The users of the published attributes.

    Raises:
        FileNotFoundError: no attribute file.
        ValueError: an argument that is no share, or a file that lacks a product.
    """
    try:
        wrong = float(argument or 0)
    except ValueError as error:
        raise ValueError(f"simulator attributes:{argument}; expected a share, 0 to 1") from error
    if not 0 <= wrong <= 1:
        raise ValueError(f"simulator attributes:{argument}; expected a share, 0 to 1")
    name = f"asin2attr.{setting.category}.{setting.split}.json"
    file = find_file(
        setting.root,
        name,
        f"attributes/{name}",
        f"image_attributes/{name}",
        remedy="the attributes are published apart from the captions; `chatsearcher prepare "
        "fashion-iq-attributes` makes such files, or name another user with "
        "--option simulator=NAME",
    )
    known = read_attributes(file)
    lost = next((image for image in setting.images if image not in known), None)
    if lost is not None:
        raise ValueError(f"{file} has no product {lost!r}, which is in the gallery; add it")
    words = {image: known[image] for image in setting.images}
    return AttributeUsers(words, wrong, checksum(setting.root, [file]))


def read_attributes(file: Path) -> dict[str, tuple[str, ...]]:
    """product -> its words, each once, in the order of the lists.

    Raises:
        ValueError: a product whose value is no list of lists of words.
    """
    found = {}
    for name, lists in read_json(file, dict).items():
        if not isinstance(lists, list) or not all(
            isinstance(words, list) and all(isinstance(word, str) for word in words)
            for words in lists
        ):
            raise ValueError(f"{file}, {name!r}: expected lists of words, got {lists!r}")
        found[name] = tuple(dict.fromkeys(word for words in lists for word in words if word))
    return found


class AttributeUsers:
    """Users who say which attributes are missing, new ones first, and one that is too much.

    Args:
        words: product -> attributes.
        wrong: the share of words that are replaced by one of another product.
        data: checksum of the attributes.
    """

    def __init__(self, words: Mapping[str, Sequence[str]], wrong: float, data: str) -> None:
        self.words = words
        self.wrong = wrong
        self.data = data
        self.vocabulary = sorted({word for each in words.values() for word in each})

    @property
    def identity(self) -> Mapping[str, Any]:
        """With a checksum of the attributes."""
        return {"simulator": "attributes-1", "error rate": self.wrong, "attributes": self.data}

    def user(self, target: str, seed: int) -> AttributeUser:
        """A user who wants that product."""
        return AttributeUser(self, target, seed)


class AttributeUser:
    """One of them; what it says is a function of target, seed and dialogue alone."""

    def __init__(self, about: AttributeUsers, target: str, seed: int) -> None:
        self.about = about
        self.target = target
        self.seed = seed

    def begin(self) -> Dialogue:
        """Says what it wants, where nothing is shown yet."""
        return Dialogue().user(self._phrase((), Dialogue()))

    def respond(self, dialogue: Dialogue) -> Dialogue:
        """Compares the picture that was shown last with the one it wants.

        Raises:
            ValueError: nothing was shown, or a picture without attributes.
        """
        last = dialogue.turns[-1] if dialogue.turns else None
        if last is None or not last.images:
            raise ValueError("a shopper who compares pictures needs one in the system's last turn")
        shown = last.images[-1].id
        if shown not in self.about.words:
            raise ValueError(f"no attributes of product {shown!r}")
        return dialogue.user(self._phrase(self.about.words[shown], dialogue))

    def _phrase(self, there: Sequence[str], dialogue: Dialogue) -> str:
        wanted = self.about.words[self.target]
        said = set(dialogue.text.replace(",", " ").split())
        lacking = _unsaid_first((word for word in wanted if word not in there), said)[:WANTED]
        excess = _unsaid_first((word for word in there if word not in wanted), said)[:UNWANTED]
        turn = sum(each.role == "user" for each in dialogue.turns)
        more = [self._slip(word, turn, n) for n, word in enumerate(lacking)]
        less = [self._slip(word, turn, n + WANTED) for n, word in enumerate(excess)]
        parts = []
        if more:
            parts.append("is " + " and ".join(more))
        if less:
            parts.append("not " + " and ".join(less))
        return ", ".join(parts) or "is very much like this"

    def _slip(self, word: str, turn: int, place: int) -> str:
        """The word, or a wrong one."""
        digest = hashlib.sha256(f"{self.seed}/{self.target}/{turn}/{place}".encode()).digest()
        if int.from_bytes(digest[:8], "big") / 2**64 >= self.about.wrong:
            return word
        others = [other for other in self.about.vocabulary if other != word]
        return others[int.from_bytes(digest[8:16], "big") % len(others)] if others else word


def _unsaid_first(words: Iterable[str], said: set[str]) -> list[str]:
    return sorted(words, key=lambda word: set(word.split()) <= said)
