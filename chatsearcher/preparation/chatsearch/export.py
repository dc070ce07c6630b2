"""The finished data for others: Parquet that ``datasets.load_dataset`` opens, and record shards
that training here reads.

::

    EXPORT/
      README.md                             the card
      data/t/test-000000.parquet …          dialogues, a config a task
      data/pictures/gallery-000000.parquet  every picture once: pixels, address, galleries
      training/train-000000.tar …           the same dialogues as this project's records
      prompts/                              word for word
      manifest.json                         checksums; written last

Each file appears whole or not at all; an export that was killed is made again by the same command,
with the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from chatsearcher.data.records import SplitName
from chatsearcher.dialogue import Dialogue, Image
from chatsearcher.preparation.chatsearch.card import card
from chatsearcher.preparation.chatsearch.layout import Entry
from chatsearcher.preparation.chatsearch.names import Names
from chatsearcher.preparation.chatsearch.run import Run
from chatsearcher.preparation.chatsearch.shown import load_picture
from chatsearcher.preparation.chatsearch.statistics import TASKS, statistics
from chatsearcher.preparation.convert import Settings, convert, file_sha256, write_json
from chatsearcher.preparation.dialogue_records import dialogue_example
from chatsearcher.preparation.pictures import Pictures
from chatsearcher.preparation.records import Cursor, Outcome, Picture, Reject

ROWS = 20_000
"""Dialogues of a Parquet file."""

PICTURES = 2_000
"""Pictures of a Parquet file."""

SPLITS: tuple[SplitName, ...] = ("train", "val", "test")


def export(
    run: Run,
    out: Path,
    settings: Entry,
    *,
    side: int = 512,
    pixels: bool = True,
    progress: Callable[[str], None] = lambda name: None,
) -> Entry:
    """Write everything; returns the manifest.

    Args:
        side: pictures are stored with at most so many pixels on the long side.
        pixels: whether pictures are stored at all, or their ids and addresses only.

    Raises:
        ValueError: ``out`` holds an export of other data or settings.
    """
    wanted = {"records": run.digest(), "side": side, "pixels": pixels}
    note = out / "export.json"
    if note.exists() and json.loads(note.read_text(encoding="utf-8")) != wanted:
        raise ValueError(f"{out} holds an export of other data or settings; remove it first")
    if not note.exists() and out.exists() and any(out.iterdir()):
        raise ValueError(f"{out} holds files that no export left there; give an empty folder")
    out.mkdir(parents=True, exist_ok=True)
    write_json(note, wanted)
    numbers = statistics(run.records())
    files: dict[str, dict[str, str]] = {}
    for task in TASKS:
        for split in SPLITS:
            if numbers.get(split, {}).get(task, {}).get("samples"):
                progress(f"{task}/{split}")
                _write_dialogues(run, out, task, split)
                files.setdefault(task, {})[split] = f"data/{task}/{split}-*.parquet"
    progress("pictures")
    missing = _write_pictures(run, out, side, pixels)
    files["pictures"] = {"gallery": "data/pictures/gallery-*.parquet"}
    if pixels:
        progress("training")
        training = convert(
            _Training(run, side), out / "training", lambda index: Pictures([], index), Settings()
        )
        missing["dialogues without pixels"] = sum(training.manifest["entries_rejected"].values())
    shutil.copytree(run.path / "prompts", out / "prompts", dirs_exist_ok=True)
    digest = hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()[:16]
    (out / "README.md").write_text(card(run, numbers, files, settings, digest), encoding="utf-8")
    manifest = {
        "records": wanted["records"],
        "missing": missing,
        "statistics": numbers,
        "files": {
            str(path.relative_to(out)): file_sha256(path)
            for path in sorted(out.rglob("*"))
            if path.is_file() and path.name != "manifest.json"
        },
    }
    write_json(out / "manifest.json", manifest)
    return manifest


def _write_dialogues(run: Run, out: Path, task: str, split: str) -> None:
    import pyarrow as pa

    part = pa.struct([("type", pa.string()), ("text", pa.string()), ("id", pa.string())])
    message = pa.struct([("role", pa.string()), ("content", pa.list_(part))])
    names = ("id", "kind", "source", "round", "target")
    schema = pa.schema(
        [
            *((name, pa.string()) for name in names),
            ("images", pa.list_(pa.string())),
            ("messages", pa.list_(message)),
        ]
    )

    def rows() -> Iterator[Entry]:
        for record in run.records():
            if record["task"] == task and record["split"] == split:
                yield {
                    **{name: record[name] for name in ("id", "kind", "source", "round")},
                    "target": record["target"]["id"],
                    "images": [each["id"] for each in record["pictures"]],
                    "messages": [_message(each) for each in record["messages"]],
                }

    _write_files(out / "data" / task, split, rows(), ROWS, schema)


def _message(message: Entry) -> Entry:
    parts = [
        {"type": part["type"], "text": part.get("text"), "id": part.get("id")}
        for part in message["content"]
    ]
    return {"role": message["role"], "content": parts}


def _write_pictures(run: Run, out: Path, side: int, pixels: bool) -> dict[str, int]:
    """Every picture once, in the order of their first record; returns what has no pixels."""
    from datasets import Features, Image, List, Value

    text = Value("string")
    features = Features(
        {
            "id": text,
            "image": Image(),
            "url": text,
            "caption": text,
            "galleries": List(text),
        }
    )
    missing: dict[str, int] = {}
    galleries = [f"{split}/{task}" for split in SPLITS for task in TASKS]
    with Names() as names:
        for record in run.records():
            target = record["target"]
            bit = 1 << galleries.index(f"{record['split']}/{record['task']}")
            for picture in (*record["pictures"], target):
                about = [picture["source"], picture["url"], record["captions"].get(picture["id"])]
                names.add(
                    picture["id"], json.dumps(about), bit if picture["id"] == target["id"] else 0
                )

        def rows() -> Iterator[Entry]:
            for id, note, bits in names.items():
                source, url, caption = json.loads(note)
                data = None
                if pixels:
                    try:
                        data = _jpeg(source, side).data
                    except (FileNotFoundError, ValueError) as error:
                        reason = "no pixels here" if source is None else type(error).__name__
                        missing[reason] = missing.get(reason, 0) + 1
                yield {
                    "id": id,
                    "image": None if data is None else {"bytes": data, "path": None},
                    "url": url,
                    "caption": caption,
                    "galleries": [g for place, g in enumerate(galleries) if bits >> place & 1],
                }

        _write_files(out / "data" / "pictures", "gallery", rows(), PICTURES, features.arrow_schema)
    return missing


def _write_files(folder: Path, name: str, rows: Iterable[Entry], size: int, schema: Any) -> None:
    """Rows as numbered Parquet files, written in groups of a hundred so that memory stays flat."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    source = iter(rows)
    number = 0
    while first := list(islice(source, 100)):
        path = folder / f"{name}-{number:06d}.parquet"
        number += 1
        draft = folder / f".{path.name}.draft"
        left = size - len(first)
        with pq.ParquetWriter(draft, schema) as writer:
            writer.write_table(pa.Table.from_pylist(first, schema=schema))
            while left > 0 and (group := list(islice(source, min(100, left)))):
                writer.write_table(pa.Table.from_pylist(group, schema=schema))
                left -= len(group)
        draft.replace(path)


def _jpeg(source: str | None, side: int) -> Picture:
    if source is None:
        raise ValueError("no pixels here")
    small = load_picture(source)
    if max(small.size) > side:
        small.thumbnail((side, side))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=92)
    return Picture(buffer.getvalue(), "jpg", *small.size)


class _Training:
    """The dialogues with their answers, as a set for ``convert``."""

    inputs: Sequence[Path] = ()
    shards: Sequence[Path] = ()

    def __init__(self, run: Run, side: int) -> None:
        self.name = "chatsearch"
        self.run = run
        self.side = side
        self.expected: dict[str, int] = {}

    def facts(self) -> dict[str, int]:
        return {}

    def outcomes(self, start: Cursor | None, pictures: Pictures) -> Iterator[Outcome]:
        first = start[0] if start else 0
        for place, record in enumerate(islice(self.run.records(), first, None), start=first):
            cursor = [place + 1]
            try:
                shown = {
                    each["id"]: _jpeg(each["source"], self.side)
                    for each in (*record["pictures"], record["target"])
                }
            except (FileNotFoundError, ValueError) as error:
                yield Outcome(cursor, [], [Reject(record["id"], "no pixels", str(error))])
                continue
            dialogue = Dialogue.from_messages(record["messages"], record["id"])
            dialogue = dialogue.assistant(Image(record["target"]["id"]))
            about = {name: record[name] for name in ("task", "kind", "round")}
            example = dialogue_example(record["split"], dialogue, shown, **about)
            counts = {f"{record['split']} {record['task']}": 1}
            yield Outcome(cursor, [example], [], counts)
