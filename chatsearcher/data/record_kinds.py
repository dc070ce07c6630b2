"""What a stored record is to training: a pair, an illustrated document, a conversation.

One function a kind, from a record of a shard to the content of a ``Record``; the readers (at
random, ``record_sources``; as a stream, ``streaming``) share them. What they draw comes from
``rng`` alone.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chatsearcher.data.records import BrokenRecord, Record, SourceConfig
from chatsearcher.data.tar_index import StoredRecord
from chatsearcher.dialogue import Dialogue, Image, Part, Text
from chatsearcher.registry import Registry

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

Content = Dialogue | tuple[Part, ...]
Kind = Callable[[StoredRecord, SourceConfig, str, random.Random], Content]
"""(record, settings, the set's name, random numbers of this use) -> content; pictures carry the
member they lie in as their ``path``."""

KINDS = Registry(
    "kind of record",
    {
        "shard-pairs": "chatsearcher.data.record_kinds:pair",
        "shard-documents": "chatsearcher.data.record_kinds:document",
        "shard-conversations": "chatsearcher.data.record_kinds:conversation",
    },
)


def pair(record: StoredRecord, config: SourceConfig, name: str, rng: random.Random) -> Content:
    """A picture and its words, either of the two first."""
    endings = record.pictures
    if not endings:
        raise BrokenRecord(record.key, "no picture")
    about = record.metadata() if set(config.texts) - {"txt"} or config.where or config.below else {}
    words: list[str] = []
    for field in config.texts:
        value = record.text() if field == "txt" else about.get(field)
        values = value if isinstance(value, list) else [value]
        words += [each.strip() for each in values if isinstance(each, str) and each.strip()]
    if not words:
        raise BrokenRecord(record.key, f"it has no words in {', '.join(config.texts)}")
    parts = (
        Image(f"{name}/{record.path.stem}/{record.key}", endings[0]),
        Text(rng.choice(list(dict.fromkeys(words)))),
    )
    return parts if rng.random() < 0.5 else parts[::-1]


def document(record: StoredRecord, config: SourceConfig, name: str, rng: random.Random) -> Content:
    """Sentences and pictures, each picture before or after its sentence (paper, section 5.1).

    Reads ``{"texts": […], "images": [{"path", "id", "text"}…]}``, which ``prepare mmc4`` writes.
    """
    about = record.metadata()
    texts, images = about.get("texts"), about.get("images")
    if not isinstance(texts, list) or not isinstance(images, list):
        raise BrokenRecord(record.key, 'no "texts" and "images"; is it a document?')
    around: dict[int, tuple[list[Part], list[Part]]] = {}
    for image in images:
        try:
            path, id, place = image["path"], image["id"], image["text"]
        except (KeyError, TypeError) as error:
            raise BrokenRecord(record.key, f"a picture without {error}") from error
        if not isinstance(place, int) or not 0 <= place < len(texts):
            raise BrokenRecord(record.key, f"a picture of sentence {place!r} of {len(texts)}")
        sides = around.setdefault(place, ([], []))
        sides[rng.random() < 0.5].append(Image(str(id), str(path)))
    parts: list[Part] = []
    for place, words in enumerate(texts):
        before, after = around.get(place, ([], []))
        parts += before
        if str(words).strip():
            parts.append(Text(str(words).strip()))
        parts += after
    if not parts:
        raise BrokenRecord(record.key, "the document is empty")
    return tuple(parts)


def conversation(
    record: StoredRecord, config: SourceConfig, name: str, rng: random.Random
) -> Content:
    """A dialogue in the chat format: ``{"messages": […]}``, pictures by member (``0.jpg``)."""
    about: dict[str, Any] = record.metadata()
    try:
        dialogue = Dialogue.from_messages(about["messages"], about.get("id"))
    except KeyError as error:
        raise BrokenRecord(record.key, f"missing {error}; is it a conversation?") from error
    except (TypeError, ValueError) as error:
        raise BrokenRecord(record.key, str(error)) from error
    if not any(turn.role == "assistant" for turn in dialogue.turns):
        raise BrokenRecord(record.key, "no assistant's turn to learn from")
    return dialogue


@dataclass(frozen=True)
class MemberLoader:
    """Decodes a record's pictures by their ids; survives pickling."""

    record: StoredRecord
    members: dict[str, str]

    def __call__(self, picture: str) -> PILImage:
        return self.record.picture(self.members[picture])


def as_record(
    stored: StoredRecord, config: SourceConfig, name: str, key: str, rng: random.Random
) -> Record:
    """A stored record as training uses it.

    Raises:
        BrokenRecord: it is not of this kind, or speaks of pictures that it does not hold.
        ValueError: an unknown kind.
    """
    kind: Kind = KINDS[config.kind]
    try:
        content = kind(stored, config, name, rng)
    except BrokenRecord as error:
        raise BrokenRecord(key, error.reason) from error
    images = (
        list(content.images)
        if isinstance(content, Dialogue)
        else [part for part in content if isinstance(part, Image)]
    )
    members: dict[str, str] = {}
    for image in images:
        if image.path is None or not stored.has(image.path):
            raise BrokenRecord(key, f"picture {image.id!r} is no member of it ({image.path})")
        if members.setdefault(image.id, image.path) != image.path:
            raise BrokenRecord(key, f"two pictures are called {image.id!r}")
    return Record(key, content, MemberLoader(stored, members))


def fits(stored: StoredRecord, config: SourceConfig) -> bool:
    """Whether the record's JSON says what ``where`` and ``below`` ask for."""
    if not config.where and not config.below:
        return True
    about = stored.metadata()
    if any(about.get(name) not in values for name, values in config.where.items()):
        return False
    numbers = ((about.get(name), limit) for name, limit in config.below.items())
    return all(isinstance(value, (int, float)) and value < limit for value, limit in numbers)
