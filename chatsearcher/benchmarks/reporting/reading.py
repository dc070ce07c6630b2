"""Results files taken in for a report: checked, named, and put together by benchmark."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from chatsearcher.benchmarks import BENCHMARKS, SUITES
from chatsearcher.benchmarks.card import Card
from chatsearcher.benchmarks.reporting.published import PublishedRow, rows_of
from chatsearcher.benchmarks.results import Result, read_results

REMEDY = "expected a file written by `chatsearcher evaluate … --out FILE.json`"


@dataclass(frozen=True)
class Entry:
    """One system's result on one benchmark.

    Attributes:
        system: what the page calls it; no other entry of the benchmark has that name.
        result: the figures.
        file: where they were read.
    """

    system: str
    result: Result
    file: Path


@dataclass(frozen=True)
class Group:
    """All that is known of one benchmark.

    Attributes:
        name: the benchmark's, or the suite's.
        card: its facts; None for a suite.
        entries: what was measured, in the order of the files.
        published: what others printed.
    """

    name: str
    card: Card | None
    entries: tuple[Entry, ...]
    published: tuple[PublishedRow, ...]

    @property
    def columns(self) -> list[str]:
        """The figures that any row has, in the card's order."""
        rows = [entry.result.metrics for entry in self.entries]
        every = [*(self.card.metrics if self.card else ()), *(name for row in rows for name in row)]
        there = {name for row in [*rows, *(row.metrics for row in self.published)] for name in row}
        return [name for name in dict.fromkeys(every) if name in there]

    @property
    def primary(self) -> str:
        """The figure to look at first; "" where there are none."""
        found = next((e.result.primary for e in self.entries if e.result.primary), "")
        return found or (self.card.primary if self.card else "")

    def better(self, name: str) -> int:
        """1 where more of a figure is better, -1 where less is, 0 where neither."""
        if self.card is None or name in self.card.metrics:
            lower = self.card.lower if self.card else frozenset()
            neither = self.card.undirected if self.card else frozenset()
            return 0 if name in neither else -1 if name in lower else 1
        return -1 if name in self.card.lower else 0


def read_groups(paths: Sequence[Path]) -> list[Group]:
    """All results of some files, by benchmark, in the order in which they first come.

    Raises:
        FileNotFoundError: no such file.
        ValueError: another shape, or an unknown benchmark; with the file and the remedy.
    """
    entries: dict[str, list[Entry]] = {}
    for path in dict.fromkeys(paths):
        if not path.is_file():
            raise FileNotFoundError(f"no such results file: {path}; {REMEDY}")
        results = read_results(path)
        if not results:
            raise ValueError(f"{path} holds no result; {REMEDY}")
        for number, result in enumerate(results):
            check(result, f"{path}, result {number}")
            spec = str(result.retriever.get("spec") or "unnamed system")
            entries.setdefault(result.benchmark, []).append(Entry(spec, result, path))
    return [
        Group(
            name,
            BENCHMARKS[name].card if name in BENCHMARKS else None,
            tuple(distinct(found)),
            tuple(rows_of(name)),
        )
        for name, found in entries.items()
    ]


def distinct(entries: Sequence[Entry]) -> list[Entry]:
    """Entries of one benchmark with names that differ: by prompt, by file, at last by number."""
    found = list(entries)
    told_apart = (
        lambda entry: entry.result.settings.get("prompt"),
        lambda entry: entry.file.stem,
    )
    for tell in told_apart:
        often = Counter(entry.system for entry in found)
        same = {name for name, count in often.items() if count > 1}
        for name in same:
            if len({tell(entry) for entry in found if entry.system == name}) > 1:
                found = [
                    replace(entry, system=f"{name} ({tell(entry)})") if entry.system == name
                    else entry
                    for entry in found
                ]  # fmt: skip
    taken: Counter[str] = Counter()
    for place, entry in enumerate(found):
        taken[entry.system] += 1
        if taken[entry.system] > 1:
            found[place] = replace(entry, system=f"{entry.system} #{taken[entry.system]}")
    return found


def check(result: Result, where: str) -> None:
    """Refuse what a page could not show.

    Raises:
        ValueError: an unknown benchmark, or a field of another shape.
    """
    if not isinstance(result.benchmark, str):
        raise ValueError(f"{where}: benchmark is {result.benchmark!r}, expected a name; {REMEDY}")
    if result.benchmark not in BENCHMARKS and result.benchmark not in SUITES:
        try:
            BENCHMARKS[result.benchmark]
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error
    _numbers(result.metrics, f"{where}: metrics")
    for name, pair in result.intervals.items():
        _numbers({"low": pair[0], "high": pair[1]}, f"{where}: intervals[{name!r}]")
    _mapping(result.curves, f"{where}: curves")
    for name, values in result.curves.items():
        if not isinstance(values, list) or not values:
            raise ValueError(f"{where}: curves[{name!r}] is {values!r}, expected a list of numbers")
        _numbers(dict(enumerate(values)), f"{where}: curves[{name!r}]")
    for name in ("counts", "retriever", "settings", "missing"):
        _mapping(getattr(result, name), f"{where}: {name}")
    for name in ("examples", "notes"):
        if not isinstance(getattr(result, name), list):
            raise ValueError(f"{where}: {name} is no list; {REMEDY}")
    for place, example in enumerate(result.examples):
        _mapping(example, f"{where}: examples[{place}]")
        for key, kind in (("query", str), ("rank", int), ("found", list)):
            if not isinstance(example.get(key), kind):
                raise ValueError(
                    f"{where}: examples[{place}] has {key}={example.get(key)!r}, expected "
                    f"{kind.__name__}; {REMEDY}"
                )


def _mapping(value: Any, where: str) -> None:
    if not isinstance(value, Mapping):
        raise ValueError(f"{where} is {value!r}, expected names with values; {REMEDY}")


def _numbers(values: Any, where: str) -> None:
    _mapping(values, where)
    for name, value in values.items():
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not math.isfinite(value)
        ):
            raise ValueError(f"{where}[{name!r}] is {value!r}, expected a number; {REMEDY}")
