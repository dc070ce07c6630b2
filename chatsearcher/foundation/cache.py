"""Answers kept on disk by prompt and model: what was paid for once is never paid for again."""

from __future__ import annotations

import asyncio
import hashlib
import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from chatsearcher.foundation.language import (
    Answer,
    EndpointDown,
    Finish,
    LanguageModel,
    Prompt,
    Unanswered,
)

REFUSED = 64
"""So many prompts refused before any was answered are not the prompts' fault."""


@dataclass(frozen=True)
class Price:
    """Of a million tokens, in any currency."""

    prompt: float = 0.0
    completion: float = 0.0


@dataclass(frozen=True)
class Usage:
    """What all answers of a cache have cost."""

    answers: int
    prompt_tokens: int
    completion_tokens: int

    def cost(self, price: Price) -> float:
        total = self.prompt_tokens * price.prompt + self.completion_tokens * price.completion
        return total / 1e6


class AnswerCache:
    """A database of answers. One process writes; each answer is there after a kill.

    Raises:
        ValueError: the file is no such database.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(self.path)
        try:
            # WAL with synchronous NORMAL: a commit costs no wait for the disk. After a power cut
            # the last answers may be gone, and are asked for again.
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.execute("PRAGMA busy_timeout = 10000")
            self._connection.execute(
                "CREATE TABLE IF NOT EXISTS answers (key BLOB PRIMARY KEY, name TEXT, text TEXT, "
                "prompt_tokens INTEGER, completion_tokens INTEGER, finish TEXT) WITHOUT ROWID"
            )
        except sqlite3.DatabaseError as error:
            raise ValueError(f"{self.path} is no cache of answers ({error})") from error

    def get(self, key: bytes) -> Answer | None:
        row = self._connection.execute(
            "SELECT text, prompt_tokens, completion_tokens, finish FROM answers WHERE key = ?",
            (key,),
        ).fetchone()
        if row is None:
            return None
        text, asked, answered, finish = row
        if finish not in get_args(Finish):
            raise ValueError(f"{self.path}: an answer ended by {finish!r}; remove the cache")
        return Answer(text, asked, answered, finish)

    def put(self, key: bytes, name: str, answer: Answer) -> None:
        with self._connection:
            self._connection.execute(
                "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?, ?)",
                (
                    key,
                    name,
                    answer.text,
                    answer.prompt_tokens,
                    answer.completion_tokens,
                    answer.finish,
                ),
            )

    def usage(self) -> dict[str, Usage]:
        """What each kind of prompt has cost so far, by its name."""
        rows = self._connection.execute(
            "SELECT name, COUNT(*), SUM(prompt_tokens), SUM(completion_tokens) FROM answers "
            "GROUP BY name ORDER BY name"
        )
        return {name: Usage(count, asked, answered) for name, count, asked, answered in rows}

    def close(self) -> None:
        self._connection.close()


def cache_key(identity: Mapping[str, Any], prompt: Prompt, seed: int) -> bytes:
    """32 bytes that stand for the model, the whole prompt, its schema and the seed."""
    return _key(json.dumps(dict(identity), sort_keys=True), prompt, seed)


def _key(identity: str, prompt: Prompt, seed: int) -> bytes:
    code = hashlib.sha256()
    for text in (identity, prompt.system, prompt.user, prompt.schema or "", str(seed)):
        data = text.encode("utf-8", errors="surrogatepass")
        code.update(b"%d:" % len(data))  # so that no two different lists of texts look alike
        code.update(data)
    return code.digest()


class CachedModel:
    """A ``LanguageModel`` that asks another one only for what is not in the cache.

    Attributes:
        hits: prompts answered from the cache since this object was made.
    """

    def __init__(self, model: LanguageModel, cache: AnswerCache) -> None:
        self.model = model
        self.cache = cache
        self.hits = 0
        self._identity = json.dumps(dict(model.identity), sort_keys=True)
        self._asked: dict[bytes, asyncio.Future[Answer]] = {}
        self._answered = False
        self._refused = 0

    @property
    def identity(self) -> Mapping[str, Any]:
        return self.model.identity

    async def complete(self, prompt: Prompt, seed: int = 0) -> Answer:
        """Answer, from the cache where it can.

        Raises:
            Unanswered: from the model.
            EndpointDown: from the model; or ``REFUSED`` prompts were refused and none was ever
                answered, so that the request itself must be wrong (a field that the model does not
                know, a schema that it cannot follow).
        """
        key = _key(self._identity, prompt, seed)
        known = self.cache.get(key)
        if known is not None:
            self.hits += 1
            self._answered = True
            return known
        if key in self._asked:  # the same prompt is under way: one call serves both
            return await asyncio.shield(self._asked[key])
        task = asyncio.ensure_future(self._ask(key, prompt, seed))
        self._asked[key] = task
        try:
            return await task
        finally:
            del self._asked[key]

    async def _ask(self, key: bytes, prompt: Prompt, seed: int) -> Answer:
        try:
            answer = await self.model.complete(prompt, seed)
        except Unanswered as error:
            self._refused += 1
            if self._answered or self._refused < REFUSED:
                raise
            raise EndpointDown(
                f"{self._refused} prompts were refused and none answered ({error}); where the "
                "model does not know a field of the request, take it out or give another with "
                "--body, or ask for the answer's form in another way with --structured"
            ) from error
        self._answered = True
        self.cache.put(key, prompt.name, answer)
        return answer

    async def close(self) -> None:
        await self.model.close()
        self.cache.close()
