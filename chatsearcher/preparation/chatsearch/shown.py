"""Pictures of a run: how a record names one, how it is read, and when two are the same."""

from __future__ import annotations

import base64
import binascii
import os.path
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from chatsearcher.data.tar_index import Member, shard_members
from chatsearcher.dialogue import Image
from chatsearcher.images import open_image, thumbnail_bytes
from chatsearcher.preparation.chatsearch.layout import Entry
from chatsearcher.registry import Registry

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

DRAWN = Registry("drawn picture", {"world": "chatsearcher.world.pictures:load"})
"""name -> function(id) -> picture, for sources ``name:id``."""

SIDE = 1024
"""Larger pictures are made smaller while they are decoded."""

GRID = 8
MAX_CELL = 28
MAX_MEAN = 6.0
"""Two pictures are near-duplicates when no cell of their 8 x 8 grids of mean colours differs by
more than MAX_CELL of 255 in any channel, and the cells by MAX_MEAN on average. Measured on 300
pictures of the picture world and 300 of OpenStax: copies that were resized by 0.5 to 1.5 and saved
as JPEG of quality 50 to 95 differ by at most 24 and 3.8; of 89,700 pairs of different pictures the
nearest differ by 30 in a cell."""


def picture_entry(
    id: str, source: str | None, *, url: str | None = None, signature: str | None = None
) -> Entry:
    """A picture in a record. ``source`` is where its pixels are: a path, ``shard.tar#member``, a
    data address, or ``name:id`` of a picture that is drawn."""
    return {"id": id, "source": source, "url": url, "signature": signature}


def own_name(about: Mapping[str, Any], key: str) -> str:
    """What a picture is called: by its JSON, else by its key in its shard.

    Source and gallery must call a picture alike, whichever shards each of them has it from: else a
    dialogue takes its own picture for another one, or a picture of another split, and a test
    gallery holds it twice.
    """
    stated = (about.get(name) for name in ("id", "image_name", "url", "key"))
    return next((str(each) for each in stated if isinstance(each, (str, int))), key)


def same_place(first: str, second: str) -> bool:
    """Whether two sources are one member of one shard, however its path is written."""
    return first == second or _absolute(first) == _absolute(second)


def _absolute(source: str) -> str:
    shard, mark, member = source.partition(".tar#")
    return f"{os.path.abspath(shard)}{mark}{member}" if mark else source


def load_picture(source: str) -> PILImage:
    """The pixels behind a source, RGB, at most ``SIDE`` on the long side.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it cannot be decoded.
    """
    name, colon, rest = source.partition(":")
    if source.startswith("data:"):
        try:
            data = base64.b64decode(rest.partition(",")[2], validate=True)
        except binascii.Error as error:
            raise ValueError(f"a broken data address: {error}") from error
        return open_image(data, name="data address", max_side=SIDE)
    if colon and name in DRAWN and not Path(source).exists():
        drawn: PILImage = DRAWN[name](rest)
        return drawn
    shard, mark, member = source.partition(".tar#")
    if mark:
        return open_image(_member(Path(shard + ".tar"), member), name=source, max_side=SIDE)
    return open_image(source, max_side=SIDE)


def thumbnail(source: str, side: int = 384) -> bytes:
    """A small JPEG of the picture."""
    return thumbnail_bytes(load_picture(source), side)


def decoded(entry: Entry) -> Image:
    """The picture of a record as a dialogue has it, decoded.

    Raises:
        FileNotFoundError, ValueError: it cannot be read.
    """
    if entry["source"] is None:
        raise ValueError(f"picture {entry['id']!r} has no pixels here")
    return Image(entry["id"], entry["source"], load_picture(entry["source"]))


def signature(picture: PILImage) -> str:
    """The mean colours of an 8 x 8 grid, as 256 characters."""
    from PIL import Image as Pillow

    small = picture.convert("RGB").resize((GRID, GRID), Pillow.Resampling.BOX)
    return base64.b64encode(small.tobytes()).decode("ascii")


def read_signature(text: str) -> np.ndarray:
    """[192] int16."""
    return np.frombuffer(base64.b64decode(text), np.uint8).astype(np.int16)


def near(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Whether signatures [..., 192] and [..., 192] are of near-duplicates -> [...] bool."""
    apart = np.abs(first - second)
    found: np.ndarray = (apart.max(-1) <= MAX_CELL) & (apart.mean(-1) <= MAX_MEAN)
    return found


def near_signatures(first: str | None, second: str | None) -> bool:
    """Whether two pictures are near-duplicates; a picture without a signature is none."""
    if first is None or second is None:
        return False
    return bool(near(read_signature(first), read_signature(second)))


def _member(shard: Path, name: str) -> bytes:
    if not shard.is_file():
        raise FileNotFoundError(f"no such shard: {shard}")
    found = _members(shard, shard.stat().st_mtime_ns).get(name)
    if found is None:
        raise ValueError(f"{shard} has no {name}")
    with open(shard, "rb") as file:
        file.seek(found.start)
        return file.read(found.size)


@lru_cache(maxsize=8)
def _members(shard: Path, stamp: int) -> dict[str, Member]:
    return {
        f"{record.key}.{member.ending}": member
        for record in shard_members(shard).records
        for member in record.members
    }
