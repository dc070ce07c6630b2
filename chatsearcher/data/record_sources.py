"""Record shards read at random: item *n* is a function of *n*; in memory are a few shards' headers.

The order: an epoch visits the shards in groups, shuffled anew each time, and the records of a group
of shards in one shuffled order. Which record is item *n* follows from the shards' counts alone, so
resuming costs nothing, whatever the number of workers and ranks.
"""

from __future__ import annotations

import json
import random
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

from chatsearcher.data.record_kinds import as_record
from chatsearcher.data.records import BrokenRecord, Record, Remark, SourceConfig
from chatsearcher.data.shard_sources import permutation
from chatsearcher.data.shards import find_shards
from chatsearcher.data.tar_index import StoredRecord, shard_members

GROUP = 4
"""Shards whose records are shuffled among each other."""


class RecordShards:
    """``shard-documents`` and ``shard-conversations``: the shards of a split in a folder.

    Raises:
        ValueError: no path, or no record.
        FileNotFoundError: no such folder, or no shard of that split.
    """

    def __init__(self, config: SourceConfig, seed: int, image_size: int) -> None:
        if config.path is None:
            raise ValueError(
                f"a {config.kind} source needs path=, the folder of its shards; got none"
            )
        if config.where or config.below:
            raise ValueError(f"where= and below= are for shard-pairs, not for {config.kind}")
        self.config = config
        self.seed = seed
        self.folder = Path(config.path)
        self.name = f"{self.folder.name}/{config.split}"
        self.paths = find_shards(self.folder, config.split)
        self.counts, self.remarks = shard_counts(self.folder, self.paths)
        self.size = sum(self.counts)
        self._order: tuple[int, list[int], list[int]] = (-1, [], [])
        if not self.size:
            raise ValueError(f"no record in the {config.split} shards of {self.folder}")

    def item(self, index: int) -> Record:
        epoch, place = divmod(index, self.size)
        stored = self._stored(epoch, place)
        key = f"{self.name}/{stored.key}"
        rng = random.Random(f"{self.config.kind}/{key}/{self.seed}/{index}")
        return as_record(stored, self.config, self.folder.name, key, rng)

    def _stored(self, epoch: int, place: int) -> StoredRecord:
        name = f"{self.name}/{self.seed}/{epoch}"
        if self._order[0] != epoch:
            order = [int(shard) for shard in permutation(len(self.paths), name)]
            ends = list(accumulate(self.counts[shard] for shard in order))
            self._order = (epoch, order, ends)
        _, order, ends = self._order
        first = bisect_right(ends, place) // GROUP * GROUP
        group = order[first : first + GROUP]
        start = ends[first - 1] if first else 0
        sizes = [self.counts[shard] for shard in group]
        within = int(permutation(sum(sizes), f"{name}/{first}")[place - start])
        for shard, size in zip(group, sizes, strict=True):
            if within < size:
                records = shard_members(self.paths[shard]).records
                if within >= len(records):
                    path = self.paths[shard]
                    raise BrokenRecord(f"{path.name}[{within}]", f"only {len(records)} there")
                return records[within]
            within -= size
        raise AssertionError("the counts of a group add up to its size")


def shard_counts(folder: Path, paths: Sequence[Path]) -> tuple[list[int], list[Remark]]:
    """Records of each shard: from ``shards.jsonl`` where its sizes are right, else by looking.

    Returns (counts, remarks on damaged shards).
    """
    listed: dict[str, tuple[int, int]] = {}
    if (folder / "shards.jsonl").is_file():
        with open(folder / "shards.jsonl", encoding="utf-8") as lines:
            for line in lines:
                about = json.loads(line)
                listed[about["name"]] = (int(about["records"]), int(about["bytes"]))
    counts, remarks = [], []
    for path in paths:
        records, size = listed.get(path.name, (-1, -1))
        if size != path.stat().st_size:
            members = shard_members(path)
            records = len(members.records)
            if members.problem:
                remarks.append(Remark(str(path), "skipped", members.problem))
        counts.append(records)
    return counts, remarks
