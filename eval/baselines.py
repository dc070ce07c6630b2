"""CLIP by text, by picture and by both, tuned on validation; the best of them beside a system.

    python eval/baselines.py --tower runs/nano/tower --system runs/nano/stage2 --out baselines.json

Each mode's options (which turns, which pictures, which weight) are chosen for each set by itself on
its validation twin, over every combination; the test sets are measured once. CLIP's image mode has
no row for dialogues without pictures, as in the paper.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from chatsearcher.benchmarks import BENCHMARKS, SUITES, Context
from chatsearcher.benchmarks.progress import show_progress
from chatsearcher.benchmarks.results import result_table, write_results
from chatsearcher.benchmarks.single_query import GalleryVectors
from chatsearcher.benchmarks.tuning import mean_of_recalls, tune
from chatsearcher.benchmarks.world import suite_result
from chatsearcher.retrievers import load_retriever
from chatsearcher.retrievers.clip import ClipRetriever, grid, load_model, parse_spec

PAPER_RATIO = 54.20 / 28.38  # ChatSearcher over the best CLIP row, the paper's averages


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tower", required=True, help="a folder or TOWER/WEIGHTS of open_clip")
    parser.add_argument("--system", nargs="*", default=[], help="systems to set beside: nano, …")
    parser.add_argument("--out", type=Path, help="where to write all results")
    parser.add_argument("--device")
    arguments = parser.parse_args()

    vectors = GalleryVectors()
    context = Context(vectors=vectors, progress=show_progress)
    clip = ClipRetriever(load_model(arguments.tower), device=arguments.device)
    results, means = [], {}
    for mode in ("text", "image", "both"):
        names = [n for n in SUITES["world"] if mode != "image" or n != "world-t"]
        rows = []
        for name in names:
            choices = {
                f"clip:{arguments.tower}:{mode},{options}": clip.with_options(
                    parse_spec(f"x:{mode},{options}")[1]
                )
                for options in grid(mode)
            }
            tuned = tune(choices, name, context)
            print(f"{name}: {tuned.options} ({tuned.validation:.2f} on validation)", flush=True)
            rows.append(tuned.test)
        results += rows
        means[mode] = mean_of_recalls(rows)
        print(f"CLIP {mode}: mean of {3 * len(rows)} recalls {means[mode]:.2f}", flush=True)

    best = max(means, key=means.__getitem__)
    for spec in arguments.system:
        system = load_retriever(spec, arguments.device)
        own = Context(spec=spec, vectors=vectors, progress=show_progress)
        rows = [BENCHMARKS[name].run(system, own) for name in SUITES["world"]]
        joint = suite_result("world", rows)
        results += [*rows, joint]
        mean = joint.metrics["mean recall"]
        print(
            f"{spec}: {mean:.2f}, {mean - means[best]:+.2f} points against CLIP {best} "
            f"({means[best]:.2f}), ratio {mean / means[best]:.2f} (paper: {PAPER_RATIO:.2f})"
        )
    if arguments.out:
        write_results(arguments.out, results)
    print(result_table(results))


if __name__ == "__main__":
    main()
