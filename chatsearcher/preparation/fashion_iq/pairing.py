"""Which picture each target is compared with: the one of the most similar title (paper, 3.2).

Within a category and split, the reference of a target is the product whose title shares with the
target's the words of the largest sum of TF-IDF weights. The paper does not say in which of the two
titles a word's weight is taken; here it is the target's: tf(word, target) · ln(N / df(word)). Equal
sums: the one that comes first in the list.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from chatsearcher.preparation.convert import file_sha256
from chatsearcher.preparation.fashion_iq.products import (
    Product,
    read_image_lists,
    read_products,
    words,
)
from chatsearcher.preparation.lines import find_files


@dataclass(frozen=True)
class Pair:
    """A target, its reference, and why: the words both titles have, heaviest first."""

    target: str
    reference: str
    score: float
    shared: tuple[str, ...]


def pair_titles(
    ids: Sequence[str], titles: Sequence[str], targets: Collection[str] | None = None
) -> Iterator[Pair]:
    """The reference of each target; targets that share no word of any weight have none.

    Args:
        ids, titles: the products of one category and split; references are sought among all.
        targets: whose references are sought; None means all.
    """
    counts = [Counter(words(title)) for title in titles]
    rows: dict[str, list[int]] = {}
    for row, counted in enumerate(counts):
        for word in counted:
            rows.setdefault(word, []).append(row)
    postings = {word: np.array(found, dtype=np.int64) for word, found in rows.items()}
    for row, counted in enumerate(counts):
        if targets is not None and ids[row] not in targets:
            continue
        weights = {
            word: counted[word] * math.log(len(ids) / len(postings[word]))
            for word in sorted(counted)
        }
        scores = np.zeros(len(ids))
        for word, weight in weights.items():
            scores[postings[word]] += weight
        scores[row] = -1.0
        best = int(scores.argmax())
        if scores[best] <= 0:
            continue
        shared = sorted(set(weights) & set(counts[best]), key=lambda word: (-weights[word], word))
        yield Pair(ids[row], ids[best], float(scores[best]), tuple(shared))


def choose(ids: Sequence[str], count: int, seed: int) -> set[str]:
    """``count`` of the ids at random, the same ones for the same seed; 0 means all."""
    if not count or count >= len(ids):
        return set(ids)
    return set(sorted(ids, key=lambda id: hashlib.sha256(f"{seed}/{id}".encode()).digest())[:count])


class Pairing:
    """``chatsearcher prepare fashion-iq-pairs``"""

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
        parser.add_argument("--out", required=True, type=Path, metavar="FILE.jsonl")
        parser.add_argument(
            "--targets",
            type=int,
            default=10_000,
            metavar="N",
            help="per category, at random (the paper's number; 0: all)",
        )
        parser.add_argument("--seed", type=int, default=0)

    def run(self, arguments: argparse.Namespace) -> int:
        lists = read_image_lists(arguments.source)
        wanted = {asin for ids in lists.values() for asin in ids}
        titles, unread = _titles(arguments.products, wanted)
        draft = arguments.out.with_name(f".{arguments.out.name}.draft")
        draft.parent.mkdir(parents=True, exist_ok=True)
        lines: list[str] = []
        with open(draft, "w", encoding="utf-8") as out:
            for category in sorted({category for category, _ in lists}):
                every = [a for (c, _), ids in sorted(lists.items()) if c == category for a in ids]
                targets = choose(every, arguments.targets, arguments.seed)
                for (own, split), ids in sorted(lists.items()):
                    if own != category:
                        continue
                    known = [asin for asin in ids if asin in titles]
                    found = 0
                    for pair in pair_titles(known, [titles[a] for a in known], targets):
                        record = {"category": category, "split": split, **pair.__dict__}
                        out.write(json.dumps(record, ensure_ascii=False) + "\n")
                        found += 1
                    asked = sum(asin in targets for asin in ids)
                    lines.append(
                        f"  {category} {split}: {found:,} pairs of {asked:,} targets "
                        f"({len(ids) - len(known):,} of {len(ids):,} products without a title)"
                    )
        draft.replace(arguments.out)
        print("\n".join(["fashion-iq-pairs:", *lines]))
        if unread:
            print(f"  {unread:,} lines of the products could not be read")
        print(f"  sha256 {file_sha256(arguments.out)}  {arguments.out.name}")
        return 0


def _titles(source: Path, wanted: Collection[str]) -> tuple[dict[str, str], int]:
    """asin -> title, and how many lines could not be read."""
    titles: dict[str, str] = {}
    unread = 0
    files = find_files(source, "*.json", "*.json.gz", "*.jsonl", "*.jsonl.gz")
    for product in read_products(files, wanted):
        if not isinstance(product, Product):
            unread += 1
        elif product.title.strip():
            titles.setdefault(product.asin, product.title)
    return titles, unread


PREPARATION = Pairing()
