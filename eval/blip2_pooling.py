"""What one vector a picture costs BLIP-2, whose own score is the largest cosine over 32 tokens.

    python eval/blip2_pooling.py blip2:Salesforce/blip2-itm-vit-g --data-root data/flickr30k
    python eval/blip2_pooling.py blip2:FOLDER --benchmark coco --data-root data/coco

Prints recalls of one benchmark under ``largest`` (BLIP-2's own), ``mean`` and ``first`` (the
retriever's two ways of pooling), from one encoding. Ranks are pessimistic, as everywhere.
"""

from __future__ import annotations

import argparse
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from chatsearcher.benchmarks import BENCHMARKS
from chatsearcher.benchmarks.progress import show_progress
from chatsearcher.benchmarks.ranking import TIE, target_ranks
from chatsearcher.benchmarks.recalls import recall_samples
from chatsearcher.benchmarks.single_query import with_pixels
from chatsearcher.benchmarks.task import Task
from chatsearcher.retrievers import load_retriever
from chatsearcher.retrievers.blip import BlipRetriever, late_scores
from chatsearcher.retrievers.dual.encoder import unit

KS = (1, 5, 10)
CHUNK = 64  # pictures, or queries, at once


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("system", help="blip2:NAME_OR_FOLDER")
    parser.add_argument("--benchmark", default="flickr30k")
    parser.add_argument("--data-root", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--device")
    arguments = parser.parse_args()
    system = load_retriever(arguments.system, arguments.device)
    if not isinstance(system, BlipRetriever):
        raise SystemExit(f"{arguments.system} has no query tokens; expected blip2:NAME_OR_FOLDER")
    benchmark = BENCHMARKS[arguments.benchmark]
    task = benchmark.load(arguments.data_root, benchmark.card.checked_options({}))
    lost = task.pictures.missing(list(task.images))
    if lost:
        print(f"{len(lost)} pictures are missing, such as {next(iter(lost))}: a smaller gallery")
    ranks = compare(system, task.without(lost))
    print(f"{'':8s} " + " ".join(f"{f'R@{k}':>6s}" for k in KS) + "  rank 1 differs")
    own = ranks["largest"]
    for name, found in ranks.items():
        recalls = recall_samples(found, KS, "R")
        row = " ".join(f"{np.mean(samples):6.2f}" for samples in recalls.values())
        print(f"{name:8s} {row}  {100 * np.mean((found == 1) != (own == 1)):.2f} %")


def compare(system: BlipRetriever, task: Task) -> dict[str, np.ndarray]:
    """Ranks [Q] of the targets under each way of scoring."""
    parts = []
    for start in range(0, len(task.images), CHUNK):
        names = task.images[start : start + CHUNK]
        parts.append(system.image_tokens([task.pictures.load(name) for name in names]))
        show_progress("pictures", start + len(names), len(task.images))
    tokens = np.concatenate(parts)
    queries = np.concatenate(
        [
            system.encode_queries(
                [
                    with_pixels(query.dialogue, task.pictures.load)
                    for query in task.queries[start : start + CHUNK]
                ]
            )
            for start in range(0, len(task.queries), CHUNK)
        ]
    )
    targets, exclude = task.target_rows(), task.exclude_rows()
    pooled = {"mean": unit(tokens.mean(axis=1)), "first": tokens[:, 0]}
    ranks = {"largest": late_ranks(queries, tokens, targets, exclude)}
    for name, images in pooled.items():
        ranks[name] = target_ranks(queries, images, targets, exclude=exclude)
    return ranks


def late_ranks(
    queries: np.ndarray,
    tokens: np.ndarray,
    targets: Sequence[int] | np.ndarray,
    exclude: Sequence[Collection[int]] | None,
) -> np.ndarray:
    """Ranks [Q] by the largest cosine over a picture's tokens, ties against the target.

    Args:
        queries: [Q, D] unit vectors.
        tokens: [N, T, D] unit vectors.
        targets: [Q] rows.
        exclude: for each query the rows that are no candidates.
    """
    found = []
    for start in range(0, len(queries), CHUNK):
        scores = late_scores(queries[start : start + CHUNK].astype(np.float64), tokens)
        for row, line in enumerate(scores):
            left_out = list(exclude[start + row]) if exclude is not None else []
            floor = line[targets[start + row]] - TIE
            line[left_out] = -np.inf
            found.append(int((line >= floor).sum()))
    return np.array(found)


if __name__ == "__main__":
    main()
