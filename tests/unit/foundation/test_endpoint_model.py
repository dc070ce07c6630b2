"""The endpoint's client against a real server: what it sends, and what it makes of failures."""

from __future__ import annotations

import asyncio
import json

import pytest
from aiohttp import web

from chatsearcher.foundation import limits
from chatsearcher.foundation.endpoint import EndpointModel, EndpointSettings
from chatsearcher.foundation.language import (
    Answer,
    EndpointDown,
    Prompt,
    Unanswered,
    open_model,
)
from tests.fixtures.http_service import completion, posts, serving

PROMPT = Prompt("thing", "system words", "user words", '{"type": "object"}')
PATH = "/v1/chat/completions"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BASE_SECONDS", 0.002)


def run(handler, prompts=(PROMPT,), **settings):
    """What the client makes of each prompt, asked at once, and the client."""

    async def main():
        async with serving(posts(PATH, handler)) as url:
            model = EndpointModel(EndpointSettings(url=f"{url}/v1", model="m", **settings))
            try:
                found = await asyncio.gather(
                    *(model.complete(each) for each in prompts), return_exceptions=True
                )
            finally:
                await model.close()
            return found, model

    return asyncio.run(main())


def test_sends_the_protocol_and_reads_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "secret")
    seen = {}

    async def handler(request: web.Request) -> web.Response:
        seen.update(await request.json(), key=request.headers["Authorization"])
        return completion('{"a": 1}')

    (answer,), _ = run(handler, key_variable="MY_KEY", temperature=0.3, body={"top_p": 0.9})
    assert answer == Answer('{"a": 1}', 7, 3, "stop")
    assert seen["key"] == "Bearer secret"
    assert seen["messages"] == [
        {"role": "system", "content": "system words"},
        {"role": "user", "content": "user words"},
    ]
    assert (seen["model"], seen["temperature"], seen["top_p"], seen["seed"]) == ("m", 0.3, 0.9, 0)
    form = {"name": "thing", "schema": {"type": "object"}, "strict": True}
    assert seen["response_format"] == {"type": "json_schema", "json_schema": form}


def test_a_field_that_the_model_does_not_know_is_taken_out() -> None:
    seen = {}

    async def handler(request: web.Request) -> web.Response:
        seen.update(await request.json())
        return completion("good")

    body = {"max_tokens": None, "max_completion_tokens": 50, "temperature": None}
    run(handler, body=body)
    assert set(seen) == {"model", "messages", "seed", "max_completion_tokens", "response_format"}


@pytest.mark.parametrize(
    ("choice", "finish"),
    [({"finish_reason": "length"}, "length"), ({"finish_reason": "content_filter"}, "refusal")],
)
def test_says_how_an_answer_ended(choice: dict[str, str], finish: str) -> None:
    async def handler(request: web.Request) -> web.Response:
        return completion("text", **choice)

    (answer,), _ = run(handler)
    assert answer.finish == finish


def test_every_passing_failure_is_tried_again() -> None:
    failures = ["429", "500", "503", "reset", "nonsense", "no choices", "hang"]

    async def handler(request: web.Request) -> web.StreamResponse:
        if not failures:
            return completion("good")
        failure = failures.pop(0)
        if failure == "hang":
            await asyncio.sleep(30)
        if failure == "reset":
            assert request.transport is not None
            request.transport.close()
        if failure == "nonsense":
            return web.Response(text="<html>")
        if failure == "no choices":
            return web.json_response({"choices": []})
        return web.Response(status=int(failure) if failure.isdigit() else 500)

    (answer,), model = run(handler, timeout=1.5)
    assert answer.text == "good"
    assert model.counts == {
        "calls": 8,
        "again: HTTP 429": 1,
        "again: HTTP 500": 1,
        "again: HTTP 503": 1,
        "again: no connection (ServerDisconnectedError)": 1,
        "again: an answer that is not of the protocol": 2,
        "again: timeout": 1,
    }


def test_one_bad_prompt_is_given_up_while_others_are_answered() -> None:
    async def handler(request: web.Request) -> web.Response:
        asked = await request.json()
        if asked["messages"][1]["content"] == "bad":
            return web.Response(status=500)
        await asyncio.sleep(0.02)
        return completion("good")

    bad = Prompt("thing", "s", "bad")
    found, _ = run(handler, (PROMPT, bad, PROMPT), tries=8)
    assert [type(each) for each in found] == [Answer, Unanswered, Answer]
    assert str(found[1]) == "HTTP 500, 8 times"


def test_when_nobody_is_answered_the_endpoint_is_down() -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(status=503)

    found, _ = run(handler, (PROMPT, PROMPT), tries=2)
    assert all(isinstance(each, EndpointDown) for each in found)
    assert "run the same command again" in str(found[0])


def test_a_wrong_key_stops_at_once_and_says_what_to_check() -> None:
    calls = []

    async def handler(request: web.Request) -> web.Response:
        calls.append(1)
        return web.json_response({"error": {"message": "no such key"}}, status=401)

    (found,), _ = run(handler)
    assert isinstance(found, EndpointDown)
    assert "no such key" in str(found)
    assert "OPENAI_API_KEY" in str(found)
    assert len(calls) == 1


def test_a_prompt_that_is_not_taken_is_the_records_own_fault() -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.json_response({"error": {"message": "too long"}}, status=400)

    (found,), model = run(handler)
    assert isinstance(found, Unanswered)
    assert str(found) == "HTTP 400: too long"
    assert model.counts["calls"] == 1


def test_redirects_are_not_followed_with_the_key() -> None:
    async def handler(request: web.Request) -> web.Response:
        raise web.HTTPTemporaryRedirect("/elsewhere")

    (found,), model = run(handler)
    assert isinstance(found, EndpointDown)
    assert model.counts["calls"] == 1


def test_never_more_in_flight_than_asked_for() -> None:
    state = {"now": 0, "most": 0}

    async def handler(request: web.Request) -> web.Response:
        state["now"] += 1
        state["most"] = max(state["most"], state["now"])
        await asyncio.sleep(0.01)
        state["now"] -= 1
        return completion("good")

    found, _ = run(handler, (PROMPT,) * 40, concurrency=7)
    assert len(found) == 40
    assert state["most"] == 7


def test_a_specs_parts() -> None:
    model = open_model("http://127.0.0.1:9/v1#some/model", temperature=0.1)
    assert isinstance(model, EndpointModel)
    assert (model.settings.url, model.settings.model) == ("http://127.0.0.1:9/v1", "some/model")
    assert json.dumps(dict(model.identity)).find("127.0.0.1") == -1
    with pytest.raises(ValueError, match="expected URL#MODEL"):
        open_model("gpt-4")
