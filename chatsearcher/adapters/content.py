"""Pictures and messages of other evaluators, as dialogues."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from PIL.Image import Image as PILImage

from chatsearcher.dialogue import Dialogue, Image, Part, Text, Turn
from chatsearcher.images import open_image


def decoded(picture: Any, where: str) -> PILImage:
    """A picture, or a file's path, as RGB pixels.

    Raises:
        FileNotFoundError: no such file.
        ValueError: neither a picture nor a file.
    """
    if isinstance(picture, str | Path):
        if "://" in str(picture):
            raise ValueError(f"{where}: pictures are not fetched from addresses, got {picture}")
        return open_image(picture)
    if not isinstance(picture, PILImage):
        raise ValueError(f"{where}: expected a picture, got {type(picture).__name__}")
    return picture.convert("RGB")


def shown(picture: Any, where: str) -> Image:
    """The same as part of a turn, named by its content: systems remember pictures by name, and
    what an evaluator hands over has none."""
    pixels = decoded(picture, where)
    digest = hashlib.sha256(f"{pixels.size}".encode() + pixels.tobytes())
    return Image(digest.hexdigest()[:32], pixels=pixels)


def dialogue_of(messages: Iterable[dict[str, Any]], where: str) -> Dialogue:
    """Messages ``{"role", "content"}`` -> a dialogue.

    ``content`` is a text, or a list of ``{"type": "text", "text"}`` and ``{"type": "image",
    "url"}``, where ``url`` is a decoded picture or a file's path.

    Raises:
        ValueError: sound or moving pictures, an unknown role, or an end that is not a user's turn.
    """
    turns = []
    for message in messages:
        content = message["content"]
        parts: list[Part] = []
        for part in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            if part["type"] == "text":
                parts.append(Text(part["text"]))
            elif part["type"] == "image":
                parts.append(shown(part["url"], where))
            else:
                raise ValueError(f"{where}: {part['type']}; ChatSearcher reads texts and pictures")
        turns.append(Turn(message["role"], tuple(parts)))
    if not turns or turns[-1].role != "user":
        raise ValueError(f"{where}: the messages do not end in a user's turn; there is no question")
    return Dialogue(tuple(turns))


def question(text: str, pictures: Sequence[Image], marker: str = "<image>") -> Dialogue:
    """One user's turn: each picture at its marker in the text, or all of them before it, where
    there are not as many markers as pictures."""
    pieces = text.split(marker)
    if pictures and len(pieces) == len(pictures) + 1:
        parts: list[Part] = [Text(pieces[0].strip())]
        for picture, piece in zip(pictures, pieces[1:], strict=True):
            parts += [picture, Text(piece.strip())]
    else:
        parts = [*pictures, Text(text)]
    kept = tuple(part for part in parts if not isinstance(part, Text) or part.text)
    return Dialogue((Turn("user", kept),))
