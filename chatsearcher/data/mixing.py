"""Which source the n-th item of an endless mix comes from, in closed form.

The mix repeats one block of ``sum(counts)`` items. Inside the block the sources are spread evenly,
so a rank's slice of a batch has nearly the same composition as every other rank's, and any position
can be looked up without walking there: resuming costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Mix:
    """An endless, evenly spread sequence of source names.

    Attributes:
        block: the source of each position of one block.
        before: how many items of that same source stand earlier in the block.
        counts: items of each source in a block.
    """

    block: tuple[str, ...]
    before: tuple[int, ...]
    counts: dict[str, int]

    @classmethod
    def of(cls, counts: Mapping[str, int]) -> Mix:
        """Spread ``counts`` items of each source over a block.

        Raises:
            ValueError: no source, or a count below one.
        """
        if not counts:
            raise ValueError("the mix has no source; name at least one")
        for name, count in counts.items():
            if count < 1:
                raise ValueError(
                    f"source {name!r} has count {count}; expected 1 or more (leave the source out "
                    "instead)"
                )
        slots = sorted(
            ((2 * index + 1) / (2 * count), order, name, index)
            for order, (name, count) in enumerate(counts.items())
            for index in range(count)
        )
        return cls(
            tuple(name for _, _, name, _ in slots),
            tuple(index for _, _, _, index in slots),
            dict(counts),
        )

    def __getitem__(self, position: int) -> tuple[str, int]:
        """(source name, index of the item within that source) of a position >= 0."""
        block, offset = divmod(position, len(self.block))
        name = self.block[offset]
        return name, block * self.counts[name] + self.before[offset]


def rank_slice(step: int, batch: int, rank: int, world_size: int) -> range:
    """The positions of the mix that a rank reads in a step.

    The ranks' slices, one after the other, are the global batch: two ranks with half a batch each
    see exactly the items of one rank with all of it, in the same order.
    """
    if not 0 <= rank < world_size:
        raise ValueError(f"rank {rank} of {world_size}: expected 0 <= rank < world_size")
    start = step * batch
    return range(start + rank * batch // world_size, start + (rank + 1) * batch // world_size)
