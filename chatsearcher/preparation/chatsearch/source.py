"""Stage 1, ``source``: pictures with one caption each, from which everything else is built.

Sources are folders of WebDataset shards (our records, img2dataset's; pictures with ``.txt`` and
``.json``), single ``.tar`` files, or ``world:SPLIT:COUNT[:SEED]``. A picture's split is what its
JSON says under ``split``, else what its shard is named after (``test-000000.tar``); lists of file
names (Karpathy's) go before both.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from chatsearcher.data.records import BrokenRecord
from chatsearcher.data.tar_index import StoredRecord, read_shard
from chatsearcher.preparation.chatsearch.layout import Entry
from chatsearcher.preparation.chatsearch.names import Names
from chatsearcher.preparation.chatsearch.shown import (
    load_picture,
    own_name,
    picture_entry,
    signature,
)
from chatsearcher.preparation.chatsearch.stage import Plan, Result
from chatsearcher.preparation.converters.coco import read_list
from chatsearcher.registry import Registry

CAPTIONED = Registry("captioned source", {"world": "chatsearcher.world.captioned:captioned"})
"""name -> function("SPLIT:COUNT[:SEED]") -> (picture id, caption, split) after another."""

PLAN = Plan(batch=20, window=4)
SPLITS = ("train", "restval", "val", "test")


@dataclass(frozen=True)
class SourceOptions:
    """What is taken of the sources.

    Attributes:
        specs: folders, shards, or ``world:…``.
        texts: where captions are: ``txt``, or fields of the JSON (strings, lists of strings). One
            of all of them is drawn for a picture.
        where: JSON field -> values; other pictures are passed over.
        below: JSON field -> number; pictures that have not less are passed over.
        lists: split -> file of picture names, a name a line.
        limit: so many pictures of each source at most (0: all).
    """

    specs: tuple[str, ...]
    texts: tuple[str, ...] = ("txt", "captions")
    where: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    below: Mapping[str, float] = field(default_factory=dict)
    lists: tuple[tuple[str, str], ...] = ()
    limit: int = 0


def source_settings(options: SourceOptions, seed: int) -> Entry:
    """What decides the stage's output."""
    sizes = {
        path.name: path.stat().st_size for spec in options.specs for path in _shards(spec) or []
    }
    return {
        "sources": list(options.specs),
        "files": sizes,
        "texts": list(options.texts),
        "where": {key: list(values) for key, values in options.where.items()},
        "below": dict(options.below),
        "lists": [[split, Path(path).name] for split, path in options.lists],
        "limit": options.limit,
        "seed": seed,
    }


def source_inputs(options: SourceOptions) -> Iterator[Entry]:
    """The sources' entries, pictures not decoded; a name that comes again is marked so."""
    lists = _split_lists(options.lists)
    with Names() as names:
        for spec in options.specs:
            entries = _entries(spec, options)
            for entry in islice(entries, options.limit or None):
                entry["doubled"] = not names.add(entry["id"])
                entry["split"] = next(
                    (lists[name] for name in entry.pop("names") if name in lists), entry["split"]
                )
                yield entry


async def source_work(entries: Sequence[Entry], seed: int) -> list[Result]:
    return list(await asyncio.gather(*(asyncio.to_thread(_take, each, seed) for each in entries)))


def _take(entry: Entry, seed: int) -> Result:
    """One picture with one caption, or why not."""
    id = entry["id"]
    if entry["doubled"]:
        return Result.drop(id, "doubled", source=entry["source"])
    if entry.get("problem"):
        return Result.drop(id, "unreadable", source=entry["source"], problem=entry["problem"])
    captions = [words for text in entry["captions"] if (words := " ".join(text.split()))]
    if not captions:
        return Result.drop(id, "no caption", source=entry["source"])
    try:
        mark = signature(load_picture(entry["source"]))
    except (FileNotFoundError, ValueError) as error:
        return Result.drop(id, "unreadable", source=entry["source"], problem=str(error))
    caption = random.Random(f"caption {seed} {id}").choice(captions)
    return Result.keep(
        {
            "id": id,
            "split": entry["split"],
            "picture": picture_entry(id, entry["source"], signature=mark),
            "caption": caption,
        }
    )


def _entries(spec: str, options: SourceOptions) -> Iterator[Entry]:
    name, colon, arguments = spec.partition(":")
    if colon and name in CAPTIONED and not Path(spec).exists():
        for id, caption, split in CAPTIONED[name](arguments):
            yield {
                "id": id,
                "source": f"{name}:{id}",
                "captions": [caption],
                "split": split,
                "names": [],
            }
        return
    for path in _shards(spec) or ():
        shard = read_shard(path)
        for record in shard.records:
            entry = _entry(path, record, options)
            if entry is not None:
                yield entry
        if shard.problem:
            yield _unusable(path.name, path, "train", shard.problem)


def _entry(path: Path, record: StoredRecord, options: SourceOptions) -> Entry | None:
    """A record as an input; None where the user's conditions pass it over."""
    named = path.name.partition("-")[0]
    split = named if named in SPLITS else "train"
    id = f"{path.stem}/{record.key}"
    try:
        about = record.metadata()
        texts = _texts(record, about, options.texts)
    except BrokenRecord as error:
        return _unusable(id, path, split, str(error))
    if any(about.get(key) not in values for key, values in options.where.items()):
        return None
    for key, bound in options.below.items():
        value = about.get(key)
        if not isinstance(value, (int, float)) or not value < bound:
            return None
    pictures = record.pictures
    source = f"{path}#{record.key}.{pictures[0]}" if pictures else str(path)
    entry: Entry = {
        "id": own_name(about, record.key),
        "source": source,
        "captions": texts,
        "split": about["split"] if about.get("split") in SPLITS else split,
        "names": [_base(each) for each in _file_names(about, record.key)],
    }
    if not pictures:
        entry["problem"] = "no picture"
    return entry


def _unusable(id: str, path: Path, split: str, problem: str) -> Entry:
    return {
        "id": id,
        "source": str(path),
        "captions": [],
        "split": split,
        "names": [],
        "problem": problem,
    }


def _texts(record: StoredRecord, about: dict[str, Any], fields: Sequence[str]) -> list[str]:
    found: list[str] = []
    for name in fields:
        value = record.text() if name == "txt" else about.get(name)
        found += [each for each in (value if isinstance(value, list) else [value]) if each]
    return list(dict.fromkeys(each for each in found if isinstance(each, str)))


def _file_names(about: dict[str, Any], key: str) -> list[str]:
    """What a list may call the picture. An address is no such name: its last part may look like
    one of COCO's numbers."""
    stated = (about.get(name) for name in ("file_name", "filename", "image_name", "id", "key"))
    return [*(str(each) for each in stated if isinstance(each, (str, int))), key]


def _base(name: str) -> str:
    """``val2014/COCO_val2014_000000253964.jpg`` -> ``253964``; other names without folder and
    ending. COCO's numbers are written with and without their year and zeros."""
    stem = name.rpartition("/")[2].partition(".")[0]
    digits = stem.rpartition("_")[2].lstrip("0")
    return digits if digits.isdigit() else stem


def _split_lists(lists: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Name -> split.

    Raises:
        ValueError: a picture in two lists.
    """
    found: dict[str, str] = {}
    for split, path in lists:
        for name in read_list(Path(path)):
            if found.setdefault(_base(name), split) != split:
                raise ValueError(f"{path}: {name} is in the list of {found[_base(name)]} too")
    return found


def _shards(spec: str) -> list[Path] | None:
    """The shards behind a spec; None for procedural sources.

    Raises:
        FileNotFoundError: there are none.
    """
    name, colon, _ = spec.partition(":")
    path = Path(spec)
    if colon and name in CAPTIONED and not path.exists():
        return None
    if path.is_file() and path.suffix == ".tar":
        return [path]
    found = sorted(path.glob("*.tar")) if path.is_dir() else []
    if not found:
        raise FileNotFoundError(
            f"no pictures with captions in {spec}: expected a folder of .tar shards (make them "
            "with `chatsearcher prepare coco` or another converter), or world:SPLIT:COUNT"
        )
    return found
