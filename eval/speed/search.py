"""Exact search beside the bare matrix product and top-k on the same tensors.

    python eval/speed/search.py --rows 100000 --width 256 --queries 1 64 1000

Prints a row for each number of queries: milliseconds of both, and the median ratio of neighbouring
runs (the bound is 1.10). The bare baseline checks nothing, breaks no ties and excludes nothing.
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
import torch

from chatsearcher.device import pick_device
from chatsearcher.index.exact import ExactIndex

BOUND = 1.10


def measure(
    rows: int, width: int, queries: int, k: int, repeats: int, device: torch.device
) -> dict[str, Any]:
    """Milliseconds of the bare and the full search, run in turns."""
    rng = np.random.default_rng(0)
    vectors, asked = (_unit(rng, number, width) for number in (rows, queries))
    index = ExactIndex(vectors, device=device)
    matrix, query = torch.from_numpy(vectors).to(device), torch.from_numpy(asked)

    def bare() -> None:
        scores, best = (query.to(device) @ matrix.T).topk(k)
        scores.cpu(), best.cpu()

    def full() -> None:
        index.search(asked, k)

    bare(), full()
    pairs = [(_seconds(bare), _seconds(full)) for _ in range(repeats)]
    return {
        "rows": rows,
        "width": width,
        "queries": queries,
        "k": k,
        "bare_ms": 1e3 * statistics.median(pair[0] for pair in pairs),
        "full_ms": 1e3 * statistics.median(pair[1] for pair in pairs),
        "ratio": statistics.median(full / bare for bare, full in pairs),
        "bound": BOUND,
    }


def _unit(rng: np.random.Generator, rows: int, width: int) -> np.ndarray:
    vectors = rng.standard_normal((rows, width), dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _seconds(work: Callable[[], None]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--queries", type=int, nargs="+", default=[1, 64, 1000])
    parser.add_argument("-k", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--device")
    parser.add_argument("--out", type=Path, metavar="FILE.json")
    arguments = parser.parse_args()
    device = pick_device(arguments.device)
    print(f"{device}, {torch.get_num_threads()} threads, {arguments.rows} x {arguments.width}")
    results = []
    for queries in arguments.queries:
        row = measure(
            arguments.rows, arguments.width, queries, arguments.k, arguments.repeats, device
        )
        results.append(row)
        print(
            f"{queries:>6} queries: bare {row['bare_ms']:8.1f} ms, exact index "
            f"{row['full_ms']:8.1f} ms, ratio {row['ratio']:.2f} (bound {BOUND:.2f})"
        )
    if arguments.out:
        arguments.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
