"""Results of several runs side by side: means over seeds, intervals, Markdown for the docs."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from chatsearcher.benchmarks.results import Result, markdown_table, read_results

# Two-sided 95 % quantiles of Student's t by degrees of freedom; 1.96 beyond the table.
_T95 = {
    1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262,
}  # fmt: skip


@dataclass(frozen=True)
class Spread:
    """A figure over seeds: the mean, the half-width of its 95 % interval (Student's t), the worst.

    ``half`` is NaN for a single run: one run tells nothing about its spread.
    """

    mean: float
    half: float
    lowest: float
    runs: int

    def __str__(self) -> str:
        return f"{self.mean:.2f}" if self.runs < 2 else f"{self.mean:.2f} ± {self.half:.2f}"

    def overlaps(self, other: Spread) -> bool:
        """Whether the two intervals touch; intervals of single runs are unknown and do."""
        if math.isnan(self.half) or math.isnan(other.half):
            return True
        return abs(self.mean - other.mean) <= self.half + other.half


def spread(values: Sequence[float]) -> Spread:
    """The spread of one figure over runs that differ by their seed.

    Raises:
        ValueError: no values.
    """
    if not values:
        raise ValueError("no runs to average")
    array = np.asarray(values, dtype=np.float64)
    count = len(array)
    half = math.nan
    if count > 1:
        half = _T95.get(count - 1, 1.96) * float(array.std(ddof=1)) / math.sqrt(count)
    return Spread(float(array.mean()), half, float(array.min()), count)


def spreads(runs: Sequence[Sequence[Result]]) -> dict[tuple[str, str], Spread]:
    """(benchmark, figure) -> its spread over runs, for all that every run has.

    Args:
        runs: for each seed, its results.

    Raises:
        ValueError: runs measured on different data or by different rules.
    """
    tables: list[dict[str, Result]] = [{r.benchmark: r for r in run} for run in runs]
    shared = [name for name in tables[0] if all(name in table for table in tables)]
    found = {}
    for name in shared:
        rows = [table[name] for table in tables]
        if len({(row.data, row.protocol) for row in rows}) != 1:
            raise ValueError(f"{name}: the runs were measured on different data or by other rules")
        for figure in rows[0].metrics:
            if all(figure in row.metrics for row in rows):
                found[name, figure] = spread([row.metrics[figure] for row in rows])
    return found


def compare(
    rows: Mapping[str, Sequence[Sequence[Result]]], columns: Sequence[tuple[str, str, str]]
) -> str:
    """A Markdown table: one row a system (its seeds averaged), one column a figure.

    Args:
        rows: row title -> for each seed, its results.
        columns: (title, benchmark, figure); a figure that a system lacks is shown as "–".
    """
    body = []
    for title, runs in rows.items():
        table = spreads(runs)
        cells = [str(table[b, f]) if (b, f) in table else "–" for _, b, f in columns]
        body.append([title, *cells])
    return markdown_table(["system", *(title for title, _, _ in columns)], body)


WORLD_COLUMNS: tuple[tuple[str, str, str], ...] = (
    *(
        (f"{short} R@{k}", f"world-{short}", f"R@{k}")
        for short in ("t", "i", "m")
        for k in (1, 5, 10)
    ),
    ("mean", "world", "mean recall"),
    ("above neighbours", "world", "beats neighbours"),
)


def read_runs(paths: Sequence[str | Path]) -> list[list[Result]]:
    """One list of results a file."""
    return [read_results(path) for path in paths]


DECISION_COLUMNS: tuple[tuple[str, str, str], ...] = tuple(
    (title, "world-decision", figure)
    for title, figure in (
        ("balanced accuracy", "balanced accuracy"),
        ("pictures", "pictures answered with a picture"),
        ("words", "words answered in words"),
        ("word answers right", "word answers"),
    )
)
COLUMNS = {"world": WORLD_COLUMNS, "decision": DECISION_COLUMNS}
_TABLE = re.compile(
    r"(?P<head><!-- table (?P<columns>\S+)\n(?P<rows>.*?)-->\n).*?(?P<tail><!-- end table -->)",
    re.DOTALL,
)


def refresh(page: str, folder: Path) -> str:
    """A Markdown page with its tables written anew from result files.

    A table is asked for in the page itself, one row a line, one file a seed::

        <!-- table world
        momentum on = on-0.json on-1.json
        momentum off = off-0.json
        -->
        <!-- end table -->

    Args:
        page: the page's text.
        folder: what the files' names are relative to.

    Raises:
        ValueError: unknown columns, or a row without files.
    """

    def table(match: re.Match[str]) -> str:
        if match["columns"] not in COLUMNS:
            raise ValueError(f"unknown table {match['columns']!r}; known: {', '.join(COLUMNS)}")
        rows = {}
        for line in match["rows"].strip().splitlines():
            title, equals, files = line.rpartition("=")
            if not equals or not files.split():
                raise ValueError(f"row {line!r}: expected TITLE = FILE.json [FILE.json …]")
            rows[title.strip()] = read_runs([folder / name for name in files.split()])
        body = compare(rows, COLUMNS[match["columns"]])
        return f"{match['head']}\n{body}\n\n{match['tail']}"

    return _TABLE.sub(table, page)
