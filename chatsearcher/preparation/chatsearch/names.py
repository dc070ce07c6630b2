"""A set of names that lives on disk, so that any number of them fits."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path


class Names:
    """Names in the order in which they first came, each with a note.

    >>> with Names() as names:
    ...     names.add("a"), names.add("a")
    (True, False)
    """

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="names-")
        self._connection = sqlite3.connect(Path(self._folder.name) / "names.sqlite")
        self._connection.execute("PRAGMA journal_mode = OFF")
        self._connection.execute("PRAGMA synchronous = OFF")
        self._connection.execute(
            "CREATE TABLE names (place INTEGER PRIMARY KEY, name TEXT UNIQUE, note TEXT, "
            "bits INTEGER)"
        )

    def __enter__(self) -> Names:
        return self

    def __exit__(self, *error: object) -> None:
        self._connection.close()
        self._folder.cleanup()

    def add(self, name: str, note: str = "", bits: int = 0) -> bool:
        """Add a name; returns whether it is new. The first note stays; bits are joined."""
        before = self._connection.total_changes
        self._connection.execute(
            "INSERT OR IGNORE INTO names (name, note, bits) VALUES (?, ?, 0)", (name, note)
        )
        new = self._connection.total_changes > before
        if bits:
            self._connection.execute(
                "UPDATE names SET bits = bits | ? WHERE name = ?", (bits, name)
            )
        return new

    def note(self, name: str) -> str | None:
        """The note of a name; None where there is no such name."""
        row = self._connection.execute("SELECT note FROM names WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def __len__(self) -> int:
        count: int = self._connection.execute("SELECT COUNT(*) FROM names").fetchone()[0]
        return count

    def items(self, start: int = 0) -> Iterator[tuple[str, str, int]]:
        """(name, note, bits) from place ``start`` on, counted from 0."""
        yield from self._connection.execute(
            "SELECT name, note, bits FROM names WHERE place > ? ORDER BY place", (start,)
        )
