"""What every system that finds pictures must offer. Anything with these attributes fits in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

import numpy as np

from chatsearcher.dialogue import Dialogue

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

Metric = Literal["cosine", "l2"]


@runtime_checkable
class Retriever(Protocol):
    """Pictures and dialogues in one vector space.

    ``fingerprint`` changes whenever the image vectors would: a gallery remembers it and refuses
    queries of another. Vectors are float32 and, where ``metric`` is cosine, of unit length.
    """

    @property
    def embedding_dim(self) -> int: ...

    @property
    def metric(self) -> Metric: ...

    @property
    def fingerprint(self) -> str: ...

    def encode_images(self, images: Sequence[PILImage]) -> np.ndarray:
        """RGB pictures of any size -> [N, D] float32."""
        ...

    def encode_queries(self, dialogues: Sequence[Dialogue]) -> np.ndarray:
        """Dialogues that end in a user's turn, pictures decoded -> [Q, D] float32."""
        ...


@dataclass(frozen=True)
class Reply:
    """What the system says next: words, or a query vector to search with (after ``text``).

    Attributes:
        text: the words, possibly empty before a search.
        query: [D] float32 where the system chose to show a picture, else None.
        search_probability: the model's probability of answering with a picture, in [0, 1].
    """

    text: str
    query: np.ndarray | None = None
    search_probability: float = float("nan")


@runtime_checkable
class Assistant(Protocol):
    """A system that decides by itself between words and a search."""

    def reply(self, dialogue: Dialogue, on_text: Callable[[str], None] | None = None) -> Reply:
        """Answer the last user's turn; ``on_text`` receives the words as they are made."""
        ...
