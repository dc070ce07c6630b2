"""Cache, limits and structured answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatsearcher.foundation.cache import (
    REFUSED,
    AnswerCache,
    CachedModel,
    Price,
    Usage,
    cache_key,
)
from chatsearcher.foundation.language import Answer, EndpointDown, Prompt, Unanswered
from chatsearcher.foundation.limits import Bucket, backoff
from chatsearcher.foundation.structured import ask, read_answer

SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {"word": {"type": "string", "minLength": 2}},
        "required": ["word"],
        "additionalProperties": False,
    }
)
PROMPT = Prompt("thing", "s", "u", SCHEMA)


class Scripted:
    """Answers with the given texts, by the seed."""

    def __init__(self, *texts: str, temperature: float = 0.5) -> None:
        self.texts = texts
        self.asked: list[int] = []
        self.identity: Mapping[str, Any] = {"model": "scripted", "temperature": temperature}

    async def complete(self, prompt: Prompt, seed: int = 0) -> Answer:
        self.asked.append(seed)
        await asyncio.sleep(0.001)
        if self.texts[seed] == "400":
            raise Unanswered("HTTP 400: no")
        return Answer(self.texts[seed], 10, 4)

    async def close(self) -> None:
        pass


def test_an_answer_is_paid_for_once(tmp_path: Path) -> None:
    async def twice() -> tuple[list[Answer], Scripted, int]:
        model = Scripted("first", "second")
        cached = CachedModel(model, AnswerCache(tmp_path / "a.sqlite"))
        found = await asyncio.gather(*(cached.complete(PROMPT, seed) for seed in (0, 0, 1, 0)))
        await cached.close()
        return found, model, cached.hits

    found, model, _ = asyncio.run(twice())
    assert [each.text for each in found] == ["first", "first", "second", "first"]
    assert model.asked == [0, 1]
    found, model, hits = asyncio.run(twice())  # a new process would see the same file
    assert [each.text for each in found] == ["first", "first", "second", "first"]
    assert model.asked == []
    assert hits == 4
    cache = AnswerCache(tmp_path / "a.sqlite")
    assert cache.usage() == {"thing": Usage(2, 20, 8)}
    assert cache.usage()["thing"].cost(Price(3.0, 10.0)) == pytest.approx(140e-6)


def test_when_every_prompt_is_refused_the_request_is_to_blame(tmp_path: Path) -> None:
    async def refused(first: tuple[str, ...], asked: int) -> list[BaseException | Answer]:
        model = Scripted(*first, *["400"] * asked)
        cached = CachedModel(model, AnswerCache(tmp_path / f"{len(first)}.sqlite"))
        made = [cached.complete(PROMPT, seed) for seed in range(len(first) + asked)]
        found = await asyncio.gather(*made, return_exceptions=True)
        await cached.close()
        return found

    found = asyncio.run(refused((), REFUSED + 3))
    kinds = [type(each) for each in found]
    assert kinds == [Unanswered] * (REFUSED - 1) + [EndpointDown] * 4
    assert "HTTP 400: no" in str(found[-1])
    # One answer, also one that was kept by a former run, says that the request is as it should be.
    for _ in range(2):
        found = asyncio.run(refused(("good",), REFUSED + 3))
        assert [type(each) for each in found] == [Answer] + [Unanswered] * (REFUSED + 3)


def test_a_failed_call_is_not_kept(tmp_path: Path) -> None:
    async def main() -> None:
        model = Scripted("400")
        cached = CachedModel(model, AnswerCache(tmp_path / "a.sqlite"))
        for _ in range(2):
            with pytest.raises(Unanswered):
                await cached.complete(PROMPT)
        assert model.asked == [0, 0]
        await cached.close()

    asyncio.run(main())


def test_whatever_changes_the_answer_changes_the_key() -> None:
    identity = {"model": "m", "temperature": 0.5}
    keys = {
        cache_key(identity, PROMPT, 0),
        cache_key(identity, PROMPT, 1),
        cache_key({**identity, "temperature": 0.6}, PROMPT, 0),
        cache_key(identity, replace(PROMPT, system="su", user=""), 0),
        cache_key(identity, replace(PROMPT, user="other"), 0),
        cache_key(identity, replace(PROMPT, schema=None), 0),
    }
    assert len(keys) == 6
    assert cache_key(dict(reversed(identity.items())), PROMPT, 0) in keys


def test_a_file_that_is_no_cache_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "a.sqlite").write_bytes(b"something else" * 200)
    with pytest.raises(ValueError, match="no cache of answers"):
        AnswerCache(tmp_path / "a.sqlite")


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (Answer('{"word": "yes"}'), None),
        (Answer('Sure!\n```json\n{"word": "yes"}\n```'), None),
        (Answer("I can't", finish="refusal"), "refusal"),
        (Answer("no object here"), "no JSON"),
        (Answer(""), "no JSON"),
        (Answer('{"word": "ye'), "broken JSON"),
        (Answer('{"word": "ye', finish="length"), "cut off"),
        (Answer('{"word": "y"}'), "schema: data.word must be longer than or equal to 2"),
        (Answer('{"other": "yes"}'), "schema: data must contain ['word'] properties"),
        (Answer('{"word": "yes", "x": 1}'), "schema: data must not contain {'x'} properties"),
        (Answer('{"word": 5}'), "schema: data.word must be string"),
    ],
)
def test_what_is_wrong_with_an_answer(answer: Answer, problem: str | None) -> None:
    value, found = read_answer(answer, SCHEMA)
    assert (value is None) == (problem is not None)
    if problem is None:
        assert value == {"word": "yes"}
    else:
        assert found is not None
        assert found.startswith(problem)


def test_asks_again_with_the_next_seed_and_tells_every_problem() -> None:
    model = Scripted("prose", '{"word": "bad"}', '{"word": "good"}')
    check = lambda value: "bad word" if value["word"] == "bad" else None  # noqa: E731
    found = asyncio.run(ask(model, PROMPT, 3, check))
    assert found.value == {"word": "good"}
    assert found.problems == ["no JSON", "bad word"]
    assert model.asked == [0, 1, 2]
    found = asyncio.run(ask(Scripted("prose", "more prose"), PROMPT, 2))
    assert (found.value, found.problems, found.last) == (None, ["no JSON"] * 2, "more prose")
    found = asyncio.run(ask(Scripted("400", '{"word": "good"}'), PROMPT, 2))
    assert (found.value, found.problems) == (None, ["unanswered: HTTP 400: no"])


@settings(deadline=None)
@given(st.integers(0, 40), st.floats(0, 1))
def test_pauses_grow_to_thirty_seconds(attempt: int, jitter: float) -> None:
    whole = min(30.0, 0.5 * 2**attempt)
    assert whole / 2 <= backoff(attempt, lambda: jitter) <= whole


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 600), st.lists(st.floats(0, 5), min_size=5, max_size=60))
def test_never_more_than_the_allowance_and_two_seconds_burst(
    per_minute: int, gaps: list[float]
) -> None:
    now = 0.0
    bucket = Bucket(per_minute, lambda: now)
    admitted = []
    for gap in gaps:
        now += gap
        admitted.append(now + bucket.take(1))
    burst = max(1.0, per_minute / 30)
    for first in range(len(admitted)):
        for last in range(first, len(admitted)):
            span = admitted[last] - admitted[first]
            assert last - first + 1 <= burst + 1 + span * per_minute / 60 + 1e-6


def test_an_estimate_is_put_right() -> None:
    bucket = Bucket(60, lambda: 0.0)
    assert bucket.take(2) == 0.0
    assert bucket.take(10) == pytest.approx(10.0)
    bucket.settle(10, 4)
    assert bucket.take(0) == pytest.approx(4.0)
    assert Bucket(0).take(1e9) == 0.0
