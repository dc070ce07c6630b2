"""Progress on a terminal, for commands and scripts."""

from __future__ import annotations

import sys


def show_progress(what: str, done: int, total: int) -> None:
    """``what done of total`` on one line of standard error; few lines where that is a file."""
    if sys.stderr.isatty():
        end = "\n" if done >= total else ""
        print(f"\r  {what} {done:,} of {total:,}", end=end, file=sys.stderr, flush=True)
    elif done >= total:
        print(f"  {what} {done:,} of {total:,}", file=sys.stderr, flush=True)
