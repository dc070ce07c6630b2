"""Where records come from: each source gives its n-th item for ever, as a function of n alone.

That makes every batch a function of the step: nothing has to be replayed to resume, and workers and
ranks need not talk to each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from chatsearcher.data.records import Record, Remark, SourceConfig
from chatsearcher.registry import Registry

SOURCES = Registry(
    "data source",
    {
        "world-pairs": "chatsearcher.data.world:WorldPairs",
        "world-captions": "chatsearcher.data.world:WorldCaptions",
        "world-keywords": "chatsearcher.data.world:WorldKeywords",
        "world-descriptions": "chatsearcher.data.world:WorldDescriptions",
        "world-look-alikes": "chatsearcher.data.world:WorldLookAlikes",
        "world-rewordings": "chatsearcher.data.world:WorldRewordings",
        "world-requests": "chatsearcher.data.world:WorldRequests",
        "world-searches": "chatsearcher.data.world:WorldSearches",
        "world-documents": "chatsearcher.data.world:WorldDocuments",
        "world-questions": "chatsearcher.data.world:WorldQuestions",
        "world-conversations": "chatsearcher.data.world:WorldConversations",
        "shard-pairs": "chatsearcher.data.shard_sources:ShardPairs",
        "shard-dialogues": "chatsearcher.data.shard_sources:ShardDialogues",
        "shard-documents": "chatsearcher.data.record_sources:RecordShards",
        "shard-conversations": "chatsearcher.data.record_sources:RecordShards",
        "modifications": "chatsearcher.data.shard_sources:Modifications",
        "dialogues": "chatsearcher.data.dialogue_file:DialogueFile",
    },
)


class Source(Protocol):
    """Made as ``Source(config, seed, image_size)``; must survive pickling into a worker."""

    @property
    def remarks(self) -> Sequence[Remark]:
        """What could not be read when the source was opened."""
        ...

    def item(self, index: int) -> Record:
        """Item ``index`` >= 0 of the endless sequence.

        Raises:
            BrokenRecord: it cannot be read; the caller counts it and goes on.
        """
        ...


def build(config: SourceConfig, seed: int, image_size: int) -> Source:
    """The source of a configuration.

    Raises:
        ValueError: an unknown kind; the message offers the nearest known one.
        FileNotFoundError: its files are not there.
    """
    source: Source = SOURCES[config.kind](config, seed, image_size)
    return source


def reads_files(config: SourceConfig) -> bool:
    """Whether a source needs the files of its ``path``; the world's sources draw what they give."""
    return not config.kind.startswith("world-")
