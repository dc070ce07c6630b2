"""What stage 2 reads: LLaVA, 10,000 InstructPix2Pix triplets; and LLaVA-665k for further tuning.

python data_prep/stage2.py DOWNLOADS      # the ChatSearch dialogues: see docs/data.md
"""

import argparse
from pathlib import Path

from chatsearcher.preparation import prepare_all

SETS = {
    "llava-150k": ("llava",),
    "instructpix2pix": ("instructpix2pix", "--keep-one-in", "30", "--take", "10000"),
    "llava-665k": ("llava",),
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("downloads", type=Path, help="the folder with " + ", ".join(SETS))
    parser.add_argument("--out", type=Path, default=Path("data"), help="default: data")
    arguments = parser.parse_args()
    raise SystemExit(prepare_all(SETS, arguments.downloads, arguments.out))
