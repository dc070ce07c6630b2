"""The products' own texts: McAuley's Amazon metadata, a product a line.

    {"asin": "B004L2L8IC", "title": "…", "description": "…", "feature": […], "imUrl": "…"}

The 2014 files write each line as a Python literal, the later ones as JSON; both are read.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chatsearcher.preparation.fashion_iq.layout import names_of
from chatsearcher.preparation.lines import find_files, read_lines
from chatsearcher.preparation.records import Reject

_WORD = re.compile(r"[a-z0-9]+")
_TEXTS = ("title", "summary", "description", "feature", "features")


@dataclass(frozen=True)
class Product:
    """A product's words."""

    asin: str
    title: str
    text: str


def words(text: str) -> list[str]:
    """Lower-case words; hyphens part them, so that "A-line" and "a line" are the same."""
    return _WORD.findall(text.lower())


def read_products(
    files: Sequence[Path], wanted: Collection[str] | None = None
) -> Iterator[Product | Reject]:
    """The products of metadata files (plain, gzip, zip), or those of them that are wanted."""
    for line in read_lines(files):
        if line.data is None:
            yield Reject(line.where, "line too long")
            continue
        try:
            entry = _entry(line.data.decode("utf-8"))
        except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
            yield Reject(line.where, "broken line", str(error))
            continue
        asin = entry.get("asin") if isinstance(entry, dict) else None
        if not isinstance(asin, str):
            yield Reject(line.where, "no asin")
        elif wanted is None or asin in wanted:
            title = entry.get("title")
            texts = [_text(entry.get(name)) for name in _TEXTS]
            yield Product(
                asin, title if isinstance(title, str) else "", "\n".join(t for t in texts if t)
            )


def read_image_lists(folder: Path) -> dict[tuple[str, str], list[str]]:
    """(category, split) -> the products of ``image_splits/split.….json``."""
    source = folder / "image_splits" if (folder / "image_splits").is_dir() else folder
    lists = {}
    for path in find_files(source, "split.*.*.json"):
        ids = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(ids, list) or not all(isinstance(each, str) for each in ids):
            raise ValueError(f"{path}: expected a list of strings")
        lists[names_of(path)] = ids
    return lists


def _entry(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        if not text.lstrip().startswith("{"):
            raise
        return ast.literal_eval(text)  # a literal: nothing in it is run


def _text(value: Any) -> str:
    if isinstance(value, list):
        return "\n".join(each for each in value if isinstance(each, str))
    return value if isinstance(value, str) else ""
