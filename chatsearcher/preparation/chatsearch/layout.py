"""A run on disk: a folder a stage, in it numbered files of records, and what was left out and why.

::

    RUN/
      settings.json            what the run was asked for
      prompts/                 the prompts it used, word for word
      answers.sqlite           every answer of the language model
      02-text/
        stage.json             what decides this stage's output
        part-000000.jsonl      records; a part stands for a fixed number of inputs
        rejects-000000.jsonl   inputs without a record: id, reason, detail
        done.json              counts and checksums, once everything is there

A part appears whole or not at all, its rejects before it. A stage that is killed goes on behind its
last part; what was answered since is in ``answers.sqlite``. So the bytes are those of a run that
was never stopped.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

from chatsearcher.gallery.layout import sync_folder
from chatsearcher.preparation.convert import file_sha256, write_json

FORMAT = 2
"""Raised when the same settings would give other records: a stage of another number is not gone on
with."""

Entry = dict[str, Any]


class StageFolder:
    """The files of one stage."""

    def __init__(self, run: Path, name: str) -> None:
        self.run = run
        self.name = name
        self.path = run / name

    def part(self, number: int) -> Path:
        return self.path / f"part-{number:06d}.jsonl"

    def reject_part(self, number: int) -> Path:
        return self.path / f"rejects-{number:06d}.jsonl"

    def parts(self) -> int:
        """How many parts are there, without a gap."""
        return next(number for number in count() if not self.part(number).exists())

    def begin(self, settings: Entry) -> None:
        """Note what decides the output, or see that it is what was noted.

        Raises:
            ValueError: the stage was begun with other settings.
        """
        wanted = json.loads(json.dumps({"format": FORMAT, "stage": self.name, **settings}))
        noted = self.path / "stage.json"
        if noted.exists():
            there = json.loads(noted.read_text(encoding="utf-8"))
            if there != wanted:
                names = sorted(k for k in {*there, *wanted} if there.get(k) != wanted.get(k))
                raise ValueError(
                    f"{self.path} was made with another {' and '.join(names)}: "
                    f"{ {k: there.get(k) for k in names} } there, "
                    f"{ {k: wanted.get(k) for k in names} } now; remove the folder to make it anew "
                    "(answers already paid for are kept), or give another --run"
                )
            return
        self.path.mkdir(parents=True, exist_ok=True)
        write_json(noted, wanted)

    def write_part(self, number: int, records: list[Entry], rejects: list[Entry]) -> None:
        """Add a part; it counts once its own file is in place."""
        if rejects:
            _write_lines(self.reject_part(number), rejects)
        else:
            self.reject_part(number).unlink(missing_ok=True)
        _write_lines(self.part(number), records)
        sync_folder(self.path)

    def finish(self, inputs: int) -> Entry:
        """Count everything and say that the stage is complete."""
        kept, reasons, files = 0, Counter[str](), []
        for number in range(self.parts()):
            lines = _count_lines(self.part(number))
            kept += lines
            digest = file_sha256(self.part(number))
            files.append({"name": self.part(number).name, "records": lines, "sha256": digest})
        for reject in self.rejects():
            reasons[reject["reason"]] += 1
        listed = json.dumps(files).encode()
        summary = {
            "inputs": inputs,
            "records": kept,
            "rejects": dict(sorted(reasons.items())),
            "sha256": hashlib.sha256(listed).hexdigest(),
            "parts": files,
        }
        write_json(self.path / "done.json", summary)
        return summary

    def done(self) -> Entry | None:
        """What ``finish`` wrote, or None while the stage is not complete."""
        path = self.path / "done.json"
        if not path.exists():
            return None
        summary: Entry = json.loads(path.read_text(encoding="utf-8"))
        return summary

    def need(self) -> Entry:
        """``done``, for a stage that another one builds on.

        Raises:
            FileNotFoundError: it is not complete.
        """
        summary = self.done()
        if summary is None:
            raise FileNotFoundError(
                f"{self.path} is not complete; run `chatsearcher prepare chatsearch "
                f"{self.name.partition('-')[2]} --run {self.run}` first"
            )
        return summary

    def records(self) -> Iterator[Entry]:
        """Every record so far, in order."""
        for number in range(self.parts()):
            yield from read_lines(self.part(number))

    def rejects(self) -> Iterator[Entry]:
        """Everything left out so far, in order."""
        for number in range(self.parts()):
            if self.reject_part(number).exists():
                yield from read_lines(self.reject_part(number))


def read_lines(path: Path) -> Iterator[Entry]:
    """The objects of a JSONL file.

    Raises:
        ValueError: a broken line; the message names file and number.
    """
    with open(path, encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                yield json.loads(line)
            except ValueError as error:
                raise ValueError(f"{path}, line {number}: {error}") from error


def _write_lines(path: Path, entries: list[Entry]) -> None:
    draft = path.with_name(f".{path.name}.draft")
    with open(draft, "w", encoding="utf-8", errors="replace") as file:
        for entry in entries:
            file.write(json.dumps(entry, ensure_ascii=False) + "\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, path)


def _count_lines(path: Path) -> int:
    with open(path, "rb") as lines:
        return sum(1 for _ in lines)
