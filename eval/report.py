"""Write the tables of a results page anew from the result files that it names.

    python eval/report.py docs/results.md

How a table is asked for: ``chatsearcher.benchmarks.reporting.seeds.refresh``. Files are relative
to the page.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from chatsearcher.benchmarks.reporting.seeds import refresh


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("page", type=Path, nargs="+")
    for page in parser.parse_args().page:
        text = refresh(page.read_text(encoding="utf-8"), page.parent)
        page.write_text(text, encoding="utf-8")
        print(page)


if __name__ == "__main__":
    main()
