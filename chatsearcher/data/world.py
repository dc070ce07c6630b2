"""The picture world as training data: pairs, illustrated stories and conversations."""

from __future__ import annotations

import random
from functools import partial

from chatsearcher.data.records import Record, Remark, SourceConfig
from chatsearcher.dialogue import Image, Part, Text
from chatsearcher.world import pictures, streams


class _World:
    remarks: tuple[Remark, ...] = ()

    def __init__(self, config: SourceConfig, seed: int, image_size: int) -> None:
        self.split = config.split
        self.seed = seed
        self.load = partial(pictures.load, size=image_size)


class WorldPairs(_World):
    """A picture and its caption, either of the two first."""

    def item(self, index: int) -> Record:
        key, parts = next(streams.pairs(self.split, self.seed, index))
        return Record(key, either_first(tuple(parts), key), self.load)


class WorldDocuments(_World):
    """A story of several pictures, each before or after its own sentence."""

    def item(self, index: int) -> Record:
        key, told = next(streams.documents(self.split, self.seed, index))
        parts: list[Part] = []
        for place, (picture, sentence) in enumerate(told):
            parts += either_first((Image(picture), Text(sentence)), f"{key}/{place}")
        return Record(key, tuple(parts), self.load)


class WorldConversations(_World):
    """Dialogues; the loss is on the assistant's answers."""

    def item(self, index: int) -> Record:
        key, dialogue = next(streams.conversations(self.split, self.seed, index))
        return Record(key, dialogue, self.load)


def either_first(parts: tuple[Part, ...], key: str) -> tuple[Part, ...]:
    """The two parts in an order that is random but fixed by the key."""
    return parts if random.Random(f"order/{key}").random() < 0.5 else parts[::-1]
