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
        primary: the name of the figure to look at first; a key of ``metrics``.
        metrics: figures; shares in percent, which the name does not repeat.
        intervals: for some figures, the 95 % bootstrap interval (low, high).
        counts: how many queries, pictures, … went in, and how many were left out.
        data: checksum of the benchmark's data.
        retriever: the system's spec and fingerprint.
        settings: every choice that could change a figure.
        seconds: wall time.
        ranks: [Q] the rank of every target, for joint intervals and paired comparisons; in memory
            only.
    """

    benchmark: str
    protocol: str
    primary: str
    metrics: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    data: str = ""
    retriever: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    version: str = chatsearcher.__version__
    ranks: np.ndarray | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.primary not in self.metrics:
            raise ValueError(
                f"{self.benchmark}: the primary figure {self.primary!r} is not among "
                f"{', '.join(self.metrics)}"
            )


def write_results(path: str | Path, results: Sequence[Result]) -> None:
    """Write results as ``{"results": [...]}``; the file appears whole or not at all."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    rows = [asdict(result) for result in results]
    for row in rows:
        del row["ranks"]
    record = {"results": rows}
    partial.write_text(json.dumps(record, indent=2, allow_nan=False) + "\n", encoding="utf-8")
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
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(
            f"{path} is no file of results ({error!r}); expected one written by "
            "`chatsearcher evaluate … --out FILE.json`"
        ) from error


def result_table(results: Sequence[Result]) -> str:
    """A terminal table: one line a result, one column a figure."""
    names = list(dict.fromkeys(name for result in results for name in result.metrics))
    rows = [["benchmark", "retriever", *names]]
    for result in results:
        cells = []
        for name in names:
            value = result.metrics.get(name)
            mark = "*" if name == result.primary else ""
            cells.append("–" if value is None else f"{value:.2f}{mark}")
        rows.append([result.benchmark, result.retriever.get("spec", "?"), *cells])
    return align(rows)


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
