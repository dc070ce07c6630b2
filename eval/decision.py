"""Words or a picture: the balanced accuracy of one or more checkpoints.

    python eval/decision.py runs/nano-0/stage2 runs/nano-1/stage2 --out decision.json

The threshold column says what accuracy the best threshold on the probability of a picture would
reach; on validation it says whether the assistant's own decision leans to one side.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from chatsearcher.benchmarks import BENCHMARKS, Context
from chatsearcher.benchmarks.progress import show_progress
from chatsearcher.benchmarks.reporting.seeds import spreads
from chatsearcher.benchmarks.results import result_table, write_results
from chatsearcher.retrievers import load_retriever


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("system", nargs="+", help="one for each seed: a folder, nano, …")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--device")
    arguments = parser.parse_args()
    runs = []
    for spec in arguments.system:
        system = load_retriever(spec, arguments.device)
        context = Context(spec=spec, progress=show_progress)
        names = ("world-decision-val", "world-decision")
        runs.append([BENCHMARKS[name].run(system, context) for name in names])
        print(result_table(runs[-1]), flush=True)
        if arguments.out:
            write_results(arguments.out, [row for run in runs for row in run])
    value = spreads(runs)["world-decision", "balanced accuracy"]
    print(f"balanced accuracy over {value.runs} runs: {value} (lowest {value.lowest:.2f})")


if __name__ == "__main__":
    main()
