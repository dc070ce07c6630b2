"""The memory of a conversation with a trained model on one GPU, in 16, 8 or 4 bits."""

from __future__ import annotations

from dataclasses import dataclass, fields

from chatsearcher.model.configuration import ChatSearcherConfig
from chatsearcher.training.planning.memory import RESERVE_BYTES, RESERVE_SHARE
from chatsearcher.training.planning.shapes import Counts

# Bytes a weight: bitsandbytes keeps a float32 scale for every 64 weights of 4 bits, and a scale and
# rare outliers for every row of 8.
WEIGHT_BYTES = {16: 2.0, 8: 1.01, 4: 0.5 + 4 / 64}


@dataclass(frozen=True)
class ConversationMemory:
    """Bytes on the GPU while a conversation goes on.

    Attributes:
        layers: the language model's layers, in the chosen number of bits.
        rest: embeddings, head, tower, connector and retrieval head, in bfloat16.
        cache: keys and values of the whole history.
        reading: what reading a whole history at once adds for a while.
        reserve: an assumption, as in training.
    """

    layers: int
    rest: int
    cache: int
    reading: int
    reserve: int

    @property
    def peak(self) -> int:
        return sum(getattr(self, f.name) for f in fields(self))

    def as_json(self) -> dict[str, int]:
        """Every figure by its name, in bytes."""
        return {**{f.name: getattr(self, f.name) for f in fields(self)}, "peak": self.peak}


def conversation_memory(
    config: ChatSearcherConfig, counts: Counts, bits: int = 4, positions: int = 4096
) -> ConversationMemory:
    """Count one conversation of so many positions; adapters are folded in.

    Raises:
        ValueError: a number of bits that weights are not loaded in, or no positions.
    """
    if bits not in WEIGHT_BYTES:
        raise ValueError(f"weights of {bits} bits; expected one of {sorted(WEIGHT_BYTES)}")
    if positions < 1:
        raise ValueError(f"a conversation of {positions} positions; expected at least 1")
    text = config.llm_config.get_text_config()
    tokens = counts.head * (1 if text.tie_word_embeddings else 2)
    layers = counts.llm - tokens
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    head_dim = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    cache = 2 * 2 * text.num_hidden_layers * heads * head_dim * positions
    reading = 2 * positions * (3 * text.intermediate_size + 6 * text.hidden_size)
    if bits != 16:  # a product makes its weight wide for a moment
        reading += 2 * text.intermediate_size * text.hidden_size
    held = int(layers * WEIGHT_BYTES[bits])
    rest = 2 * (tokens + counts.tower + counts.connector + counts.heads)
    whole = held + rest + cache + reading
    return ConversationMemory(
        held, rest, cache, reading, RESERVE_BYTES + int(RESERVE_SHARE * whole)
    )
