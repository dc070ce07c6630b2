"""A real processor, small enough to be built for every run."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from transformers import CLIPImageProcessor

from chatsearcher.model.processing import ChatSearcherProcessor
from chatsearcher.model.tokenizer import nano_tokenizer

SIDE = 16
QUERIES = 2
IMAGE_TOKENS = QUERIES + 3

Entry = tuple[str, bytes]


@pytest.fixture(scope="session")
def processor() -> ChatSearcherProcessor:
    words = ["a red cat at the beach", "two blue cars on the left", "user: assistant: the same"]
    images = CLIPImageProcessor(
        size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}
    )
    return ChatSearcherProcessor(images, nano_tokenizer(words * 4, 300), num_query_tokens=QUERIES)


def _webp(colour: tuple[int, int, int]) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (20, 16), colour).save(buffer, "WEBP", lossless=True)
    return buffer.getvalue()


@pytest.fixture
def entries() -> Callable[..., list[Entry]]:
    """The three files of one record, as img2dataset writes them."""

    def make(key: str, text: str = "", colour: int = 0, **metadata: Any) -> list[Entry]:
        return [
            (f"{key}.webp", _webp((colour, 255 - colour, 7))),
            (f"{key}.txt", (text or f"words of {key}").encode()),
            (f"{key}.json", json.dumps({"key": key, **metadata}).encode()),
        ]

    return make


@pytest.fixture
def write_shard() -> Callable[[Path, list[Entry]], Path]:
    def write(path: Path, entries: list[Entry]) -> Path:
        with tarfile.open(path, "w") as tar:
            for name, data in entries:
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        return path

    return write
