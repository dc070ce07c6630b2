"""The names and numbers of Fashion IQ's published files (XiaoxiaoGuo/fashion-iq)."""

from __future__ import annotations

from pathlib import Path

CATEGORIES = ("dress", "shirt", "toptee")
SPLITS = ("train", "val", "test")

GROUPS = ("texture", "fabric", "shape", "part", "style")
"""The five groups of attributes (paper, section 3.1), in DeepFashion's order of numbers, from 1."""

ATTRIBUTE_LISTS = ("type", *GROUPS)
"""What the six lists of ``asin2attr.….json`` are."""

QUERIES = {
    ("dress", "train"): 5_985,
    ("dress", "val"): 2_017,
    ("dress", "test"): 2_024,
    ("shirt", "train"): 5_988,
    ("shirt", "val"): 2_038,
    ("shirt", "test"): 2_038,
    ("toptee", "train"): 6_027,
    ("toptee", "val"): 1_961,
    ("toptee", "test"): 2_056,
}
IMAGES = {
    ("dress", "train"): 11_452,
    ("dress", "val"): 3_817,
    ("dress", "test"): 3_818,
    ("shirt", "train"): 19_036,
    ("shirt", "val"): 6_346,
    ("shirt", "test"): 6_346,
    ("toptee", "train"): 16_121,
    ("toptee", "val"): 5_373,
    ("toptee", "test"): 5_374,
}
"""Counted from the authors' files; 77,683 pictures in all."""

EMPTY_CAPTIONS = 16


def names_of(path: Path) -> tuple[str, str]:
    """``cap.dress.val.json`` -> (``dress``, ``val``)."""
    parts = path.name.split(".")
    if len(parts) != 4:
        raise ValueError(f"{path.name}: expected NAME.CATEGORY.SPLIT.json")
    return parts[1], parts[2]


def picture_names(asin: str) -> tuple[str, ...]:
    """What a product's picture file may be called, in folders and in shards; ``images/`` is where
    copies of the whole set keep them, beside captions and lists."""
    files = (f"{asin}.jpg", f"{asin}.png", f"{asin}.jpeg")
    return (*files, *(f"images/{file}" for file in files), asin)
