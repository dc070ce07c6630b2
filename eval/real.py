"""Real pictures: a system beside chance and beside its own tower, with sheets to look at.

    python eval/real.py --system runs/nano-real/stage2 --tower runs/nano-real/tower/model \
        --out docs/results/real.json --sheets runs/nano-real/sheets

The tower alone answers words by ``clip:TOWER:text``; an emoji with a change also by its picture and
by both, each with the options that are best on the validation split. Where the pictures are looked
for: docs/real.md.
"""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path

from chatsearcher.benchmarks import BENCHMARKS, Context
from chatsearcher.benchmarks import sheet as sheets
from chatsearcher.benchmarks.progress import show_progress
from chatsearcher.benchmarks.real import REAL
from chatsearcher.benchmarks.results import Result, markdown_table, write_results
from chatsearcher.benchmarks.single_query import GalleryVectors
from chatsearcher.benchmarks.tuning import Tuned, tune
from chatsearcher.retriever import Retriever
from chatsearcher.retrievers import load_retriever
from chatsearcher.retrievers.clip import WEIGHTS, ClipRetriever, load_model, parse_spec

SETS = ("real-openstax", "real-openmoji", "real-edits")
RECALLS = ("R@1", "R@5", "R@10", "mean recall")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--system", default="runs/nano-real/stage2", help="a checkpoint or a run")
    parser.add_argument("--tower", default="runs/nano-real/tower/model", help="its own tower")
    parser.add_argument("--out", type=Path, help="JSON of all results; a .md of the table beside")
    parser.add_argument("--sheets", type=Path, help="a folder for sheets of queries and pictures")
    parser.add_argument("--rows", type=int, default=10, help="queries a sheet, drawn by --seed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device")
    arguments = parser.parse_args()
    try:
        run(arguments)
    except (FileNotFoundError, ValueError) as error:
        sys.exit(f"error: {error}")


def run(arguments: argparse.Namespace) -> None:
    """Measure, print, write, draw.

    Raises:
        FileNotFoundError: the pictures, the system or the tower are not there.
    """
    sets = {name: BENCHMARKS[name].queries() for name in SETS}  # missing pictures are said first
    vectors = GalleryVectors()
    system = load_retriever(arguments.system, arguments.device)
    clip = ClipRetriever(load_model(arguments.tower), device=arguments.device)
    words = clip.with_options(parse_spec("x:text")[1])
    results: list[Result] = []
    for name in SETS:
        own = Context(spec=arguments.system, vectors=vectors, progress=show_progress)
        tower = Context(
            spec=f"clip:{arguments.tower}:text", vectors=vectors, progress=show_progress
        )
        results += [BENCHMARKS[name].run(system, own), BENCHMARKS[name].run(words, tower)]
    results += [tuned.test for tuned in _with_pictures(clip, arguments.tower, vectors)]
    table = comparison(results)
    print(table)
    if arguments.out:
        write_results(arguments.out, results)
        arguments.out.with_suffix(".md").write_text(table + "\n", encoding="utf-8")
    if arguments.sheets:
        for name, queries in sets.items():
            chosen = random.Random(arguments.seed).sample(
                list(queries.queries), min(arguments.rows, len(queries.queries))
            )
            for who, retriever in (("system", system), ("tower", words)):
                path = arguments.sheets / f"{name}-{who}.png"
                found = sheets.first_found(retriever, queries, chosen, REAL["pictures"], vectors)
                title = f"{name}: {arguments.system if who == 'system' else arguments.tower}"
                page = sheets.draw(title, found, REAL["pictures"], REAL["attribution"])
                sheets.save(path, page)
                print(path)


def _with_pictures(clip: ClipRetriever, tower: str, vectors: GalleryVectors) -> list[Tuned]:
    """The tower alone on emoji and a change, by the picture and by both, tuned on validation."""
    found = []
    for mode, options in (("image", [""]), ("both", [f",weight={w:g}" for w in WEIGHTS])):
        choices: dict[str, Retriever] = {
            f"clip:{tower}:{mode}{each}": clip.with_options(parse_spec(f"x:{mode}{each}")[1])
            for each in options
        }
        found.append(tune(choices, "real-edits", Context(vectors=vectors)))
        print(f"real-edits: {found[-1].options} is best on validation", flush=True)
    return found


def comparison(results: list[Result]) -> str:
    """A Markdown table: for each set chance, then each system."""
    header = ["set", "system", *RECALLS, "median rank", "above its family"]
    rows = []
    for name in SETS:
        rivals = [result for result in results if result.benchmark == name]
        one = rivals[0].metrics
        chance = [f"{one[f'{recall} by chance']:.2f}" for recall in RECALLS]
        family = one.get("beats neighbours by chance")
        middle = f"{(rivals[0].counts['candidates, fewest'] + 1) / 2:.0f}"
        rows.append([name, "chance", *chance, middle, "–" if family is None else f"{family:.2f}"])
        for result in rivals:
            figures = [f"{result.metrics[recall]:.2f}" for recall in RECALLS]
            wins = result.metrics.get("beats neighbours")
            rows.append(
                [
                    name,
                    result.retriever["spec"],
                    *figures,
                    f"{result.metrics['median rank']:.0f}",
                    "–" if wins is None else f"{wins:.2f}",
                ]
            )
    return markdown_table(header, rows)


if __name__ == "__main__":
    main()
