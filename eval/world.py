"""The world's sets for one system trained with several seeds: every run, and the mean over them.

python eval/world.py runs/nano-0/stage2 runs/nano-1/stage2 runs/nano-2/stage2 --out world.json
"""

from __future__ import annotations

import argparse
from pathlib import Path

from chatsearcher.benchmarks import BENCHMARKS, SUITES, Context
from chatsearcher.benchmarks.progress import show_progress
from chatsearcher.benchmarks.reporting.seeds import spreads
from chatsearcher.benchmarks.results import result_table, write_results
from chatsearcher.benchmarks.world import suite_result
from chatsearcher.retrievers import load_retriever


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("system", nargs="+", help="one for each seed: a folder, nano, …")
    parser.add_argument("--decision", action="store_true", help="words-or-picture decision too")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--device")
    arguments = parser.parse_args()
    runs = []
    for spec in arguments.system:
        system = load_retriever(spec, arguments.device)
        context = Context(spec=spec, progress=show_progress)
        rows = [BENCHMARKS[name].run(system, context) for name in SUITES["world"]]
        rows.append(suite_result("world", rows))
        if arguments.decision:
            rows.append(BENCHMARKS["world-decision"].run(system, context))
        print(result_table(rows), flush=True)
        runs.append(rows)
        if arguments.out:
            write_results(arguments.out, [row for run in runs for row in run])
    print(f"\nmean of {len(runs)} runs, 95 % interval over seeds")
    for (benchmark, figure), value in spreads(runs).items():
        print(f"  {benchmark:16} {figure:28} {value}  (lowest {value.lowest:.2f})")


if __name__ == "__main__":
    main()
