"""``chatsearcher demo``: a scripted conversation that finds pictures, printed and as a page."""

from __future__ import annotations

import argparse
import sys
import time
from importlib import resources
from pathlib import Path
from typing import Any

HELP = "watch a scripted conversation find pictures, and keep a page of it"


def register(subparsers: Any) -> None:
    """Add the verb to the command line."""
    parser = subparsers.add_parser("demo", help=HELP, description=HELP + ".")
    parser.add_argument("--retriever", default="nano", help="nano, a folder, … (%(default)s)")
    parser.add_argument("--script", metavar="FILE.jsonl", help="another conversation to hold")
    parser.add_argument(
        "--out",
        metavar="FOLDER",
        type=Path,
        default=Path("runs/demo"),
        help="where the gallery is kept and the page is written (%(default)s)",
    )
    parser.add_argument("--device", help="cuda, mps or cpu; the best one there is by default")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Build or reuse the gallery, hold the conversation, write the page, print its path last."""
    from chatsearcher.conversation.script import read_script
    from chatsearcher.retrievers import load_retriever

    started = time.monotonic()
    shipped = resources.files("chatsearcher.demo").joinpath("conversation.jsonl")
    script = Path(arguments.script) if arguments.script else shipped
    name = arguments.script or "the demo's script"
    actions = read_script(script.read_text(encoding="utf-8").splitlines(), name)
    system = load_retriever(arguments.retriever, arguments.device)
    page = hold(system, arguments.retriever, actions, name, arguments.out)
    print(f"\n{time.monotonic() - started:.1f} s. The conversation as a page, pictures included:")
    print(page.resolve())
    return 0


def hold(system: Any, spec: str, actions: list[tuple[int, Any]], name: str, out: Path) -> Path:
    """Hold a scripted conversation over the demo's gallery; returns the page's path."""
    from chatsearcher.commands.chat import open_conversation_over
    from chatsearcher.conversation.script import Action
    from chatsearcher.demo.gallery import open_demo_gallery
    from chatsearcher.terminal import Terminal
    from chatsearcher.transcript import write_page
    from chatsearcher.world.pictures import load

    out.mkdir(parents=True, exist_ok=True)
    gallery = open_demo_gallery(out / "gallery", system, spec, progress=_show)
    conversation = open_conversation_over(gallery, system)
    print(f"{len(gallery):,} pictures of the picture world; none was seen in training.")
    terminal = Terminal(conversation, pictures=False)
    for line, action in actions:
        terminal.echo(action)
        try:
            rounds = conversation.rounds
            if action.verb == "pick" and not rounds[-1].fits and not conversation.candidates:
                terminal.act(Action("more"))  # what a person does who is told that nothing fits
            terminal.act(action)
        except ValueError as error:  # the model has answered in words where a picture was due
            print(f"! {name}, line {line}: {error}")
    facts = {"Model": Path(spec).name, "Gallery": f"{len(gallery):,} pictures, never trained on"}
    return write_page(
        conversation,
        out / "conversation.html",
        title="A conversation that finds pictures",
        facts=facts,
        picture=lambda id: load(id, 256),
    )


def _show(done: int, total: int) -> None:
    end = "\n" if done >= total else ""
    print(f"\r  indexed {done:,} of {total:,} pictures", end=end, file=sys.stderr, flush=True)
