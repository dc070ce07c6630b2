"""What stage 1 of vicuna-7b reads: CC3M and mmc4-core, into data/cc3m and data/mmc4-core.

python data_prep/stage1.py DOWNLOADS      # DOWNLOADS/cc3m, DOWNLOADS/mmc4-core
"""

import argparse
from pathlib import Path

from chatsearcher.preparation import prepare_all

SETS = {
    "cc3m": ("cc3m", "--max-side", "512"),
    "mmc4-core": ("mmc4", "--max-side", "512"),
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("downloads", type=Path, help="the folder with " + ", ".join(SETS))
    parser.add_argument("--out", type=Path, default=Path("data"), help="default: data")
    arguments = parser.parse_args()
    raise SystemExit(prepare_all(SETS, arguments.downloads, arguments.out))
