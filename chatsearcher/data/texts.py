"""Batches of texts alone, for a language model that learns words from a tower's text side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from chatsearcher.data.batches import Made, identity
from chatsearcher.data.contrastive import encode_texts
from chatsearcher.data.loader import BatchSource
from chatsearcher.data.mixing import Mix, rank_slice
from chatsearcher.data.records import BrokenRecord, DataConfig, Record, Remark
from chatsearcher.data.sources import build
from chatsearcher.dialogue import Dialogue, Text


@dataclass
class TextBatch:
    """P texts.

    Attributes:
        input_ids: [P, L], ``<s> words </s>``, padded at the right to the longest.
        mask: [P, L], 1 where there are words, 0 where there is padding.
        keys: of their records, for error messages.
    """

    input_ids: Tensor
    mask: Tensor
    keys: list[str]

    def to(self, device: torch.device | str) -> TextBatch:
        """This batch on a device."""
        return TextBatch(self.input_ids.to(device), self.mask.to(device), list(self.keys))


class TextBatches:
    """``batches(step)`` is this rank's share of the texts of the global batch ``step``."""

    def __init__(
        self,
        config: DataConfig,
        tokenizer: PreTrainedTokenizerBase,
        rank: int,
        world_size: int,
        seed: int,
    ) -> None:
        self.config = config
        self.tokenizer = tokenizer
        self.rank, self.world_size = rank, world_size
        self.mix = Mix.of({name: source.count for name, source in config.sources.items()})
        self.sources = {
            name: build(source, seed, config.image_size) for name, source in config.sources.items()
        }

    @property
    def remarks(self) -> Sequence[Remark]:
        """What the sources could not read at all."""
        return [remark for source in self.sources.values() for remark in source.remarks]

    def __call__(self, step: int) -> Made:
        texts: list[str] = []
        keys: list[str] = []
        remarks: list[Remark] = []
        batch = self.config.batch or len(self.mix.block)
        for position in rank_slice(step, batch, self.rank, self.world_size):
            name, index = self.mix[position]
            try:
                record = self.sources[name].item(index)
            except BrokenRecord as error:
                remarks.append(Remark(error.key, "skipped", error.reason))
                continue
            found = words(record)
            texts += found
            keys += [record.key] * len(found)
        ids, mask = encode_texts(self.tokenizer, texts, self.config.length)
        return Made(TextBatch(ids, mask, keys), tuple(remarks))


def words(record: Record) -> list[str]:
    """The texts of a record, or what is said in its turns."""
    if isinstance(record.content, Dialogue):
        return [turn.text for turn in record.content.turns if turn.text]
    return [part.text for part in record.content if isinstance(part, Text)]


def build_text_source(
    config: DataConfig,
    tokenizer: PreTrainedTokenizerBase,
    rank: int = 0,
    world_size: int = 1,
    seed: int = 0,
) -> BatchSource:
    """The batches of one rank; ``config.length`` cuts longer texts."""
    make = TextBatches(config, tokenizer, rank, world_size, seed)
    return BatchSource(make, identity(config, seed), config.workers, config.prefetch)
