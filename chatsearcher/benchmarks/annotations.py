"""Official files, read with errors that name the file, the row and the remedy."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any


def data_root(given: Path | None, name: str, data: str) -> Path:
    """The folder of the data.

    Raises:
        FileNotFoundError: none was given, or it is not there.
    """
    if given is None:
        raise FileNotFoundError(f"{name} needs --data-root FOLDER with {data}")
    if not given.is_dir():
        raise FileNotFoundError(f"--data-root {given} is no folder; {name} needs one with {data}")
    return given


def find_file(root: Path, *names: str, remedy: str) -> Path:
    """The first of several possible files under the data root.

    Raises:
        FileNotFoundError: none is there; the message says what was looked for and the remedy.
    """
    for name in names:
        if (root / name).is_file():
            return root / name
    raise FileNotFoundError(f"{root} lacks {' or '.join(names)}; {remedy}")


def read_json(path: Path, expected: type = object) -> Any:
    """A JSON file; a key that stands twice in one object is an error.

    Raises:
        ValueError: no JSON (with its line), a doubled key, or another type at the top.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{path}, line {error.lineno}, column {error.colno}: no JSON ({error.msg}); "
            "was it written or downloaded to the end?"
        ) from error
    except (UnicodeDecodeError, DoubledKey) as error:
        raise ValueError(f"{path}: {error}") from error
    if not isinstance(content, expected):
        raise ValueError(
            f"{path}: expected {_name(expected)} at the top, got {_name(type(content))}"
        )
    return content


def read_json_lines(path: Path) -> Iterator[tuple[str, Any]]:
    """(``"FILE, line N"``, object) of each line that is not blank.

    Raises:
        ValueError: a line that is no JSON object.
    """
    with open(path, encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            where = f"{path}, line {number}"
            try:
                record = json.loads(line, object_pairs_hook=_once)
            except (json.JSONDecodeError, DoubledKey) as error:
                raise ValueError(f"{where}: no JSON object ({error})") from error
            if not isinstance(record, dict):
                raise ValueError(f"{where}: expected an object, got {_name(type(record))}")
            yield where, record


class DoubledKey(ValueError):
    """A key that stands twice in one JSON object."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise DoubledKey(f"key {key!r} stands twice; keep one of the two")
            seen.add(key)
    return found


def rows_of(content: Sequence[Any], path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(``"FILE, row N"``, entry) of a list of objects, rows counted from 0.

    Raises:
        ValueError: an entry that is no object.
    """
    for number, entry in enumerate(content):
        where = f"{path}, row {number}"
        if not isinstance(entry, dict):
            raise ValueError(f"{where}: expected an object, got {_name(type(entry))}")
        yield where, entry


def value(entry: dict[str, Any], key: str, kind: type | tuple[type, ...], where: str) -> Any:
    """One value of an entry.

    Raises:
        ValueError: the key is missing, or the value of another type.
    """
    if key not in entry:
        raise ValueError(f"{where}: no key {key!r}; it has {', '.join(map(str, entry)) or 'none'}")
    found = entry[key]
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if not isinstance(found, kinds) or (isinstance(found, bool) and bool not in kinds):
        names = " or ".join(_name(each) for each in kinds)
        raise ValueError(f"{where}: {key!r} is {found!r}; expected {names}")
    return found


def strings(entry: dict[str, Any], key: str, where: str) -> list[str]:
    """A list of strings.

    Raises:
        ValueError: as ``value``; also an element of another type.
    """
    found = value(entry, key, list, where)
    for place, each in enumerate(found):
        if not isinstance(each, str):
            raise ValueError(f"{where}: {key!r}[{place}] is {each!r}; expected a string")
    return list(found)


def once(seen: dict[str, str], key: str, where: str, what: str) -> None:
    """Remember where an id stands, which must be nowhere else.

    Args:
        seen: id -> where it was found; this one is added.
        what: what it is an id of.

    Raises:
        ValueError: the id was found before; with both places.
    """
    if key in seen:
        raise ValueError(f"{where}: {what} {key!r} stands in {seen[key]} too; keep one of the two")
    seen[key] = where


def checksum(root: Path, files: Iterable[Path], *more: str) -> str:
    """A sha256 (hex) over files, each with its name under the root, and over further texts."""
    digest = hashlib.sha256()
    for path in sorted(set(files)):
        digest.update(f"{path.relative_to(root).as_posix()}\n".encode())
        with open(path, "rb") as content:
            while block := content.read(1 << 20):
                digest.update(block)
    for text in more:
        digest.update(text.encode() + b"\n")
    return digest.hexdigest()


def _name(kind: type) -> str:
    names = {dict: "an object", list: "a list", str: "a string", int: "a whole number"}
    names |= {float: "a number", bool: "true or false", type(None): "null", object: "anything"}
    return names.get(kind, kind.__name__)
