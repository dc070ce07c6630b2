"""Folders and shards to index."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

MakePhotos = Callable[..., list[str]]
MakeShard = Callable[..., Path]


def photo(seed: int, side: int = 24) -> Image.Image:
    """A picture that differs from that of every other seed."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 256, (4, 4, 3), np.uint8)
    return Image.fromarray(blocks).resize((side, side), Image.Resampling.NEAREST)


@pytest.fixture
def make_photos() -> MakePhotos:
    """make(folder, count, start=0) -> relative names, sorted; every third lies deeper."""

    def make(folder: Path, count: int, start: int = 0) -> list[str]:
        (folder / "deeper").mkdir(parents=True, exist_ok=True)
        names = []
        for seed in range(start, start + count):
            name = f"{'deeper/' if seed % 3 == 0 else ''}{seed:04d}.png"
            photo(seed).save(folder / name)
            names.append(name)
        return sorted(names)

    return make


@pytest.fixture
def make_shard() -> MakeShard:
    """make(path, count, start=0) -> the shard, in img2dataset's layout."""

    def make(path: Path, count: int, start: int = 0) -> Path:
        with tarfile.open(path, "w") as shard:
            for seed in range(start, start + count):
                picture = io.BytesIO()
                photo(seed).save(picture, "PNG")
                said = {"url": f"http://x/{seed}", "exif": '{"GPS": "52N"}', "latitude": 52.5}
                for suffix, content in (
                    ("png", picture.getvalue()),
                    ("txt", f"picture number {seed}\n".encode()),
                    ("json", json.dumps(said).encode()),
                ):
                    member = tarfile.TarInfo(f"{seed:05d}.{suffix}")
                    member.size = len(content)
                    shard.addfile(member, io.BytesIO(content))
        return path

    return make
