"""The nano tokenizer, trained on the words of the data it will read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from chatsearcher.data.records import SourceConfig
from chatsearcher.data.sources import build
from chatsearcher.dialogue import Dialogue, Text

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


@dataclass(frozen=True)
class TokenizerSettings:
    """What the vocabulary is learned from: ``count`` items of each source, from ``seed``."""

    vocab_size: int = 1536
    seed: int = 0
    sources: dict[str, SourceConfig] = field(
        default_factory=lambda: {
            "pairs": SourceConfig("world-pairs", 8000),
            "documents": SourceConfig("world-documents", 4000),
            "conversations": SourceConfig("world-conversations", 4000),
        }
    )


def texts(settings: TokenizerSettings) -> Iterator[str]:
    """The words of the sources' first items."""
    for config in settings.sources.values():
        source = build(config, settings.seed, image_size=8)
        for index in range(config.count):
            content = source.item(index).content
            if isinstance(content, Dialogue):
                for turn in content.turns:
                    prefix = "USER: " if turn.role == "user" else "ASSISTANT: "
                    yield prefix + turn.text
            else:
                yield from (part.text for part in content if isinstance(part, Text))


def tokenizer_for(settings: TokenizerSettings, folder: Path) -> PreTrainedTokenizerFast:
    """The tokenizer saved in ``folder``, or a new one that is trained and saved there."""
    from transformers import PreTrainedTokenizerFast

    from chatsearcher.model.tokenizer import nano_tokenizer

    if (folder / "tokenizer.json").is_file():
        loaded: PreTrainedTokenizerFast = PreTrainedTokenizerFast.from_pretrained(folder)
        return loaded
    tokenizer = nano_tokenizer(texts(settings), settings.vocab_size)
    tokenizer.save_pretrained(folder)
    return tokenizer
