"""Any OpenAI-compatible endpoint: many calls in flight, limits kept, failures tried again."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

from chatsearcher.foundation.language import Answer, EndpointDown, Finish, Prompt, Unanswered
from chatsearcher.foundation.limits import Gate, backoff

_AGAIN = {408, 409, 425, 429}
_REFUSED = {401, 402, 403, 404, 405}
_LONGEST_PAUSE = 120.0
MAX_ANSWER = 4 << 20
"""Bytes of an answer at most."""


@dataclass(frozen=True)
class EndpointSettings:
    """How to talk to an endpoint.

    Attributes:
        url: up to and with ``/v1``.
        key_variable: the environment variable that holds the key; unset, none is sent.
        concurrency: calls in flight at most.
        calls_per_minute, tokens_per_minute: the service's limits; 0 for none.
        timeout: seconds that one call may take.
        tries: how often a call is made before its prompt counts as unanswered.
        structured: how the answer's form is asked for: by its schema, as any JSON, or only in the
            prompt's words (for servers that know neither).
        body: further fields of the request, e.g. ``{"top_p": 0.9}``; None takes a field out, for
            models that do not know it: ``{"max_tokens": None, "max_completion_tokens": 800}``.
    """

    url: str
    model: str
    key_variable: str = "OPENAI_API_KEY"
    concurrency: int = 64
    calls_per_minute: float = 0
    tokens_per_minute: float = 0
    timeout: float = 60.0
    tries: int = 8
    temperature: float = 0.7
    max_tokens: int = 800
    structured: Literal["schema", "json", "none"] = "schema"
    body: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("concurrency", "tries", "max_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected 1 or more")
        if self.timeout <= 0:
            raise ValueError(f"timeout is {self.timeout} s; expected more than 0")
        if self.structured not in ("schema", "json", "none"):
            raise ValueError(f"structured is {self.structured!r}; expected schema, json or none")


class EndpointModel:
    """A ``LanguageModel`` behind HTTP. Made outside of a loop; used within one.

    Attributes:
        counts: ``calls`` made, and what came of those that had to be made again.
    """

    def __init__(self, settings: EndpointSettings) -> None:
        try:
            import aiohttp
        except ImportError as error:
            raise ImportError(
                "an endpoint needs aiohttp; pip install 'chatsearcher[prepare]'"
            ) from error
        self._aiohttp = aiohttp
        self.settings = settings
        self.counts: Counter[str] = Counter()
        self._gate = Gate(settings.calls_per_minute, settings.tokens_per_minute)
        self._turn = asyncio.Semaphore(settings.concurrency)
        self._session: aiohttp.ClientSession | None = None
        self._last_success = float("-inf")

    @property
    def identity(self) -> Mapping[str, Any]:
        """Model and sampling; not the address, since a model answers the same from anywhere."""
        chosen = self.settings
        return {
            "model": chosen.model,
            "temperature": chosen.temperature,
            "max_tokens": chosen.max_tokens,
            "structured": chosen.structured,
            **chosen.body,
        }

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def complete(self, prompt: Prompt, seed: int = 0) -> Answer:
        """Answer; timeouts, broken connections, 429 and 5xx are tried again with growing pauses.

        Raises:
            Unanswered: the endpoint will not take this prompt, or fails on it again and again
                while it answers others.
            EndpointDown: it answered nobody since this prompt was first tried, or our key, the
                model's name or the address is wrong.
        """
        started = time.monotonic()
        request = self._request(prompt, seed)
        data = json.dumps(request, ensure_ascii=False).encode()
        # About four bytes a token; put right by the answer's own count.
        estimate = len(data) // 4 + self.settings.max_tokens
        problem = ""
        for attempt in range(self.settings.tries):
            if attempt:
                self.counts[f"again: {problem}"] += 1
                await asyncio.sleep(backoff(attempt - 1))
            async with self._turn:
                await self._gate.admit(estimate)
                self.counts["calls"] += 1
                result = await self._call(data)
            if isinstance(result, Answer):
                self._last_success = time.monotonic()
                used = result.prompt_tokens + result.completion_tokens
                self._gate.tokens.settle(estimate, used)
                return result
            problem = result
        if self._last_success > started:
            raise Unanswered(f"{problem}, {self.settings.tries} times")
        raise EndpointDown(
            f"{self.settings.url} has answered nobody for {time.monotonic() - started:.0f} s "
            f"({problem}); what was answered is kept: run the same command again to go on"
        )

    def _request(self, prompt: Prompt, seed: int) -> dict[str, Any]:
        chosen = self.settings
        request: dict[str, Any] = {
            "model": chosen.model,
            "messages": prompt.messages(),
            "temperature": chosen.temperature,
            "max_tokens": chosen.max_tokens,
            "seed": seed,
        }
        if prompt.schema is not None and chosen.structured == "schema":
            form = {"name": prompt.name, "schema": _schema(prompt.schema), "strict": True}
            request["response_format"] = {"type": "json_schema", "json_schema": form}
        elif prompt.schema is not None and chosen.structured == "json":
            request["response_format"] = {"type": "json_object"}
        request |= chosen.body
        return {name: value for name, value in request.items() if value is not None}

    def _open(self) -> Any:
        if self._session is None:
            headers = {"Content-Type": "application/json"}
            if key := os.environ.get(self.settings.key_variable):
                headers["Authorization"] = f"Bearer {key}"
            self._session = self._aiohttp.ClientSession(
                headers=headers,
                connector=self._aiohttp.TCPConnector(limit=self.settings.concurrency),
                timeout=self._aiohttp.ClientTimeout(total=self.settings.timeout),
            )
        return self._session

    async def _call(self, data: bytes) -> Answer | str:
        """One try: an answer, or in a few words what to try again for."""
        url = self.settings.url.rstrip("/") + "/chat/completions"
        try:
            # No redirects: the key goes to the address that was given, and to no other.
            async with self._open().post(url, data=data, allow_redirects=False) as response:
                status: int = response.status
                body = await response.content.read(MAX_ANSWER + 1)
                pause = response.headers.get("Retry-After")
                while not response.content.at_eof() and len(body) <= MAX_ANSWER:
                    body += await response.content.read(MAX_ANSWER + 1 - len(body))
        except asyncio.TimeoutError:
            return "timeout"
        except (self._aiohttp.ClientError, OSError) as error:
            return f"no connection ({type(error).__name__})"
        if status == 200:
            return _read(body)
        if status in _AGAIN or status >= 500:
            if seconds := _seconds(pause):
                self._gate.pause(seconds)
            return f"HTTP {status}"
        said = _error(body)
        if status in _REFUSED or 300 <= status < 400:
            raise EndpointDown(
                f"{url} answers HTTP {status} ({said}); check the address, the model "
                f"{self.settings.model!r} and the key in {self.settings.key_variable}"
            )
        raise Unanswered(f"HTTP {status}: {said}")


@lru_cache(maxsize=16)
def _schema(text: str) -> Any:
    return json.loads(text)


def _read(body: bytes) -> Answer | str:
    if len(body) > MAX_ANSWER:
        return "an answer of over 4 MiB"
    try:
        answer = json.loads(body)
        choice = answer["choices"][0]
        message = choice["message"]
        usage = answer.get("usage") or {}
        refusal = message.get("refusal")
        text = refusal or message.get("content") or ""
        if not isinstance(text, str):
            raise TypeError(f"content is a {type(text).__name__}")
        finish: Finish = "stop"
        if refusal or choice.get("finish_reason") == "content_filter":
            finish = "refusal"
        elif choice.get("finish_reason") == "length":
            finish = "length"
        return Answer(
            text,
            int(usage.get("prompt_tokens") or 0),
            int(usage.get("completion_tokens") or 0),
            finish,
        )
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        return "an answer that is not of the protocol"


def _seconds(header: str | None) -> float:
    """``Retry-After`` in seconds; dates and nonsense count as none."""
    try:
        return min(_LONGEST_PAUSE, max(0.0, float(header or 0)))
    except ValueError:
        return 0.0


def _error(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"]["message"])[:300]
    except (ValueError, KeyError, TypeError):
        return body[:200].decode("utf-8", errors="replace") or "no reason given"
