"""Names for things that are loaded only when asked for: ``"name" -> "module:attribute"``."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterator, Mapping
from typing import Any


class Registry:
    """A lazy table. ``registry["nano"]`` imports the module and returns the attribute.

    Args:
        what: what the names stand for, in the singular, for error messages ("retriever").
        entries: name -> "package.module:attribute".
    """

    def __init__(self, what: str, entries: Mapping[str, str]) -> None:
        self.what = what
        self._entries = dict(entries)

    def __getitem__(self, name: str) -> Any:
        """The attribute behind a name.

        Raises:
            ValueError: an unknown name; the message offers the nearest known one.
        """
        if name not in self._entries:
            near = difflib.get_close_matches(name, self._entries, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise ValueError(
                f"unknown {self.what} {name!r}; {hint}known: {', '.join(sorted(self._entries))}"
            )
        module, _, attribute = self._entries[name].partition(":")
        return getattr(importlib.import_module(module), attribute)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._entries))

    def register(self, name: str, target: str) -> None:
        """Add ``name -> "module:attribute"``; a name taken by something else is an error."""
        if self._entries.get(name, target) != target:
            raise ValueError(f"{self.what} {name!r} is already {self._entries[name]!r}")
        self._entries[name] = target
