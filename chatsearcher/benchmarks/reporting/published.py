"""Figures of papers and public evaluators, to be set beside measured ones: ``published.json``.

Each row belongs to one benchmark and follows its protocol as far as the source says; what may
differ all the same is the row's caveat, which is printed with it. Nothing in it was measured here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources


@dataclass(frozen=True)
class Source:
    """Where rows come from: a short name, and what to look for."""

    short: str
    full: str


@dataclass(frozen=True)
class PublishedRow:
    """One system's published figures on one benchmark.

    Attributes:
        benchmark: a registered name, or a suite's.
        system: as the source calls it.
        source: a key of ``sources``.
        where: the table, figure or section there.
        metrics: figures under the benchmark's own names, as printed.
        curves: figure -> round -> value, for those rounds that are printed.
        caveat: why the row may not compare, or "".
    """

    benchmark: str
    system: str
    source: str
    where: str
    metrics: Mapping[str, float]
    curves: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    caveat: str = ""


@lru_cache(maxsize=1)
def _file() -> Mapping[str, list[dict[str, object]]]:
    text = resources.files(__package__).joinpath("published.json").read_text(encoding="utf-8")
    found: Mapping[str, list[dict[str, object]]] = json.loads(text)
    return found


@lru_cache(maxsize=1)
def sources() -> dict[str, Source]:
    """key -> source."""
    return {key: Source(**value) for key, value in _file()["sources"].items()}  # type: ignore


@lru_cache(maxsize=1)
def rows() -> tuple[PublishedRow, ...]:
    """All of them, in the file's order."""
    return tuple(_row(entry) for entry in _file()["rows"])


def rows_of(benchmark: str) -> list[PublishedRow]:
    """Those of one benchmark."""
    return [row for row in rows() if row.benchmark == benchmark]


def _row(entry: Mapping[str, object]) -> PublishedRow:
    curves = entry.get("curves", {})
    assert isinstance(curves, dict)
    numbered = {
        name: {int(number): value for number, value in points.items()}
        for name, points in curves.items()
    }
    return PublishedRow(**{**entry, "curves": numbered})  # type: ignore[arg-type]
