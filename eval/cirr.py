"""CIRR, zero-shot: one call from a trained checkpoint to the figures, or to the files to upload.

    python eval/cirr.py runs/vicuna-7b/stage2 --data-root CIRR --out cirr.json
    python eval/cirr.py runs/vicuna-7b/stage2 --data-root CIRR --split test1 --submission upload/

CIRR is the folder of the authors' annotation files with the pictures beside them (dev/, test1/).
The change in words is put into a request (``--prompt``), as the generative model was taught; a
baseline takes the words as they stand (``--prompt plain-1``). Printed beside: the paper's row,
which is of the test split and of the 7B model.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from chatsearcher.benchmarks import BENCHMARKS, Context
from chatsearcher.benchmarks.progress import show_progress
from chatsearcher.benchmarks.reporting.published import rows_of
from chatsearcher.benchmarks.results import Result, markdown_table, result_table, write_results
from chatsearcher.benchmarks.single_query import GalleryVectors
from chatsearcher.retrievers import load_retriever

PAPER = "ChatSearcher, zero-shot"  # a row of the test split


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("system", nargs="?", default="nano", help="nano, a folder, clip:…")
    parser.add_argument("--data-root", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--split", choices=("val", "test1"), default="val")
    parser.add_argument("--prompt", default="one-change-1")
    parser.add_argument("--submission", type=Path, metavar="FOLDER", help="the server's files")
    parser.add_argument("--cache", metavar="FOLDER", help="keep the gallery's vectors here")
    parser.add_argument("--out", type=Path, metavar="FILE.json")
    parser.add_argument("--device")
    arguments = parser.parse_args()
    try:
        result = run(arguments)
    except (FileNotFoundError, ValueError) as error:
        sys.exit(f"error: {error}")
    if arguments.out:
        write_results(arguments.out, [result])
    print(result_table([result]))
    if result.metrics:
        print(f"\n{beside_published(result)}")


def run(arguments: argparse.Namespace) -> Result:
    """Encode and score, or write the files.

    Raises:
        FileNotFoundError, ValueError: data or system that are not there or do not fit.
    """
    context = Context(
        spec=arguments.system,
        vectors=GalleryVectors(arguments.cache),
        progress=show_progress,
        data_root=arguments.data_root,
        prompt=arguments.prompt,
        submission=arguments.submission,
    )
    benchmark = BENCHMARKS[f"cirr-{arguments.split}"]
    benchmark.load(arguments.data_root, {})  # missing files are said before a model is loaded
    result: Result = benchmark.run(load_retriever(arguments.system, arguments.device), context)
    return result


def beside_published(result: Result) -> str:
    """A Markdown table of two rows."""
    mark = "†" if result.shrunken else ""
    row = next(row for row in rows_of("cirr-test1") if row.system == PAPER)
    mine = [f"{result.metrics[name]:.2f}{mark}" for name in row.metrics]
    return markdown_table(
        ["system", *row.metrics],
        [
            [f"{result.retriever['spec']}, {result.benchmark} (measured)", *mine],
            [f"{PAPER}, test split (published)", *(f"{v:.2f}" for v in row.metrics.values())],
        ],
    )


if __name__ == "__main__":
    main()
