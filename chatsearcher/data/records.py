"""What the data room hands around, and its settings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from chatsearcher.dialogue import Dialogue, Part

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

SplitName = Literal["train", "val", "test"]


@dataclass(frozen=True)
class SourceConfig:
    """One source of the mix.

    Attributes:
        kind: a name in ``chatsearcher.data.sources.SOURCES``.
        count: its share: so many items in every ``sum of counts`` items of the mix.
        split: which split to read; shards are chosen by their file names.
        path: the folder of the source's files (shard sources only).
        texts: where shard records keep their words: ``txt``, or fields of their JSON. One is drawn
            for each use.
        where: keep records whose JSON field has one of these values.
        below: keep records whose JSON field is below this number.
        max_rounds: a dialogue is cut from the front to so many rounds (0: keep all).
    """

    kind: str
    count: int = 1
    split: SplitName = "train"
    path: str | None = None
    texts: tuple[str, ...] = ("txt",)
    where: dict[str, tuple[str, ...]] = field(default_factory=dict)
    below: dict[str, float] = field(default_factory=dict)
    max_rounds: int = 0


@dataclass(frozen=True)
class DataConfig:
    """A mix of sources and the shape of its batches.

    Attributes:
        sources: name -> source. Where ``batch`` equals the sum of the counts (the default), every
            step holds exactly ``count`` items of each source; else the counts are proportions,
            kept exactly over every ``sum of counts`` consecutive items.
        batch: items of the global batch, over all ranks; 0 means the sum of the counts.
        length: tokens of a packed row at most; longer documents go on in further samples.
        pack: several samples a row; False gives each sample its own row, padded to the longest.
        image_size: the side of the pictures that the world renders, in pixels.
        workers: processes that make batches ahead (0: in this process).
        prefetch: batches each worker keeps ready.
        reader: ``indexed`` reads shards at random, and resumes with any number of workers;
            ``stream`` reads them from front to end, each worker its own (``data.streaming``).
    """

    sources: dict[str, SourceConfig]
    batch: int = 0
    length: int = 512
    pack: bool = True
    image_size: int = 96
    workers: int = 1
    prefetch: int = 4
    reader: Literal["indexed", "stream"] = "indexed"


@dataclass(frozen=True)
class ContrastiveConfig:
    """Batches of (picture, text) for the contrastive training of a tower.

    Attributes:
        kind: ``world`` or ``shards``.
        batch: pairs of the global batch, over all ranks.
        group: world only: so many scenes of a batch that differ from each other in one attribute.
        complete: world only: the share of captions that say everything; the others leave out about
            half, as people do.
        max_tokens: longer texts are cut; the end token is kept.
        sources: shards only: name -> ``shard-pairs`` source, mixed by their counts; ``split`` above
            stands for theirs.
        alike: source name -> a field of its records' JSON; pictures of one value there are too
            alike to be contrasted. Pictures of equal bytes and records of equal words always are.
        crop: shards only, training only: the smallest side of a random crop, as a share of the
            picture's; 1 shows pictures whole.
    """

    kind: Literal["world", "shards"] = "world"
    batch: int = 128
    group: int = 4
    complete: float = 1.0
    split: SplitName = "train"
    image_size: int = 96
    max_tokens: int = 64
    sources: dict[str, SourceConfig] = field(default_factory=dict)
    alike: dict[str, str] = field(default_factory=dict)
    crop: float = 1.0
    workers: int = 1
    prefetch: int = 4

    def __post_init__(self) -> None:
        if not 0.0 < self.crop <= 1.0:
            raise ValueError(f"crop is {self.crop}; expected a share in (0, 1], 1 for no crop")


@dataclass(frozen=True)
class Record:
    """One item of a source, its pictures not decoded yet.

    Attributes:
        key: names the item in reports and error messages.
        content: a dialogue (loss on the assistant's answers only; too long: whole rounds are
            dropped from the front), or interleaved parts (loss on everything; too long: goes on in
            further samples).
        load: picture id -> the decoded picture; raises BrokenRecord when it cannot.
    """

    key: str
    content: Dialogue | tuple[Part, ...]
    load: Callable[[str], PILImage]


class BrokenRecord(ValueError):
    """An item that cannot be used; counted and reported, never replaced."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(f"{key}: {reason}")
        self.key = key
        self.reason = reason

    def __reduce__(self) -> tuple[type[BrokenRecord], tuple[str, str]]:
        return type(self), (self.key, self.reason)


@dataclass(frozen=True)
class Remark:
    """Something that did not go in as it stood: a skipped record, or a shortened dialogue."""

    key: str
    kind: Literal["skipped", "shortened"]
    reason: str


@dataclass
class DataReport:
    """Every remark of a run, each key once, however many epochs meet it."""

    counts: Counter[str] = field(default_factory=Counter)
    remarks: dict[tuple[str, str], Remark] = field(default_factory=dict)

    def add(self, remarks: Iterable[Remark]) -> list[Remark]:
        """Count them; returns those whose key is new (worth a line in the log)."""
        fresh = []
        for remark in remarks:
            self.counts[remark.kind] += 1
            if self.remarks.setdefault((remark.kind, remark.key), remark) is remark:
                fresh.append(remark)
        return fresh

    def summary(self, limit: int = 20) -> str:
        """A few lines for the end of a run; empty when nothing happened."""
        lines = []
        for kind in ("skipped", "shortened"):
            those = [remark for remark in self.remarks.values() if remark.kind == kind]
            if not those:
                continue
            lines.append(f"{kind}: {self.counts[kind]} times, {len(those)} different items")
            lines += [f"  {remark.key}: {remark.reason}" for remark in those[:limit]]
            if len(those) > limit:
                lines.append(f"  … and {len(those) - limit} more")
        return "\n".join(lines)
