"""Benchmarks, by name. They know retrievers by their protocol only, never by their class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from chatsearcher.registry import Registry

if TYPE_CHECKING:
    from chatsearcher.benchmarks.results import Result
    from chatsearcher.benchmarks.single_query import GalleryVectors

BENCHMARKS = Registry(
    "benchmark",
    {
        "world-t": "chatsearcher.benchmarks.world:WORLD_T",
        "world-i": "chatsearcher.benchmarks.world:WORLD_I",
        "world-m": "chatsearcher.benchmarks.world:WORLD_M",
        "world-t-val": "chatsearcher.benchmarks.world:WORLD_T_VAL",
        "world-i-val": "chatsearcher.benchmarks.world:WORLD_I_VAL",
        "world-m-val": "chatsearcher.benchmarks.world:WORLD_M_VAL",
        "real-openstax": "chatsearcher.benchmarks.real:OPENSTAX",
        "real-openmoji": "chatsearcher.benchmarks.real:OPENMOJI",
        "real-edits": "chatsearcher.benchmarks.real:EDITS",
        "real-openstax-val": "chatsearcher.benchmarks.real:OPENSTAX_VAL",
        "real-openmoji-val": "chatsearcher.benchmarks.real:OPENMOJI_VAL",
        "real-edits-val": "chatsearcher.benchmarks.real:EDITS_VAL",
        "world-decision": "chatsearcher.benchmarks.decision:WORLD_DECISION",
        "world-decision-val": "chatsearcher.benchmarks.decision:WORLD_DECISION_VAL",
    },
)
# One name for several benchmarks; their joint figure is the mean of all their recalls.
SUITES: dict[str, tuple[str, ...]] = {
    "world": ("world-t", "world-i", "world-m"),
    "world-val": ("world-t-val", "world-i-val", "world-m-val"),
}


@dataclass
class Context:
    """What a run needs besides the system.

    Attributes:
        spec: how the system was named on the command line; written into the result.
        vectors: image vectors that are known already; benchmarks on one gallery share them.
        progress: called as ``progress(what, done, total)``.
    """

    spec: str = ""
    vectors: GalleryVectors | None = None
    progress: Callable[[str, int, int], None] | None = None


class Benchmark(Protocol):
    """A named measurement of a system."""

    @property
    def name(self) -> str: ...

    def run(self, system: Any, context: Context | None = None) -> Result: ...


def expand(names: Sequence[str]) -> list[str]:
    """Suites replaced by their benchmarks, each name once, in order.

    Raises:
        ValueError: an unknown name, with the nearest known one.
    """
    flat = [part for name in names for part in SUITES.get(name, (name,))]
    for name in flat:
        BENCHMARKS[name]
    return list(dict.fromkeys(flat))
