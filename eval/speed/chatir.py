"""The whole ChatIR protocol beside the bare matrix product of the same shape.

    python eval/speed/chatir.py             # 2,064 dialogues x 11 rounds, 50,000 pictures, 256-d
    python eval/speed/chatir.py --linear    # and with half the dialogues, with half the pictures

The bare baseline is one fp32 product of all queries with all pictures, in blocks whose scores are
thrown away: what any exact protocol must at least compute. Both are run in turns in one process
with the same number of threads; the ratio is the median over neighbouring runs (the bound is 2).
The ratio of processor time is printed beside: on a machine that does other things too, the wall
says little. With ``--linear`` each half's share of the whole time is printed: 0.5 where the cost
grows linearly.
Memory is the peak above the vectors of a process that has done nothing but the protocol, taken
before the baseline runs (the bound is 0.5 GB); of several sizes it is the first one's that counts.
The load of the machine is printed.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from chatsearcher.benchmarks.ranking import target_ranks
from chatsearcher.benchmarks.rounds import dialogue_figures

ROUNDS = 11
BOUND, MEMORY_BOUND = 2.0, 0.5e9


def measure(dialogues: int, pictures: int, width: int, repeats: int, block: int) -> dict[str, Any]:
    """Seconds of both, their ratio, and the protocol's memory above the vectors."""
    rng = np.random.default_rng(0)
    images = _unit(rng.standard_normal((pictures, width), dtype=np.float32))
    rows = rng.permutation(pictures)[:dialogues]
    targets = np.repeat(rows, ROUNDS)
    queries = images[targets] / 2
    queries += rng.standard_normal(queries.shape, dtype=np.float32) / np.float32(width**0.5)
    queries = _unit(queries)

    def bare() -> None:
        for start in range(0, len(queries), block):
            queries[start : start + block] @ images.T

    def full() -> dict[str, float]:
        ranks = target_ranks(queries, images, targets)
        return dict(dialogue_figures(ranks.reshape(-1, ROUNDS), ranks).metrics)

    before = _resident()
    with _Peak() as peak:
        first, _ = _seconds(full)
    pairs = [(_seconds(bare), _seconds(full)) for _ in range(repeats)]
    walls = [(bare[0], full[0]) for bare, full in pairs]
    spent = [(bare[1], full[1]) for bare, full in pairs]
    return {
        "dialogues": dialogues,
        "pictures": pictures,
        "width": width,
        "first_s": first,
        "bare_s": statistics.median(pair[0] for pair in walls),
        "full_s": statistics.median(pair[1] for pair in walls),
        "ratio": statistics.median(full / bare for bare, full in walls),
        "bare_cpu_s": statistics.median(pair[0] for pair in spent),
        "full_cpu_s": statistics.median(pair[1] for pair in spent),
        "cpu_ratio": statistics.median(full / bare for bare, full in spent),
        "bound": BOUND,
        "above_the_vectors_mb": (peak.bytes - before) / 1e6,
        "memory_bound_mb": MEMORY_BOUND / 1e6,
    }


class _Peak:
    """The most memory that the process holds while this is open, looked at every 2 ms."""

    def __enter__(self) -> _Peak:
        self.bytes = _resident()
        self._done = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()
        return self

    def _watch(self) -> None:
        while not self._done.wait(0.002):
            self.bytes = max(self.bytes, _resident())

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._watcher.join()


def _resident() -> int:
    """Bytes in memory now; where the system does not tell, the peak so far."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * resource.getpagesize()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _unit(vectors: np.ndarray) -> np.ndarray:
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def _seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Of the clock, and of the processor over all threads."""
    started, spent = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - started, time.process_time() - spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dialogues", type=int, default=2_064)
    parser.add_argument("--pictures", type=int, default=50_000)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--block", type=int, default=512, help="queries of one bare product")
    parser.add_argument("--linear", action="store_true", help="also half of each")
    parser.add_argument("--out", type=Path, metavar="FILE.json")
    arguments = parser.parse_args()
    sizes = [(arguments.dialogues, arguments.pictures)]
    if arguments.linear:
        sizes += [
            (arguments.dialogues // 2, arguments.pictures),
            (arguments.dialogues, arguments.pictures // 2),
        ]
    load = os.getloadavg()[0]
    print(f"{os.cpu_count()} cores, load {load:.1f} before the start")
    results = []
    for dialogues, pictures in sizes:
        row = measure(dialogues, pictures, arguments.width, arguments.repeats, arguments.block)
        row["load"] = os.getloadavg()[0]
        results.append(row)
        print(
            f"{dialogues} x {ROUNDS} queries, {pictures} pictures: bare {row['bare_s']:.2f} s, "
            f"protocol {row['full_s']:.2f} s, ratio {row['ratio']:.2f} (bound {BOUND:.1f}); "
            f"processor {row['bare_cpu_s']:.2f} s, {row['full_cpu_s']:.2f} s, ratio "
            f"{row['cpu_ratio']:.2f}; "
            f"{row['above_the_vectors_mb']:.0f} MB above the vectors (bound 500); "
            f"load {row['load']:.1f}",
            flush=True,
        )
    for half, row in zip(("dialogues", "pictures"), results[1:], strict=False):
        print(
            f"half the {half}: {row['full_s'] / results[0]['full_s']:.2f} of the time, processor "
            f"{row['full_cpu_s'] / results[0]['full_cpu_s']:.2f}"
        )
    if arguments.out:
        arguments.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
