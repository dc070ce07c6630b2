"""Dialogues as records: ``{"id", "messages": […]}`` in the chat format, pictures beside them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from chatsearcher.data.records import SplitName
from chatsearcher.dialogue import Dialogue, Image
from chatsearcher.preparation.json_stream import read_array
from chatsearcher.preparation.records import Cursor, Example, Picture, member


def dialogue_example(
    split: SplitName, dialogue: Dialogue, pictures: Mapping[str, Picture], **about: Any
) -> Example:
    """A record of a dialogue; each picture is kept once, however often it is shown.

    Args:
        pictures: picture id -> its file, for every picture of the dialogue.
        about: further fields of the record's JSON.
    """
    ids = list(dict.fromkeys(image.id for image in dialogue.images))
    paths = {id: member(number, pictures[id]) for number, id in enumerate(ids)}

    def stored(image: Image) -> Image:
        return Image(image.id, paths[image.id])

    messages = dialogue.map_images(stored).to_messages()
    return Example(
        split,
        {"id": dialogue.id, "messages": messages, **about},
        tuple(pictures[id] for id in ids),
    )


def array_entries(
    files: Sequence[Path], start: Cursor | None, *keys: str
) -> Iterator[tuple[Cursor, str, Path, Any]]:
    """The elements of JSON arrays, file by file: (place after it, where, file, element)."""
    first, done = start or (0, 0)
    for number in range(first, len(files)):
        path = files[number]
        for place, element in enumerate(islice(read_array(path, *keys), done, None), start=done):
            yield [number, place + 1], f"{path.name}[{place}]", path, element
        done = 0
