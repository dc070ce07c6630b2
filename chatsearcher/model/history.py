"""What has been said in a conversation, as tokens and pictures."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from chatsearcher.model.processing import EncodedSample


@dataclass
class HeardPicture:
    """A picture of the history."""

    name: str
    pixels: Any  # a PIL picture or a tensor
    visual_LH: Tensor | None = None  # <CLS> q1 … qN, once read


@dataclass
class History:
    """What has been said: ids, pictures by the position of their ``[IMG]``, starts of rounds."""

    ids: list[int]
    pictures: dict[int, HeardPicture] = field(default_factory=dict)
    rounds: list[int] = field(default_factory=list)

    def add(self, sample: EncodedSample) -> None:
        """Append an encoded piece."""
        for image in sample.images:
            self.pictures[len(self.ids) + image.start] = HeardPicture(image.id, image.pixels)
        self.ids += sample.input_ids

    def cut(self, length: int) -> None:
        """Keep the first ``length`` positions."""
        del self.ids[length:]
        self.pictures = {at: p for at, p in self.pictures.items() if at + 1 < length}
        self.rounds = [at for at in self.rounds if at < length]

    def forget_oldest_round(self) -> None:
        """Take the first round out; what stands before it (a system's turn) stays."""
        first, second = self.rounds[:2]
        gone = second - first
        del self.ids[first:second]
        self.pictures = {
            at if at < first else at - gone: picture
            for at, picture in self.pictures.items()
            if not first <= at < second
        }
        self.rounds = [first, *(at - gone for at in self.rounds[2:])]

    def shared_with(self, other: History) -> int:
        """How many positions from the left are the same in both."""
        pairs = zip(self.ids, other.ids, strict=False)
        length = next((i for i, (a, b) in enumerate(pairs) if a != b), None)
        length = min(len(self.ids), len(other.ids)) if length is None else length
        for at, picture in sorted(self.pictures.items()):
            if at + 1 < length and other.pictures[at].name != picture.name:
                return at + 1
        return length
