"""``index`` beside the bare tower: pictures a second, reading and decoding counted in both.

    python eval/speed/index.py --retriever nano                  # 2,000 pictures of the world, PNG
    python eval/speed/index.py --retriever nano --images FOLDER  # loose files of your own

The bare loop opens a batch of files with Pillow in threads, prepares them and runs the image
encoder; it makes no thumbnails, looks for no copies and writes nothing. Both get the same files,
batch and number of threads.
Bound: at least 0.90 of the bare loop's speed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from PIL.Image import Image as PILImage

from chatsearcher.images import SUFFIXES
from chatsearcher.indexing import build_gallery
from chatsearcher.retriever import Retriever
from chatsearcher.retrievers import load_retriever
from chatsearcher.world.source import list_pictures

BOUND = 0.90


def draw(folder: Path, count: int) -> None:
    """Pictures of the world as PNG files."""
    for number, (_, picture) in enumerate(list_pictures(f"test:{count}")):
        picture().save(folder / f"{number:06d}.png")


def bare(files: list[Path], retriever: Retriever, batch: int) -> int:
    """Open and encode, nothing else; returns how many."""
    done = 0
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for start in range(0, len(files), batch):
            pictures = list(pool.map(_open, files[start : start + batch]))
            done += len(retriever.encode_images(pictures))
    return done


def _open(path: Path) -> PILImage:
    with Image.open(path) as image:
        return image.convert("RGB")


def measure(folder: Path, retriever: Retriever, batch: int, repeats: int) -> dict[str, Any]:
    """Pictures a second of both, run in turns."""
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not files:
        raise ValueError(f"{folder} holds no pictures")
    bare(files[:batch], retriever, batch)  # warm
    pairs = []
    for _ in range(repeats):
        one = _seconds(lambda: bare(files, retriever, batch))
        with tempfile.TemporaryDirectory() as out:
            other = _seconds(
                lambda out=out: build_gallery(
                    folder, Path(out) / "gallery", retriever, batch_size=batch
                )
            )
        pairs.append((one, other))
    return {
        "pictures": len(files),
        "batch": batch,
        "bare_per_second": len(files) / statistics.median(pair[0] for pair in pairs),
        "index_per_second": len(files) / statistics.median(pair[1] for pair in pairs),
        "ratio": statistics.median(one / other for one, other in pairs),
        "bound": BOUND,
    }


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--retriever", default="nano")
    parser.add_argument("--images", type=Path, metavar="FOLDER", help="default: the world's")
    parser.add_argument("--count", type=int, default=2000, help="pictures of the world")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device")
    parser.add_argument("--out", type=Path, metavar="FILE.json")
    arguments = parser.parse_args()
    retriever = load_retriever(arguments.retriever, arguments.device)
    with tempfile.TemporaryDirectory() as made:
        folder = arguments.images or Path(made)
        if arguments.images is None:
            draw(folder, arguments.count)
        row = measure(folder, retriever, arguments.batch, arguments.repeats)
    print(
        f"{torch.get_num_threads()} threads, {row['pictures']} pictures: bare "
        f"{row['bare_per_second']:.0f}/s, index {row['index_per_second']:.0f}/s, "
        f"ratio {row['ratio']:.2f} (bound {BOUND:.2f})"
    )
    if arguments.out:
        arguments.out.write_text(json.dumps(row, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
