"""Batches ahead of time: worker processes make whole batches by number, in order.

Batch i is a function of i (and of the seed), so the whole state is the number of the next batch:
resuming is exact and free, and gives the same batches with any number of workers. ``torchdata``'s
stateful loader would carry a state per worker instead, and refuse another number of workers.
"""

from __future__ import annotations

import itertools
import logging
import os
import signal
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch.utils.data import DataLoader, Dataset

from chatsearcher.data.batches import Made, MixedBatches, identity
from chatsearcher.data.records import DataConfig, DataReport, Remark

if TYPE_CHECKING:
    from chatsearcher.data.feature_cache import FeatureCache
    from chatsearcher.data.streaming import StreamSource
    from chatsearcher.model.processing import ChatSearcherProcessor

log = logging.getLogger(__name__)


class Maker(Protocol):
    """Makes batch number ``step``; ``remarks`` is what could not be read from the start."""

    @property
    def remarks(self) -> Sequence[Remark]: ...

    def __call__(self, step: int) -> Made: ...


class BatchSource:
    """Endless batches with a state; what the training loop reads from.

    Attributes:
        step: the number of the next batch to be handed out.
        report: what has been skipped or shortened so far, in the batches handed out.
    """

    def __init__(self, make: Maker, identity: str, workers: int = 0, prefetch: int = 2) -> None:
        self.make = make
        self.identity = identity
        self.workers = workers
        self.prefetch = prefetch
        self.step = 0
        self.report = DataReport()
        note(self.report, make.remarks)

    def __iter__(self) -> Iterator[Any]:
        """Batches from ``step`` on, for ever."""
        loader: DataLoader[Made] = DataLoader(
            _Steps(self.make),
            batch_size=None,
            sampler=itertools.count(self.step),  # type: ignore[arg-type]
            num_workers=self.workers,
            prefetch_factor=self.prefetch if self.workers else None,
            worker_init_fn=start_worker if self.workers else None,
            # Else making the iterator draws from the global generator, and a resumed run differs.
            generator=torch.Generator(),
        )
        for made in loader:
            note(self.report, made.remarks)
            self.step += 1
            yield made.batch

    def state_dict(self) -> dict[str, Any]:
        """The state after the last batch handed out."""
        return {"step": self.step, "identity": self.identity}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state; takes effect at the next ``iter``.

        Raises:
            ValueError: the state is of other data, or of another seed.
        """
        if state["identity"] != self.identity:
            raise ValueError(
                f"the checkpoint's data ({state['identity']}) are not this run's "
                f"({self.identity}): the data settings or the seed have changed; resume with the "
                "saved recipe, or start a new run folder"
            )
        self.step = int(state["step"])


class _Steps(Dataset[Made]):
    def __init__(self, make: Maker) -> None:
        self.make = make

    def __getitem__(self, step: int) -> Made:
        return self.make(step)


def note(report: DataReport, remarks: Iterable[Remark]) -> None:
    """Take remarks into the report; what is new also goes to the log."""
    for remark in report.add(remarks):
        log.warning("%s %s: %s", remark.kind, remark.key, remark.reason)


def start_worker(worker: int) -> None:
    """What every worker process does first."""
    # Ctrl-C reaches the whole process group: the trainer stops by itself, after its step, and needs
    # its workers until then. They end with it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    torch.set_num_threads(1)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"


def build_source(
    config: DataConfig,
    processor: ChatSearcherProcessor,
    rank: int = 0,
    world_size: int = 1,
    seed: int = 0,
    features: FeatureCache | None = None,
) -> BatchSource | StreamSource:
    """The batches of one rank: its share of every global batch.

    With ``features``, pictures whose features are in the cache are neither read nor decoded.

    Do not hand it to ``accelerator.prepare``, which would share it out a second time.

    Raises:
        ValueError: unknown source, empty mix, or fewer items in a batch than ranks.
        FileNotFoundError: a source's files are not there.
    """
    if config.reader == "stream":
        from chatsearcher.data.streaming import StreamSource

        return StreamSource(config, processor, rank, world_size, seed, features)
    make = MixedBatches(config, processor, rank, world_size, seed, features)
    return BatchSource(make, identity(config, seed), config.workers, config.prefetch)
