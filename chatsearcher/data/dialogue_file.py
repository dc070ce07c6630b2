"""Dialogues of one's own: JSONL in the project's chat format, pictures as files beside it."""

from __future__ import annotations

import json
from array import array
from pathlib import Path
from typing import TYPE_CHECKING

from chatsearcher.data.records import BrokenRecord, Record, Remark, SourceConfig
from chatsearcher.data.shard_sources import place_in_epoch
from chatsearcher.dialogue import Dialogue, Image
from chatsearcher.images import open_image

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage


class DialogueFile:
    """``<path>/<split>.jsonl``: ``{"id": …, "messages": [...]}`` or a bare list of messages a line.

    Pictures are ``{"type": "image", "path": "pictures/1.jpg", "id": …}``; paths are relative to the
    folder and stay inside it. Without an ``id`` the path is the picture's name.
    """

    remarks: tuple[Remark, ...] = ()

    def __init__(self, config: SourceConfig, seed: int, image_size: int) -> None:
        if config.path is None:
            raise ValueError(
                f"a {config.kind} source needs path=, the folder of {config.split}.jsonl; got none"
            )
        self.folder = Path(config.path).resolve()
        self.file = self.folder / f"{config.split}.jsonl"
        if not self.file.is_file():
            raise FileNotFoundError(f"no such file of dialogues: {self.file}")
        self.seed = seed
        self.starts = array("q")
        self.numbers = array("q")
        position = 0
        with open(self.file, "rb") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    self.starts.append(position)
                    self.numbers.append(number)
                position += len(line)
        if not self.starts:
            raise ValueError(f"{self.file} holds no dialogue")

    def item(self, index: int) -> Record:
        place = place_in_epoch(index, len(self.starts), self.seed, str(self.file.name))
        key = f"{self.file.name}:{self.numbers[place]}"
        with open(self.file, "rb") as lines:
            lines.seek(self.starts[place])
            line = lines.readline()
        try:
            record = json.loads(line)
            if isinstance(record, list):
                record = {"messages": record}
            if not isinstance(record, dict):
                raise ValueError(f"expected an object or a list, got {type(record).__name__}")
            dialogue = Dialogue.from_messages(record["messages"], record.get("id"))
        except KeyError as error:
            raise BrokenRecord(key, f"missing key {error}") from error
        except (TypeError, ValueError) as error:
            raise BrokenRecord(key, str(error)) from error
        if not any(turn.role == "assistant" for turn in dialogue.turns):
            raise BrokenRecord(key, "no assistant's turn to learn from")
        paths = {image.id: image for image in dialogue.images}
        return Record(key, dialogue, lambda picture: self._picture(key, paths[picture]))

    def _picture(self, key: str, image: Image) -> PILImage:
        if image.path is None:
            raise BrokenRecord(key, f'picture {image.id!r} has no "path"')
        path = (self.folder / image.path).resolve()
        if not path.is_relative_to(self.folder):
            raise BrokenRecord(key, f"picture {image.path!r} lies outside of {self.folder}")
        try:
            return open_image(path)
        except (FileNotFoundError, ValueError) as error:
            raise BrokenRecord(key, str(error)) from error
