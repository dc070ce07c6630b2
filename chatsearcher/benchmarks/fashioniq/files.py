"""Fashion IQ's published files (XiaoxiaoGuo/fashion-iq): pairs with two captions, picture lists."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chatsearcher.benchmarks.annotations import find_file, read_json, rows_of, strings, value
from chatsearcher.benchmarks.task import FilePictures

CATEGORIES = ("dress", "shirt", "toptee")
PAIRS = {"dress": 2_017, "shirt": 2_038, "toptee": 1_961}
"""Validation pairs; two captions each."""
VAL_IMAGES = {"dress": 3_817, "shirt": 6_346, "toptee": 5_373}
TEST_IMAGES = {"dress": 3_818, "shirt": 6_346, "toptee": 5_374}
UNION_IMAGES = {"dress": 2_628, "shirt": 3_089, "toptee": 2_902}
"""Pictures of the validation pairs: references and targets."""
EMPTY_VAL_CAPTIONS = {"dress": 0, "shirt": 1, "toptee": 2}
"""Of the 16 empty captions of the whole set (12 of training, 1 of test)."""

REMEDY = "take captions/ and image_splits/ of github.com/XiaoxiaoGuo/fashion-iq"
FOLDERS = ("images", "resized_images", "resized_image", "")
SUFFIXES = (".jpg", ".png", ".jpeg")
SPACE = "fashioniq"
SOURCE = "Wu et al., The Fashion IQ Dataset, CVPR 2021; github.com/XiaoxiaoGuo/fashion-iq"


@dataclass(frozen=True)
class Pair:
    """Two products and what tells the target from the reference, by two people.

    Attributes:
        captions: two, as they stand in the file; some are empty or begin with a space.
        where: the file and the row, for error messages.
    """

    reference: str
    target: str
    captions: tuple[str, str]
    where: str


def data_of(category: str, split: str) -> str:
    """What must lie under the data root."""
    return (
        f"image_splits/split.{category}.{split}.json and the pictures, "
        f"{' or '.join(name + '/' for name in FOLDERS[:2])}ASIN.jpg"
    )


def split_file(root: Path, category: str, split: str) -> Path:
    """The list of a split's pictures."""
    return find_file(root, f"image_splits/split.{category}.{split}.json", remedy=REMEDY)


def read_split(file: Path) -> tuple[str, ...]:
    """The product numbers of one list, in order.

    Raises:
        ValueError: an element that is no text, or stands twice.
    """
    names = strings({"list": read_json(file, list)}, "list", str(file))
    seen: dict[str, int] = {}
    for row, name in enumerate(names):
        if name in seen:
            raise ValueError(f"{file}, row {row}: {name!r} stands in row {seen[name]} too; drop it")
        seen[name] = row
    if not names:
        raise ValueError(f"{file} is empty; {REMEDY}")
    return tuple(names)


def caption_file(root: Path, category: str) -> Path:
    """The pairs of the validation split."""
    return find_file(root, f"captions/cap.{category}.val.json", remedy=REMEDY)


def read_pairs(file: Path, gallery: Path) -> list[Pair]:
    """The pairs of one file.

    Args:
        gallery: the list that every product of a pair must be on.

    Raises:
        ValueError: with the file and the row: no target (the test split has none), another number
            of captions than two, or a product that is not in the gallery.
    """
    known = set(read_split(gallery))
    pairs = []
    for where, entry in rows_of(read_json(file, list), file):
        if "target" not in entry and "candidate" in entry:
            raise ValueError(f"{where}: no target; those of the test split are not public, use val")
        captions = strings(entry, "captions", where)
        if len(captions) != 2:
            raise ValueError(f"{where}: {len(captions)} captions; expected two, empty ones as ''")
        pair = Pair(
            reference=value(entry, "candidate", str, where),
            target=value(entry, "target", str, where),
            captions=(captions[0], captions[1]),
            where=where,
        )
        for name in (pair.reference, pair.target):
            if name not in known:
                raise ValueError(
                    f"{where}: {name!r} is not in {gallery.name}; the two files are of different "
                    "categories or versions"
                )
        pairs.append(pair)
    if not pairs:
        raise ValueError(f"{file} has no pairs; {REMEDY}")
    return pairs


def pictures(root: Path) -> FilePictures:
    """The pictures, in the folders that are usual for them."""
    return FilePictures(
        root,
        lambda id: tuple(
            f"{folder}/{id}{suffix}" if folder else f"{id}{suffix}"
            for folder in FOLDERS
            for suffix in SUFFIXES
        ),
    )
