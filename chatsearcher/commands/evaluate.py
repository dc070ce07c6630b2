"""``chatsearcher evaluate NAME… --retriever SPEC --out FILE.json``: run benchmarks on a system."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

HELP = "measure a system on one or more benchmarks"


def register(subparsers: Any) -> None:
    """Add the verb to the command line."""
    parser = subparsers.add_parser(
        "evaluate",
        help=HELP,
        description=HELP + "; a suite (world, chatsearch, genecis) stands for its sets and adds "
        "their joint figure; `chatsearcher list benchmarks` tells what each needs",
    )
    parser.add_argument("benchmarks", nargs="+", metavar="NAME", help="cirr-val, world-t, world, …")
    parser.add_argument(
        "--data-root",
        type=Path,
        metavar="FOLDER",
        help="the data, as their publisher lays them out",
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--retriever", default="nano", help="nano, a folder, clip:…, precomputed:…")
    source.add_argument(
        "--features",
        type=Path,
        metavar="FILE.safetensors",
        help="score these vectors instead: images [N, D] and queries [Q, D] in the order of --list",
    )
    source.add_argument(
        "--list",
        choices=("images", "queries"),
        help="print what is asked, one JSON object a line, and stop",
    )
    parser.add_argument(
        "--metric", choices=("cosine", "l2"), help="of --features; cosine, or what the file says"
    )
    parser.add_argument("--prompt", metavar="NAME", help="one of the benchmark's prompts")
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="one of the benchmark's own settings; may be given several times",
    )
    parser.add_argument(
        "--submission", type=Path, metavar="FOLDER", help="write the official files to upload here"
    )
    parser.add_argument("--out", metavar="FILE.json", help="where to write the results")
    parser.add_argument("--device", help="cuda, mps or cpu; the best one there is by default")
    parser.add_argument("--cache", metavar="FOLDER", help="keep the galleries' vectors here")
    parser.add_argument("--quiet", action="store_true", help="print the table only")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the benchmarks, write the results, print the table."""
    from chatsearcher.benchmarks import BENCHMARKS, JOINTS, SUITES, Context, expand
    from chatsearcher.benchmarks.listing import lines
    from chatsearcher.benchmarks.progress import show_progress
    from chatsearcher.benchmarks.results import result_table, write_results
    from chatsearcher.benchmarks.single_query import GalleryVectors

    names = expand(arguments.benchmarks)
    context = Context(
        spec=arguments.retriever,
        vectors=GalleryVectors(arguments.cache),
        progress=None if arguments.quiet else show_progress,
        data_root=arguments.data_root,
        prompt=arguments.prompt,
        options=read_options(arguments.option),
        submission=arguments.submission,
    )
    if arguments.list or arguments.features:
        flag = "--list" if arguments.list else "--features"
        if len(names) != 1:
            raise ValueError(f"{flag} is of one benchmark; {len(names)} were named")
    if arguments.list:
        for line in lines(BENCHMARKS[names[0]], arguments.list, context):
            print(json.dumps(line, ensure_ascii=False))
        return 0
    system = None if arguments.features else _retriever(arguments)
    results = []
    for name in names:
        benchmark = BENCHMARKS[name]
        if not arguments.quiet:
            what = arguments.features or arguments.retriever
            print(f"{name}: {what}", file=sys.stderr, flush=True)
        if system is not None:
            results.append(benchmark.run(system, context))
        elif hasattr(benchmark, "run_features"):
            results.append(benchmark.run_features(arguments.features, context, arguments.metric))
        else:
            raise ValueError(f"{name} asks a system to answer; vectors cannot be scored on it")
        if arguments.out:  # after each benchmark: a later failure loses nothing
            write_results(arguments.out, results)
    for suite, members in SUITES.items():
        if suite in arguments.benchmarks:
            mine = [result for result in results if result.benchmark in members]
            results.append(JOINTS[suite](suite, mine))
    if arguments.out:
        write_results(arguments.out, results)
    print(result_table(results))
    return 0


def read_options(given: list[str]) -> dict[str, str]:
    """``NAME=VALUE`` texts as a mapping.

    Raises:
        ValueError: a text without ``=``, or a name twice.
    """
    found: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise ValueError(f"--option {text!r}; expected NAME=VALUE")
        if name in found:
            raise ValueError(f"--option {name} is given twice")
        found[name] = value
    return found


def _retriever(arguments: argparse.Namespace) -> Any:
    from chatsearcher.retrievers import load_retriever

    return load_retriever(arguments.retriever, arguments.device)
