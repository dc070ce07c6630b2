"""``chatsearcher report RESULTS… --out report.html``: results side by side on one page."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

HELP = "set results side by side on one page, beside published figures"


def register(subparsers: Any) -> None:
    """Add the verb to the command line."""
    parser = subparsers.add_parser(
        "report",
        help=HELP,
        description=HELP + "; the page is one HTML file that needs nothing else",
    )
    parser.add_argument(
        "results",
        nargs="+",
        type=Path,
        metavar="FILE.json",
        help="written by `chatsearcher evaluate … --out` or `chatsearcher score … --out`",
    )
    parser.add_argument("--out", type=Path, default=Path("report.html"), metavar="FILE.html")
    parser.add_argument(
        "--data-root",
        action="append",
        default=[],
        metavar="[NAME=]FOLDER",
        help="a benchmark's data, for the words and pictures of successes and failures; may be "
        "given several times (the package's own sets need none)",
    )
    parser.add_argument("--title", default=None, help="the page's heading")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the page; say what could not be shown on it."""
    from chatsearcher.benchmarks.reporting.page import TITLE, write_report

    said = write_report(
        arguments.results, arguments.out, arguments.data_root, arguments.title or TITLE
    )
    for line in said:
        print(f"not shown: {line}", file=sys.stderr)
    print(arguments.out)
    return 0
