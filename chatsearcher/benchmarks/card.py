"""What a benchmark says of itself, before any data are read: ``chatsearcher list benchmarks``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

PLAIN = "plain-1"
"""The prompt that every benchmark of queries has: the words as they stand."""


@dataclass(frozen=True)
class Card:
    """The facts of one benchmark.

    Attributes:
        name: the registered name.
        data: what must lie under ``--data-root``, with the publisher's file names.
        sizes: the official counts; those named ``queries`` and ``gallery`` are compared with what
            was read, and a result on other counts says so.
        metrics: every figure, in the order they are printed.
        primary: the figure to look at first.
        protocol: whose rules are followed, by name; figures of two protocols do not compare.
        source: the paper, and where the official evaluator or the data are to be had.
        lower: the figures of which less is better.
        undirected: the figures of which neither more nor less is better (counts, lengths).
        prompts: name -> template with ``{text}``, what the last user's turn says; names end in a
            version, and a template never changes under its name.
        options: name -> meaning and default, what ``--option NAME=VALUE`` sets.
    """

    name: str
    data: str
    sizes: Mapping[str, int]
    metrics: tuple[str, ...]
    primary: str
    protocol: str
    source: str
    lower: frozenset[str] = frozenset()
    undirected: frozenset[str] = frozenset()
    prompts: Mapping[str, str] = field(default_factory=lambda: {PLAIN: "{text}"})
    options: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.metrics and self.primary not in self.metrics:
            raise ValueError(f"{self.name}: primary figure {self.primary!r} is not among its own")
        strange = (self.lower | self.undirected) - set(self.metrics)
        if strange:
            raise ValueError(f"{self.name}: unknown figures {sorted(strange)}")

    def prompt(self, name: str | None) -> tuple[str, str]:
        """A prompt's name and template; without a name, the first one.

        Raises:
            ValueError: no such prompt.
        """
        if name is None:
            name = next(iter(self.prompts))
        if name not in self.prompts:
            known = ", ".join(self.prompts)
            raise ValueError(f"{self.name} has no prompt {name!r}; expected one of {known}")
        return name, self.prompts[name]

    def checked_options(self, given: Mapping[str, str]) -> Mapping[str, str]:
        """The options as given.

        Raises:
            ValueError: an option that the benchmark does not have.
        """
        strange = sorted(set(given) - set(self.options))
        if strange:
            known = ", ".join(self.options) or "none"
            raise ValueError(f"{self.name} has no option {strange[0]!r}; expected: {known}")
        return given
