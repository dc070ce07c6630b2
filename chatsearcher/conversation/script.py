"""Conversations without a person: a user's actions, one JSON object a line.

``{"say": "…", "images": ["path"]}``, ``{"pick": 2}``, ``{"more": true}``, ``{"none": true}``,
``{"undo": true}``, ``{"save": "path"}``. Paths are relative to the current directory. Empty lines
and lines that start with ``#`` are skipped.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from chatsearcher.conversation.core import Conversation
from chatsearcher.conversation.state import Answer, Candidate

Verb = Literal["say", "pick", "more", "none", "undo", "save"]
VERBS: tuple[Verb, ...] = get_args(Verb)
_EXPECTED = (
    'expected {"say": "…", "images": [paths]}, {"pick": 2}, {"more": true}, {"none": true}, '
    '{"undo": true} or {"save": "path"}'
)


@dataclass(frozen=True, slots=True)
class Action:
    """A user's action. ``value`` is the words, the number or the path; True for the others."""

    verb: Verb
    value: Any = True
    images: tuple[str, ...] = ()


def read_script(lines: Iterable[str], name: str) -> list[tuple[int, Action]]:
    """(line number, action) of every line.

    Raises:
        ValueError: a line of the wrong shape; the message says ``name``, line and expectation.
    """
    actions = []
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            actions.append((number, parse_action(json.loads(line))))
        except ValueError as error:
            raise ValueError(f"{name}, line {number}: {error}; {_EXPECTED}") from error
    return actions


def parse_action(record: Any) -> Action:
    """An action from its JSON object; ValueError where it is none."""
    if not isinstance(record, dict):
        raise ValueError(f"got {type(record).__name__}")
    verbs = [verb for verb in VERBS if verb in record]
    unknown = sorted(set(record) - set(VERBS) - {"images"})
    if unknown or len(verbs) > 1 or (record and not verbs and "images" not in record):
        raise ValueError(f"got the keys {', '.join(map(repr, record))}")
    if not record:
        raise ValueError("got an empty object")
    verb: Verb = verbs[0] if verbs else "say"
    value, images = record.get(verb, ""), record.get("images", [])
    wanted: type = {"say": str, "pick": int, "save": str}.get(verb, bool)
    if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
        raise ValueError(f"{verb!r} takes {wanted.__name__}, got {value!r}")
    if value is False:
        raise ValueError(f"{verb!r} is false, which asks for nothing")
    if not isinstance(images, list) or not all(isinstance(image, str) for image in images):
        raise ValueError(f"'images' takes a list of paths, got {images!r}")
    if images and verb != "say":
        raise ValueError(f"{verb!r} takes no images")
    return Action(verb, value, tuple(images))


def perform(
    conversation: Conversation, action: Action, on_text: Callable[[str], None] | None = None
) -> Answer:
    """Make the action's move."""
    if action.verb == "say":
        return conversation.say(action.value, action.images, on_text)
    if action.verb == "pick":
        return conversation.pick(action.value, on_text)
    if action.verb == "more":
        return conversation.more()
    if action.verb == "none":
        return conversation.none_of_these()
    if action.verb == "save":
        conversation.save(action.value)
    else:
        conversation.undo()
    return Answer()


def answer_record(line: int, action: Action, answer: Answer) -> dict[str, Any]:
    """What ``chat --script --json`` prints of an answer.

    ``answer`` is "words", "pictures", "nothing" (no picture reaches the threshold) or "done".
    """
    kind = "done"
    if action.verb in ("say", "more", "none"):
        kind = "pictures" if answer.candidates else "words" if answer.fits else "nothing"
    record: dict[str, Any] = {"line": line, "action": action.verb, "answer": kind}
    record["text"] = answer.text
    record["candidates"] = [_candidate_record(candidate) for candidate in answer.candidates]
    if not math.isnan(answer.search_probability):
        record["search_probability"] = round(answer.search_probability, 6)
    return record


def _candidate_record(candidate: Candidate) -> dict[str, Any]:
    record: dict[str, Any] = {
        "number": candidate.number,
        "id": candidate.id,
        "score": round(candidate.score, 6),
    }
    if candidate.caption:
        record["caption"] = candidate.caption
    return record
