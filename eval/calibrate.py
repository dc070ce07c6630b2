"""The score below which a checkpoint says that nothing in the gallery fits.

    python eval/calibrate.py runs/nano/stage2/model

Chosen on the world's validation sets; writes ``calibration.json`` into the checkpoint's folder.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from chatsearcher.benchmarks import BENCHMARKS, SUITES, Context
from chatsearcher.benchmarks.calibration import calibrate
from chatsearcher.benchmarks.progress import show_progress
from chatsearcher.benchmarks.world import load_picture
from chatsearcher.retrievers import load_retriever
from chatsearcher.retrievers.chatsearcher import CALIBRATION


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("checkpoint", type=Path, help="a folder with a saved ChatSearcher")
    parser.add_argument("--max-refused", type=float, default=0.05, help="of present targets")
    parser.add_argument("--device")
    arguments = parser.parse_args()
    # one of other weights, left from before an export, would be refused
    (arguments.checkpoint / CALIBRATION).unlink(missing_ok=True)
    retriever = load_retriever(str(arguments.checkpoint), arguments.device)
    sets = [BENCHMARKS[name].queries() for name in SUITES["world-val"]]
    found = calibrate(
        retriever, sets, load_picture, Context(progress=show_progress), arguments.max_refused
    )
    path = found.write(arguments.checkpoint)
    print(
        f"{path}: threshold {found.no_match_threshold:.4f}; refuses {found.refused:.1%} of what is "
        f"there and {found.detected:.1%} of what is not (separation {found.separation:.3f})"
    )


if __name__ == "__main__":
    main()
