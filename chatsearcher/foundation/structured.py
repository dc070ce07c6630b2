"""Answers of a given form: found in the text, checked against a schema, asked for again."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from chatsearcher.foundation.language import Answer, LanguageModel, Prompt, Unanswered

Check = Callable[[dict[str, Any]], str | None]
"""What is wrong with a value that fits its schema, in a few words; None where nothing is."""

_KEPT = 400
_DECODER = json.JSONDecoder()


@dataclass(frozen=True)
class Structured:
    """What came of a prompt.

    Attributes:
        value: an object that fits the schema and passed the check; None where none came.
        problems: what was wrong with each answer before it, in order.
        last: the beginning of the last answer that was wrong.
    """

    value: dict[str, Any] | None
    problems: list[str] = field(default_factory=list)
    last: str = ""


async def ask(
    model: LanguageModel, prompt: Prompt, attempts: int = 3, check: Check | None = None
) -> Structured:
    """Ask until an answer fits. Try n is made with seed n, so that a rerun asks the same.

    Raises:
        EndpointDown: from the model.
    """
    try:
        import fastjsonschema  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "structured answers need fastjsonschema; pip install 'chatsearcher[prepare]'"
        ) from error
    if prompt.schema is None:
        raise ValueError(f"prompt {prompt.name!r} has no schema; give it one, or use complete()")
    problems: list[str] = []
    last = ""
    for seed in range(attempts):
        try:
            answer = await model.complete(prompt, seed)
        except Unanswered as error:
            problems.append(f"unanswered: {error}")
            break  # tried often enough by the model itself
        value, problem = read_answer(answer, prompt.schema)
        if value is not None and check is not None:
            problem = check(value)
        if value is not None and problem is None:
            return Structured(value, problems)
        problems.append(problem or "no value")
        last = answer.text[:_KEPT]
    return Structured(None, problems, last)


def read_answer(answer: Answer, schema: str) -> tuple[dict[str, Any] | None, str | None]:
    """(value, None), or (None, what is wrong)."""
    if answer.finish == "refusal":
        return None, "refusal"
    text = answer.text
    start = text.find("{")
    if start < 0:
        return None, "cut off" if answer.finish == "length" else "no JSON"
    try:
        value, _ = _DECODER.raw_decode(text, start)
    except (ValueError, RecursionError):
        return None, "cut off" if answer.finish == "length" else "broken JSON"
    fault = _fault(value, schema)
    if fault is not None:
        return None, f"schema: {fault}"
    found: dict[str, Any] = value
    return found, None


def _fault(value: Any, schema: str) -> str | None:
    import fastjsonschema

    try:
        _validator(schema)(value)
    except fastjsonschema.JsonSchemaValueException as error:
        return str(error.message)[:200]
    return None


@lru_cache(maxsize=16)
def _validator(schema: str) -> Any:
    # Compiled once: interpreting it anew for each answer was nearly half of a stage's own work.
    import fastjsonschema

    return fastjsonschema.compile(json.loads(schema), use_default=False)
