"""CIRR's validation split scored from ready vectors, beside the bare matrix product.

    python eval/speed/cirr.py --data-root FOLDER

The vectors are random: 4,181 queries and 2,297 pictures of the given width. Timed is everything
between vectors and figures (recall over the corpus and over the image sets), then the intervals.
Reading the annotation files is told apart. The bound is 1.5 s. Processor time is printed too: on a
machine that does other things, the wall says little.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from chatsearcher.benchmarks import BENCHMARKS
from chatsearcher.benchmarks.metrics import bootstrap_all
from chatsearcher.benchmarks.vectors import Vectors

BOUND = 1.5


def measure(root: Path, width: int, repeats: int) -> dict[str, Any]:
    """Seconds of each part, the median over repeats."""
    benchmark = BENCHMARKS["cirr-val"]
    started = time.perf_counter()
    task = benchmark.load(root, {})
    reading = time.perf_counter() - started
    rng = np.random.default_rng(0)
    images, queries = (_unit(rng, len(side), width) for side in (task.images, task.queries))
    vectors = Vectors(images, queries)
    figures = benchmark.score(task, vectors, {})
    return {
        "queries": len(task.queries),
        "pictures": len(task.images),
        "width": width,
        "reading_s": reading,
        "product_s": _median(lambda: queries @ images.T, repeats),
        "scoring_s": _median(lambda: benchmark.score(task, vectors, {}), repeats),
        "scoring_cpu_s": _median(
            lambda: benchmark.score(task, vectors, {}), repeats, time.process_time
        ),
        "intervals_s": _median(lambda: bootstrap_all(figures.samples), repeats),
        "bound_s": BOUND,
    }


def _unit(rng: np.random.Generator, rows: int, width: int) -> np.ndarray:
    vectors = rng.standard_normal((rows, width), dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _median(
    work: Callable[[], Any], repeats: int, clock: Callable[[], float] = time.perf_counter
) -> float:
    seconds = []
    for _ in range(repeats):
        started = clock()
        work()
        seconds.append(clock() - started)
    return statistics.median(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-root", type=Path, required=True, help="CIRR's annotation files")
    parser.add_argument("--width", type=int, nargs="+", default=[256, 768])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, metavar="FILE.json")
    arguments = parser.parse_args()
    rows = []
    for width in arguments.width:
        rows.append(measure(arguments.data_root, width, arguments.repeats))
        row = rows[-1]
        print(
            f"{row['queries']} x {row['pictures']} x {width}: product {row['product_s']:.2f} s, "
            f"scoring {row['scoring_s']:.2f} s, of processor time "
            f"{row['scoring_cpu_s']:.2f} s (bound {BOUND} s), intervals of all figures "
            f"{row['intervals_s']:.2f} s; reading the files {row['reading_s']:.2f} s"
        )
    if arguments.out:
        arguments.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
