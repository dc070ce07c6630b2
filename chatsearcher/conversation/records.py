"""A conversation as a file: one line of the dialogue format, with what stands around the messages.

``{"messages": [...], "rounds": [{"text", "fits", "rejected", "query", "picked", "shown"}, …]}``:
``read_jsonl`` reads the messages and skips the rest; ``load`` uses both.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from chatsearcher.conversation.pictures import as_image
from chatsearcher.conversation.state import Candidate, Round, State
from chatsearcher.dialogue import Image, Text, Turn, read_jsonl

if TYPE_CHECKING:
    from chatsearcher.conversation.core import Conversation


def save(conversation: Conversation, path: str | Path) -> None:
    """Write a conversation, so that ``load`` goes on where it stopped.

    Attached pictures are kept by path; one given as pixels is written beside the file as PNG.
    """
    target = Path(path)

    def with_path(image: Image) -> Image:
        if image.path is not None or conversation.row_of(image.id) is not None:
            return image
        file = target.with_name(f"{target.stem}-{image.id.replace(':', '-')}.png")
        assert image.pixels is not None
        image.pixels.save(file)
        return replace(image, path=str(file))

    record = {
        "messages": conversation.dialogue.map_images(with_path).to_messages(),
        "rounds": [_round_to_json(one) for one in conversation.rounds],
    }
    scratch = target.with_name(target.name + ".part")
    scratch.write_text(json.dumps(record, ensure_ascii=False) + "\n", encoding="utf-8")
    scratch.replace(target)


def load(conversation: Conversation, path: str | Path) -> None:
    """Put a conversation into the state that a file holds: one of ``save``'s, or any dialogue file
    (its first dialogue).

    Raises:
        FileNotFoundError: no such file, or an attached picture is gone.
        ValueError: a line of the wrong shape, turns that do not alternate, or a candidate that
            the gallery lacks.
    """
    dialogue = next(read_jsonl(path), None)
    if dialogue is None:
        raise ValueError(f"{path} holds no dialogue")
    with open(path, encoding="utf-8") as lines:
        record = json.loads(next(line for line in lines if line.strip()))
    notes = record.get("rounds") if isinstance(record, dict) else None
    try:
        rounds = _rounds(conversation, dialogue.turns, notes)
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
    conversation.reset(State(rounds))


def _rounds(
    conversation: Conversation, turns: Sequence[Turn], notes: Sequence[Mapping[str, Any]] | None
) -> tuple[Round, ...]:
    roles = [turn.role for turn in turns]
    if roles != ["user", "assistant"] * (len(turns) // 2):
        raise ValueError(f"expected turns of user and assistant in alternation, got {roles}")
    if notes is not None and len(notes) != len(turns) // 2:
        raise ValueError(f"{len(turns) // 2} rounds of messages, but {len(notes)} of `rounds`")
    rounds = []
    for number, (user, assistant) in enumerate(zip(turns[::2], turns[1::2], strict=True)):
        if notes is not None:
            one = _round_from_json(user, notes[number])
        else:
            if len(assistant.images) > 1:
                raise ValueError(f"round {number + 1} is answered by more than one picture")
            shown = tuple(Candidate(1, image.id, float("nan")) for image in assistant.images)
            one = Round(user, assistant.text, shown=shown, picked=1 if shown else None)
        for candidate in one.shown:
            if conversation.row_of(candidate.id) is None:
                raise ValueError(
                    f"the gallery has no picture {candidate.id!r}; open the gallery that the "
                    "conversation was held over"
                )
        rounds.append(replace(one, user=_decoded(conversation, user)))
    return tuple(rounds)


def _decoded(conversation: Conversation, turn: Turn) -> Turn:
    """The turn with its pictures' pixels, from the gallery or from their files."""

    def decode(image: Image) -> Image:
        if conversation.row_of(image.id) is not None:
            return conversation.picture(image.id)
        return as_image(image)

    return replace(
        turn, content=tuple(p if isinstance(p, Text) else decode(p) for p in turn.content)
    )


def _round_to_json(one: Round) -> dict[str, Any]:
    record: dict[str, Any] = {"text": one.text, "fits": one.fits, "rejected": list(one.rejected)}
    if one.query is not None:
        record["query"] = base64.b64encode(np.asarray(one.query, dtype="<f4").tobytes()).decode()
        record["picked"] = one.picked
        if one.continuation:
            record["continuation"] = one.continuation
        record["shown"] = [
            {"id": c.id, "score": c.score, **({"caption": c.caption} if c.caption else {})}
            for c in one.shown
        ]
    return record


def _round_from_json(user: Turn, record: Mapping[str, Any]) -> Round:
    query = record.get("query")
    return Round(
        user,
        record["text"],
        None if query is None else np.frombuffer(base64.b64decode(query), dtype="<f4"),
        tuple(
            Candidate(number, one["id"], float(one["score"]), one.get("caption"))
            for number, one in enumerate(record.get("shown", ()), start=1)
        ),
        tuple(record["rejected"]),
        record.get("picked"),
        record["fits"],
        continuation=record.get("continuation", ""),
    )
