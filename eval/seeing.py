"""What a model's words take from pictures: their loss after their own picture, and after another.

    python eval/seeing.py runs/nano/stage1/model --source world-pairs
    python eval/seeing.py runs/nano/stage2/model --source world-questions

The batches of a data source, of its validation split; then the same ones with the pictures of each
batch moved on by one. Where both losses are alike, no word reads a picture. Of a source whose words
may stand before their picture (``world-pairs``), those take nothing from it either way.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from itertools import islice
from pathlib import Path

import torch

from chatsearcher.data.loader import build_source
from chatsearcher.data.records import DataConfig, SourceConfig
from chatsearcher.device import pick_device
from chatsearcher.model import Batch, ChatSearcherModel, ChatSearcherProcessor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", type=Path, help="a model folder, of a stage's run or shipped")
    parser.add_argument("--source", default="world-questions", help="a kind of data source")
    parser.add_argument("--path", help="the folder of the source's files, where it reads any")
    parser.add_argument("--split", default="val")
    parser.add_argument("--batch", type=int, default=24)
    parser.add_argument("--batches", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device")
    arguments = parser.parse_args()
    if not (arguments.model / "config.json").is_file():
        parser.error(f"no model in {arguments.model}; expected a folder with config.json")
    device = pick_device(arguments.device)
    model = ChatSearcherModel.from_pretrained(arguments.model, dtype=torch.float32)
    model.to(device).eval()
    processor = ChatSearcherProcessor.from_pretrained(arguments.model)
    source = SourceConfig(arguments.source, split=arguments.split, path=arguments.path)
    data = DataConfig({"read": source}, batch=arguments.batch, workers=0)
    batches = list(islice(build_source(data, processor, seed=arguments.seed), arguments.batches))
    own = loss(model, batches)
    other = loss(model, [with_others(batch) for batch in batches])
    print(f"after their own picture {own:.3f} nats a word, after another {other:.3f}")
    print(f"taken from the picture: {other - own:.3f}")


@torch.no_grad()
def loss(model: ChatSearcherModel, batches: list[Batch]) -> float:
    """Nats a word."""
    total = words = 0.0
    for batch in batches:
        out = model(batch.to(model.device))
        total += float(out.text_loss * out.text_count)
        words += float(out.text_count)
    return total / words


def with_others(batch: Batch) -> Batch:
    """The batch with each picture in the place of the one before."""
    return replace(batch, pixel_values=batch.pixel_values.roll(1, dims=0))


if __name__ == "__main__":
    main()
