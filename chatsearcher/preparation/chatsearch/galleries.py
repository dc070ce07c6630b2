"""A gallery of ours, asked for neighbours by the retriever that made it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from chatsearcher.dialogue import Dialogue, Image
from chatsearcher.foundation.neighbours import Hit, KnnService, PictureSearch
from chatsearcher.gallery.reader import Gallery
from chatsearcher.index import Index, open_index
from chatsearcher.preparation.chatsearch.shown import own_name
from chatsearcher.registry import Registry
from chatsearcher.retriever import Retriever

LOADERS = Registry("loader", {"retriever": "chatsearcher.retrievers:load_retriever"})


class GallerySearch:
    """Nearest pictures of a gallery. Scores are rounded to six digits: the last bits of a product
    may depend on how many queries are asked at once."""

    def __init__(self, gallery: Gallery, retriever: Retriever, index: Index) -> None:
        gallery.check(retriever)
        self.gallery = gallery
        self.retriever = retriever
        self.index = index

    @property
    def identity(self) -> Mapping[str, Any]:
        return {
            "gallery": self.gallery.path.name,
            "pictures": len(self.gallery),
            "fingerprint": self.gallery.fingerprint,
        }

    async def by_image(self, pictures: Sequence[Image], k: int) -> list[list[Hit]]:
        pixels = []
        for picture in pictures:
            if picture.pixels is None:
                raise ValueError(f"picture {picture.id!r} is not decoded")
            pixels.append(picture.pixels)
        return await asyncio.to_thread(lambda: self._near(self.retriever.encode_images(pixels), k))

    async def by_text(self, texts: Sequence[str], k: int) -> list[list[Hit]]:
        asked = [Dialogue().user(text) for text in texts]
        return await asyncio.to_thread(lambda: self._near(self.retriever.encode_queries(asked), k))

    async def close(self) -> None:
        self.gallery.close()

    def _near(self, vectors: np.ndarray, k: int) -> list[list[Hit]]:
        scores, rows = self.index.search(vectors, k)
        return [
            [
                self._hit(int(row), float(score))
                for row, score in zip(*pair, strict=True)
                if row >= 0
            ]
            for pair in zip(rows, scores, strict=True)
        ]

    def _hit(self, row: int, score: float) -> Hit:
        id = self.gallery.ids[row]
        about = self.gallery.metadata(id)
        url = about.get("url")
        return Hit(
            own_name(about, id),
            round(score, 6),
            self.gallery.source(id),
            url if isinstance(url, str) else None,
            about.get("caption"),
        )


def open_search(
    spec: str, retriever: str | None = None, device: str | None = None
) -> PictureSearch:
    """``FOLDER``, a gallery of ours; or ``knn:URL#INDEX``, a clip-retrieval service.

    Args:
        retriever: for a gallery; by default the one that it remembers.

    Raises:
        FileNotFoundError, ValueError: no such gallery, or of another retriever.
    """
    if spec.startswith("knn:"):
        url, mark, index = spec.removeprefix("knn:").rpartition("#")
        if not mark or not url.startswith(("http://", "https://")):
            raise ValueError(f"kNN service {spec!r}; expected knn:URL#INDEX")
        return KnnService(url, index)
    gallery = Gallery.open(Path(spec))
    name = retriever or gallery.retriever
    if name is None:
        raise ValueError(f"{spec} does not say what made it; give --retriever")
    return GallerySearch(gallery, LOADERS["retriever"](name, device), open_index(gallery))
