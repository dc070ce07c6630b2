"""A dialogue's vector from those of its words and its pictures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from chatsearcher.dialogue import Dialogue
from chatsearcher.retriever import Metric
from chatsearcher.retrievers.dual.options import QueryOptions, turn_texts

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

REMEMBERED = 100_000  # vectors of texts, or of pictures; then all are forgotten


class DualEncoder(ABC):
    """A retriever whose words and pictures are encoded apart.

    Attributes:
        options: what of a dialogue becomes the query.
        embedding_dim: the width of both kinds of vectors.
    """

    metric: Metric = "cosine"
    options: QueryOptions
    embedding_dim: int

    def __init__(self) -> None:
        self._text_vectors: dict[str, np.ndarray] = {}
        self._picture_vectors: dict[str, np.ndarray] = {}

    @abstractmethod
    def encode_images(self, images: Sequence[PILImage]) -> np.ndarray:
        """Pictures -> [N, D] float32 unit vectors."""

    @abstractmethod
    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """What ``fitted`` gave -> [N, D] float32 unit vectors."""

    @abstractmethod
    def fitted(self, texts: Sequence[str]) -> list[str]:
        """What is encoded in place of some turns' texts, joined: one text, or several whose mean
        vector stands for the whole."""

    def encode_queries(self, dialogues: Sequence[Dialogue]) -> np.ndarray:
        """Dialogues -> [Q, D] float32 unit vectors. In ``both``, a dialogue without a picture is
        its text alone.

        Raises:
            ValueError: a dialogue without what the mode needs: text, or a (decoded) picture.
        """
        if not dialogues:
            return np.zeros((0, self.embedding_dim), dtype=np.float32)
        mode, weight = self.options.mode, self.options.weight
        if mode == "text":
            return self._texts(dialogues)
        has_picture = np.array([bool(dialogue.images) for dialogue in dialogues])
        if mode == "image":
            if not has_picture.all():
                raise ValueError(
                    f"{(~has_picture).sum()} of {len(dialogues)} dialogues have no picture; the "
                    "image mode cannot answer them: use text or both"
                )
            return self._pictures(dialogues)
        fused = self._texts(dialogues)
        shown = np.flatnonzero(has_picture)
        if len(shown):
            pictures = self._pictures([dialogues[int(row)] for row in shown])
            fused[shown] = weight * fused[shown] + (1.0 - weight) * pictures
        return unit(fused)

    def _texts(self, dialogues: Sequence[Dialogue]) -> np.ndarray:
        """One vector a dialogue from its words: [Q, D]."""
        turns = [turn_texts(dialogue, self.options.text) for dialogue in dialogues]
        for dialogue, texts in zip(dialogues, turns, strict=True):
            if not texts:
                raise ValueError(f"dialogue {dialogue.id!r} has no text to search with")
        if self.options.text == "mean":
            pieces = [[piece for text in texts for piece in self.fitted([text])] for texts in turns]
        else:
            pieces = [self.fitted(texts) for texts in turns]
        _bound(self._text_vectors)
        new = {piece for texts in pieces for piece in texts} - self._text_vectors.keys()
        if new:
            ordered = sorted(new, key=lambda text: (len(text), text))  # alike lengths together
            self._text_vectors.update(zip(ordered, self.encode_texts(ordered), strict=True))
        return unit(
            np.stack([np.mean([self._text_vectors[p] for p in texts], 0) for texts in pieces])
        )

    def _pictures(self, dialogues: Sequence[Dialogue]) -> np.ndarray:
        """One vector a dialogue from its pictures: [Q, D]."""
        chosen = [d.images[-1:] if self.options.pictures == "last" else d.images for d in dialogues]
        images = {image.id: image for images in chosen for image in images}
        _bound(self._picture_vectors)
        new = [image for name, image in images.items() if name not in self._picture_vectors]
        pixels = [image.pixels for image in new if image.pixels is not None]
        if len(pixels) < len(new):
            lost = next(image.id for image in new if image.pixels is None)
            raise ValueError(f"the picture {lost!r} of a dialogue is not decoded")
        vectors = self.encode_images(pixels)
        self._picture_vectors.update(zip((i.id for i in new), vectors, strict=True))
        return unit(
            np.stack(
                [np.mean([self._picture_vectors[i.id] for i in images], 0) for images in chosen]
            )
        )


def unit(vectors: np.ndarray) -> np.ndarray:
    """Rows of length 1, float32."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-12), dtype=np.float32)


def _bound(known: dict[str, np.ndarray]) -> None:
    """Forget everything once too much is remembered."""
    if len(known) > REMEMBERED:
        known.clear()
