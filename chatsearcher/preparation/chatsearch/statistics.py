"""What the data are in numbers: the rows of the paper's table 1, and a few more."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from chatsearcher.preparation.chatsearch.layout import Entry
from chatsearcher.preparation.chatsearch.names import Names

TASKS = ("t", "i", "m")
_WORD = re.compile(r"\w+")
_MODALITY = {"t": "text", "i": "image-text", "m": "image-text"}
_INPUT = {
    "t": "multi-round textual dialogue",
    "i": "single image and text instruction",
    "m": "multi-round multimodal dialogue",
}
IN_MEMORY = 20_000
"""So many different words of a task are held in memory, further ones on disk: numbers and names
have no end, so a vocabulary grows with the data."""
PAPER = {"t": (5_000, 66.7), "i": (10_000, 12.4), "m": (10_000, 56.5)}
"""ChatSearch's test split, table 1: samples, context length (the paper names no unit)."""


@dataclass
class _Tally:
    samples: int = 0
    words: int = 0
    rounds: int = 0
    pictures: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    vocabulary: set[str] = field(default_factory=set)
    further_words: int = 0
    targets: int = 0

    def add(self, record: Entry, new_target: bool, further: Names) -> None:
        self.samples += 1
        self.kinds[record["kind"]] = self.kinds.get(record["kind"], 0) + 1
        self.rounds += sum(message["role"] == "user" for message in record["messages"])
        self.pictures += len(record["pictures"])
        for message in record["messages"]:
            for part in message["content"]:
                if part["type"] == "text":
                    self.words += len(part["text"].split())
                    for word in _WORD.findall(part["text"].lower()):
                        self._meet(word, record, further)
        self.targets += new_target

    def _meet(self, word: str, record: Entry, further: Names) -> None:
        if word in self.vocabulary:
            return
        if len(self.vocabulary) < IN_MEMORY:
            self.vocabulary.add(word)
        else:
            self.further_words += further.add(f"{record['split']}/{record['task']}/{word}")


def statistics(records: Iterable[Entry]) -> dict[str, Any]:
    """split -> task -> numbers. Context length is in words (white space between them), over all
    turns before the target; lengths and rounds are means over samples."""
    tallies: dict[str, dict[str, _Tally]] = {}
    with Names() as targets, Names() as further:
        for record in records:
            tasks = tallies.setdefault(record["split"], {task: _Tally() for task in TASKS})
            name = f"{record['split']}/{record['task']}/{record['target']['id']}"
            tasks[record["task"]].add(record, targets.add(name), further)
    return {
        split: {task: _numbers(task, tally) for task, tally in tasks.items()}
        for split, tasks in sorted(tallies.items())
    }


def _numbers(task: str, tally: _Tally) -> dict[str, Any]:
    samples = tally.samples or 1
    return {
        "context modality": _MODALITY[task],
        "samples": tally.samples,
        "context length": round(tally.words / samples, 1),
        "task input": _INPUT[task],
        "task output": "image candidates",
        "rounds": round(tally.rounds / samples, 2),
        "pictures in the context": round(tally.pictures / samples, 2),
        "different targets": tally.targets,
        "different words": len(tally.vocabulary) + tally.further_words,
        "kinds": dict(sorted(tally.kinds.items())),
    }


def table(numbers: dict[str, Any]) -> str:
    """One split in Markdown, in the form of the paper's table 1."""
    rows = [
        ("Context modality", "context modality"),
        ("Sample number", "samples"),
        ("Context length (words)", "context length"),
        ("Task input", "task input"),
        ("Task output", "task output"),
        ("Rounds", "rounds"),
        ("Pictures in the context", "pictures in the context"),
        ("Different targets (gallery)", "different targets"),
    ]
    lines = ["| | tChatSearch | iChatSearch | mChatSearch |", "|---|---|---|---|"]
    for title, key in rows:
        cells = (f"{numbers[task][key]}" for task in TASKS)
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines)
