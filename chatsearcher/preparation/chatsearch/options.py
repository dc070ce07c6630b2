"""What a run is asked for: given on the command line once, kept in the run's ``settings.json``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from chatsearcher.foundation.captioner import PAPER as CAPTIONER
from chatsearcher.preparation.chatsearch.layout import Entry
from chatsearcher.preparation.chatsearch.run import Run
from chatsearcher.preparation.convert import write_json

DEFAULTS: Entry = {
    "source": None,
    "texts": ["txt", "captions"],
    "where": {},
    "below": {},
    "lists": [],
    "limit": 0,
    "model": None,
    "temperature": 0.7,
    "max_tokens": 800,
    "structured": "schema",
    "body": {},
    "attempts": 3,
    "prompts": None,
    "gallery": None,
    "retriever": None,
    "similarity": [0.6, 0.98],
    "neighbours": 10,
    "answers": 5,
    "captioner": CAPTIONER,
    "keep_val": False,
    "seed": 0,
    "part": 1000,
}
"""Kept with the run: each of these may change what is written."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that are kept (no defaults here: unset means as before)."""
    add = parser.add_argument_group("pictures").add_argument
    add(
        "--source",
        action="append",
        metavar="PATH",
        help="shards with captions, or world:SPLIT:COUNT; may be given several times",
    )
    add("--texts", nargs="+", metavar="FIELD", help="where captions are (default: txt captions)")
    add("--where", action="append", type=_where, metavar="FIELD=A,B", help="only such pictures")
    add("--below", action="append", type=_below, metavar="FIELD=X", help="only such pictures")
    add(
        "--list",
        dest="lists",
        action="append",
        type=_listed,
        metavar="SPLIT=FILE",
        help="pictures of a split (train, restval, val, test), as Karpathy's lists",
    )
    add("--limit", type=int, metavar="N", help="so many pictures of each source")
    add = parser.add_argument_group("language model").add_argument
    add("--model", metavar="URL#MODEL", help="an OpenAI-compatible endpoint, or local:NAME")
    add("--temperature", type=float)
    add("--max-tokens", type=int, metavar="N", help="of an answer")
    add(
        "--structured",
        choices=("schema", "json", "none"),
        help="how the answer's form is asked for",
    )
    add(
        "--body",
        type=_object,
        metavar="JSON",
        help='further fields of a request; null takes one out: \'{"max_tokens": null, '
        '"max_completion_tokens": 800}\'',
    )
    add("--attempts", type=int, metavar="N", help="answers asked for until one fits (default: 3)")
    add("--prompts", metavar="FOLDER", help="prompt files of your own")
    add = parser.add_argument_group("gallery and captioner").add_argument
    add("--gallery", metavar="PATH", help="a gallery of ours, or knn:URL#INDEX (clip-retrieval)")
    add("--retriever", metavar="NAME", help="default: the one that made the gallery")
    add(
        "--similarity",
        type=_range,
        metavar="LEAST:MOST",
        help="of a neighbour that is taken (default: 0.6:0.98)",
    )
    add("--neighbours", type=int, metavar="K", help="looked at (default: 10)")
    add("--answers", type=int, metavar="K", help="looked at for a first caption (default: 5)")
    add(
        "--captioner",
        metavar="NAME",
        help=f"an image-to-text model (default: {CAPTIONER}), or gallery for its own captions",
    )
    add = parser.add_argument_group("output").add_argument
    add("--keep-val", action="store_true", default=None, help="val stays a split of its own")
    add("--seed", type=int)
    add("--part", type=int, metavar="N", help="inputs of a file of records (default: 1000)")


def settle(run: Run, arguments: argparse.Namespace) -> Entry:
    """The run's options with what was given now; written down for the next command."""
    path = run.path / "settings.json"
    kept: Entry = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    settings = {**DEFAULTS, **kept}
    for name in DEFAULTS:
        given: Any = getattr(arguments, name, None)
        if given is not None:
            settings[name] = dict(given) if name in ("where", "below") else given
    settings = json.loads(json.dumps(settings))
    if settings != kept:
        run.path.mkdir(parents=True, exist_ok=True)
        write_json(path, settings)
    return settings


def need(settings: Entry, name: str) -> Any:
    """An option that a step cannot do without.

    Raises:
        ValueError: it was never given.
    """
    if not settings[name]:
        raise ValueError(f"this step needs --{name.replace('_', '-')} (kept once it was given)")
    return settings[name]


def _pair(text: str, example: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key or not value:
        raise argparse.ArgumentTypeError(f"{text!r}; expected {example}")
    return key, value


def _where(text: str) -> tuple[str, list[str]]:
    key, values = _pair(text, "FIELD=VALUE,VALUE")
    return key, values.split(",")


def _below(text: str) -> tuple[str, float]:
    key, value = _pair(text, "FIELD=NUMBER")
    try:
        return key, float(value)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}; expected FIELD=NUMBER") from error


def _listed(text: str) -> list[str]:
    split, path = _pair(text, "SPLIT=FILE")
    if split not in ("train", "restval", "val", "test") or not Path(path).is_file():
        raise argparse.ArgumentTypeError(f"{text!r}; expected SPLIT=FILE, a file that exists")
    return [split, path]


def _object(text: str) -> Entry:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no JSON ({error})") from error
    if not isinstance(found, dict):
        raise argparse.ArgumentTypeError(f"{text!r}; expected a JSON object")
    return found


def _range(text: str) -> list[float]:
    try:
        least, most = (float(number) for number in text.split(":"))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}; expected LEAST:MOST") from error
    return [least, most]
