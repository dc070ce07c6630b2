"""Pictures that a person brings into a conversation."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from chatsearcher.dialogue import Image
from chatsearcher.images import open_image

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage


MAX_SIDE = 1024  # pixels; larger pictures are reduced to this on their long side


def as_image(image: str | PILImage | Image) -> Image:
    """A dialogue's picture, decoded, from a path, pixels, or a picture that may lack its pixels.

    A new picture is named after its content: a file that changes is another picture.
    """
    if isinstance(image, Image):
        if image.pixels is not None:
            return image
        return replace(image, pixels=open_image(image.path or image.id, max_side=MAX_SIDE))
    path = image if isinstance(image, str) else None
    pixels = (
        open_image(image, max_side=MAX_SIDE) if isinstance(image, str) else image.convert("RGB")
    )
    digest = hashlib.sha256(repr(pixels.size).encode() + pixels.tobytes()).hexdigest()
    return Image(f"attached:{digest[:16]}", path, pixels)
