"""Pictures from untrusted files: bounded, upright, RGB, and without the metadata they came with."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageOps, UnidentifiedImageError

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

MAX_PIXELS = 100_000_000
"""Refused above this, before decoding: a small file can claim to be a picture of any size."""

THUMBNAIL_SIDE = 256

SUFFIXES = frozenset(
    f".{suffix}"
    for suffix in (
        *("jpg", "jpeg", "jpe", "jfif", "png", "webp", "gif", "bmp", "tif", "tiff"),
        *("ppm", "pgm", "avif", "heic", "heif", "jxl", "jp2"),
    )
)
"""Names that promise a picture, lower case; some need a Pillow plug-in to be read."""


def open_image(
    source: str | Path | bytes,
    *,
    name: str | None = None,
    max_pixels: int = MAX_PIXELS,
    max_side: int | None = None,
) -> PILImage:
    """A picture, decoded whole: RGB, upright (EXIF orientation applied), metadata dropped.

    Transparent parts become white; of an animation the first frame is taken.

    Args:
        source: a path, or the file's bytes.
        name: what to call it in errors; the path by default.
        max_pixels: width x height above which it is refused before decoding.
        max_side: where given, a larger picture is reduced to this many pixels on its long side
            (for JPEG mostly while decoding, which is several times faster).

    Raises:
        FileNotFoundError: no such file.
        ValueError: too large, truncated, broken, or not a picture; the message names the file.
    """
    name = name or (str(source) if not isinstance(source, bytes) else f"{len(source)} bytes")
    if not isinstance(source, bytes):
        if not Path(source).exists():
            raise FileNotFoundError(f"no such picture: {source}")
        if Path(source).is_dir():
            raise ValueError(f"{name}: expected a picture, got a folder")
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise ValueError(
                    f"{name}: {width} x {height} pixels; at most {max_pixels / 1e6:g} megapixels "
                    "are decoded (make it smaller)"
                )
            if max_side is not None:
                image.draft("RGB", (max_side, max_side))  # type: ignore[no-untyped-call]
            image.load()
            return _plain(_upright(image), max_side)
    except UnidentifiedImageError as error:
        raise ValueError(f"{name}: not a picture that Pillow can read") from error
    except Image.DecompressionBombError as error:
        raise ValueError(f"{name}: {error}") from error
    except (OSError, SyntaxError, EOFError, struct.error, IndexError, KeyError) as error:
        # What Pillow's decoders raise on broken data.
        raise ValueError(f"{name}: broken picture: {error}") from error
    except (TypeError, ValueError) as error:
        if str(error).startswith(name):
            raise
        raise ValueError(f"{name}: broken picture: {error}") from error


def thumbnail_bytes(image: PILImage, side: int = THUMBNAIL_SIDE) -> bytes:
    """A JPEG of at most ``side`` pixels on the long side; pixels only, no metadata.

    JPEG at full colour resolution: nine times faster to write than WebP, which at 96 pixels would
    cost a fifth of what encoding a picture by a small model costs, and truer to small coloured
    things.
    """
    small = _reduced(image.convert("RGB"), side)
    small.info = {}
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=88, subsampling=0)
    return buffer.getvalue()


def _upright(image: PILImage) -> PILImage:
    try:
        orientation = image.getexif().get(0x0112, 1)
    except (OSError, SyntaxError, ValueError, struct.error, KeyError, IndexError, TypeError):
        return image  # an unreadable EXIF block says nothing about the orientation
    return image if orientation == 1 else ImageOps.exif_transpose(image)


def _plain(image: PILImage, max_side: int | None) -> PILImage:
    if image.mode in ("I;16", "I;16L", "I;16B", "I;16N", "I"):
        # Pillow clips 16-bit grey to 255 instead of scaling it.
        image = image.convert("I").point(lambda value: value * (1 / 257)).convert("L")
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        image = image.convert("RGBA")
        if max_side is not None:
            image = _reduced(image, max_side)
        ground = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(ground, image)
    image = image.convert("RGB")
    if max_side is not None:
        image = _reduced(image, max_side)
    image.info = {}
    return image


def _reduced(image: PILImage, side: int) -> PILImage:
    longest = max(image.size)
    if longest <= side:
        return image
    width, height = (max(1, round(length * side / longest)) for length in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=2.0)
