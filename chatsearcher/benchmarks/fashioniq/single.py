"""Fashion IQ, one turn: a product's picture and what should be different, in words.

Four protocols are in use whose figures differ by many points and must never be mixed:

- ``paper``: each of a pair's two captions is a query of its own; all pictures of the split.
- ``joined``: one query a pair, the captions joined as CLIP4Cir does; all pictures of the split.
- ``both-orders``: two queries a pair, the captions joined in either order (CoSMo); all pictures.
  With ``average`` the two query vectors of a pair are averaged (SEARLE).
- ``val-pool``: each caption that is not empty; only the pictures that occur in pairs (VAL).

The reference stays among the candidates in all of them. The test split has no targets, so that
these are of the validation split.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from chatsearcher.benchmarks.annotations import checksum, data_root
from chatsearcher.benchmarks.card import PLAIN, Card
from chatsearcher.benchmarks.fashioniq.files import (
    CATEGORIES,
    EMPTY_VAL_CAPTIONS,
    PAIRS,
    SOURCE,
    SPACE,
    UNION_IMAGES,
    VAL_IMAGES,
    Pair,
    caption_file,
    data_of,
    pictures,
    read_pairs,
    read_split,
    split_file,
)
from chatsearcher.benchmarks.ranking import target_ranks
from chatsearcher.benchmarks.recalls import means, recall_samples
from chatsearcher.benchmarks.results import Result, joint_result
from chatsearcher.benchmarks.task import Query, Task
from chatsearcher.benchmarks.vector_benchmark import Figures, VectorBenchmark
from chatsearcher.benchmarks.vectors import Vectors
from chatsearcher.dialogue import Dialogue, Image

Protocol = Literal["paper", "joined", "both-orders", "val-pool"]
PROTOCOLS: tuple[Protocol, ...] = ("paper", "joined", "both-orders", "val-pool")
KS = (10, 50)
MEAN = "mean of R@10 and R@50"
METRICS = (MEAN, *(f"R@{k}" for k in KS))
ENDS = ".?, "
RULES: Mapping[Protocol, str] = {
    "paper": "each caption its own query, empty ones too; all pictures of the split",
    "joined": "both captions in one query, joined as CLIP4Cir does; all pictures of the split",
    "both-orders": "both captions in one query, each order its own query (CoSMo); all pictures of "
    "the split",
    "val-pool": "each caption that is not empty its own query; the pictures of the pairs only "
    "(VAL)",
}


class FashionIQ(VectorBenchmark):
    """One category under one protocol, validation split."""

    def __init__(self, category: str, protocol: Protocol) -> None:
        self.category = category
        self.protocol = protocol
        pairs = PAIRS[category]
        queries = {
            "paper": 2 * pairs,
            "joined": pairs,
            "both-orders": 2 * pairs,
            "val-pool": 2 * pairs - EMPTY_VAL_CAPTIONS[category],
        }[protocol]
        gallery = (UNION_IMAGES if protocol == "val-pool" else VAL_IMAGES)[category]
        options = {}
        if protocol == "both-orders":
            options["average"] = "yes: one query a pair, the mean of its two vectors (SEARLE); no"
        self._card = Card(
            name=f"fashioniq-{category}-{protocol}",
            data=f"captions/cap.{category}.val.json, {data_of(category, 'val')}",
            sizes={"queries": queries, "gallery": gallery, "pairs": pairs},
            metrics=METRICS,
            primary=MEAN,
            protocol=f"{protocol}: {RULES[protocol]}; validation split; the reference stays a "
            "candidate; ties against the target",
            source=SOURCE,
            prompts={PLAIN: "{text}", "like-this-1": "Something like this one, but it {text}"},
            options=options,
        )

    @property
    def card(self) -> Card:
        return self._card

    def load(self, root: Path | None, options: Mapping[str, str]) -> Task:
        """Read the pairs and the gallery; see ``VectorBenchmark.load``."""
        averaged(options)
        root = data_root(root, self.name, self.card.data)
        listed = split_file(root, self.category, "val")
        captions = caption_file(root, self.category)
        pairs = read_pairs(captions, listed)
        gallery = read_split(listed)
        if self.protocol == "val-pool":
            used = {name for pair in pairs for name in (pair.reference, pair.target)}
            gallery = tuple(name for name in gallery if name in used)
        empty = sum(not caption.strip() for pair in pairs for caption in pair.captions)
        return Task(
            images=gallery,
            queries=tuple(
                Query(
                    id=f"{row}/{number}",
                    dialogue=Dialogue(id=f"{row}/{number}").user(Image(pair.reference), text),
                    targets=(pair.target,),
                    reference=pair.reference,
                    group=str(row),
                )
                for row, pair in enumerate(pairs)
                for number, text in texts(pair, self.protocol)
            ),
            pictures=pictures(root),
            data=checksum(root, [captions, listed]),
            facts={"pairs": len(pairs), "empty captions": empty},
            space=SPACE,
        )

    def score(self, task: Task, vectors: Vectors, options: Mapping[str, str]) -> Figures:
        """Recall at 10 and 50, and their mean."""
        asked, targets = vectors.queries, np.array(task.target_rows())
        average = averaged(options)
        if average:
            groups: dict[str, list[int]] = {}
            for row, query in enumerate(task.queries):
                groups.setdefault(str(query.group), []).append(row)
            members = list(groups.values())
            asked = np.stack([mean_vector(asked[rows], vectors.metric) for rows in members])
            targets = targets[[rows[0] for rows in members]]
        ranks = target_ranks(asked, vectors.images, targets, metric=vectors.metric)
        samples = recall_samples(ranks, KS)
        samples[MEAN] = (samples["R@10"] + samples["R@50"]) / 2
        return Figures(
            {name: means(samples)[name] for name in METRICS},
            samples,
            None if average else ranks,
            settings={"average": average} if self.protocol == "both-orders" else {},
        )


def texts(pair: Pair, protocol: Protocol) -> Iterator[tuple[int, str]]:
    """The words of each query of a pair, numbered."""
    first, second = pair.captions
    if protocol == "joined":
        yield 0, f"{first.strip(ENDS).capitalize()} and {second.strip(ENDS)}"
    elif protocol == "both-orders":
        yield 0, f"{first} and {second}"
        yield 1, f"{second} and {first}"
    else:
        for number, caption in enumerate(pair.captions):
            if protocol == "paper" or caption.strip():
                yield number, caption.strip()


def averaged(options: Mapping[str, str]) -> bool:
    """The option ``average``.

    Raises:
        ValueError: neither yes nor no.
    """
    choice = options.get("average", "no")
    if choice not in ("yes", "no"):
        raise ValueError(f"average={choice!r}; expected yes or no")
    return choice == "yes"


def mean_vector(vectors: np.ndarray, metric: str) -> np.ndarray:
    """[n, D] -> [D]: the mean; brought back to unit length where the metric is cosine.

    Raises:
        ValueError: vectors that cancel each other out.
    """
    mean: np.ndarray = vectors.astype(np.float64).mean(axis=0)
    if metric == "cosine":
        length = np.linalg.norm(mean)
        if length < 1e-6:
            raise ValueError("the two vectors of a pair point in opposite directions: no mean")
        mean = mean / length
    return mean


def suite_result(name: str, results: Sequence[Result]) -> Result:
    """The mean of each figure over the three categories, which is what papers print."""
    joint = joint_result(name, results)
    metrics = {key: float(np.mean([each.metrics[key] for each in results])) for key in METRICS}
    return replace(joint, primary=MEAN, metrics=metrics)


def name_of(category: str, protocol: Protocol) -> str:
    """``DRESS_ORDERS`` and the like: the names in this module."""
    return f"{category}_{protocol.rpartition('-')[2]}".upper()


ALL = {
    name_of(category, protocol): FashionIQ(category, protocol)
    for category in CATEGORIES
    for protocol in PROTOCOLS
}


def __getattr__(name: str) -> FashionIQ:
    """The twelve benchmarks as attributes, for the table of names."""
    if name in ALL:
        return ALL[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
