"""A run: its folder, its stages in order, and the records that stand at its end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from chatsearcher.preparation.chatsearch.layout import Entry, StageFolder
from chatsearcher.preparation.chatsearch.review.final import TEST

STAGES = (
    "source",
    "text",
    "neighbours",
    "captions",
    "modifications",
    "rounds",
    "answers",
    "compose",
    "split",
    "final",
)
"""In the order of the folders' numbers."""


class Run:
    """A run's folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def stage(self, name: str) -> StageFolder:
        return StageFolder(self.path, f"{STAGES.index(name) + 1:02d}-{name}")

    @property
    def log(self) -> Path:
        """The reviewers' decisions."""
        return self.path / "review" / "decisions.jsonl"

    @property
    def reviewed(self) -> bool:
        """Whether the final test set has been built."""
        return self.stage("final").done() is not None

    def records(self) -> Iterator[Entry]:
        """The finished data: training (and val) records as they were split; test records as the
        reviewers left them, or all of them while there is no final set."""
        split = self.stage("split")
        split.need()
        if not self.reviewed:
            yield from split.records()
            return
        yield from (record for record in split.records() if record["split"] != TEST)
        yield from self.stage("final").records()

    def digest(self) -> str:
        """Changes whenever ``records`` would."""
        made: str = self.stage("split").need()["sha256"]
        final = self.stage("final").done()
        return made if final is None else f"{made}+{final['sha256']}"
