"""A page of samples with their pictures, in one file: for looking at what a run has made."""

from __future__ import annotations

import base64
import hashlib
import heapq
from collections.abc import Iterable
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import Any

from chatsearcher.preparation.chatsearch.layout import Entry
from chatsearcher.preparation.chatsearch.shown import thumbnail
from chatsearcher.preparation.chatsearch.statistics import TASKS, table

_TITLES = {
    "t": ("tChatSearch", "words only"),
    "i": ("iChatSearch", "one picture and a request"),
    "m": ("mChatSearch", "several rounds of words and pictures"),
}
_KINDS = {
    "text": "from a caption",
    "reference-image": "from a picture's neighbour",
    "reference-text": "from the second of two rounds",
    "merged": "a conversation and a neighbour, merged",
    "two-round": "from a caption, in two rounds",
}


def choose(records: Iterable[Entry], each: int, split: str) -> dict[str, list[Entry]]:
    """task -> so many records of a split, by the hash of their ids: the same ones each time.

    The kinds of a task come in turn.
    """
    heaps: dict[str, list[tuple[int, str, Entry]]] = {}
    for record in records:
        if record["split"] != split:
            continue
        code = -int.from_bytes(hashlib.sha256(record["id"].encode()).digest()[:8], "big")
        heap = heaps.setdefault(record["kind"], [])
        heapq.heappush(heap, (code, record["id"], record))
        if len(heap) > each:
            heapq.heappop(heap)
    found: dict[str, list[Entry]] = {task: [] for task in TASKS}
    ordered = {kind: sorted(heap, reverse=True) for kind, heap in sorted(heaps.items())}
    for place in range(each):
        for heap in ordered.values():
            if place < len(heap):
                found[heap[place][2]["task"]].append(heap[place][2])
    return {task: chosen[:each] for task, chosen in found.items()}


def samples_page(
    chosen: dict[str, list[Entry]], numbers: dict[str, Any], split: str, note: str
) -> str:
    """The page as HTML; pictures are inside of it."""
    style = Path(__file__).with_name("samples.css").read_text(encoding="utf-8")
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        '<meta name=viewport content="width=device-width, initial-scale=1">',
        f"<title>ChatSearch samples: {escape(split)}</title><style>{style}</style><main>",
        f"<header><h1>Samples of the {escape(split)} split</h1><p>{escape(note)}</p>",
        _table(table(numbers[split])) if split in numbers else "",
        "</header>",
    ]
    for task in TASKS:
        name, what = _TITLES[task]
        parts.append(f"<section><h2>{name} <span>{what}</span></h2>")
        parts += [_sample(record) for record in chosen[task]]
        if not chosen[task]:
            parts.append("<p class=note>none</p>")
        parts.append("</section>")
    return "".join([*parts, "</main></html>\n"])


def _sample(record: Entry) -> str:
    pictures = {each["id"]: each for each in (*record["pictures"], record["target"])}
    turns = []
    for message in record["messages"]:
        content = "".join(
            f"<p class=bubble>{escape(part['text'])}</p>"
            if part["type"] == "text"
            else _figure(pictures[part["id"]], record["captions"])
            for part in message["content"]
        )
        turns.append(f"<li class={message['role']}>{content}</li>")
    target = _figure(record["target"], record["captions"], "target")
    return (
        f"<article><ol>{''.join(turns)}</ol><aside>{target}</aside>"
        f"<footer>{escape(_KINDS[record['kind']])} · {escape(record['id'])}</footer></article>"
    )


def _figure(picture: Entry, captions: dict[str, str], kind: str = "") -> str:
    caption = escape(captions.get(picture["id"], ""))
    try:
        data = _data(picture["source"]) if picture["source"] else None
    except (FileNotFoundError, ValueError):
        data = None
    image = (
        f'<img src="{data}" alt="{caption}">'
        if data
        else f"<div class=missing>{escape(picture['url'] or 'not here')}</div>"
    )
    return f'<figure class="{kind}">{image}<figcaption>{caption}</figcaption></figure>'


@lru_cache(maxsize=64)
def _data(source: str) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(thumbnail(source, 256)).decode("ascii")


def _table(markdown: str) -> str:
    """A Markdown table as HTML."""
    rows = [line.strip("|").split("|") for line in markdown.splitlines()]
    head = "".join(f"<th>{escape(cell.strip())}</th>" for cell in rows[0])
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell.strip())}</td>" for cell in row) + "</tr>"
        for row in rows[2:]
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
