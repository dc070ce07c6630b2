"""Dialogues of questions and answers about pictures, written as ChatIR's files have them.

The authors of ChatIR made theirs on COCO and Flickr30K with ChatGPT asking and BLIP-2 answering,
and did not release them; any questioner and any answerer make such a file here.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from chatsearcher.dialogue import Dialogue, Image
from chatsearcher.roles import Answerer, Questioner

ROUNDS = 10


def question_dialogue(
    picture: Image,
    caption: str,
    questioner: Questioner,
    answerer: Answerer,
    rounds: int = ROUNDS,
) -> list[str]:
    """The caption, then ``question? answer`` for each round.

    The questioner reads the caption and the rounds so far and does not see the picture; the
    answerer sees the picture and reads the question alone.

    Raises:
        ValueError: an empty caption, question or answer.
    """
    said = [_line(caption, "the caption", picture)]
    dialogue = Dialogue().user(said[0])
    for _ in range(rounds):
        question = _line(questioner.ask(dialogue, ()), "a question", picture)
        question = question if question.endswith("?") else f"{question.rstrip('.!')}?"
        answer = _line(answerer.answer(question, picture), "an answer", picture)
        said.append(f"{question} {answer}")
        dialogue = dialogue.assistant(question).user(answer)
    return said


def write_dialogues(
    path: str | Path,
    captioned: Iterable[tuple[Image, str]],
    questioner: Questioner,
    answerer: Answerer,
    rounds: int = ROUNDS,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Write ``[{"img", "dialog"}, …]``; the file appears whole or not at all.

    Args:
        captioned: pictures and their captions; a picture's id becomes ``img``.
        progress: called with the number of dialogues made so far.

    Returns:
        How many dialogues were written.

    Raises:
        ValueError: a picture twice, or as ``question_dialogue``.
    """
    path = Path(path)
    records: dict[str, list[str]] = {}
    for picture, caption in captioned:
        if picture.id in records:
            raise ValueError(f"picture {picture.id!r} comes twice; a set has one dialogue of each")
        records[picture.id] = question_dialogue(picture, caption, questioner, answerer, rounds)
        if progress is not None:
            progress(len(records))
    rows = [{"img": name, "dialog": said} for name, said in records.items()]
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(rows, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(partial, path)
    return len(rows)


def _line(text: str, what: str, picture: Image) -> str:
    words = " ".join(text.split())
    if not words:
        raise ValueError(f"{what} about picture {picture.id!r} is empty")
    return words
