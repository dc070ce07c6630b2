"""``chatsearcher chat --gallery G``: a conversation that finds pictures, in the terminal."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

    from chatsearcher.conversation import Conversation
    from chatsearcher.gallery import Gallery

HELP = "find pictures by talking; or play a script of a user's actions"


def register(subparsers: Any) -> None:
    """Add the verb to the command line."""
    parser = subparsers.add_parser(
        "chat",
        help=HELP,
        description=HELP + ". Type `help` in the conversation for what can be said.",
    )
    parser.add_argument("--gallery", required=True, metavar="FOLDER", help="made by `index`")
    parser.add_argument(
        "--retriever", help="nano, a folder, clip:…; by default the one that made the gallery"
    )
    parser.add_argument("-k", type=int, default=5, help="candidates at a time (%(default)s)")
    parser.add_argument("--device", help="cuda, mps or cpu; the best one there is by default")
    parser.add_argument("--load", metavar="FILE.jsonl", help="go on with a saved conversation")
    parser.add_argument(
        "--pictures",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="draw the candidates in the terminal (by default where it has 24-bit colour)",
    )
    parser.add_argument(
        "--script",
        metavar="FILE.jsonl",
        help='actions, one a line: {"say": "…", "images": [paths]}, {"pick": 2}, {"more": true}, '
        '{"none": true}, {"undo": true}, {"save": "path"}; "-" reads standard input',
    )
    parser.add_argument("--json", action="store_true", help="one JSON object for each answer")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Converse, or play the script; returns the exit status."""
    from chatsearcher.conversation.script import Action, read_script

    if arguments.json and not arguments.script:
        raise ValueError("--json needs --script FILE.jsonl (or --script - for standard input)")
    actions: list[tuple[int, Action]] = []
    if arguments.script:  # read before the model is: a wrong line should not cost a wait
        name = "standard input" if arguments.script == "-" else arguments.script
        if arguments.script == "-":
            actions = read_script(sys.stdin, name)
        else:
            with open(arguments.script, encoding="utf-8") as lines:
                actions = read_script(lines, name)
    conversation = open_conversation(
        arguments.gallery, arguments.retriever, arguments.k, arguments.device, arguments.load
    )
    if arguments.script:
        return play(conversation, actions, name, as_json=arguments.json)
    return converse(conversation, arguments.pictures)


def open_conversation(
    gallery_path: str,
    spec: str | None,
    k: int,
    device: str | None,
    saved: str | None = None,
) -> Conversation:
    """A conversation over a gallery on disk, with the system that made it or another one.

    Raises:
        FileNotFoundError, ValueError: no gallery, no such system, or one that did not make it.
    """
    from chatsearcher.gallery import Gallery
    from chatsearcher.retrievers import load_retriever

    gallery = Gallery.open(gallery_path)
    if not len(gallery):
        raise ValueError(f"the gallery {gallery_path} is empty; add to it with chatsearcher index")
    system = load_retriever(spec or gallery.retriever or "nano", device)
    return open_conversation_over(gallery, system, k, saved)


def open_conversation_over(
    gallery: Gallery, system: Any, k: int = 5, saved: str | None = None
) -> Conversation:
    """A conversation with a system over the gallery that it made; a saved one goes on."""
    from chatsearcher.conversation import Conversation
    from chatsearcher.index import make_index

    gallery.check(system)
    index = make_index("exact", gallery.vectors, gallery.metric)
    options: dict[str, Any] = {
        "k": k,
        "threshold": getattr(system, "no_match_threshold", None),
        "decode": partial(original, gallery),
    }
    if saved:
        return Conversation.load(saved, system, gallery, index, **options)
    return Conversation(system, gallery, index, **options)


def original(gallery: Gallery, id: str) -> PILImage:
    """A gallery's picture as it was indexed, where it still is; else its thumbnail."""
    from chatsearcher.images import open_image
    from chatsearcher.indexing.build import WORKING_SIDE

    source = gallery.source(id)
    if source.startswith("world:"):
        from chatsearcher.world.pictures import load

        return load(source.removeprefix("world:"))
    if Path(source).is_file():
        return open_image(source, max_side=WORKING_SIDE)
    return gallery.thumbnail(id)


def play(
    conversation: Conversation, actions: list[tuple[int, Any]], name: str, as_json: bool
) -> int:
    """Make a script's moves and print the answers; an error names its line."""
    from chatsearcher.conversation.script import answer_record, perform
    from chatsearcher.terminal import Terminal

    terminal = Terminal(conversation, pictures=False)
    for line, action in actions:
        try:
            if as_json:
                answer = perform(conversation, action)
                record = answer_record(line, action, answer)
                print(json.dumps(record, ensure_ascii=False), flush=True)
            else:
                terminal.echo(action)
                terminal.act(action)
        except (ValueError, OSError) as error:
            raise ValueError(f"{name}, line {line}: {error}") from error
    return 0


def converse(conversation: Conversation, pictures: bool | None) -> int:
    """Talk to the person at the terminal."""
    from chatsearcher.terminal import Terminal
    from chatsearcher.transcript import write_page

    with contextlib.suppress(ImportError):  # Windows has none
        import readline  # noqa: F401 (gives `input` a history and editing)

    def export(talk: Conversation, path: Path) -> None:
        write_page(talk, path, facts={"Gallery": f"{len(talk.gallery.ids):,} pictures"})

    return Terminal(conversation, pictures=pictures, export=export).run()
