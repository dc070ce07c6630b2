"""A conversation as frozen data, in the chat format of ``transformers``.

One turn is ``{"role": "user", "content": [{"type": "text", "text": "…"}, {"type": "image",
"id": "…"}]}``; a dialogue is a tuple of turns, and a JSONL file holds one dialogue a line.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

Role = Literal["system", "user", "assistant"]
ROLES: tuple[Role, ...] = ("system", "user", "assistant")


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of text inside a turn."""

    text: str


@dataclass(frozen=True, slots=True)
class Image:
    """A picture inside a turn.

    ``id`` names the picture (a gallery id, or any name unique to its content); ``path`` is the file
    it comes from, where there is one; ``pixels`` is the decoded RGB picture, which is carried in
    memory only: it is not written to JSONL and does not count in comparisons.
    """

    id: str
    path: str | None = None
    pixels: PILImage | None = field(default=None, compare=False, repr=False)


Part = Text | Image


@dataclass(frozen=True, slots=True)
class Turn:
    """One speaker's message: text and pictures in the order they are read."""

    role: Role
    content: tuple[Part, ...]

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise ValueError(f"unknown role {self.role!r}; expected one of {', '.join(ROLES)}")

    @property
    def text(self) -> str:
        """The turn's text parts, joined by single spaces."""
        return " ".join(part.text for part in self.content if isinstance(part, Text))

    @property
    def images(self) -> tuple[Image, ...]:
        """The turn's pictures, in order."""
        return tuple(part for part in self.content if isinstance(part, Image))

    def to_message(self) -> dict[str, Any]:
        """This turn in the chat format of ``transformers`` (pixels left out)."""
        return {"role": self.role, "content": [_part_to_json(part) for part in self.content]}


@dataclass(frozen=True, slots=True)
class Dialogue:
    """A conversation so far. Every change makes a new dialogue."""

    turns: tuple[Turn, ...] = ()
    id: str | None = None

    def user(self, *content: str | Part) -> Dialogue:
        """This dialogue with a user's turn added; plain strings become text."""
        return self.add("user", *content)

    def assistant(self, *content: str | Part) -> Dialogue:
        """This dialogue with an assistant's turn added; plain strings become text."""
        return self.add("assistant", *content)

    def add(self, role: Role, *content: str | Part) -> Dialogue:
        """This dialogue with one more turn."""
        parts = tuple(Text(part) if isinstance(part, str) else part for part in content)
        return replace(self, turns=(*self.turns, Turn(role, parts)))

    @property
    def images(self) -> tuple[Image, ...]:
        """Every picture of the dialogue, in reading order."""
        return tuple(image for turn in self.turns for image in turn.images)

    @property
    def text(self) -> str:
        """All text of all turns, joined by single spaces."""
        return " ".join(text for turn in self.turns if (text := turn.text))

    def last(self, role: Role) -> Turn | None:
        """The newest turn of that speaker, or None."""
        return next((turn for turn in reversed(self.turns) if turn.role == role), None)

    def rounds(self) -> Iterator[Dialogue]:
        """The prefixes that end in a user's turn: what the system sees at each round."""
        for end, turn in enumerate(self.turns, start=1):
            if turn.role == "user":
                yield replace(self, turns=self.turns[:end])

    def map_images(self, function: Any) -> Dialogue:
        """This dialogue with ``function(image) -> image`` applied to every picture."""
        turns = tuple(
            replace(
                turn,
                content=tuple(function(p) if isinstance(p, Image) else p for p in turn.content),
            )
            for turn in self.turns
        )
        return replace(self, turns=turns)

    def to_messages(self) -> list[dict[str, Any]]:
        """The chat format of ``transformers``: a list of role/content dictionaries."""
        return [turn.to_message() for turn in self.turns]

    @classmethod
    def from_messages(cls, messages: Iterable[dict[str, Any]], id: str | None = None) -> Dialogue:
        """Read the chat format of ``transformers``.

        Raises:
            ValueError: a message without role or content, or a part of unknown type.
        """
        turns = []
        for position, message in enumerate(messages):
            try:
                turns.append(_turn_from_json(message))
            except (KeyError, TypeError, ValueError) as error:
                raise ValueError(f"message {position}: {_explain(error)}") from error
        return cls(tuple(turns), id)


def read_jsonl(path: str | Path) -> Iterator[Dialogue]:
    """Dialogues of a JSONL file, one a line: ``{"id": …, "messages": [...]}`` or a bare list.

    Raises:
        ValueError: a line of the wrong shape; the message names the file and the line number.
    """
    with open(path, encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
                if isinstance(record, list):
                    record = {"messages": record}
                if not isinstance(record, dict):
                    raise ValueError(f"expected an object or a list, got {type(record).__name__}")
                yield Dialogue.from_messages(record["messages"], record.get("id"))
            except (KeyError, TypeError, ValueError) as error:
                raise ValueError(
                    f"{path}, line {number}: {_explain(error)}; expected "
                    '{"messages": [{"role": "user", "content": "…"}]}'
                ) from error


def write_jsonl(path: str | Path, dialogues: Iterable[Dialogue]) -> int:
    """Write dialogues one a line; returns how many."""
    count = 0
    with open(path, "w", encoding="utf-8") as lines:
        for dialogue in dialogues:
            record: dict[str, Any] = {"messages": dialogue.to_messages()}
            if dialogue.id is not None:
                record = {"id": dialogue.id, **record}
            lines.write(json.dumps(record, ensure_ascii=False) + "\n")
            count += 1
    return count


def _part_to_json(part: Part) -> dict[str, Any]:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    record: dict[str, Any] = {"type": "image", "id": part.id}
    if part.path is not None:
        record["path"] = part.path
    return record


def _turn_from_json(message: dict[str, Any]) -> Turn:
    if not isinstance(message, dict):
        raise ValueError(f"expected an object, got {type(message).__name__}")
    content = message["content"]
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    return Turn(message["role"], tuple(_part_from_json(part) for part in content))


def _part_from_json(part: dict[str, Any]) -> Part:
    kind = part["type"]
    if kind == "text":
        if not isinstance(part["text"], str):
            raise ValueError(f"text must be a string, got {type(part['text']).__name__}")
        return Text(part["text"])
    if kind == "image":
        path = part.get("path")
        name = part.get("id", path)
        if not isinstance(name, str):
            raise ValueError('an image needs an "id" or a "path"')
        return Image(name, path)
    raise ValueError(f'unknown content type {kind!r}; expected "text" or "image"')


def _explain(error: Exception) -> str:
    return f"missing key {error}" if isinstance(error, KeyError) else str(error)
