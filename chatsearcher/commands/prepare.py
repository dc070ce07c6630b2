"""``chatsearcher prepare NAME …``: data sets from their published layouts into our records."""

from __future__ import annotations

import argparse
from typing import Any

HELP = "make a data set ready for training"


def register(subparsers: Any) -> None:
    from chatsearcher.preparation import TABLE

    names = "\n".join(f"  {name:<24}{help}" for name, (_, help) in TABLE.items())
    parser = subparsers.add_parser(
        "prepare",
        help=HELP,
        description="Make a data set ready for training, from its published layout. Stopped or "
        "killed, the same command goes on where it was. Nothing is downloaded.",
        epilog=f"names:\n{names}\n\n`chatsearcher prepare NAME --help` tells more.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("rest", nargs=argparse.REMAINDER, metavar="…", help="see NAME --help")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Only the module of the name at hand is imported."""
    from chatsearcher.preparation import prepare

    return prepare(arguments.name, arguments.rest)
