"""The one loop behind every converter: entries in, record shards out, taken up again after a kill.

What is written depends on the published files and the settings alone, so a run that was killed and
started again leaves the same bytes as one that never stopped. A folder of records holds

- ``<split>-000000.tar``: WebDataset shards, one record a sample;
- ``shards.jsonl``: name, records, bytes and sha256 of each;
- ``rejects.jsonl``: every entry, or part of one, that was left out, and why;
- ``manifest.json``: counts and checksums, written when everything is there.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from chatsearcher.preparation.pictures import Pictures
from chatsearcher.preparation.records import Cursor, Example, Outcome, Reject, member
from chatsearcher.preparation.shard_writer import Finished, ShardWriter

FORMAT = 1
"""Raised when the records' format changes: a folder of another number is not gone on with."""

SHOWN = 12
"""Input files whose checksums are printed."""

PROGRESS = "progress.json"
MANIFEST = "manifest.json"
INDEX = ".pictures.sqlite"
_FIRST = {"shards.jsonl", "rejects.jsonl", f".{PROGRESS}.draft"}
"""What a run that is killed before its first checkpoint leaves behind."""


class Converter(Protocol):
    """A reader of one set.

    Attributes:
        name: of the set.
        inputs: the annotation files; their sizes and checksums go into the manifest.
        shards: files whose sizes only are looked at: a set of shards is too large to be hashed.
        expected: counts that the set's authors or papers print: name -> number. They are compared
            with what was counted under the same name.
    """

    name: str
    inputs: Sequence[Path]
    shards: Sequence[Path]
    expected: dict[str, int]

    def outcomes(self, start: Cursor | None, pictures: Pictures) -> Iterator[Outcome]:
        """Everything after a place, entry by entry; None begins at the beginning."""
        ...

    def facts(self) -> dict[str, int]:
        """Counts that are not of entries: of lists, of files. ``Outcome.counts`` come on top."""
        ...


@dataclass
class Tally:
    """What has been counted so far; plain, so that it lasts."""

    entries: int = 0
    records: dict[str, int] = field(default_factory=dict)
    pictures: dict[str, int] = field(default_factory=dict)
    entries_rejected: dict[str, int] = field(default_factory=dict)
    parts_rejected: dict[str, int] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, outcome: Outcome) -> None:
        self.entries += 1
        for name, count in outcome.counts.items():
            _count(self.counts, name, count)
        for example in outcome.examples:
            _count(self.records, example.split)
            _count(self.pictures, example.split, len(example.pictures))
        for reject in outcome.rejects:
            _count(self.parts_rejected if reject.part else self.entries_rejected, reject.kind)


def _count(table: dict[str, int], name: str, by: int = 1) -> None:
    table[name] = table.get(name, 0) + by


@dataclass(frozen=True)
class Settings:
    """How to write.

    Attributes:
        limit: read so many entries at most (0: all).
        take: stop after so many records (0: all).
        own: the converter's own settings.
        commit_every: entries between two checkpoints; changes nothing in what is written.
    """

    records_per_shard: int = 1000
    max_side: int = 0
    limit: int = 0
    take: int = 0
    own: dict[str, Any] = field(default_factory=dict)
    commit_every: int = 1000


@dataclass
class Report:
    """What a conversion gave.

    Attributes:
        manifest: what ``manifest.json`` holds.
        resumed: begun by a former run.
        finished_before: finished by a former run; nothing was done.
    """

    manifest: dict[str, Any]
    resumed: bool = False
    finished_before: bool = False

    @property
    def differences(self) -> list[str]:
        """The names of counts that are not what was published."""
        counts, expected = self.manifest["counts"], self.manifest["expected"]
        return [name for name, count in expected.items() if counts.get(name, 0) != count]

    def lines(self) -> list[str]:
        """For people: counts, checks, checksums."""
        about = self.manifest
        lines = [f"{about['name']}: {about['entries']:,} entries read"]
        for split, records in sorted(about["records"].items()):
            lines.append(
                f"  {split}: {records:,} records, {about['pictures'][split]:,} pictures, "
                f"{about['shards'][split]} shards"
            )
        for what, table in (
            ("entries left out", about["entries_rejected"]),
            ("parts of entries left out", about["parts_rejected"]),
        ):
            if table:
                lines.append(f"  {what}: {sum(table.values()):,} (rejects.jsonl)")
                lines += [f"    {kind}: {count:,}" for kind, count in sorted(table.items())]
        expected = about["expected"]
        for name, count in about["counts"].items():
            verdict = ""
            if name in expected:
                same = count == expected[name]
                verdict = " (as published)" if same else f" (DIFFERS: published {expected[name]:,})"
            lines.append(f"  {name}: {count:,}{verdict}")
        for file in about["inputs"][:SHOWN]:
            lines.append(f"  sha256 {file['sha256']}  {file['name']}")
        if len(about["inputs"]) > SHOWN:
            lines.append(f"  … and {len(about['inputs']) - SHOWN} more ({MANIFEST})")
        lines.append(f"  sha256 {about['sha256']}  all shards")
        return lines


def convert(
    converter: Converter,
    out: Path,
    pictures: Callable[[Path], Pictures],
    settings: Settings | None = None,
    progress: Callable[[int], None] | None = None,
) -> Report:
    """Write a set's records into the folder ``out``; go on where a former run was stopped.

    Args:
        pictures: (a place for an index) -> where the pictures are.
        progress: called with the number of entries read so far.

    Raises:
        ValueError: ``out`` holds something else, or was begun with other settings or files.
    """
    settings = settings or Settings()
    fingerprint = {
        "format": FORMAT,
        "name": converter.name,
        "settings": {k: v for k, v in asdict(settings).items() if k != "commit_every"},
        "files": _sizes([*converter.inputs, *converter.shards]),
    }
    if (out / MANIFEST).exists():
        manifest = json.loads((out / MANIFEST).read_text(encoding="utf-8"))
        _same(out, manifest["fingerprint"], fingerprint)
        for leftover in (PROGRESS, INDEX):  # killed in its last moment
            (out / leftover).unlink(missing_ok=True)
        return Report(manifest, resumed=True, finished_before=True)
    writer = _Output(out, settings, fingerprint)
    store = pictures(out / INDEX)
    try:
        for _ in store.index():
            pass
        for outcome in converter.outcomes(writer.cursor, store):
            if writer.enough:
                break
            writer.take(outcome)
            if progress:
                progress(writer.tally.entries)
        report = Report(_finish(writer, converter, fingerprint), writer.resumed)
    finally:
        store.close()
        writer.close()
    store.remove_index()
    return report


class _Output:
    """The folder being written, and its checkpoints."""

    def __init__(self, out: Path, settings: Settings, fingerprint: dict[str, Any]) -> None:
        self.out = out
        self.settings = settings
        self.fingerprint = fingerprint
        self.cursor: Cursor | None = None
        self.tally = Tally()
        self.sizes = {"shards.jsonl": 0, "rejects.jsonl": 0}
        self.resumed = (out / PROGRESS).exists()
        states: dict[str, Any] = {}
        if self.resumed:
            state = json.loads((out / PROGRESS).read_text(encoding="utf-8"))
            _same(out, state["fingerprint"], fingerprint)
            self.cursor, self.sizes, states = state["cursor"], state["sizes"], state["splits"]
            self.tally = Tally(**state["tally"])
        elif out.exists() and any(path.name not in _FIRST for path in out.iterdir()):
            raise ValueError(
                f"{out} holds files that no conversion of {fingerprint['name']} left there; give "
                "an empty folder, or remove it"
            )
        out.mkdir(parents=True, exist_ok=True)
        self.shards = {
            split: ShardWriter(out, split, settings.records_per_shard, states.get(split))
            for split in ("train", "val", "test")
        }
        self.files = {name: open(out / name, "ab") for name in self.sizes}  # noqa: SIM115
        for name, size in self.sizes.items():
            self.files[name].truncate(size)
        self.pending = 0
        self._commit()

    @property
    def enough(self) -> bool:
        limit, take, tally = self.settings.limit, self.settings.take, self.tally
        return bool(limit and tally.entries >= limit) or bool(
            take and sum(tally.records.values()) >= take
        )

    def take(self, outcome: Outcome) -> None:
        finished = [
            shard for example in outcome.examples if (shard := self._write(example)) is not None
        ]
        for reject in outcome.rejects:
            self._line("rejects.jsonl", _plain(reject))
        self.tally.add(outcome)
        self.cursor = outcome.cursor
        self.pending += 1
        for shard in finished:
            self._line("shards.jsonl", asdict(shard))
        if finished or self.pending >= self.settings.commit_every:
            self._commit()

    def finish(self) -> None:
        for writer in self.shards.values():
            if (shard := writer.finish()) is not None:
                self._line("shards.jsonl", asdict(shard))
        for file in self.files.values():
            file.flush()
            os.fsync(file.fileno())

    def close(self) -> None:
        for writer in self.shards.values():
            writer.close()
        for file in self.files.values():
            file.close()

    def _write(self, example: Example) -> Finished | None:
        writer = self.shards[example.split]
        key = f"{example.split}-{writer.number:06d}-{writer.records:05d}"
        members = []
        for number, picture in enumerate(example.pictures):
            single = example.text is not None
            name = picture.suffix if single else member(number, picture)
            members.append((name, picture.data))
        if example.text is not None:
            members.append(("txt", _utf8(example.text)))
        about = json.dumps(example.about, ensure_ascii=False, sort_keys=True)
        members.append(("json", _utf8(about)))
        return writer.write(key, members)

    def _line(self, name: str, value: dict[str, Any]) -> None:
        data = _utf8(json.dumps(value, ensure_ascii=False) + "\n")
        self.files[name].write(data)
        self.sizes[name] += len(data)

    def _commit(self) -> None:
        """Everything so far is on the disk before the note that says so."""
        for file in self.files.values():
            file.flush()
            os.fsync(file.fileno())
        state = {
            "fingerprint": self.fingerprint,
            "cursor": self.cursor,
            "sizes": self.sizes,
            "tally": asdict(self.tally),
            "splits": {split: writer.checkpoint() for split, writer in self.shards.items()},
        }
        write_json(self.out / PROGRESS, state)
        self.pending = 0


def _finish(writer: _Output, converter: Converter, fingerprint: dict[str, Any]) -> dict[str, Any]:
    writer.finish()
    listed = (writer.out / "shards.jsonl").read_bytes()
    shards = Counter(json.loads(line)["name"].rsplit("-", 1)[0] for line in listed.splitlines())
    manifest = {
        "name": converter.name,
        **asdict(writer.tally),
        "counts": {**converter.facts(), **writer.tally.counts},
        "shards": dict(sorted(shards.items())),
        "expected": {} if writer.enough else converter.expected,
        "inputs": [{"name": path.name, "sha256": file_sha256(path)} for path in converter.inputs],
        "sha256": hashlib.sha256(listed).hexdigest(),
        "fingerprint": fingerprint,
    }
    write_json(writer.out / MANIFEST, manifest)
    (writer.out / PROGRESS).unlink(missing_ok=True)
    return manifest


def _utf8(text: str) -> bytes:
    """Half a surrogate pair, which JSON escapes can hold and UTF-8 cannot, becomes "?"."""
    return text.encode("utf-8", errors="replace")


def _sizes(files: Sequence[Path]) -> str:
    """A hash of names and sizes: a set can have tens of thousands of files."""
    listed = "\n".join(f"{path.name} {path.stat().st_size}" for path in files)
    return hashlib.sha256(listed.encode()).hexdigest()


def _same(out: Path, there: dict[str, Any], wanted: dict[str, Any]) -> None:
    wanted = json.loads(json.dumps(wanted))
    if there != wanted:
        different = [key for key in wanted if there.get(key) != wanted[key]]
        raise ValueError(
            f"{out} was begun with other {' and '.join(different)}: "
            f"{ {key: there.get(key) for key in different} } there, "
            f"{ {key: wanted[key] for key in different} } now; remove it or give another folder"
        )


def _plain(reject: Reject) -> dict[str, Any]:
    return {key: value for key, value in asdict(reject).items() if value not in ("", False)}


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file that appears whole or not at all."""
    draft = path.with_name(f".{path.name}.draft")
    with open(draft, "w", encoding="utf-8") as file:
        json.dump(value, file, ensure_ascii=False, indent=1)
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, path)


def file_sha256(path: Path) -> str:
    code = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            code.update(chunk)
    return code.hexdigest()
