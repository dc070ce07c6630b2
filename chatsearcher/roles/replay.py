"""Users who say what recorded users said, whatever the system does."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from chatsearcher.dialogue import Dialogue


class ReplayUser:
    """One recorded dialogue.

    The recorded turns of the other side take the place of what the system really said, so that
    every system reads the same words at the same round.
    """

    def __init__(self, recorded: Dialogue) -> None:
        self._prefixes = list(recorded.rounds())
        if not self._prefixes:
            raise ValueError(f"dialogue {recorded.id!r} has no user's turn to replay")
        self._next = 0

    def begin(self) -> Dialogue:
        """The first user's turn, and what stands before it."""
        self._next = 1
        return self._prefixes[0]

    def respond(self, dialogue: Dialogue) -> Dialogue | None:
        """The next recorded prefix; None after the last one."""
        if self._next >= len(self._prefixes):
            return None
        self._next += 1
        return self._prefixes[self._next - 1]


class Replay:
    """Recorded users by the picture that they wanted.

    Args:
        recorded: picture id -> its dialogue.
    """

    def __init__(self, recorded: Mapping[str, Dialogue]) -> None:
        self.recorded = dict(recorded)

    @property
    def identity(self) -> Mapping[str, Any]:
        """With a checksum of everything recorded."""
        digest = hashlib.sha256()
        for name, dialogue in sorted(self.recorded.items()):
            digest.update(json.dumps([name, dialogue.to_messages()]).encode())
        return {"simulator": "replay", "recorded": digest.hexdigest()}

    def user(self, target: str, seed: int) -> ReplayUser:
        """The user who wanted that picture; the seed changes nothing.

        Raises:
            ValueError: nobody was recorded looking for it.
        """
        if target not in self.recorded:
            raise ValueError(f"no recorded dialogue is about {target!r}")
        return ReplayUser(self.recorded[target])
