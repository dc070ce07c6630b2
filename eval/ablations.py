"""Rows of an ablation, each the mean over its seeds, from files that ``evaluate`` wrote.

    python eval/ablations.py "momentum on"=on-0.json,on-1.json "momentum off"=off-0.json,off-1.json

The first row is the reference: for each other row it is said whether the two 95 % intervals touch.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from chatsearcher.benchmarks.reporting.seeds import WORLD_COLUMNS, compare, read_runs, spreads


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("row", nargs="+", help="TITLE=FILE.json[,FILE.json…], one file a seed")
    parser.add_argument("--out", type=Path, help="also write the Markdown table here")
    arguments = parser.parse_args()
    rows = {}
    for each in arguments.row:
        title, equals, files = each.rpartition("=")
        if not equals:
            parser.error(f"{each!r}: expected TITLE=FILE.json[,FILE.json…]")
        rows[title] = read_runs(files.split(","))
    table = compare(rows, WORLD_COLUMNS)
    print(table)
    first, *others = rows
    figure = ("world", "mean recall")
    reference = spreads(rows[first]).get(figure)
    for title in others:
        other = spreads(rows[title]).get(figure)
        if reference is not None and other is not None:
            touch = "touch" if reference.overlaps(other) else "do not touch"
            print(f"{title}: {other.mean - reference.mean:+.2f} points; the intervals {touch}")
    if arguments.out:
        arguments.out.write_text(table + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
