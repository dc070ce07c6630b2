"""The stages in which a language model writes: ``text``, ``modifications`` and ``rounds``.

- ``text``: a caption becomes a conversation of words that leads to its picture (section 3.1, text
  dialogue context construction).
- ``modifications``: the captions of a picture and its neighbour become a request that leads from
  the one to the other (MDC-I, figure 3a).
- ``rounds``: a caption becomes two rounds, the first of which leads to another picture, known by a
  caption only (MDC-T, figure 3b).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from chatsearcher.foundation.language import LanguageModel
from chatsearcher.foundation.structured import Check, ask
from chatsearcher.preparation.chatsearch.layout import Entry
from chatsearcher.preparation.chatsearch.prompts import PromptFile
from chatsearcher.preparation.chatsearch.stage import Result

_WORDS = re.compile(r"\w+")
_MARKUP = re.compile(r"\[image\]|<image>|\[img\]|```", re.IGNORECASE)


def _text(longest: int) -> Entry:
    return {"type": "string", "minLength": 2, "maxLength": longest}


def _object(**properties: Any) -> Entry:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


TEXT_SCHEMA = json.dumps(
    _object(
        rounds={
            "type": "array",
            "minItems": 1,
            "maxItems": 6,
            "items": _object(user=_text(600), assistant=_text(400)),
        },
        request=_text(600),
    )
)
MODIFICATION_SCHEMA = json.dumps(_object(modification=_text(500)))
ROUNDS_SCHEMA = json.dumps(
    _object(first_request=_text(500), first_caption=_text(500), second_request=_text(500))
)


@dataclass(frozen=True)
class Writing:
    """One of the three stages.

    Attributes:
        prompt: the name of its prompt file.
        schema: of the answer.
        captions: input -> what stands in the prompt's places.
        check: (answer, those captions) -> what is wrong with it, or None.
        output: (input, answer) -> the record.
    """

    prompt: str
    schema: str
    captions: Callable[[Entry], dict[str, str]]
    check: Callable[[Entry, dict[str, str]], str | None]
    output: Callable[[Entry, Entry], Entry]

    def settings(self, prompt: PromptFile, model: LanguageModel, attempts: int) -> Entry:
        """What decides the stage's output."""
        return {
            "prompt": prompt.sha256,
            "schema": self.schema,
            "model": dict(model.identity),
            "attempts": attempts,
        }

    async def work(
        self, entries: Sequence[Entry], prompt: PromptFile, model: LanguageModel, attempts: int
    ) -> list[Result]:
        return [await self._one(entry, prompt, model, attempts) for entry in entries]

    async def _one(
        self, entry: Entry, prompt: PromptFile, model: LanguageModel, attempts: int
    ) -> Result:
        captions = self.captions(entry)
        check: Check = lambda value: self.check(value, captions)  # noqa: E731
        answer = await ask(model, prompt.fill(self.schema, **captions), attempts, check)
        if answer.value is None:
            # Counted by what was wrong at the last try; every try is told.
            reason = answer.problems[-1].partition(":")[0]
            return Result.drop(entry["id"], reason, problems=answer.problems, answer=answer.last)
        return Result.keep(self.output(entry, _tidy(answer.value)))


def quotes(said: str, caption: str) -> bool:
    """Whether a caption of some length stands word for word in what is said."""
    words = _WORDS.findall(caption.lower())
    if len(words) < 4:
        return False
    return f" {' '.join(words)} " in f" {' '.join(_WORDS.findall(said.lower()))} "


def _common(*texts: str) -> str | None:
    for text in texts:
        if not text.strip():
            return "empty: a turn without words"
        if _MARKUP.search(text):
            return f"markup: {text[:80]!r}"
    return None


def _check_text(value: Entry, captions: dict[str, str]) -> str | None:
    said = [value["request"], *(turn["user"] for turn in value["rounds"])]
    answers = [turn["assistant"] for turn in value["rounds"]]
    if problem := _common(*said, *answers):
        return problem
    if quotes(" / ".join((*said, *answers)), captions["caption"]):
        return "quotes the caption"
    return None


def _check_modification(value: Entry, captions: dict[str, str]) -> str | None:
    said = value["modification"]
    if problem := _common(said):
        return problem
    return "quotes the caption" if quotes(said, captions["second"]) else None


def _check_rounds(value: Entry, captions: dict[str, str]) -> str | None:
    if problem := _common(*value.values()):
        return problem
    if _WORDS.findall(value["first_caption"].lower()) == _WORDS.findall(
        captions["caption"].lower()
    ):
        return "no difference: both captions are the same"
    if quotes(value["second_request"], captions["caption"]):
        return "quotes the caption"
    return None


def _tidy(value: Any) -> Any:
    """Line breaks and doubled spaces become single spaces."""
    if isinstance(value, str):
        return " ".join(value.split())
    if isinstance(value, list):
        return [_tidy(each) for each in value]
    return {key: _tidy(each) for key, each in value.items()}


TEXT = Writing(
    "text_dialogue",
    TEXT_SCHEMA,
    lambda entry: {"caption": entry["caption"]},
    _check_text,
    lambda entry, value: {**entry, "rounds": value["rounds"], "request": value["request"]},
)
MODIFICATIONS = Writing(
    "modification",
    MODIFICATION_SCHEMA,
    lambda entry: {"first": entry["caption"], "second": entry["neighbour_caption"]},
    _check_modification,
    lambda entry, value: {**entry, "modification": value["modification"]},
)
ROUNDS = Writing(
    "two_rounds",
    ROUNDS_SCHEMA,
    lambda entry: {"caption": entry["caption"]},
    _check_rounds,
    lambda entry, value: {**entry, **value},
)
