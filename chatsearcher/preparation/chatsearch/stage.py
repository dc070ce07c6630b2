"""The one loop behind every stage: inputs in, results out in their order, a part at a time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeVar

from chatsearcher.preparation.chatsearch.layout import Entry, StageFolder

PART = 1000
"""Inputs that a part of a stage's output stands for."""

T = TypeVar("T")
R = TypeVar("R")


@dataclass
class Result:
    """What became of one input: records, and what was left out of it."""

    records: list[Entry] = field(default_factory=list)
    rejects: list[Entry] = field(default_factory=list)

    @classmethod
    def keep(cls, *records: Entry) -> Result:
        return cls(list(records))

    @classmethod
    def drop(cls, id: str, reason: str, **detail: Any) -> Result:
        """Nothing came of it. ``reason`` is counted by; ``detail`` says what exactly happened."""
        return cls([], [reject(id, reason, **detail)])


def reject(id: str, reason: str, **detail: Any) -> Entry:
    return {"id": id, "reason": reason, **detail}


Work = Callable[[Sequence[Entry]], Awaitable[Sequence[Result]]]


@dataclass(frozen=True)
class Plan:
    """How a stage goes through its inputs. None of it changes what is written, but ``part``.

    Attributes:
        batch: inputs worked on together; divides ``part``, so that a resumed run meets the same
            batches.
        window: batches under way at most. A slow one holds up the output, not the others.
    """

    batch: int = 1
    window: int = 1024
    part: int = PART

    def __post_init__(self) -> None:
        if self.batch < 1 or self.window < 1 or self.part % self.batch:
            raise ValueError(
                f"batch {self.batch}, window {self.window}, part {self.part}: expected numbers "
                "from 1 on, and a batch that divides the part"
            )


async def run_stage(
    folder: StageFolder,
    settings: Entry,
    inputs: Iterable[Entry],
    work: Work,
    plan: Plan | None = None,
    progress: Callable[[int], None] | None = None,
) -> Entry:
    """Make a stage's output, or what is missing of it; returns its summary.

    Args:
        settings: everything that decides the output, the inputs' checksum included.
        work: a batch of inputs -> a result for each.
        progress: called with the number of inputs dealt with.

    Raises:
        ValueError: the folder was begun with other settings.
    """
    plan = plan or Plan()
    folder.begin({**settings, "part": plan.part})
    if (summary := folder.done()) is not None:
        return summary
    number = folder.parts()
    source = iter(inputs)
    seen = sum(1 for _ in islice(source, number * plan.part))
    records: list[Entry] = []
    rejects: list[Entry] = []
    held = 0
    if progress:
        progress(seen)

    def batches() -> Iterator[list[Entry]]:
        while batch := list(islice(source, plan.batch)):
            yield batch

    async for batch, results in in_order(batches(), work, plan.window):
        if len(results) != len(batch):
            raise AssertionError(f"{len(batch)} inputs, {len(results)} results")
        for result in results:
            records += result.records
            rejects += result.rejects
        held += len(batch)
        seen += len(batch)
        if held >= plan.part:
            # In a thread: waiting for the disk must not keep those under way from going on.
            await asyncio.to_thread(folder.write_part, number, records, rejects)
            number, held, records, rejects = number + 1, 0, [], []
        if progress:
            progress(seen)
    if held:
        await asyncio.to_thread(folder.write_part, number, records, rejects)
    return folder.finish(seen)


async def in_order(
    items: Iterable[T], work: Callable[[T], Awaitable[R]], window: int
) -> AsyncIterator[tuple[T, R]]:
    """``(item, await work(item))`` in the items' order, up to ``window`` of them under way.

    When one fails, or the caller stops, those under way are cancelled and waited for.
    """
    pending: deque[tuple[T, asyncio.Future[R]]] = deque()
    try:
        for item in items:
            pending.append((item, asyncio.ensure_future(work(item))))
            while pending and (len(pending) >= window or pending[0][1].done()):
                first, task = pending[0]
                value = await task
                pending.popleft()
                yield first, value
        while pending:
            first, task = pending[0]
            value = await task
            pending.popleft()
            yield first, value
    finally:
        for _, task in pending:
            task.cancel()
        await asyncio.gather(*(task for _, task in pending), return_exceptions=True)
