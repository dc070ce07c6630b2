"""The command line: ``chatsearcher VERB …``. Each verb is a module of ``chatsearcher.commands``.

A verb's module offers ``register(subparsers)``, which adds its parser and sets ``run``, a function
from the parsed arguments to the exit code. Only the module of the verb at hand is imported.
"""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
import threading
from collections.abc import Sequence

from chatsearcher import __version__

VERBS: dict[str, str] = {
    "index": "make a gallery of pictures, or bring one up to date",
    "search": "find pictures by words or by a picture",
    "chat": "find pictures in a conversation",
    "gallery": "look into a gallery, remove from it, import and export",
    "prepare": "make a data set ready for training",
    "evaluate": "measure a retriever on benchmarks",
    "score": "score answers, captions or ranked lists that were made elsewhere",
    "report": "set results side by side on one page, beside published figures",
    "plan": "say which ZeRO stage and micro-batch of a recipe fit into GPUs' memory",
    "demo": "watch a scripted conversation find pictures",
    "list": "print the names that the other verbs know",
}
"""verb -> one line of help; the code is in ``chatsearcher.commands.VERB``."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit code (0 done, 1 failed, 2 wrong usage, 130 stopped)."""
    words = list(sys.argv[1:] if argv is None else argv)
    arguments = _parser(words).parse_args(words)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # stop as on Ctrl-C
    try:
        return int(arguments.run(arguments) or 0)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader (head, less) has seen enough; keep the interpreter from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError, ImportError) as error:
        if arguments.traceback:
            raise
        print(f"chatsearcher {arguments.verb}: {error}", file=sys.stderr)
        return 1


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="chatsearcher",
        description="Find pictures by conversation.",
        epilog="`chatsearcher VERB --help` tells more.",
    )
    parser.add_argument("--version", action="version", version=f"chatsearcher {__version__}")
    parser.add_argument(
        "--traceback", action="store_true", help="on an error, show where in the code it arose"
    )
    subparsers = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    asked = next((word for word in words if word in VERBS), None)
    for verb, help in VERBS.items():
        if verb == asked:
            importlib.import_module(f"chatsearcher.commands.{verb}").register(subparsers)
        else:
            subparsers.add_parser(verb, help=help)
    return parser
