"""Large JSON files read element by element: memory holds one element, whatever the file's size."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

CHUNK = 1 << 18
MAX_ELEMENT = 256 << 20
"""Characters of one element at most: a broken file must not be read into memory whole."""

_SPACE = re.compile(r"[ \t\r\n]*")
_STRUCTURE = re.compile(r'["\[\]{}]')
_STRING_STOP = re.compile(r'["\\]')
_AFTER = frozenset(" \t\r\n,:]}")
_DECODER = json.JSONDecoder()


def read_array(path: str | Path, *keys: str) -> Iterator[Any]:
    """The elements of an array: of the file itself, or of the one under ``keys``.

    ``read_array("visdial.json", "data", "dialogs")`` walks to ``{"data": {"dialogs": [...]}}``.

    Raises:
        FileNotFoundError: no such file.
        ValueError: broken JSON (with the place), or no array there.
    """
    with open(path, encoding="utf-8-sig") as file:
        reader = _Reader(file, Path(path).name)
        reader.walk(keys)
        reader.expect("[", f"an array{_under(keys)}")
        if reader.peek() == "]":
            return
        while True:
            yield reader.value()
            if reader.next_of(",]") == "]":
                return


def read_object(path: str | Path, *keys: str) -> Iterator[tuple[str, Any]]:
    """The (key, value) pairs of an object, likewise."""
    with open(path, encoding="utf-8-sig") as file:
        reader = _Reader(file, Path(path).name)
        reader.walk(keys)
        reader.expect("{", f"an object{_under(keys)}")
        if reader.peek() == "}":
            return
        while True:
            key = reader.key()
            yield key, reader.value()
            if reader.next_of(",}") == "}":
                return


def read_value(path: str | Path, *keys: str) -> Any:
    """One value under ``keys``; ``KeyError`` where there is none."""
    with open(path, encoding="utf-8-sig") as file:
        reader = _Reader(file, Path(path).name)
        reader.walk(keys)
        return reader.value()


def _under(keys: tuple[str, ...]) -> str:
    return f" under {'.'.join(keys)}" if keys else ""


class _Reader:
    def __init__(self, file: TextIO, name: str) -> None:
        self.file = file
        self.name = name
        self.buffer = ""
        self.at = 0
        self.before = 0  # characters of the file before the buffer
        self.ended = False

    def fill(self, wanted: int = 0) -> bool:
        """Read on; False at the end of the file."""
        if self.ended:
            return False
        fresh = self.file.read(wanted or CHUNK)
        self.ended = not fresh
        self.before += self.at
        self.buffer = self.buffer[self.at :] + fresh
        self.at = 0
        return bool(fresh)

    def peek(self) -> str:
        """The next character that is no space; empty at the end."""
        while True:
            match = _SPACE.match(self.buffer, self.at)
            assert match is not None
            self.at = match.end()
            if self.at < len(self.buffer):
                return self.buffer[self.at]
            if not self.fill():
                return ""

    def next_of(self, characters: str) -> str:
        found = self.peek()
        if found and found in characters:
            self.at += 1
            return found
        raise self.broken(f"expected one of {' '.join(characters)}, got {found or 'the end'}")

    def expect(self, character: str, what: str) -> None:
        found = self.peek()
        if found != character:
            raise self.broken(f"expected {what}, got {found or 'the end'}")
        self.at += 1

    def broken(self, what: str) -> ValueError:
        return ValueError(f"{self.name}, character {self.before + self.at}: {what}")

    def value(self) -> Any:
        """The next value, whole."""
        self.peek()
        wanted = CHUNK
        while True:
            try:
                found, end = _DECODER.raw_decode(self.buffer, self.at)
            except json.JSONDecodeError as error:
                if len(self.buffer) - self.at > MAX_ELEMENT:
                    raise self.broken(f"no whole value in {MAX_ELEMENT} characters") from error
                if not self.fill(wanted):
                    raise self.broken(f"broken or cut off: {error.msg}") from error
                wanted *= 2
                continue
            # A number near the buffer's end may go on: "1" may be "1.5" or "1e-5".
            ended = end < len(self.buffer) and self.buffer[end] in _AFTER
            if not ended and len(self.buffer) - end < 32 and self.fill():
                continue
            self.at = end
            return found

    def key(self) -> str:
        name = self.value()
        if not isinstance(name, str):
            raise self.broken(f"expected a key, got {type(name).__name__}")
        self.expect(":", "a colon")
        return name

    def walk(self, keys: tuple[str, ...]) -> None:
        """To the value under the keys, past everything before it."""
        for wanted in keys:
            self.expect("{", f"an object with {wanted!r}")
            if self.peek() == "}":
                raise KeyError(f"{self.name}: no {wanted!r}")
            while self.key() != wanted:
                self.skip()
                if self.next_of(",}") == "}":
                    raise KeyError(f"{self.name}: no {wanted!r}")

    def skip(self) -> None:
        """Past the next value, without building it."""
        if self.peek() not in '[{"':
            self.value()
            return
        depth = 0
        while True:
            match = _STRUCTURE.search(self.buffer, self.at)
            if match is None:
                self.at = len(self.buffer)
                if not self.fill():
                    raise self.broken("cut off")
                continue
            self.at = match.end()
            sign = match.group()
            if sign == '"':
                self._skip_string()
            else:
                depth += 1 if sign in "[{" else -1
            if depth == 0:
                return

    def _skip_string(self) -> None:
        while True:
            match = _STRING_STOP.search(self.buffer, self.at)
            if match is None:
                self.at = len(self.buffer)
                if not self.fill():
                    raise self.broken("a string without an end")
                continue
            self.at = match.end()
            if match.group() == '"':
                return
            while self.at >= len(self.buffer):
                if not self.fill():
                    raise self.broken("a string without an end")
            self.at += 1
