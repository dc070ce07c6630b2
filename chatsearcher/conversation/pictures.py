"""Pictures that a person brings into a conversation."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from chatsearcher.dialogue import Image
from chatsearcher.images import open_image

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage


def as_image(image: str | PILImage | Image) -> Image:
    """A dialogue's picture, decoded, from a path, pixels, or a picture that may lack its pixels."""
    if isinstance(image, Image):
        if image.pixels is not None:
            return image
        return replace(image, pixels=open_image(image.path or image.id))
    if isinstance(image, str):
        return Image(image, path=image, pixels=open_image(image))
    digest = hashlib.sha256(image.tobytes() + repr(image.size).encode()).hexdigest()
    return Image(f"attached:{digest[:16]}", pixels=image.convert("RGB"))
