"""``chatsearcher list [retrievers|indexes|…]``; ``list benchmarks`` tells of each what it needs."""

from __future__ import annotations

import argparse
import importlib
import json
import textwrap
from collections.abc import Mapping
from typing import Any

TABLES: dict[str, str] = {
    "retrievers": "chatsearcher.retrievers:RETRIEVERS",
    "indexes": "chatsearcher.index:INDEXES",
    "sources": "chatsearcher.indexing.sources:PROCEDURAL",
    "preparations": "chatsearcher.preparation:PREPARATIONS",
    "benchmarks": "chatsearcher.benchmarks:BENCHMARKS",
    "predictions": "chatsearcher.benchmarks:SCORERS",
    "simulators": "chatsearcher.roles:SIMULATORS",
    "questioners": "chatsearcher.roles:QUESTIONERS",
    "answerers": "chatsearcher.roles:ANSWERERS",
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
    if arguments.what == "benchmarks":
        described = benchmark_cards(_table(TABLES["benchmarks"]))
        print(json.dumps({"benchmarks": described}) if arguments.json else in_words(described))
        return 0
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


def benchmark_cards(table: Any) -> list[dict[str, Any]]:
    """What every registered benchmark says of itself; loads their modules, no data."""
    found = []
    for name in table:
        card = table[name].card
        found.append(
            {
                "name": name,
                "data": card.data,
                "sizes": dict(card.sizes),
                "metrics": list(card.metrics),
                "primary": card.primary,
                "protocol": card.protocol,
                "source": card.source,
                "prompts": dict(card.prompts),
                "options": dict(card.options),
            }
        )
    return found


def in_words(cards: list[dict[str, Any]]) -> str:
    """A paragraph a benchmark."""
    return "\n\n".join(_paragraph(card) for card in cards)


def _paragraph(card: Mapping[str, Any]) -> str:
    rows = {
        "data": card["data"],
        "sizes": ", ".join(f"{count:,} {what}" for what, count in card["sizes"].items()),
        "metrics": ", ".join(
            f"{name}*" if name == card["primary"] else name for name in card["metrics"]
        ),
        "protocol": card["protocol"],
        "prompts": ", ".join(card["prompts"]) if len(card["prompts"]) > 1 else "",
        "options": "; ".join(f"{name}: {meaning}" for name, meaning in card["options"].items()),
        "source": card["source"],
    }
    lines = [card["name"]]
    for what, text in rows.items():
        if text:
            lines += textwrap.wrap(
                text, 100, initial_indent=f"  {what + ':':10}", subsequent_indent=" " * 12
            )
    return "\n".join(lines)


def _table(target: str) -> Any:
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)
