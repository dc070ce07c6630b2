"""The rehearsal's server: it knows what it is asked for, with and without a schema."""

from __future__ import annotations

import asyncio
import json

import pytest

from chatsearcher.foundation.endpoint import EndpointModel, EndpointSettings
from chatsearcher.foundation.language import Answer, Prompt
from chatsearcher.foundation.rehearsal.server import Rehearsal
from chatsearcher.foundation.structured import read_answer
from chatsearcher.preparation.chatsearch.prompts import load_prompt
from chatsearcher.preparation.chatsearch.writing import MODIFICATIONS, ROUNDS, TEXT
from tests.fixtures.http_service import serving

CAPTIONS = {
    "caption": "A tall tower stands beside a wide river.",
    "first": "A tall tower stands beside a wide river.",
    "second": "A small boat lies in an old harbour.",
}


@pytest.mark.parametrize("structured", ["schema", "json", "none"])
def test_every_stage_is_answered_however_the_form_is_asked_for(structured: str) -> None:
    async def main() -> list[str]:
        async with serving(Rehearsal(["plain"]).app()) as url:
            model = EndpointModel(
                EndpointSettings(f"{url}/v1", "rehearsal", structured=structured)  # type: ignore[arg-type]
            )
            found = [await model.complete(each) for each in prompts]
            await model.close()
            return [answer.text for answer in found]

    prompts: list[Prompt] = []
    for writing in (TEXT, MODIFICATIONS, ROUNDS):
        prompt = load_prompt(writing.prompt)
        places = {name: CAPTIONS[name] for name in CAPTIONS if f"${name}" in prompt.text}
        prompts.append(prompt.fill(writing.schema, **places))
    for prompt, text in zip(prompts, asyncio.run(main()), strict=True):
        assert prompt.schema is not None
        value, problem = read_answer(Answer(text), prompt.schema)
        assert value is not None, (prompt.name, problem, json.loads(text))
