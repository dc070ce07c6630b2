"""``chatsearcher score NAME --predictions FILE --data-root FOLDER``: score what was made elsewhere.

The files are in the benchmark's own submission format; see ``docs/adding-a-benchmark.md``.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

HELP = "score answers, captions or ranked lists that were made elsewhere"


def register(subparsers: Any) -> None:
    """Add the verb to the command line."""
    parser = subparsers.add_parser("score", help=HELP, description=HELP)
    parser.add_argument("benchmark", metavar="NAME", help="cirr, circo, vqav2, …")
    parser.add_argument(
        "--predictions",
        type=Path,
        nargs="+",
        required=True,
        metavar="FILE",
        help="in the official submission format; several where a submission is several files",
    )
    parser.add_argument(
        "--data-root",
        type=Path,
        metavar="FOLDER",
        help="the data, as their publisher lays them out",
    )
    parser.add_argument(
        "--option", action="append", default=[], metavar="NAME=VALUE", help="a setting of its own"
    )
    parser.add_argument("--out", metavar="FILE.json", help="where to write the result")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Read the files, write the result, print the table."""
    from chatsearcher.benchmarks import BENCHMARKS, SCORERS, Context
    from chatsearcher.benchmarks.results import result_table, write_results
    from chatsearcher.commands.evaluate import read_options

    name = arguments.benchmark
    scorer = BENCHMARKS[name] if name in BENCHMARKS and name not in SCORERS else SCORERS[name]
    if not hasattr(scorer, "score_predictions"):
        raise ValueError(
            f"{name} has no format of predictions; known: {', '.join(SCORERS)}. Vectors are scored "
            f"by `chatsearcher evaluate {name} --features FILE.safetensors`"
        )
    for path in arguments.predictions:
        if not path.is_file():
            raise FileNotFoundError(f"no such file of predictions: {path}")
    context = Context(data_root=arguments.data_root, options=read_options(arguments.option))
    result = scorer.score_predictions(arguments.predictions, context)
    if arguments.out:
        write_results(arguments.out, [result])
    print(result_table([result]))
    return 0
