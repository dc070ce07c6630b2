"""Attribute labels of products from their own texts; a vocabulary in five groups (paper, 3.1).

The vocabulary is DeepFashion's (``list_attr_cloth.txt``: the number of attributes, a line of names,
then an attribute and the number of its group a line). A label is present if its word, or its words
in a row, stand at least once in the product's title, summary or description. What is written has
the published layout: ``asin2attr.<category>.<split>.json``, ``{asin: [six lists]}``, the first of
which is the category.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from chatsearcher.preparation.convert import file_sha256, write_json
from chatsearcher.preparation.fashion_iq.layout import GROUPS
from chatsearcher.preparation.fashion_iq.products import (
    Product,
    read_image_lists,
    read_products,
    words,
)
from chatsearcher.preparation.lines import find_files

VOCABULARY_SIZE = 1000
"""Labels of the paper's vocabulary."""


@dataclass(frozen=True)
class Vocabulary:
    """Attributes in their published order, each in a group.

    Attributes:
        names: the attributes; a label's number is its place here.
        groups: the group of each: texture, fabric, shape, part or style.
    """

    names: tuple[str, ...]
    groups: tuple[str, ...]
    _phrases: dict[str, list[tuple[tuple[str, ...], int]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for number, name in enumerate(self.names):
            phrase = tuple(words(name))
            if phrase:
                self._phrases.setdefault(phrase[0], []).append((phrase, number))

    def labels(self, text: str) -> list[int]:
        """The numbers of the attributes whose words stand in a text, in order."""
        said = words(text)
        found = {
            number
            for place, word in enumerate(said)
            for phrase, number in self._phrases.get(word, ())
            if tuple(said[place : place + len(phrase)]) == phrase
        }
        return sorted(found)

    def by_group(self, labels: Sequence[int]) -> list[list[str]]:
        """Five lists of words, in the order of ``GROUPS``."""
        return [[self.names[n] for n in labels if self.groups[n] == g] for g in GROUPS]


def read_vocabulary(path: Path) -> Vocabulary:
    """DeepFashion's ``list_attr_cloth.txt``.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another layout, or another number of attributes than the file itself says.
    """
    names: list[str] = []
    groups: list[str] = []
    with open(path, encoding="utf-8") as lines:
        first = next(lines, "").strip()
        next(lines, "")
        for number, line in enumerate(lines, start=3):
            if not line.strip():
                continue
            name, _, group = line.strip().rpartition(" ")
            if not name.strip() or group not in ("1", "2", "3", "4", "5"):
                raise ValueError(
                    f"{path}, line {number}: {line.strip()!r}; expected an attribute and the "
                    f"number of its group, 1 to 5 ({', '.join(GROUPS)})"
                )
            names.append(name.strip())
            groups.append(GROUPS[int(group) - 1])
    if not first.isdigit() or int(first) != len(names):
        raise ValueError(f"{path}: its first line says {first!r} attributes, it has {len(names)}")
    return Vocabulary(tuple(names), tuple(groups))


class Extraction:
    """``chatsearcher prepare fashion-iq-attributes``"""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--source", required=True, type=Path, metavar="FOLDER", help="with image_splits/"
        )
        parser.add_argument(
            "--products",
            required=True,
            type=Path,
            metavar="PATH",
            help="McAuley's metadata, a product a line (a file or a folder; .json, .json.gz)",
        )
        parser.add_argument(
            "--vocabulary", required=True, type=Path, metavar="FILE", help="list_attr_cloth.txt"
        )
        parser.add_argument("--out", required=True, type=Path, metavar="FOLDER")

    def run(self, arguments: argparse.Namespace) -> int:
        vocabulary = read_vocabulary(arguments.vocabulary)
        lists = read_image_lists(arguments.source)
        wanted = {asin for ids in lists.values() for asin in ids}
        files = find_files(arguments.products, "*.json", "*.json.gz", "*.jsonl", "*.jsonl.gz")
        labels: dict[str, list[int]] = {}
        unread = 0
        for product in read_products(files, wanted):
            if isinstance(product, Product):
                labels.setdefault(product.asin, vocabulary.labels(product.text))
            else:
                unread += 1
        arguments.out.mkdir(parents=True, exist_ok=True)
        size = len(vocabulary.names)
        differs = "" if size == VOCABULARY_SIZE else f" (DIFFERS: published {VOCABULARY_SIZE:,})"
        print(f"fashion-iq-attributes: {size:,} attributes{differs}")
        counts = Counter(vocabulary.groups)
        print("  " + ", ".join(f"{group} {counts[group]}" for group in GROUPS))
        for (category, split), ids in sorted(lists.items()):
            known = {asin: labels[asin] for asin in ids if asin in labels}
            path = arguments.out / f"asin2attr.{category}.{split}.json"
            write_json(
                path,
                {asin: [[category], *vocabulary.by_group(own)] for asin, own in known.items()},
            )
            mean = sum(map(len, known.values())) / max(1, len(known))
            none = sum(not own for own in known.values())
            print(
                f"  {category} {split}: {len(known):,} of {len(ids):,} products have a text, "
                f"{none:,} of them no label; {mean:.1f} labels each\n"
                f"    sha256 {file_sha256(path)}  {path.name}"
            )
        if unread:
            print(f"  {unread:,} lines of the products could not be read")
        return 0


PREPARATION = Extraction()


def read_attributes(path: Path) -> dict[str, list[list[str]]]:
    """``asin2attr.….json``: asin -> six lists of words.

    Raises:
        ValueError: another layout.
    """
    found = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise ValueError(f"{path}: expected an object, got {type(found).__name__}")
    for asin, lists in found.items():
        if not isinstance(lists, list) or len(lists) != 1 + len(GROUPS):
            raise ValueError(f"{path}: {asin}: expected {1 + len(GROUPS)} lists of words")
    return found
