"""WebDataset shards as a stream through ``datasets``: split by rank and worker, resumed exactly.

For sets too large to be looked through at the start, or far away: each worker of each rank reads
its own shards from the front to the end, and knows nothing of the others. Set
``DataConfig.reader = "stream"``; the sources are the same shards as for reading at random.

``datasets`` deals the shards out (where their number is no multiple of the ranks', each rank takes
every n-th record of all of them) and counts where each worker is; torchdata's loader carries those
counts, so a run resumes in the middle of an epoch with the very next record. Unlike reading at
random, resuming needs as many ranks and workers as before.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import IterableDataset, get_worker_info

from chatsearcher.data.batches import Made, MixedBatches, identity
from chatsearcher.data.loader import note, start_worker
from chatsearcher.data.record_kinds import KINDS, as_record, fits
from chatsearcher.data.records import DataConfig, DataReport, Record, Remark, SourceConfig
from chatsearcher.data.shards import find_shards
from chatsearcher.data.tar_index import shard_members

if TYPE_CHECKING:
    import datasets

    from chatsearcher.data.feature_cache import FeatureCache
    from chatsearcher.model.processing import ChatSearcherProcessor


def open_stream(
    paths: Iterable[Path], order: str, rank: int = 0, world_size: int = 1
) -> datasets.IterableDataset:
    """The records of shards as ``{"shard": path, "record": number}``, one epoch, shuffled by name.

    What is streamed is where a record is: passing over a record costs nothing, which is what makes
    resuming fast. Inside a ``DataLoader``'s worker it gives that worker's share.

    Args:
        order: a name; equal names give equal orders of the shards and of the records in each.
    """
    # from_generator would do, but hashes its arguments and leaves a lock file in the user's cache
    # for every epoch of every worker.
    from datasets.distributed import split_dataset_by_node
    from datasets.iterable_dataset import ExamplesIterable
    from datasets.iterable_dataset import IterableDataset as Stream

    shards = [str(path) for path in paths]
    random.Random(order).shuffle(shards)
    stream = Stream(ExamplesIterable(_places, {"shards": shards, "order": order}))
    return split_dataset_by_node(stream, rank=rank, world_size=world_size)


def _places(shards: list[str], order: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for shard in shards:
        numbers = list(range(len(shard_members(Path(shard)).records)))
        random.Random(f"{order}/{Path(shard).name}").shuffle(numbers)
        for number in numbers:
            yield f"{shard}:{number}", {"shard": shard, "record": number}


class RecordStream:
    """A source whose items come in the order of its shards, epoch after epoch.

    ``item`` takes no notice of its number: the next record comes next.
    """

    def __init__(
        self, config: SourceConfig, seed: int, rank: int = 0, world_size: int = 1, workers: int = 0
    ) -> None:
        if config.kind not in KINDS:
            raise ValueError(
                f"a {config.kind} source cannot be streamed; reader='stream' reads "
                f"{', '.join(KINDS)}"
            )
        if config.path is None:
            raise ValueError(
                f"a {config.kind} source needs path=, the folder of its shards; got none"
            )
        self.config = config
        self.seed = seed
        self.rank, self.world_size = rank, world_size
        self.folder = Path(config.path)
        self.name = f"{self.folder.name}/{config.split}"
        self.paths = find_shards(self.folder, config.split)
        shards = len(self.paths)
        mine = shards // world_size if shards % world_size == 0 else shards
        if mine < workers:
            raise ValueError(
                f"{self.folder}: {shards} {config.split} shards for {world_size} ranks of "
                f"{workers} workers; every worker needs a shard of its own: use fewer workers, "
                "or make smaller shards (prepare … --records-per-shard)"
            )
        self.epoch = 0
        self.remarks: list[Remark] = []
        self._resume: dict[str, Any] | None = None
        self._stream: datasets.IterableDataset | None = None
        self._iterator: Iterator[dict[str, Any]] | None = None

    def item(self, index: int) -> Record:
        """The next record; ``BrokenRecord`` for one that cannot be used, and on with the next."""
        empty_epochs = 0
        while True:
            if self._iterator is None:
                order = f"{self.name}/{self.seed}/{self.epoch}"
                self._stream = open_stream(self.paths, order, self.rank, self.world_size)
                if self._resume is not None:
                    self._stream.load_state_dict(self._resume)
                    self._resume = None
                self._iterator = iter(self._stream)
            place = next(self._iterator, None)
            if place is None:
                self._iterator = self._stream = None
                self.epoch += 1
                empty_epochs += 1
                if empty_epochs > 2:
                    raise ValueError(
                        f"no record of {self.name} for this worker "
                        f"(where={self.config.where} below={self.config.below})"
                    )
                continue
            stored = shard_members(Path(place["shard"])).records[place["record"]]
            if not fits(stored, self.config):
                continue
            key = f"{self.name}/{stored.key}"
            rng = random.Random(f"{self.config.kind}/{key}/{self.seed}/{self.epoch}")
            return as_record(stored, self.config, self.folder.name, key, rng)

    def state_dict(self) -> dict[str, Any]:
        stream = self._stream.state_dict() if self._stream is not None else self._resume
        return {"epoch": self.epoch, "stream": stream}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.epoch = int(state["epoch"])
        self._resume = state["stream"]
        self._stream = self._iterator = None


class StreamedBatches(IterableDataset[Made]):
    """One rank's batches; each worker makes every n-th of them from its own share of the shards."""

    def __init__(
        self,
        config: DataConfig,
        processor: ChatSearcherProcessor,
        rank: int,
        world_size: int,
        seed: int,
        features: FeatureCache | None = None,
    ) -> None:
        sources = {
            name: RecordStream(source, seed, rank, world_size, config.workers)
            for name, source in config.sources.items()
        }
        self.make = MixedBatches(config, processor, rank, world_size, seed, features, sources)
        self.sources = sources
        self.made = 0

    def __iter__(self) -> Iterator[Made]:
        worker = get_worker_info()
        first, every = (worker.id, worker.num_workers) if worker else (0, 1)
        while True:
            made = self.make(first + self.made * every)
            self.made += 1
            yield made

    def state_dict(self) -> dict[str, Any]:
        return {
            "made": self.made,
            "sources": {name: source.state_dict() for name, source in self.sources.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.made = int(state["made"])
        for name, source in self.sources.items():
            source.load_state_dict(state["sources"][name])


class StreamSource:
    """What the training loop reads from; the state is of this rank's workers.

    Attributes:
        report: what has been skipped or shortened so far, in the batches handed out.
    """

    def __init__(
        self,
        config: DataConfig,
        processor: ChatSearcherProcessor,
        rank: int = 0,
        world_size: int = 1,
        seed: int = 0,
        features: FeatureCache | None = None,
    ) -> None:
        self.batches = StreamedBatches(config, processor, rank, world_size, seed, features)
        self.identity = f"{identity(config, seed)}/{world_size}x{config.workers}"
        self.workers = config.workers
        self.prefetch = config.prefetch
        self.report = DataReport()
        self._resume: dict[str, Any] | None = None
        self._loader: Any = None

    def __iter__(self) -> Iterator[Any]:
        """Batches from the state on, for ever."""
        from torchdata.stateful_dataloader import StatefulDataLoader

        loader: Any = StatefulDataLoader(
            self.batches,
            batch_size=None,
            num_workers=self.workers,
            prefetch_factor=self.prefetch if self.workers else None,
            worker_init_fn=start_worker if self.workers else None,
            # Else making the iterator draws from the global generator, and a resumed run differs.
            generator=torch.Generator(),
        )
        if self._resume is not None:
            loader.load_state_dict(self._resume)
        self._loader = loader
        for made in loader:
            note(self.report, made.remarks)
            yield made.batch

    def state_dict(self) -> dict[str, Any]:
        """The state after the last batch handed out."""
        loader = self._loader.state_dict() if self._loader is not None else self._resume
        return {"identity": self.identity, "loader": loader}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state; takes effect at the next ``iter``.

        Raises:
            ValueError: the state is of other data, another seed, or another number of workers.
        """
        if state["identity"] != self.identity:
            raise ValueError(
                f"the checkpoint's stream ({state['identity']}) is not this run's "
                f"({self.identity}): the data settings, the seed, or the ranks x workers have "
                "changed; resume with the saved recipe, or start a new run folder"
            )
        self._resume = state["loader"]
        self._loader = None
