"""Batches per second of one data worker, and where its time goes (CPU time, one thread).

python eval/speed/data.py                 # the mixes of nano: stage 1, stage 2, tower
python eval/speed/data.py --shards FOLDER # pairs of WebDataset shards as well
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from transformers import CLIPImageProcessor

from chatsearcher.data import batches, contrastive
from chatsearcher.data.records import ContrastiveConfig, DataConfig, SourceConfig
from chatsearcher.dialogue import Text
from chatsearcher.model.processing import ChatSearcherProcessor
from chatsearcher.model.tokenizer import nano_tokenizer
from chatsearcher.world import streams

spent: dict[str, float] = defaultdict(float)


@contextmanager
def clock(name: str) -> Iterator[None]:
    start = time.process_time()
    yield
    spent[name] += time.process_time() - start


def timed(owner: object, attribute: str, name: str) -> None:
    """Count the CPU time of a function under a name."""
    function: Callable = getattr(owner, attribute)

    def wrapped(*args: object, **kwargs: object) -> object:
        with clock(name):
            return function(*args, **kwargs)

    setattr(owner, attribute, wrapped)


def processor(size: int) -> ChatSearcherProcessor:
    texts = [
        part.text
        for _, pair in itertools.islice(streams.pairs("train", 0), 2000)
        for part in pair
        if isinstance(part, Text)
    ]
    images = CLIPImageProcessor(
        size={"shortest_edge": size}, crop_size={"height": size, "width": size}
    )
    made = ChatSearcherProcessor(images, nano_tokenizer(texts, 1500), num_query_tokens=8)
    timed(made, "encode_segments", "tokenise")
    timed(made, "pixel_values", "pixels")
    return made


def measure(name: str, make: Callable[[int], batches.Made], number: int) -> None:
    """Print one line: batches/s, and the share of each part of the work."""
    for step in range(3):  # the renderer keeps what it has drawn: measure it warm
        make(step)
    spent.clear()
    pictures = tokens = 0
    with clock("all"):
        for step in range(3, 3 + number):
            batch = make(step).batch
            pictures += len(batch.pixel_values)
            tokens += batch.input_ids.numel()
    whole = spent.pop("all")
    if "collate" in spent:
        spent["collate"] -= spent["pixels"]
    spent["other"] = whole - sum(spent.values())
    parts = ", ".join(f"{part} {time / number * 1e3:.1f}" for part, time in spent.items() if time)
    print(
        f"{name}: {number / whole:.1f} batches/s ({pictures / number:.0f} pictures, "
        f"{tokens / number:,.0f} positions each); ms a batch: {parts}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batches", type=int, default=20)
    parser.add_argument("--size", type=int, default=96, help="side of the pictures in pixels")
    parser.add_argument("--shards", help="a folder of WebDataset shards")
    args = parser.parse_args()
    torch.set_num_threads(1)
    encoder = processor(args.size)
    timed(batches, "collate", "collate")
    mixes = {
        "stage 1 (32 pairs + 8 documents)": {
            "pairs": SourceConfig("world-pairs", 32),
            "documents": SourceConfig("world-documents", 8),
        },
        "stage 2 (24 conversations)": {"talk": SourceConfig("world-conversations", 24)},
    }
    if args.shards:
        mixes["shards (32 pairs)"] = {"pairs": SourceConfig("shard-pairs", 32, path=args.shards)}
    for name, sources in mixes.items():
        made = batches.MixedBatches(
            DataConfig(sources, image_size=args.size), encoder, rank=0, world_size=1, seed=0
        )
        for source in made.sources.values():
            timed(source, "item", "generate")
            timed(source, "load", "draw or decode")
        measure(name, made, args.batches)
    pairs = contrastive.ContrastiveBatches(
        ContrastiveConfig(image_size=args.size), encoder.tokenizer, 0, 1, 0
    )
    timed(pairs.groups, "group", "generate")
    timed(pairs.groups, "load", "draw or decode")
    timed(pairs, "images", "pixels")
    measure("tower (128 pairs in groups of 4)", pairs, args.batches)


if __name__ == "__main__":
    main()
