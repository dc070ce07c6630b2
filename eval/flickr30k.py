"""The zero-shot run on Flickr30K or COCO, from a trained checkpoint to a table, in one call.

python eval/flickr30k.py runs/vicuna-7b/stage1 --data-root data/flickr30k
python eval/flickr30k.py nano --benchmark coco --data-root data/coco --out coco.json
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from chatsearcher.benchmarks import BENCHMARKS, Context
from chatsearcher.benchmarks.progress import show_progress
from chatsearcher.benchmarks.results import Result, result_table, write_results
from chatsearcher.benchmarks.single_query import GalleryVectors
from chatsearcher.commands.evaluate import read_options
from chatsearcher.retrievers import load_retriever


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("system", help="a folder with a saved model, nano, clip:TOWER/WEIGHTS, …")
    parser.add_argument("--data-root", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--benchmark", default="flickr30k", choices=("flickr30k", "coco"))
    parser.add_argument(
        "--prompt", action="append", metavar="NAME", help="several times for several rows"
    )
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--out", type=Path, metavar="FILE.json")
    parser.add_argument("--device", help="cuda, mps or cpu; the best one there is by default")
    arguments = parser.parse_args()
    try:
        results = run(arguments)
    except (FileNotFoundError, ValueError) as error:
        sys.exit(f"error: {error}")
    print(result_table(results))


def run(arguments: argparse.Namespace) -> list[Result]:
    """Encode and score, once a prompt.

    Raises:
        FileNotFoundError, ValueError: data or system that are not there or do not fit.
    """
    benchmark = BENCHMARKS[arguments.benchmark]
    prompts = arguments.prompt or [next(iter(benchmark.card.prompts))]
    for prompt in prompts:
        benchmark.card.prompt(prompt)
    options = benchmark.card.checked_options(read_options(arguments.option))
    benchmark.load(arguments.data_root, options)  # missing files are said before a model is loaded
    system = load_retriever(arguments.system, arguments.device)
    vectors = GalleryVectors()  # one for all prompts: the pictures are encoded once
    results: list[Result] = []
    for prompt in prompts:
        context = Context(
            spec=arguments.system if len(prompts) == 1 else f"{arguments.system} ({prompt})",
            vectors=vectors,
            progress=show_progress,
            data_root=arguments.data_root,
            prompt=prompt,
            options=options,
        )
        results.append(benchmark.run(system, context))
        if arguments.out:
            write_results(arguments.out, results)
    return results


if __name__ == "__main__":
    main()
