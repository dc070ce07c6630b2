"""The log of decisions: lines are added, never changed. Everything else is derived from it."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal, get_args

from chatsearcher.preparation.chatsearch.layout import Entry

Choice = Literal["accept", "quality", "relevance", "rewrite", "withdrawn"]
KEEPING = ("accept", "rewrite")


@dataclass(frozen=True)
class Decision:
    """What a reviewer said of a record.

    Attributes:
        version: of the record that was looked at (``record_version``).
        texts: for a rewrite, the new text of every text part, in order.
        at: when, in UTC.
    """

    record: str
    version: str
    reviewer: str
    choice: Choice
    texts: tuple[str, ...] = ()
    at: str = ""

    def __post_init__(self) -> None:
        if self.choice not in get_args(Choice):
            raise ValueError(
                f"decision {self.choice!r}; expected one of {', '.join(get_args(Choice))}"
            )
        if not self.reviewer.strip() or len(self.reviewer) > 80:
            raise ValueError("a decision needs the reviewer's name (at most 80 characters)")
        if (self.choice == "rewrite") != bool(self.texts):
            raise ValueError("a rewrite has new texts, and no other decision has")


def record_version(record: Entry) -> str:
    """Changes whenever what a reviewer sees of the record would."""
    seen = [record["messages"], record["target"]["id"]]
    return hashlib.sha256(json.dumps(seen, sort_keys=True).encode()).hexdigest()[:12]


def text_parts(record: Entry) -> list[str]:
    """The texts of a record's messages, in order."""
    return [
        part["text"]
        for message in record["messages"]
        for part in message["content"]
        if part["type"] == "text"
    ]


def with_texts(record: Entry, texts: Sequence[str]) -> Entry:
    """The record with other words.

    Raises:
        ValueError: not as many as there are text parts, or an empty one.
    """
    if len(texts) != len(text_parts(record)) or not all(text.strip() for text in texts):
        raise ValueError(
            f"{record['id']} has {len(text_parts(record))} texts; got {len(texts)}, of which "
            f"{sum(not text.strip() for text in texts)} are empty"
        )
    left = iter(texts)
    messages = [
        {
            **message,
            "content": [
                {**part, "text": " ".join(next(left).split())} if part["type"] == "text" else part
                for part in message["content"]
            ],
        }
        for message in record["messages"]
    ]
    return {**record, "messages": messages}


@dataclass
class Log:
    """All decisions; of one reviewer on one record, the last counts.

    Attributes:
        path: the JSONL file.
        decisions: in the order of the file.
        broken: numbers of lines that could not be read (a power cut in the middle of one).
    """

    path: Path
    decisions: list[Decision] = field(default_factory=list)
    broken: list[int] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path) -> Log:
        log = cls(path)
        if path.exists():
            with open(path, encoding="utf-8", errors="replace") as lines:
                for number, line in enumerate(lines, start=1):
                    if not line.strip():
                        continue
                    try:
                        about = json.loads(line)
                        about["texts"] = tuple(about.get("texts", ()))
                        log.decisions.append(Decision(**about))
                    except (ValueError, TypeError, KeyError):
                        log.broken.append(number)
        return log

    def add(self, decision: Decision) -> Decision:
        """Write a decision down; it is on the disk when this returns."""
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        stamped = Decision(**{**asdict(decision), "texts": decision.texts, "at": now})
        data = (json.dumps(asdict(stamped), ensure_ascii=False) + "\n").encode()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "a+b") as file:
            file.seek(0, os.SEEK_END)
            if file.tell():
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":  # a line that was cut off stays a line of its own
                    data = b"\n" + data
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        self.decisions.append(stamped)
        return stamped

    def latest(self) -> dict[str, dict[str, Decision]]:
        """record -> reviewer -> their last decision; withdrawn ones are gone."""
        found: dict[str, dict[str, Decision]] = {}
        for decision in self.decisions:
            mine = found.setdefault(decision.record, {})
            mine.pop(decision.reviewer, None)  # a later one also comes later in the order
            if decision.choice != "withdrawn":
                mine[decision.reviewer] = decision
        return found


@dataclass(frozen=True)
class Verdict:
    """What the reviewers together say of a record.

    Attributes:
        keep: whether it goes into the final set.
        reason: why not.
        texts: the newest rewrite by someone who keeps it.
    """

    keep: bool
    reason: str = ""
    texts: tuple[str, ...] = ()
    detail: str = ""


def verdict(decisions: Iterable[Decision], version: str) -> Verdict:
    """The majority's; a tie leaves a record out until someone else looks at it. Decisions on
    another version of the record do not count."""
    counted = [each for each in decisions if each.version == version]
    if not counted:
        return Verdict(False, "not reviewed")
    keeping = [each for each in counted if each.choice in KEEPING]
    against = Counter(each.choice for each in counted if each.choice not in KEEPING)
    tally = f"{len(keeping)} of {len(counted)} keep it"
    if len(keeping) * 2 == len(counted):
        return Verdict(False, "undecided", detail=tally)
    if len(keeping) * 2 < len(counted):
        # Of equally many, quality: a bad picture cannot be put right by words.
        reason = max(sorted(against), key=lambda choice: against[choice])
        return Verdict(False, f"rejected: {reason}", detail=tally)
    rewrites = [each.texts for each in keeping if each.texts]
    return Verdict(True, texts=rewrites[-1] if rewrites else (), detail=tally)
