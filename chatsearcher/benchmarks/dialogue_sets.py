"""Dialogues with a target, in the project's own record format: what a benchmark reads of them.

::

    ROOT/
      NAME.jsonl            a dialogue a line: {"id", "messages", "target"} and perhaps
                            "exclude" (picture ids that are no candidates) and "group" (a name)
      gallery-NAME.txt      one picture id a line; without it the gallery is every target, once
      pictures.jsonl        {"id", "path"} a line, for pictures that do not lie where they are
                            looked for: pictures/ID and pictures/ID.jpg (.jpeg, .png, .webp)

Messages are in the chat format (``chatsearcher.dialogue``) and end with the user's turn that the
target answers; their pictures may bring their own ``path``. Paths are relative to ROOT.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chatsearcher.benchmarks.annotations import find_file, read_json_lines, strings, value
from chatsearcher.benchmarks.task import FilePictures, Pictures
from chatsearcher.dialogue import Dialogue

SUFFIXES = ("", ".jpg", ".jpeg", ".png", ".webp")


@dataclass(frozen=True)
class DialogueRecord:
    """One line of the file.

    Attributes:
        where: the file and the line, for error messages.
        exclude: pictures that are no candidates.
        group: a name that it shares with others.
    """

    id: str
    dialogue: Dialogue
    target: str
    where: str
    exclude: frozenset[str] = frozenset()
    group: str | None = None


@dataclass(frozen=True)
class DialogueSet:
    """What one set's files say.

    Attributes:
        gallery: picture ids in order, each once, every target among them.
        pictures: the pixels.
        files: what was read.
    """

    records: tuple[DialogueRecord, ...]
    gallery: tuple[str, ...]
    pictures: Pictures
    files: tuple[Path, ...]


def read_dialogue_set(root: Path, name: str) -> DialogueSet:
    """Read ``ROOT/NAME.jsonl`` and what belongs to it.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a line of another shape, an id twice, a target that is not in the gallery; with
            the file, the line and the remedy.
    """
    file = find_file(root, f"{name}.jsonl", remedy='expected {"id", "messages", "target"} a line')
    records: dict[str, DialogueRecord] = {}
    paths: dict[str, str] = {}
    for where, entry in read_json_lines(file):
        record = dialogue_record(entry, where)
        if record.id in records:
            raise ValueError(f"{where}: id {record.id!r} stands in {records[record.id].where} too")
        records[record.id] = record
        for image in record.dialogue.images:
            if image.path is not None:
                _learn(paths, image.id, image.path, where)
    if not records:
        raise ValueError(f"{file} holds no dialogue")
    files = [file]
    table = root / "pictures.jsonl"
    if table.is_file():
        files.append(table)
        for where, entry in read_json_lines(table):
            _learn(paths, value(entry, "id", str, where), value(entry, "path", str, where), where)
    listed = root / f"gallery-{name}.txt"
    if listed.is_file():
        files.append(listed)
        gallery = _gallery(listed)
        known = set(gallery)
        lost = next((each for each in records.values() if each.target not in known), None)
        if lost is not None:
            raise ValueError(
                f"{lost.where}: target {lost.target!r} is not in {listed.name}; add it there"
            )
    else:
        gallery = tuple(dict.fromkeys(record.target for record in records.values()))
    pictures = FilePictures(root, lambda id: places(id, paths))
    return DialogueSet(tuple(records.values()), gallery, pictures, tuple(files))


def dialogue_record(entry: dict[str, Any], where: str) -> DialogueRecord:
    """One line as a record; its dialogue has the record's id.

    Raises:
        ValueError: keys that are missing or of another type, no user's turn at the end.
    """
    key = value(entry, "id", str, where)
    try:
        dialogue = Dialogue.from_messages(value(entry, "messages", list, where), key)
    except ValueError as error:
        text = str(error)
        raise ValueError(text if text.startswith(where) else f"{where}: {text}") from error
    if not dialogue.turns or dialogue.turns[-1].role != "user":
        raise ValueError(f"{where}: the messages must end with the user's turn to be answered")
    group = entry.get("group")
    if group is not None and not isinstance(group, str):
        raise ValueError(f"{where}: group is {group!r}; expected a string")
    target = value(entry, "target", str, where)
    exclude = frozenset(strings(entry, "exclude", where)) if "exclude" in entry else frozenset()
    if target in exclude:
        raise ValueError(f"{where}: the target {target!r} is among `exclude`; take it out there")
    return DialogueRecord(key, dialogue, target, where, exclude, group)


def places(id: str, paths: dict[str, str]) -> Sequence[str]:
    """Where a picture may lie under the root."""
    if id in paths:
        return (paths[id],)
    return tuple(f"pictures/{id}{suffix}" for suffix in SUFFIXES)


def _learn(paths: dict[str, str], id: str, path: str, where: str) -> None:
    if paths.setdefault(id, path) != path:
        raise ValueError(f"{where}: picture {id!r} is at {path!r} here, elsewhere at {paths[id]!r}")


def _gallery(file: Path) -> tuple[str, ...]:
    seen: dict[str, int] = {}
    with open(file, encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            name = line.strip()
            if not name:
                continue
            if name in seen:
                raise ValueError(
                    f"{file}, line {number}: {name!r} stands in line {seen[name]} too; keep one"
                )
            seen[name] = number
    return tuple(seen)
