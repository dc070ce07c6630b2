"""Keeping to what an endpoint allows: so many calls and tokens a minute, and pauses it asks for."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable

BASE_SECONDS = 0.5
LONGEST_SECONDS = 30.0


def backoff(attempt: int, jitter: Callable[[], float] = random.random) -> float:
    """Seconds to wait after failure number ``attempt`` (from 0): 0.5, 1, 2 … 30, less up to half.

    The random half keeps many callers from coming back at the same instant.
    """
    whole = min(LONGEST_SECONDS, BASE_SECONDS * 2.0 ** min(attempt, 16))
    return whole * (0.5 + 0.5 * jitter())


class Bucket:
    """A bucket that holds a minute's allowance at most and refills evenly.

    Args:
        per_minute: the allowance; 0 means no limit.
        clock: seconds, monotonic.
    """

    def __init__(self, per_minute: float, clock: Callable[[], float] = time.monotonic) -> None:
        if per_minute < 0:
            raise ValueError(f"{per_minute} a minute; expected a number from 0 (no limit) on")
        self.rate = per_minute / 60.0
        # A burst of two seconds' worth (at least one call): a full minute's worth at once would
        # break the limits of services that count by the second.
        self.capacity = max(1.0, 2.0 * self.rate)
        self._clock = clock
        self._level = self.capacity
        self._at = clock()

    def take(self, amount: float) -> float:
        """Take it out; returns the seconds to wait before acting on it (the level may go below
        zero, which is how later callers queue up behind earlier ones)."""
        if not self.rate:
            return 0.0
        now = self._clock()
        self._level = min(self.capacity, self._level + (now - self._at) * self.rate)
        self._at = now
        self._level -= amount
        return max(0.0, -self._level / self.rate)

    def settle(self, estimated: float, actual: float) -> None:
        """Put right what was taken by an estimate."""
        self._level += estimated - actual if self.rate else 0.0


class Gate:
    """What every call passes: the limits, and any pause that the service asked for."""

    def __init__(self, calls_per_minute: float = 0, tokens_per_minute: float = 0) -> None:
        self.calls = Bucket(calls_per_minute)
        self.tokens = Bucket(tokens_per_minute)
        self._closed_until = 0.0

    async def admit(self, tokens: int) -> None:
        """Wait for one's turn with a call of about that many tokens."""
        wait = max(self.calls.take(1), self.tokens.take(tokens))
        if wait:
            await asyncio.sleep(wait)
        while (left := self._closed_until - time.monotonic()) > 0:
            await asyncio.sleep(left)

    def pause(self, seconds: float) -> None:
        """Nobody passes for so long."""
        self._closed_until = max(self._closed_until, time.monotonic() + seconds)
