"""Data sets made ready for training: ``chatsearcher prepare NAME``.

A preparation is an object with ``add_arguments(parser)`` and ``run(arguments)``, which returns the
exit code; its module keeps it under the name ``PREPARATION``. Nothing is imported before its name
is asked for. To add one, write the module and give it a line in ``TABLE``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from chatsearcher.registry import Registry


class Preparation(Protocol):
    """What stands behind a name."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...

    def run(self, arguments: argparse.Namespace) -> int: ...


_SETS = "chatsearcher.preparation.converters"

# name -> (module, one line of help)
TABLE: dict[str, tuple[str, str]] = {
    "cc3m": (f"{_SETS}.cc3m", "CC3M: img2dataset's shards, or its TSV and pictures"),
    "pairs": (f"{_SETS}.pairs", "any WebDataset shards of pictures with captions"),
    "mmc4": (f"{_SETS}.mmc4", "mmc4 documents: JSONL (plain, gzip, zip) and image shards"),
    "llava": (f"{_SETS}.llava", "LLaVA-Instruct-150k and LLaVA-665k"),
    "instructpix2pix": (f"{_SETS}.instructpix2pix", "InstructPix2Pix triplets as requests"),
    "visdial": (f"{_SETS}.visdial", "VisDial v1.0"),
    "fashion-iq": (f"{_SETS}.fashion_iq", "Fashion IQ captions, splits, attributes and links"),
    "cirr": (f"{_SETS}.cirr", "CIRR rc2"),
    "karpathy": (f"{_SETS}.karpathy", "Flickr30K and COCO captions, Karpathy's JSON"),
    "coco": (f"{_SETS}.coco", "COCO-style folders: annotations/captions_*.json and pictures"),
    "hub": (f"{_SETS}.hub", "a set of the Hugging Face hub by name, or Parquet files"),
    "fashion-iq-links": (
        "chatsearcher.preparation.fashion_iq.links",
        "which pictures of Fashion IQ are missing, as a list for img2dataset",
    ),
    "fashion-iq-pairs": (
        "chatsearcher.preparation.fashion_iq.pairing",
        "reference pictures for products, by TF-IDF of their titles",
    ),
    "fashion-iq-attributes": (
        "chatsearcher.preparation.fashion_iq.attributes",
        "attribute labels of products, from their texts and a vocabulary in five groups",
    ),
    "fashion-iq-predictor": (
        "chatsearcher.preparation.fashion_iq.predictor",
        "the attribute predictor's training data (DeepFashion, Fashion IQ)",
    ),
    "chatsearch": (
        "chatsearcher.preparation.chatsearch.command",
        "dialogues that lead to pictures, by the ChatSearch construction pipeline",
    ),
}

PREPARATIONS = Registry(
    "preparation", {name: f"{module}:PREPARATION" for name, (module, _) in TABLE.items()}
)


def prepare(name: str, words: Sequence[str]) -> int:
    """Run a preparation with the words of its command line; returns the exit code.

    Raises:
        ValueError: an unknown name; the message offers the nearest known one.
    """
    preparation: Preparation = PREPARATIONS[name]
    parser = argparse.ArgumentParser(
        prog=f"chatsearcher prepare {name}", description=TABLE[name][1]
    )
    preparation.add_arguments(parser)
    return preparation.run(parser.parse_args(words))


def attempt(name: str, words: Sequence[str]) -> int:
    """The same for one set among several: an error is printed, and the others get their turn."""
    try:
        return prepare(name, words)
    except (ValueError, OSError, ImportError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1


def prepare_all(sets: Mapping[str, tuple[str, ...]], downloads: Path, out: Path) -> int:
    """Several sets, one after the other: ``downloads/NAME`` -> ``out/NAME``.

    Args:
        sets: folder -> the preparation's name and its further words. Folders that are not there
            are passed over, and said so.

    Returns:
        0 where every set that is there was prepared, and one was there.
    """
    if not any((downloads / folder).exists() for folder in sets):
        print(f"nothing of {', '.join(sets)} in {downloads}", file=sys.stderr)
        return 1
    failed = 0
    for folder, (name, *words) in sets.items():
        source = downloads / folder
        if not source.exists():
            print(f"{folder}: not in {downloads}, passed over")
            continue
        code = attempt(name, ["--source", str(source), "--out", str(out / folder), *words])
        failed += code != 0
    return int(failed > 0)
