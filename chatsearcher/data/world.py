"""The picture world as training data: pairs, illustrated stories and conversations."""

from __future__ import annotations

import random
from functools import lru_cache, partial

from chatsearcher.data.records import Record, Remark, SourceConfig
from chatsearcher.dialogue import Dialogue, Image, Part, Text
from chatsearcher.world import pictures, streams
from chatsearcher.world.captions import caption, keywords
from chatsearcher.world.questions import ask
from chatsearcher.world.reader import scene_of
from chatsearcher.world.reformulation import reformulation
from chatsearcher.world.scene import Split, sample_scene

DESCRIBE = ("Describe this picture.", "What does this picture show?", "What do you see?")


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


class WorldCaptions(_World):
    """A picture, then its caption, or the words with which it would be looked for."""

    def item(self, index: int) -> Record:
        rng = streams.item_rng("captions", self.split, self.seed, index)
        scene = sample_scene(rng, self.split)
        shown = streams.picture(scene, rng)
        said = caption(scene, rng, 1.0) if rng.random() < 0.5 else reformulation(scene)
        return Record(f"captions/{self.split}/{self.seed}/{index}", (shown, Text(said)), self.load)


class WorldKeywords(_World):
    """A picture, then a word for each of its attributes."""

    def item(self, index: int) -> Record:
        rng = streams.item_rng("keywords", self.split, self.seed, index)
        scene = sample_scene(rng, self.split)
        parts = (streams.picture(scene, rng), Text(" ".join(keywords(scene))))
        return Record(f"keywords/{self.split}/{self.seed}/{index}", parts, self.load)


class WorldDescriptions(_World):
    """A user's picture, and the assistant's description of it."""

    def item(self, index: int) -> Record:
        rng = streams.item_rng("descriptions", self.split, self.seed, index)
        scene = sample_scene(rng, self.split)
        asked = Dialogue().user(streams.picture(scene, rng), rng.choice(DESCRIBE))
        dialogue = asked.assistant(caption(scene, rng, complete=1.0))
        return Record(f"descriptions/{self.split}/{self.seed}/{index}", dialogue, self.load)


class WorldLookAlikes(_World):
    """Pairs in runs of ``streams.FAMILY``, alike but for a few attributes: hard negatives.

    The words always come first, so that each picture is asked for.
    """

    def item(self, index: int) -> Record:
        run, place = divmod(index, streams.FAMILY)
        key, group = _look_alikes(self.split, self.seed, run)
        picture, words = group[place]
        return Record(f"{key}/{place}", (Text(words), Image(picture)), self.load)


@lru_cache(maxsize=8)
def _look_alikes(split: Split, seed: int, index: int) -> tuple[str, list[tuple[str, str]]]:
    return next(streams.look_alikes(split, seed, index))


class WorldRewordings(_World):
    """Look-alikes' captions, what is then looked for in the usual words, and their pictures."""

    def item(self, index: int) -> Record:
        run, place = divmod(index, streams.FAMILY)
        key, group = _rewordings(self.split, self.seed, run)
        picture, words = group[place]
        parts = (Text(words), Text(reformulation(scene_of(picture))), Image(picture))
        return Record(f"{key}/{place}", parts, self.load)


@lru_cache(maxsize=8)
def _rewordings(split: Split, seed: int, index: int) -> tuple[str, list[tuple[str, str]]]:
    return next(streams.look_alikes(split, seed, index, "rewordings"))


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


class WorldQuestions(_World):
    """A picture, and one to four questions about it with their true answers in words.

    The world's counterpart of visual instruction data such as LLaVA's.
    """

    def item(self, index: int) -> Record:
        rng = streams.item_rng("questions", self.split, self.seed, index)
        scene = sample_scene(rng, self.split)
        dialogue, asked = Dialogue(), set[str]()
        for _ in range(rng.randint(1, 4)):
            question, answer = ask(scene, rng)
            if question in asked:
                continue
            shown = () if asked else (streams.picture(scene, rng),)
            dialogue = dialogue.user(*shown, question).assistant(answer)
            asked.add(question)
        return Record(f"questions/{self.split}/{self.seed}/{index}", dialogue, self.load)


class WorldSearches(_World):
    """Dialogues that each lead to a picture, ``streams.FAMILY`` look-alikes after one another."""

    def item(self, index: int) -> Record:
        key, dialogue = next(streams.searches(self.split, self.seed, index))
        return Record(key, dialogue, self.load)


class WorldRequests(_World):
    """Dialogues that ask for a picture every round, each among its look-alikes."""

    def item(self, index: int) -> Record:
        key, dialogue = next(streams.requests(self.split, self.seed, index))
        return Record(key, dialogue, self.load)


def either_first(parts: tuple[Part, ...], key: str) -> tuple[Part, ...]:
    """The two parts in an order that is random but fixed by the key."""
    return parts if random.Random(f"order/{key}").random() < 0.5 else parts[::-1]
