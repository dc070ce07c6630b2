"""Pictures from untrusted files: bounded, upright, plain."""

from __future__ import annotations

import io
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from chatsearcher.images import THUMBNAIL_SIDE, open_image, thumbnail_bytes

GPS = {1: "N", 2: (52.0, 30.0, 0.0), 3: "E", 4: (13.0, 24.0, 0.0)}


def with_exif(path: Path, orientation: int = 6) -> Path:
    """A JPEG, red above blue as stored, with a place and an orientation."""
    image = Image.new("RGB", (64, 32), "red")
    image.paste("blue", (0, 16, 64, 32))
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "Secret Camera"
    exif.get_ifd(0x8825).update(GPS)
    image.save(path, exif=exif, quality=95, comment=b"Secret Comment")
    assert Image.open(path).getexif().get_ifd(0x8825)  # the fixture does carry a place
    return path


def test_orientation_is_applied_and_metadata_dropped(tmp_path: Path) -> None:
    image = open_image(with_exif(tmp_path / "a.jpg"))
    assert image.size == (32, 64)
    # Orientation 6 turns the stored picture clockwise: its top stands right.
    left, right = np.asarray(image)[32, 4], np.asarray(image)[32, 28]
    assert left[2] > 200 > left[0]
    assert right[0] > 200 > right[2]
    assert image.info == {}
    assert not image.getexif()


def test_a_thumbnail_carries_nothing_but_pixels(tmp_path: Path) -> None:
    source = with_exif(tmp_path / "a.jpg")
    with Image.open(source) as raw:  # straight from the file, metadata and all
        jpeg = thumbnail_bytes(raw)
    for word in (b"Secret", b"Exif", b"ICC_PROFILE", b"http://ns.adobe.com"):
        assert word not in jpeg
    with Image.open(io.BytesIO(jpeg)) as image:
        assert not image.getexif()
        assert image.format == "JPEG"


@given(st.integers(1, 700), st.integers(1, 700))
@settings(max_examples=30, deadline=None)
def test_thumbnails_are_bounded_and_keep_the_shape(width: int, height: int) -> None:
    image = Image.new("RGB", (width, height), "green")
    with Image.open(io.BytesIO(thumbnail_bytes(image))) as small:
        assert max(small.size) == min(max(width, height), THUMBNAIL_SIDE)
        scale = max(small.size) / max(width, height)
        assert abs(small.width - max(1, width * scale)) <= 0.5
        assert abs(small.height - max(1, height * scale)) <= 0.5


def test_transparency_becomes_white_and_grey_becomes_rgb(tmp_path: Path) -> None:
    Image.new("RGBA", (4, 4), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    assert open_image(tmp_path / "clear.png").getpixel((0, 0)) == (255, 255, 255)
    palette = Image.new("P", (4, 4), 0)
    palette.save(tmp_path / "palette.png", transparency=0)
    assert open_image(tmp_path / "palette.png").getpixel((0, 0)) == (255, 255, 255)
    deep = Image.fromarray(np.full((4, 4), 32768, np.uint16))
    deep.save(tmp_path / "deep.png")
    assert open_image(tmp_path / "deep.png").getpixel((0, 0)) == (127, 127, 127)
    Image.new("CMYK", (4, 4), (0, 255, 255, 0)).save(tmp_path / "print.jpg")
    assert open_image(tmp_path / "print.jpg").mode == "RGB"


@pytest.mark.filterwarnings("ignore:Image size")
def test_a_picture_of_many_pixels_is_refused_before_decoding() -> None:
    # A valid header that promises 30,000 x 30,000 pixels, and no pixels at all.
    buffer = io.BytesIO()
    Image.new("1", (8, 8)).save(buffer, "PNG")
    content = bytearray(buffer.getvalue())
    content[16:24] = (9_000).to_bytes(4, "big") + (12_000).to_bytes(4, "big")
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    with pytest.raises(ValueError, match="9000 x 12000 pixels; at most 100 megapixels"):
        open_image(bytes(content), name="bomb.png")
    content[16:24] = (30_000).to_bytes(4, "big") + (30_000).to_bytes(4, "big")
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    with pytest.raises(ValueError, match=r"bomb\.png"):
        open_image(bytes(content), name="bomb.png")
    with pytest.raises(ValueError, match=r"at most 0\.0001 megapixels"):
        open_image(thumbnail_bytes(Image.new("RGB", (20, 20))), max_pixels=100)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "gif", "bmp", "tif"])
def test_truncated_files_are_named_errors(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    path = tmp_path / f"cut.{suffix}"
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=f"cut.{suffix}"):
        open_image(path)


@given(
    st.binary(max_size=200),
    st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a"]),
)
def test_garbage_is_a_value_error_that_names_the_file(content: bytes, start: bytes) -> None:
    with pytest.raises(ValueError, match=r"what\.jpg"):
        open_image(start + content, name="what.jpg")


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no-such\.png"):
        open_image(tmp_path / "no-such.png")
    with pytest.raises(ValueError, match="got a folder"):
        open_image(tmp_path)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_a_spoilt_exif_block_costs_the_orientation_only(tmp_path: Path) -> None:
    image = Image.new("RGB", (6, 4), "red")
    image.save(tmp_path / "odd.jpg", exif=b"Exif\0\0MM\0\x2a\xff\xff\xff\xff")
    assert open_image(tmp_path / "odd.jpg").size == (6, 4)


def test_max_side_reduces_and_keeps_the_look(tmp_path: Path) -> None:
    ramp = np.linspace(0, 255, 3000)[None, :, None].repeat(1500, 0).repeat(3, 2)
    Image.fromarray(ramp.astype(np.uint8)).save(tmp_path / "big.jpg", quality=95)
    small = open_image(tmp_path / "big.jpg", max_side=500)
    assert small.size == (500, 250)
    whole = open_image(tmp_path / "big.jpg").resize((500, 250))
    assert np.abs(np.asarray(small, float) - np.asarray(whole, float)).max() < 6
