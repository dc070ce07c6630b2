"""Nearest pictures, wherever they are: the protocol, and clip-retrieval's service behind it."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

from chatsearcher.dialogue import Image
from chatsearcher.foundation.language import EndpointDown
from chatsearcher.foundation.limits import backoff
from chatsearcher.images import open_image, thumbnail_bytes

PAPER = "clip:ViT-H-14/laion2b_s32b_b79k"
"""ChatSearch's gallery retriever, CLIP-H (section 3.1), as a retriever of ours over ``open_clip``;
the paper's gallery was LAION-5B, for which see ``KnnService``."""


SPARE = 4
"""A kNN service is asked for so many times the pictures that are wanted."""


@dataclass(frozen=True)
class Hit:
    """A picture that was found.

    Attributes:
        id: unique within the gallery.
        score: similarity; more is nearer.
        source: where its pixels can be read here, None where they are not at hand.
        url: where its publisher keeps it. Kept as returned; nothing here opens it.
        caption: what its gallery says of it.
    """

    id: str
    score: float
    source: str | None = None
    url: str | None = None
    caption: str | None = None


@runtime_checkable
class PictureSearch(Protocol):
    """A gallery that is asked for the nearest pictures."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """All that decides what it finds."""
        ...

    async def by_image(self, pictures: Sequence[Image], k: int) -> list[list[Hit]]:
        """The k nearest to each decoded picture, best first (itself included where it is there)."""
        ...

    async def by_text(self, texts: Sequence[str], k: int) -> list[list[Hit]]:
        """The k nearest to each text, best first."""
        ...

    async def close(self) -> None: ...


class KnnService:
    """clip-retrieval's back end: ``POST URL/knn-service``, over an index of any size.

    Only the service itself is called; the addresses in its answers are kept as they are and never
    opened. What it finds has no pixels here: its own captions are used, and the addresses are
    listed for the user to fetch. The service searches first and leaves out duplicates and unsafe
    pictures then, so it is asked for ``SPARE`` times as many as are wanted.

    Args:
        url: the service, without ``/knn-service``.
        index: its ``indice_name``, e.g. ``laion5B-H-14`` for the paper's CLIP-H over LAION-5B.
        concurrency: calls in flight.
        timeout: seconds a call may take.
        tries: how often a call is made.
        safe: leave out what the service's own models find unsafe or violent.
    """

    def __init__(
        self,
        url: str,
        index: str,
        *,
        concurrency: int = 16,
        timeout: float = 30.0,
        tries: int = 6,
        safe: bool = True,
    ) -> None:
        try:
            import aiohttp
        except ImportError as error:
            raise ImportError(
                "a kNN service needs aiohttp; pip install 'chatsearcher[prepare]'"
            ) from error
        self._aiohttp = aiohttp
        self.url = url.rstrip("/")
        self.index = index
        self.timeout = timeout
        self.tries = tries
        self.safe = safe
        self._turn = asyncio.Semaphore(concurrency)
        self._session: Any = None

    @property
    def identity(self) -> Mapping[str, Any]:
        return {"service": self.url, "index": self.index, "safe": self.safe}

    async def by_image(self, pictures: Sequence[Image], k: int) -> list[list[Hit]]:
        questions = []
        for picture in pictures:
            if picture.pixels is None:
                raise ValueError(f"picture {picture.id!r} is not decoded")
            jpeg = thumbnail_bytes(picture.pixels, 336)
            questions.append({"image": base64.b64encode(jpeg).decode("ascii")})
        return list(await asyncio.gather(*(self._ask(each, k) for each in questions)))

    async def by_text(self, texts: Sequence[str], k: int) -> list[list[Hit]]:
        return list(await asyncio.gather(*(self._ask({"text": text}, k) for text in texts)))

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _ask(self, question: dict[str, str], k: int) -> list[Hit]:
        request = {
            "text": None,
            "image": None,
            "image_url": None,
            "embedding_input": None,
            **question,
            "modality": "image",
            "num_images": SPARE * k,
            "num_result_ids": SPARE * k,
            "indice_name": self.index,
            "use_mclip": False,
            "deduplicate": True,
            "use_safety_model": self.safe,
            "use_violence_detector": self.safe,
            "aesthetic_score": None,
            "aesthetic_weight": None,
        }
        problem = ""
        for attempt in range(self.tries):
            if attempt:
                await asyncio.sleep(backoff(attempt - 1))
            async with self._turn:
                result = await self._post(json.dumps(request))
            if isinstance(result, list):
                # The service counts its rows: without the index's name before it, a row's number
                # could be another set's picture.
                return [replace(hit, id=f"{self.index}/{hit.id}") for hit in result[:k]]
            problem = result
        raise EndpointDown(
            f"{self.url}/knn-service does not answer ({problem}, {self.tries} times); run the "
            "same command again to go on"
        )

    async def _post(self, data: str) -> list[Hit] | str:
        if self._session is None:
            self._session = self._aiohttp.ClientSession(
                timeout=self._aiohttp.ClientTimeout(total=self.timeout),
                headers={"Content-Type": "application/json"},
            )
        url = f"{self.url}/knn-service"
        try:
            async with self._session.post(url, data=data, allow_redirects=False) as response:
                body = await response.read()
                status = response.status
        except asyncio.TimeoutError:
            return "timeout"
        except (self._aiohttp.ClientError, OSError) as error:
            return f"no connection ({type(error).__name__})"
        if status == 429 or status >= 500:
            return f"HTTP {status}"
        if status != 200:
            said = body[:200].decode("utf-8", errors="replace")
            raise EndpointDown(f"{url} answers HTTP {status}: {said}")
        try:
            return read_hits(json.loads(body))
        except ValueError as error:
            return f"not of the protocol: {error}"


def read_hits(answer: Any) -> list[Hit]:
    """Hits from a kNN service's answer, best first; results without a similarity are left out.

    Raises:
        ValueError: not a list of objects.
    """
    if not isinstance(answer, list) or not all(isinstance(each, dict) for each in answer):
        raise ValueError("expected a list of objects")
    hits = []
    for each in answer:
        score = each.get("similarity")
        url = each.get("url") if isinstance(each.get("url"), str) else None
        name = each.get("id", url)
        if not isinstance(score, (int, float)) or name is None:
            continue
        caption = each.get("caption")
        words = " ".join(caption.split()) if isinstance(caption, str) else None
        source = _inline(each.get("image"))
        hits.append(Hit(str(name), round(float(score), 6), source, url, words or None))
    return sorted(hits, key=lambda hit: (-hit.score, hit.id))


def _inline(data: Any) -> str | None:
    """A picture that the service sends along (base64), as a data address; None where it sends none
    or what it sends is no picture."""
    if not isinstance(data, str) or not data:
        return None
    try:
        jpeg = thumbnail_bytes(open_image(base64.b64decode(data, validate=True), max_side=256))
    except (ValueError, binascii.Error):
        return None
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode("ascii")
