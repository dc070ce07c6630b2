"""Failures on purpose, of every kind that an endpoint has.

Which prompts fail, and how, follows from the prompt alone, so that a rehearsal can be repeated.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field

PASSING = ("429", "500", "503", "hang", "reset", "nonsense")
"""Of the transport: these pass when the call is made again."""

SPOILT = ("refusal", "broken", "prose", "schema", "cut", "empty")
"""Of the answer: another seed gives another answer."""


@dataclass
class Failures:
    """What goes wrong.

    Attributes:
        passing: share of calls that first fail once or twice in transport.
        spoilt: share of (prompt, seed) whose answer is not what was asked for.
        hopeless: share of prompts that are refused whatever the seed.
        forbidden: share of prompts that are answered by HTTP 400.
        counts: what went wrong so far.
    """

    passing: float = 0.0
    spoilt: float = 0.0
    hopeless: float = 0.0
    forbidden: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    _tries: Counter[bytes] = field(default_factory=Counter)

    def of(self, prompt: str, seed: int) -> str | None:
        """The kind of failure of this call, or None."""
        if _share(f"forbidden {prompt}") < self.forbidden:
            return self._count("400")
        key = f"{seed} {prompt}"
        if _share(f"passing {key}") < self.passing:
            name = hashlib.sha256(key.encode()).digest()[:12]
            self._tries[name] += 1
            wanted = 1 + (name[0] % 2)
            if self._tries[name] <= wanted:
                return self._count(PASSING[name[1] % len(PASSING)])
        if _share(f"hopeless {prompt}") < self.hopeless:
            return self._count("refusal")
        if _share(f"spoilt {key}") < self.spoilt:
            kind = hashlib.sha256(f"kind {key}".encode()).digest()[0]
            return self._count(SPOILT[kind % len(SPOILT)])
        return None

    def _count(self, kind: str) -> str:
        self.counts[kind] += 1
        return kind


def _share(text: str) -> float:
    """A number in [0, 1) that follows from the text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64
