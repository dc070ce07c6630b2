"""What a benchmark says: figures with all that is needed to compare them; JSON and tables."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import chatsearcher


@dataclass(frozen=True)
class Result:
    """One benchmark's outcome for one system.

    Attributes:
        benchmark: the registered name.
        protocol: which rules were followed, in words; figures of two protocols do not compare.
        primary: the name of the figure to look at first; a key of ``metrics``. Empty where there
            are no figures, because the targets are not public.
        metrics: figures; shares in percent, which the name does not repeat.
        intervals: for some figures, the 95 % bootstrap interval (low, high).
        counts: how many queries, pictures, … went in, and how many were left out; None where a
            number is not known (the system does not count it).
        data: checksum of the benchmark's data.
        retriever: the system's spec and fingerprint.
        settings: every choice that could change a figure.
        seconds: wall time.
        missing: pictures that could not be used, id -> reason.
        shrunken: the figures are of a smaller gallery than the benchmark's; never to be printed
            without saying so.
        curves: figure -> its value at each round, for benchmarks with rounds.
        examples: some queries answered best and worst: query, target, rank, found (ids).
        notes: what must be said beside the figures.
        ranks: [Q] the rank of every target, for joint intervals and paired comparisons; in memory
            only.
    """

    benchmark: str
    protocol: str
    primary: str
    metrics: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    counts: Mapping[str, int | None] = field(default_factory=dict)
    data: str = ""
    retriever: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    version: str = chatsearcher.__version__
    missing: Mapping[str, str] = field(default_factory=dict)
    shrunken: bool = False
    curves: Mapping[str, Sequence[float]] = field(default_factory=dict)
    examples: Sequence[Mapping[str, Any]] = field(default_factory=list)
    notes: Sequence[str] = field(default_factory=list)
    ranks: np.ndarray | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.primary not in self.metrics and (self.metrics or self.primary):
            raise ValueError(
                f"{self.benchmark}: the primary figure {self.primary!r} is not among "
                f"{', '.join(self.metrics)}"
            )


def write_results(path: str | Path, results: Sequence[Result]) -> None:
    """Write results as ``{"results": [...]}``; the file appears whole or not at all."""
    rows = [asdict(result) for result in results]
    for row in rows:
        del row["ranks"]
    write_json(path, {"results": rows}, indent=2)


def write_json(path: str | Path, content: Any, indent: int | None = None) -> None:
    """Write JSON; the file appears whole or not at all, and its folder with it."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    text = json.dumps(content, indent=indent, allow_nan=False)
    partial.write_text(text + "\n", encoding="utf-8")
    os.replace(partial, path)


def read_results(path: str | Path) -> list[Result]:
    """The inverse of ``write_results``.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a file that ``write_results`` wrote.
    """
    try:
        rows = json.loads(Path(path).read_text(encoding="utf-8"))["results"]
        return [
            Result(
                **{
                    **row,
                    "intervals": {k: (v[0], v[1]) for k, v in row.get("intervals", {}).items()},
                }
            )
            for row in rows
        ]
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise ValueError(
            f"{path} is no file of results ({error!r}); expected one written by "
            "`chatsearcher evaluate … --out FILE.json`"
        ) from error


def result_table(results: Sequence[Result]) -> str:
    """A terminal table: one line a result, one column a figure; ``*`` is the primary one.

    A result over a shrunken gallery has ``†`` at every figure. The notes follow the table.
    """
    names = list(dict.fromkeys(name for result in results for name in result.metrics))
    rows = [["benchmark", "retriever", *names]]
    for result in results:
        cells = []
        for name in names:
            value = result.metrics.get(name)
            mark = ("*" if name == result.primary else "") + ("†" if result.shrunken else "")
            cells.append("–" if value is None else f"{value:.2f}{mark}")
        rows.append([result.benchmark, result.retriever.get("spec", "?"), *cells])
    said = [
        f"{'† ' if note.startswith('shrunken') else ''}{result.benchmark}: {note}"
        for result in results
        for note in result.notes
    ]
    return "\n".join([align(rows), *dict.fromkeys(said)])


def joint_result(name: str, results: Sequence[Result]) -> Result:
    """The mean of the primary figures of several benchmarks for one system.

    Raises:
        ValueError: results of different systems, or a member without figures.
    """
    systems = {result.retriever.get("fingerprint") for result in results}
    if len(systems) != 1:
        raise ValueError(f"{name}: results of {len(systems)} different systems cannot be joined")
    bare = next((result.benchmark for result in results if not result.primary), None)
    if bare is not None:
        raise ValueError(f"{name}: {bare} has no figures to join")
    mean = float(np.mean([result.metrics[result.primary] for result in results]))
    return Result(
        benchmark=name,
        protocol="the mean of the primary figures of "
        + ", ".join(result.benchmark for result in results),
        primary="mean",
        metrics={"mean": mean},
        counts={
            "sets": len(results),
            "queries": sum(result.counts.get("queries") or 0 for result in results),
            "missing images": sum(len(result.missing) for result in results),
        },
        data=",".join(result.data for result in results),
        retriever=results[0].retriever,
        settings=results[0].settings,
        seconds=sum(result.seconds for result in results),
        shrunken=any(result.shrunken for result in results),
        notes=[f"{result.benchmark}: {note}" for result in results for note in result.notes],
    )


def align(rows: Sequence[Sequence[str]]) -> str:
    """Columns padded to their widest cell; the first two to the left, the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if i < 2 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    lines.insert(1, "-" * len(lines[0]))
    return "\n".join(lines)


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; the first column to the left, the others to the right."""
    lines = [
        "| " + " | ".join(header) + " |",
        "|" + "|".join(["---", *["---:"] * (len(header) - 1)]) + "|",
    ]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)
