"""The chat-completions protocol over HTTP, in front of a writer of rules."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from collections.abc import Sequence
from typing import Any

from aiohttp import web

from chatsearcher.foundation.rehearsal.failures import Failures
from chatsearcher.foundation.rehearsal.rules import WRITERS, Writer, captions_in


class Rehearsal:
    """The server's state.

    Args:
        writers: names in ``WRITERS``; the first one that can answer does.
        delay: seconds before each answer.
        failures: what goes wrong on purpose.
    """

    def __init__(
        self,
        writers: Sequence[str] = ("world", "plain"),
        delay: float = 0.0,
        failures: Failures | None = None,
    ) -> None:
        self.writers: list[Writer] = [WRITERS[name]() for name in writers]
        self.delay = delay
        self.failures = failures or Failures()
        self.calls = 0
        self.in_flight = 0
        self.most_in_flight = 0
        self.answered: dict[bytes, int] = {}

    def app(self) -> web.Application:
        app = web.Application(client_max_size=8 << 20)
        app.router.add_post("/v1/chat/completions", self.complete)
        app.router.add_get("/counts", self.counts)
        return app

    async def counts(self, request: web.Request) -> web.Response:
        """What happened so far: calls, failures by kind, prompts answered well more than once."""
        return web.json_response(
            {
                "calls": self.calls,
                "most_in_flight": self.most_in_flight,
                "failures": dict(self.failures.counts),
                "answered": len(self.answered),
                "answered_again": sum(count - 1 for count in self.answered.values()),
            }
        )

    async def complete(self, request: web.Request) -> web.StreamResponse:
        self.calls += 1
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            return await self._complete(request)
        finally:
            self.in_flight -= 1

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        try:
            asked = await request.json()
            messages = asked["messages"]
            form = asked.get("response_format") or {}
            name = form.get("json_schema", {}).get("name") or _named(str(messages[0]["content"]))
            seed = int(asked.get("seed", 0))
            user = str(messages[-1]["content"])
        except (ValueError, KeyError, TypeError, IndexError) as error:
            return _error(400, f"not a chat-completions request: {error}")
        prompt = json.dumps(messages, sort_keys=True)
        failure = self.failures.of(prompt, seed)
        if failure == "hang":
            await asyncio.sleep(3600)
        await asyncio.sleep(self.delay)
        if failure in ("429", "500", "503", "400"):
            return _error(int(failure), f"rehearsed failure {failure}")
        if failure == "reset" and request.transport is not None:
            request.transport.close()
            return web.Response()
        if failure == "nonsense":
            return web.Response(text="<html>bad gateway</html>", content_type="text/html")
        try:
            text = json.dumps(self._write(name, user, seed), ensure_ascii=False)
        except ValueError as error:
            return _error(400, str(error))
        key = hashlib.sha256(f"{seed} {prompt}".encode()).digest()[:12]
        self.answered[key] = self.answered.get(key, 0) + 1
        return web.json_response(_answer(text, failure, prompt))

    def _write(self, name: str, user: str, seed: int) -> dict[str, Any]:
        captions = captions_in(user)
        problem = "no writer"
        for writer in self.writers:
            rng = random.Random(f"{name} {seed} {user}")
            try:
                return writer.write(name, captions, rng)
            except ValueError as error:
                problem = str(error)
        raise ValueError(problem)


def _named(system: str) -> str:
    """The prompt's name where no schema was sent: by the fields that its words ask for."""
    fields = {"text_dialogue": '"request"', "two_rounds": '"first_request"'}
    fields["modification"] = '"modification"'
    return next((name for name, field in fields.items() if field in system), "")


def _answer(text: str, failure: str | None, prompt: str) -> dict[str, Any]:
    """The protocol's answer, spoilt where that is wanted."""
    finish = "stop"
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if failure == "refusal":
        message = {"role": "assistant", "content": None, "refusal": "I cannot help with that."}
    elif failure == "broken":
        message["content"] = text[: len(text) // 2].replace('":', "':")
    elif failure == "prose":
        message["content"] = "Sure! Here is what you asked for."
    elif failure == "schema":
        message["content"] = json.dumps({"result": "something else"})
    elif failure == "cut":
        message["content"], finish = text[: len(text) // 2], "length"
    elif failure == "empty":
        message["content"] = ""
    usage = {
        "prompt_tokens": len(prompt) // 4,
        "completion_tokens": len(message["content"] or "") // 4,
    }
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return {"object": "chat.completion", "choices": [choice], "usage": usage}


def _error(status: int, message: str) -> web.Response:
    headers = {"Retry-After": "0.1"} if status == 429 else {}
    return web.json_response(
        {"error": {"message": message, "type": "rehearsal"}}, status=status, headers=headers
    )


async def serve(rehearsal: Rehearsal, host: str, port: int) -> None:
    """Serve until stopped; prints the address once it is open (port 0 takes a free one)."""
    runner = web.AppRunner(rehearsal.app(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host, port, backlog=1024).start()
    print(f"http://{host}:{runner.addresses[0][1]}/v1#rehearsal", flush=True)
    try:
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()
