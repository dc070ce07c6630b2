"""``chatsearcher list [retrievers|indexes|…]``"""

from __future__ import annotations

import argparse
import importlib
import json
from typing import Any

TABLES: dict[str, str] = {
    "retrievers": "chatsearcher.retrievers:RETRIEVERS",
    "indexes": "chatsearcher.index:INDEXES",
    "sources": "chatsearcher.indexing.sources:PROCEDURAL",
    "benchmarks": "chatsearcher.benchmarks:BENCHMARKS",
    "towers": "chatsearcher.training.recipes:TOWERS",
    "stage1": "chatsearcher.training.recipes:STAGE1",
    "stage2": "chatsearcher.training.recipes:STAGE2",
}
"""what -> "module:table"; a table gives its names when iterated over."""


def register(subparsers: Any) -> None:
    parser = subparsers.add_parser("list", help="print the names that the other verbs know")
    parser.add_argument("what", nargs="?", choices=sorted(TABLES), help="default: everything")
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    names = {
        what: sorted(_table(target))
        for what, target in TABLES.items()
        if arguments.what in (None, what)
    }
    if arguments.json:
        print(json.dumps(names))
        return 0
    for what, known in names.items():
        print(f"{what}: {', '.join(known)}")
    return 0


def _table(target: str) -> Any:
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)
