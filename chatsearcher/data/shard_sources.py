"""Real pictures with real words: pairs, and dialogues made of them by templates."""

from __future__ import annotations

import json
import random
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from chatsearcher.data.records import BrokenRecord, Record, SourceConfig
from chatsearcher.data.shards import find_shards, open_shards, select
from chatsearcher.dialogue import Dialogue, Image, Text

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

REQUESTS = (
    "Find a picture of this: {}",
    "I am looking for a picture. {}",
    "Show me: {}",
    "Can you find this one? {}",
    "{}",
)
QUESTIONS = (
    "What is in this picture?",
    "Describe this picture.",
    "What do you see here?",
    "Say in words what this shows.",
)
EDITS = (
    "The same, but: {}",
    "Change it: {}",
    "Like this one, only now {}",
    "I want it with this change: {}",
    "{}",
)


@lru_cache(maxsize=16)
def permutation(size: int, name: str) -> np.ndarray:
    """[size] int64: the order of one epoch; equal names give equal orders."""
    seed = np.frombuffer(name.encode(), dtype=np.uint8)
    return np.random.default_rng(seed).permutation(size)


def place_in_epoch(index: int, size: int, seed: int, name: str) -> int:
    """Item ``index`` of an endless walk that visits all ``size`` items in each epoch, shuffled."""
    epoch, offset = divmod(index, size)
    return int(permutation(size, f"{name}/{seed}/{epoch}")[offset])


class _Shards:
    """Records of a split, shuffled anew in each epoch."""

    def __init__(self, config: SourceConfig, seed: int, image_size: int) -> None:
        if config.path is None:
            raise ValueError(
                f"a {config.kind} source needs path=, the folder of its shards; got none"
            )
        self.config = config
        self.seed = seed
        self.folder = Path(config.path)
        self.shards = open_shards(find_shards(self.folder, config.split))
        self.chosen, unread = select(self.shards, config.where, config.below)
        self.remarks = [*self.shards.remarks, *unread]
        if not self.chosen:
            raise ValueError(
                f"none of the {len(self.shards)} records in {self.folder} ({config.split}) fits "
                f"where={config.where} below={config.below}"
            )
        self.record_of = {key: number for number, key in enumerate(self.shards.keys)}

    def pick(self, index: int) -> tuple[int, str, random.Random]:
        """(record number, its key for this use, the random numbers of this use)."""
        record = self.chosen[self._place(index, len(self.chosen))]
        key = f"{self.folder.name}/{self.config.split}/{self.shards.keys[record]}"
        return record, key, random.Random(f"{self.config.kind}/{key}/{self.seed}/{index}")

    def _place(self, index: int, size: int) -> int:
        return place_in_epoch(index, size, self.seed, f"{self.folder.name}/{self.config.split}")

    def image(self, key: str) -> Image:
        """The picture of a record's key; its id says which set it is from."""
        return Image(f"{self.folder.name}/{key}")

    def load(self, picture: str) -> PILImage:
        return self.shards.picture(self.record_of[picture.removeprefix(f"{self.folder.name}/")])


class ShardPairs(_Shards):
    """A picture and its words, either of the two first."""

    def item(self, index: int) -> Record:
        record, key, rng = self.pick(index)
        words = rng.choice(self.shards.texts(record, self.config.texts))
        parts = (self.image(self.shards.keys[record]), Text(words))
        return Record(key, parts if rng.random() < 0.5 else parts[::-1], self.load)


class ShardDialogues(_Shards):
    """Words asked for -> the picture, or the picture shown -> its words; half each."""

    def item(self, index: int) -> Record:
        record, key, rng = self.pick(index)
        words = rng.choice(self.shards.texts(record, self.config.texts))
        image = self.image(self.shards.keys[record])
        if rng.random() < 0.5:
            dialogue = Dialogue().user(rng.choice(REQUESTS).format(words)).assistant(image)
        else:
            dialogue = Dialogue().user(image, rng.choice(QUESTIONS)).assistant(words)
        return Record(key, dialogue, self.load)


class Modifications(_Shards):
    """A reference picture and a change in words -> the target picture.

    Reads ``pairs.jsonl`` beside the shards: ``{"reference": key, "target": key,
    "modification": words, "split": name}`` a line. The words are put into templates, as the paper
    does with InstructPix2Pix.
    """

    def __init__(self, config: SourceConfig, seed: int, image_size: int) -> None:
        super().__init__(config, seed, image_size)
        self.pairs = read_pairs(self.folder / "pairs.jsonl", config.split)

    def item(self, index: int) -> Record:
        place = self._place(index, len(self.pairs))
        pair = self.pairs[place]
        key = f"{self.folder.name}/{pair['reference']}+{pair['target']}"
        for name in ("reference", "target"):
            if pair[name] not in self.record_of:
                raise BrokenRecord(
                    key, f"no {name} {pair[name]!r} in the {self.config.split} shards"
                )
        rng = random.Random(f"{key}/{self.seed}/{index}")
        words = rng.choice(EDITS).format(pair["modification"])
        dialogue = (
            Dialogue()
            .user(self.image(pair["reference"]), words)
            .assistant(self.image(pair["target"]))
        )
        return Record(key, dialogue, self.load)


def read_pairs(path: Path, split: str) -> list[dict[str, Any]]:
    """The modifications of a split.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a line of the wrong shape (named by its number), or none of that split.
    """
    pairs = []
    with open(path, encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                pair = json.loads(line)
                names = ("reference", "target", "modification", "split")
                if not all(isinstance(pair[name], str) for name in names):
                    raise TypeError("expected strings")
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(
                    f"{path}, line {number}: {error}; expected "
                    '{"reference": "…", "target": "…", "modification": "…", "split": "train"}'
                ) from error
            if pair["split"] == split:
                pairs.append(pair)
    if not pairs:
        raise ValueError(f"{path} has no pair of the split {split!r}")
    return pairs
