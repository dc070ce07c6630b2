"""Running a preparation as a person would, and reading back what it wrote."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from chatsearcher import cli
from chatsearcher.data.tar_index import StoredRecord, shard_members


@dataclass
class Prepared:
    """A folder of records."""

    folder: Path
    printed: str = ""
    code: int = 0
    manifest: dict[str, Any] = field(default_factory=dict)

    def records(self, split: str = "train") -> list[StoredRecord]:
        found = []
        for path in sorted(self.folder.glob(f"{split}-*.tar")):
            members = shard_members(path)
            assert members.problem is None
            found += members.records
        return found

    def abouts(self, split: str = "train") -> list[dict[str, Any]]:
        return [record.metadata() for record in self.records(split)]

    @property
    def rejects(self) -> list[dict[str, Any]]:
        text = (self.folder / "rejects.jsonl").read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines()]

    def files(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.folder.iterdir()}


@pytest.fixture
def prepare(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Prepared]:
    def run(name: str, source: Path, *words: str | Path, out: str = "out") -> Prepared:
        folder = tmp_path / out
        capsys.readouterr()
        code = cli.main(
            ["prepare", name, "--source", str(source), "--out", str(folder), *map(str, words)]
        )
        shown = capsys.readouterr()
        manifest = folder / "manifest.json"
        about = json.loads(manifest.read_text(encoding="utf-8")) if manifest.exists() else {}
        return Prepared(folder, shown.out + shown.err, code, about)

    return run
