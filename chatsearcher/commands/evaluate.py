"""``chatsearcher evaluate NAME… --retriever SPEC --out FILE.json``: run benchmarks on a system."""

from __future__ import annotations

import argparse
import sys
from typing import Any

HELP = "measure a system on one or more benchmarks"


def register(subparsers: Any) -> None:
    """Add the verb to the command line."""
    parser = subparsers.add_parser(
        "evaluate",
        help=HELP,
        description=HELP + "; `world` stands for world-t, world-i and world-m and adds the mean "
        "of their nine recalls",
    )
    parser.add_argument("benchmarks", nargs="+", metavar="NAME", help="world-t, world-i, world, …")
    parser.add_argument("--retriever", default="nano", help="nano, a folder, clip:…, precomputed:…")
    parser.add_argument("--out", metavar="FILE.json", help="where to write the results")
    parser.add_argument("--device", help="cuda, mps or cpu; the best one there is by default")
    parser.add_argument("--cache", metavar="FOLDER", help="keep the galleries' vectors here")
    parser.add_argument("--quiet", action="store_true", help="print the table only")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the benchmarks, write the results, print the table."""
    from chatsearcher.benchmarks import BENCHMARKS, SUITES, Context, expand
    from chatsearcher.benchmarks.progress import show_progress
    from chatsearcher.benchmarks.results import result_table, write_results
    from chatsearcher.benchmarks.single_query import GalleryVectors
    from chatsearcher.benchmarks.world import suite_result
    from chatsearcher.retrievers import load_retriever

    names = expand(arguments.benchmarks)
    retriever = load_retriever(arguments.retriever, arguments.device)
    context = Context(
        spec=arguments.retriever,
        vectors=GalleryVectors(arguments.cache),
        progress=None if arguments.quiet else show_progress,
    )
    results = []
    for name in names:
        if not arguments.quiet:
            print(f"{name}: {arguments.retriever}", file=sys.stderr, flush=True)
        results.append(BENCHMARKS[name].run(retriever, context))
        if arguments.out:  # after each benchmark: a later failure loses nothing
            write_results(arguments.out, results)
    for suite, members in SUITES.items():
        if suite in arguments.benchmarks:
            results.append(suite_result(suite, [r for r in results if r.benchmark in members]))
    if arguments.out:
        write_results(arguments.out, results)
    print(result_table(results))
    return 0
