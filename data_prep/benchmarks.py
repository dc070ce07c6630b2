"""Benchmark sets as records, for training on them: VisDial, Fashion IQ, CIRR, COCO, Flickr30K.

python data_prep/benchmarks.py DOWNLOADS
"""

import argparse
from pathlib import Path

from chatsearcher.preparation import prepare_all

SETS = {
    "visdial": ("visdial",),
    "fashion-iq": ("fashion-iq",),
    "cirr": ("cirr",),
    "coco": ("karpathy",),
    "flickr30k": ("karpathy",),
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("downloads", type=Path, help="the folder with " + ", ".join(SETS))
    parser.add_argument("--out", type=Path, default=Path("data"), help="default: data")
    arguments = parser.parse_args()
    raise SystemExit(prepare_all(SETS, arguments.downloads, arguments.out))
