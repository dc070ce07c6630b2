"""ChatSearch-style sets (Zhao et al.): t, dialogues of text; i, a picture and words; m, both mixed.

The authors' test data are unpublished; these sets are dialogues in the project's own record format
(``dialogue_sets``), or an export of the construction pipeline (``chatsearch_export``), or any
dialogues of one's own: ``--option file=NAME`` reads ``NAME.jsonl``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from chatsearcher.benchmarks.annotations import checksum, data_root
from chatsearcher.benchmarks.card import Card
from chatsearcher.benchmarks.chatsearch_export import has_export, read_export
from chatsearcher.benchmarks.dialogue_sets import read_dialogue_set
from chatsearcher.benchmarks.metrics import mean_rank
from chatsearcher.benchmarks.ranking import target_ranks
from chatsearcher.benchmarks.recalls import means, recall_samples
from chatsearcher.benchmarks.task import Query, Task
from chatsearcher.benchmarks.vector_benchmark import Figures, VectorBenchmark
from chatsearcher.benchmarks.vectors import Vectors

KS = (1, 5, 10)
SIZES = {"t": 5_000, "i": 10_000, "m": 10_000}
SHOWN = ("exclude", "keep")


class ChatSearch(VectorBenchmark):
    """One of the three sets.

    Args:
        part: ``t``, ``i`` or ``m``.
    """

    def __init__(self, part: str) -> None:
        self.part = part
        self._card = Card(
            name=f"chatsearch-{part}",
            data=f"{part}.jsonl, perhaps gallery-{part}.txt and pictures.jsonl, and pictures/ "
            f"(docs/adding-a-benchmark.md), or an export with data/{part}/test-*.parquet",
            sizes={"queries in the paper": SIZES[part], "pictures in the paper": SIZES[part]},
            metrics=(*(f"R@{k}" for k in KS), "mean recall", "mean rank"),
            primary="mean recall",
            protocol="single query over the gallery of the set; pictures that the dialogue shows "
            "are no candidates unless the option says so; ties against the target",
            source="own dialogues; the measures are those of Zhao et al., ChatSearch, section 5.1",
            lower=frozenset({"mean rank"}),
            options={
                "file": f"which records to read, NAME of NAME.jsonl; {part}",
                "shown": "pictures that a dialogue shows: exclude or keep them as candidates; "
                "exclude",
            },
        )

    @property
    def card(self) -> Card:
        return self._card

    def load(self, root: Path | None, options: Mapping[str, str]) -> Task:
        """Read the records; see ``VectorBenchmark.load``."""
        root = data_root(root, self.name, self.card.data)
        shown = options.get("shown", SHOWN[0])
        if shown not in SHOWN:
            raise ValueError(f"{self.name}: option shown={shown!r}; expected {' or '.join(SHOWN)}")
        name = options.get("file", self.part)
        if "file" not in options and has_export(root, self.part):
            found = read_export(root, self.part)
        else:
            found = read_dialogue_set(root, name)
        queries = []
        for record in found.records:
            own = {image.id for image in record.dialogue.images}
            if record.target in own and shown == "exclude":
                raise ValueError(
                    f"{record.where}: the dialogue shows its own target {record.target!r}; take "
                    "the record out, or keep such pictures with --option shown=keep"
                )
            queries.append(
                Query(
                    id=record.id,
                    dialogue=record.dialogue,
                    targets=(record.target,),
                    exclude=record.exclude | (own if shown == "exclude" else frozenset()),
                    reference=record.dialogue.images[-1].id if own else None,
                    group=record.group,
                )
            )
        return Task(
            images=found.gallery,
            queries=tuple(queries),
            pictures=found.pictures,
            data=checksum(root, found.files, f"shown={shown}"),
            space=f"chatsearch:{root.resolve()}",
        )

    def score(self, task: Task, vectors: Vectors, options: Mapping[str, str]) -> Figures:
        """Recall, its mean, and the mean rank."""
        ranks = target_ranks(
            vectors.queries,
            vectors.images,
            task.target_rows(),
            metric=vectors.metric,
            exclude=task.exclude_rows(),
        )
        samples = recall_samples(ranks, KS)
        samples["mean recall"] = np.mean([samples[f"R@{k}"] for k in KS], axis=0)
        return Figures(
            means(samples) | {"mean rank": mean_rank(ranks)},
            samples,
            ranks,
            counts={"targets": len({query.target for query in task.queries})},
            settings={"shown pictures": options.get("shown", SHOWN[0])},
        )


CHATSEARCH_T = ChatSearch("t")
CHATSEARCH_I = ChatSearch("i")
CHATSEARCH_M = ChatSearch("m")
