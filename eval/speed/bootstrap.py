"""1,000 resamples of the queries of a benchmark, for all of its figures at once.

    python eval/speed/bootstrap.py

Sizes: CIRR's validation split, ChatIR's dialogues at eleven rounds, COCO's captions. The bound is
2 s. Beside it: the resampled indices alone, drawn and gathered one resample at a time.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from chatsearcher.benchmarks.metrics import bootstrap_all

BOUND = 2.0
SIZES = {"CIRR val": (4_181, 8), "ChatIR": (2_064, 35), "COCO captions": (25_010, 8)}


def measure(queries: int, figures: int, resamples: int = 1000) -> dict[str, Any]:
    """Seconds of the intervals, and of the plainest way to the same means."""
    rng = np.random.default_rng(0)
    samples = {f"figure {n}": 100.0 * (rng.random(queries) < 0.3) for n in range(figures)}
    started, used = time.perf_counter(), time.process_time()
    bootstrap_all(samples, resamples=resamples)
    ours, used = time.perf_counter() - started, time.process_time() - used
    table = np.stack(list(samples.values()), axis=1)
    started = time.perf_counter()
    for _ in range(resamples):
        table[rng.integers(0, queries, queries)].mean(axis=0)
    plain = time.perf_counter() - started
    return {
        "queries": queries,
        "figures": figures,
        "seconds": ours,
        "cpu_s": used,
        "one_by_one_s": plain,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, metavar="FILE.json")
    arguments = parser.parse_args()
    rows = []
    for name, (queries, figures) in SIZES.items():
        row = {"name": name, **measure(queries, figures), "bound_s": BOUND}
        rows.append(row)
        print(
            f"{name}: {queries:,} queries, {figures} figures: {row['seconds']:.2f} s, of "
            f"processor time {row['cpu_s']:.2f} s (bound {BOUND} s), one resample at a "
            f"time {row['one_by_one_s']:.2f} s"
        )
    if arguments.out:
        arguments.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
