"""Batches of (picture, words) for a tower, without false negatives.

Two pairs of a batch never share a picture, a scene or their words: what looks like a negative is
one. A draw that would break this is replaced by a later one, by a rule that every rank follows, so
that all ranks agree on the global batch without a word.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from PIL.Image import Image as PILImage
from torch import Tensor
from transformers import CLIPImageProcessor, PreTrainedTokenizerBase

from chatsearcher.data.batches import Made, identity
from chatsearcher.data.loader import BatchSource
from chatsearcher.data.mixing import Mix, rank_slice
from chatsearcher.data.records import BrokenRecord, ContrastiveConfig, Remark
from chatsearcher.data.shard_sources import ShardPairs
from chatsearcher.model.configuration import CLIP_MEAN, CLIP_STD
from chatsearcher.world import choices, pictures, streams

_REDRAWN = 1 << 40
"""Draws that replace others come from beyond this index, which no run reaches."""
_PATIENCE = 200


@dataclass
class ContrastiveBatch:
    """P pairs.

    Attributes:
        pixel_values: [P, 3, height, width] float32, normalised.
        input_ids: [P, L], ``<s> words </s>``, padded at the right to the longest.
        attention_mask: [P, L], 1 where there are words, 0 where there is padding.
        keys: the pictures' ids, for error messages.
        answers: [P, Q], the right answers of the questions of ``chatsearcher.world.choices``, -100
            where one is not asked; Q is 0 where the pictures are not of the world.
    """

    pixel_values: Tensor
    input_ids: Tensor
    attention_mask: Tensor
    keys: list[str]
    answers: Tensor

    def to(
        self,
        device: torch.device | str,
        dtype: torch.dtype | None = None,
        non_blocking: bool = False,
    ) -> ContrastiveBatch:
        """This batch on a device; ``dtype`` is for the pixels alone."""
        return ContrastiveBatch(
            self.pixel_values.to(device, dtype, non_blocking=non_blocking),
            self.input_ids.to(device, non_blocking=non_blocking),
            self.attention_mask.to(device, non_blocking=non_blocking),
            list(self.keys),
            self.answers.to(device, non_blocking=non_blocking),
        )


@dataclass(frozen=True)
class Pair:
    """A picture's id, its words, and what no other pair of the batch may share."""

    picture: str
    words: str
    marks: frozenset[str]


class PairGroups(Protocol):
    """Groups of ``size`` pairs by number; ``remarks`` is what could not be read at all.

    ``questions`` are asked of every picture.
    """

    size: int
    questions: int

    @property
    def remarks(self) -> Sequence[Remark]: ...

    def group(self, index: int) -> list[Pair]:
        """Raises BrokenRecord where the group cannot be used."""
        ...

    def load(self, picture: str, index: int) -> PILImage:
        """The picture as group ``index`` shows it."""
        ...

    def answers(self, picture: str) -> list[int]:
        """The right answers of the picture's questions; none are asked of pictures at large."""
        ...


class WorldGroups:
    """``size`` scenes that differ from the first in one attribute each."""

    remarks: Sequence[Remark] = ()
    questions = len(choices.QUESTIONS)

    def __init__(self, config: ContrastiveConfig, seed: int) -> None:
        self.size = config.group
        self.config = config
        self.seed = seed

    def group(self, index: int) -> list[Pair]:
        config = self.config
        made = streams.hard_pairs(config.split, self.seed, index, config.group, config.complete)
        key, those = next(made)
        if len(those) < self.size:
            raise BrokenRecord(key, f"only {len(those)} of {self.size} scenes are in this split")
        return [
            Pair(picture, words, frozenset((picture.rpartition("#")[0], words.casefold())))
            for picture, words in those
        ]

    def load(self, picture: str, index: int) -> PILImage:
        return pictures.load(picture, self.config.image_size)

    def answers(self, picture: str) -> list[int]:
        return choices.right_answers(pictures.parse(picture)[0])


class ShardGroups:
    """Single pairs of WebDataset shards, several sets mixed at fixed counts."""

    size = 1
    questions = 0

    def __init__(self, config: ContrastiveConfig, seed: int) -> None:
        unknown = config.alike.keys() - config.sources.keys()
        if unknown:
            raise ValueError(
                f"alike names {sorted(unknown)[0]!r}, which is no source; expected some of "
                f"{', '.join(config.sources)}"
            )
        self.config = config
        self.seed = seed
        self.mix = Mix.of({name: source.count for name, source in config.sources.items()})
        self.sources: dict[str, ShardPairs] = {}
        for name, source in config.sources.items():
            pairs = ShardPairs(replace(source, split=config.split), seed, config.image_size)
            share = -(-config.batch * source.count // len(self.mix.block))
            if len(pairs.chosen) < 2 * share:
                raise ValueError(
                    f"{len(pairs.chosen)} records of {name!r} are too few for batches of "
                    f"{config.batch} with {share} of them without a double; lower the batch so "
                    "that it takes at most half of them"
                )
            self.sources[name] = pairs
        self.remarks = [remark for source in self.sources.values() for remark in source.remarks]

    def group(self, index: int) -> list[Pair]:
        name, number = self.mix[index]
        source = self.sources[name]
        record, _, rng = source.pick(number)
        shards = source.shards
        words = shards.texts(record, source.config.texts)
        marks = {shards.picture_hash(record), *(each.casefold() for each in words)}
        value = shards.metadata(record).get(self.config.alike.get(name, ""))
        if value:
            marks.add(f"{name} {value}")
        picture = f"{name}:{source.image(shards.keys[record]).id}"
        return [Pair(picture, rng.choice(words), frozenset(marks))]

    def load(self, picture: str, index: int) -> PILImage:
        name, _, key = picture.partition(":")
        whole = self.sources[name].load(key)
        if self.config.crop == 1.0 or self.config.split != "train":
            return whole
        return random_crop(whole, self.config.crop, random.Random(f"{self.seed}/{index}/{picture}"))

    def answers(self, picture: str) -> list[int]:
        return []


def random_crop(picture: PILImage, smallest: float, rng: random.Random) -> PILImage:
    """A piece of the same shape: its sides are the picture's times a share in [smallest, 1]."""
    share = rng.uniform(smallest, 1.0)
    width, height = (max(1, round(share * side)) for side in picture.size)
    left, top = rng.randint(0, picture.width - width), rng.randint(0, picture.height - height)
    return picture.crop((left, top, left + width, top + height))


class ContrastiveBatches:
    """``batches(step)`` is this rank's share of the global batch ``step``, whole groups."""

    def __init__(
        self,
        config: ContrastiveConfig,
        tokenizer: PreTrainedTokenizerBase,
        rank: int,
        world_size: int,
        seed: int,
    ) -> None:
        self.config = config
        self.tokenizer = tokenizer
        self.rank = rank
        self.world_size = world_size
        self.groups: PairGroups = (
            WorldGroups(config, seed) if config.kind == "world" else ShardGroups(config, seed)
        )
        self.number, rest = divmod(config.batch, self.groups.size)
        if rest or self.number < world_size:
            raise ValueError(
                f"a batch of {config.batch} pairs in groups of {self.groups.size} cannot be shared "
                f"by {world_size} ranks; expected a multiple of the group, at least one group each"
            )
        side = config.image_size
        self.images = CLIPImageProcessor(
            size={"shortest_edge": side},
            crop_size={"height": side, "width": side},
            image_mean=CLIP_MEAN,
            image_std=CLIP_STD,
        )

    @property
    def remarks(self) -> Sequence[Remark]:
        """What could not be read at all."""
        return self.groups.remarks

    def __call__(self, step: int) -> Made:
        remarks: list[Remark] = []
        groups = list(self._draw(step, remarks))
        pairs, decoded = [], []
        for place in rank_slice(0, len(groups), self.rank, self.world_size):
            for pair in groups[place]:
                try:
                    decoded.append(self.groups.load(pair.picture, step * self.number + place))
                    pairs.append(pair)
                except BrokenRecord as error:
                    remarks.append(Remark(error.key, "skipped", error.reason))
        return Made(self._collate(pairs, decoded), tuple(remarks))

    def _draw(self, step: int, remarks: list[Remark]) -> Iterator[list[Pair]]:
        """The global batch: the same on every rank."""
        taken: set[str] = set()
        for slot in range(self.number):
            index = step * self.number + slot
            for attempt in range(_PATIENCE):
                try:
                    group = self.groups.group(index + attempt * _REDRAWN)
                except BrokenRecord as error:
                    if self.groups.size == 1:
                        remarks.append(Remark(error.key, "skipped", error.reason))
                    continue
                if _apart(group, taken):
                    yield group
                    break
            else:
                raise ValueError(
                    f"batch {step}: no pair without a double after {_PATIENCE} draws; the data are "
                    f"too few for a batch of {self.config.batch}"
                )

    def _collate(self, pairs: Sequence[Pair], decoded: Sequence[PILImage]) -> ContrastiveBatch:
        side = self.config.image_size
        ids, mask = encode_texts(
            self.tokenizer, [pair.words for pair in pairs], self.config.max_tokens
        )
        pixels = (
            self.images(list(decoded), return_tensors="pt")["pixel_values"]
            if decoded
            else torch.zeros(0, 3, side, side)
        )
        keys = [pair.picture for pair in pairs]
        answers = torch.tensor([self.groups.answers(key) for key in keys]).long()
        return ContrastiveBatch(
            pixels, ids, mask, keys, answers.view(len(keys), self.groups.questions)
        )


def _apart(group: Iterable[Pair], taken: set[str]) -> bool:
    """Whether no pair shares a mark with another; takes their marks if so."""
    fresh: set[str] = set()
    for pair in group:
        if pair.marks & taken or pair.marks & fresh:
            return False
        fresh |= pair.marks
    taken |= fresh
    return True


def world_questions() -> list[tuple[str, int]]:
    """What is asked of the world's pictures: the attribute, and how many answers there are."""
    return [(question.attribute, len(question.answers)) for question in choices.QUESTIONS]


def encode_texts(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], max_tokens: int
) -> tuple[Tensor, Tensor]:
    """Texts -> (ids [P, L], mask [P, L]) of ``<s> words </s>``, cut to ``max_tokens`` in all.

    Words that spell a special token stay words.
    """
    bos = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    room = max_tokens - len(bos) - 1
    encoded = (
        tokenizer(list(texts), add_special_tokens=False, split_special_tokens=True)["input_ids"]
        if texts
        else []
    )
    rows = [[*bos, *ids[:room], tokenizer.eos_token_id] for ids in encoded]
    width = max(map(len, rows), default=0)
    pad = tokenizer.pad_token_id
    ids = torch.tensor([row + [pad] * (width - len(row)) for row in rows]).long()
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows]).long()
    return ids.view(len(rows), width), mask.view(len(rows), width)


def build_contrastive_source(
    config: ContrastiveConfig,
    tokenizer: PreTrainedTokenizerBase,
    rank: int = 0,
    world_size: int = 1,
    seed: int = 0,
) -> BatchSource:
    """The batches of one rank: whole groups of the global batch.

    Raises:
        ValueError: the batch is no multiple of the group, or too large for the data or the ranks.
        FileNotFoundError: the shards are not there.
    """
    make = ContrastiveBatches(config, tokenizer, rank, world_size, seed)
    return BatchSource(make, identity(config, seed), config.workers, config.prefetch)
