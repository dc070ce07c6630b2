"""Two sets of real pictures with people's words: OpenStax textbook figures and OpenMoji emoji.

They lie beside the project, not in it: in ``../shared/data/images``, or where the environment
variable ``CHATSEARCHER_IMAGES`` says. Their licences ask for attribution wherever something is
built on them: ``ATTRIBUTION``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from chatsearcher.data.records import SourceConfig
from chatsearcher.data.shard_sources import read_pairs
from chatsearcher.data.shards import Shards, find_shards, open_shards, select
from chatsearcher.dialogue import Dialogue, Image

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

VARIABLE = "CHATSEARCHER_IMAGES"
ATTRIBUTION = (
    "Pictures and words: OpenStax, Rice University, CC BY 4.0 (access for free at openstax.org; "
    "pictures made smaller); OpenMoji – the open-source emoji and icon project, CC BY-SA 4.0."
)
# What a person would call a picture: most other figures are diagrams full of writing.
PICTURE_LIKE = ("photo", "photo_like", "art", "micrograph")
MOSTLY_WHITE = 0.5


def images_folder() -> Path:
    """The folder that holds ``openstax/`` and ``openmoji/``."""
    return Path(os.environ.get(VARIABLE) or "../shared/data/images")


def openstax(kind: str = "shard-pairs", count: int = 1) -> SourceConfig:
    """The picture-like figures, with their alt texts and their captions in the book."""
    return SourceConfig(
        kind,
        count,
        path=str(images_folder() / "openstax"),
        texts=("captions", "textbook_captions"),
        where={"kind_guess": PICTURE_LIKE},
        below={"white_frac": MOSTLY_WHITE},
    )


def openmoji(kind: str = "shard-pairs", count: int = 1) -> SourceConfig:
    """The emoji, with their names; as ``modifications`` their pairs."""
    path = str(images_folder() / "openmoji")
    return SourceConfig(kind, count, path=path, texts=("captions",))


@dataclass(frozen=True)
class RealQuery:
    """A dialogue and the one picture it asks for (see ``benchmarks.single_query.Query``)."""

    id: str
    dialogue: Dialogue
    target: str
    exclude: frozenset[str] = frozenset()
    neighbours: tuple[str, ...] = ()


@dataclass(frozen=True)
class RealSet:
    """Queries over the distinct pictures of a split; a picture's id is ``folder/split/key``."""

    name: str
    gallery: tuple[str, ...]
    queries: tuple[RealQuery, ...]


def load_set(name: str) -> RealSet:
    """A test set by name; with ``-val`` at its end, its twin on the validation split.

    - ``real-openstax``: a figure by its alt text. Near-duplicates of the target and figures of the
      very same words are no candidates.
    - ``real-openmoji``: an emoji by its name. Its neighbours are its family: the same sign with
      another skin, hair or gender.
    - ``real-edits``: an emoji by another of its family and what to change. The other one is no
      candidate; neighbours as before.

    Raises:
        ValueError: an unknown name.
        FileNotFoundError: the pictures are not there.
    """
    base = name.removesuffix("-val")
    if base not in _SETS:
        raise ValueError(f"unknown set {name!r}; expected {', '.join(_SETS)}, or one with -val")
    return _SETS[base](name, "test" if base == name else "val")


def load_picture(picture: str) -> PILImage:
    """A picture of a set by its id."""
    folder, split, key = picture.split("/", 2)
    shards, record_of = _open(images_folder() / folder, split)
    return shards.picture(record_of[key])


@lru_cache(maxsize=4)
def _open(folder: Path, split: str) -> tuple[Shards, dict[str, int]]:
    shards = open_shards(find_shards(folder, split))
    return shards, {key: record for record, key in enumerate(shards.keys)}


def _openstax(name: str, split: str) -> RealSet:
    source = openstax()
    shards, _ = _open(Path(str(source.path)), split)
    records, _ = select(shards, source.where, source.below)
    ids = {record: f"openstax/{split}/{shards.keys[record]}" for record in records}
    marks: dict[str, set[str]] = {}
    words, own = {}, {}
    for record, picture in ids.items():
        words[record] = shards.texts(record, ("captions",))[0]
        group = shards.metadata(record).get("dup_group") or picture
        own[record] = (words[record].casefold(), f"near {group}", shards.picture_hash(record))
        for mark in own[record]:
            marks.setdefault(mark, set()).add(picture)
    queries = []
    for record, picture in ids.items():
        twins = set().union(*(marks[mark] for mark in own[record])) - {picture}
        dialogue = Dialogue(id=picture).user(words[record])
        queries.append(RealQuery(picture, dialogue, picture, frozenset(twins)))
    return RealSet(name, tuple(ids.values()), tuple(queries))


class _Emoji:
    """The distinct pictures of a split: emoji of another name often look exactly alike."""

    def __init__(self, split: str) -> None:
        self.shards, self.record_of = _open(images_folder() / "openmoji", split)
        first: dict[str, str] = {}
        self.picture: dict[str, str] = {}
        self.families: dict[str, set[str]] = {}
        self._family: dict[str, str] = {}
        for record, key in enumerate(self.shards.keys):
            code = self.shards.picture_hash(record)
            self.picture[key] = first.setdefault(code, f"openmoji/{split}/{key}")
            family = self.shards.metadata(record).get("family") or key
            self._family[key] = family
            self.families.setdefault(family, set()).add(self.picture[key])
        self.gallery = tuple(first.values())

    def family(self, key: str) -> set[str]:
        """The pictures of a key's family, its own among them."""
        return self.families[self._family[key]]


def _openmoji(name: str, split: str) -> RealSet:
    emoji = _Emoji(split)
    said: dict[str, set[str]] = {}
    words = {}
    for record, key in enumerate(emoji.shards.keys):
        words[key] = emoji.shards.texts(record, ("captions",))[0]
        said.setdefault(words[key].casefold(), set()).add(emoji.picture[key])
    queries = []
    for key, target in emoji.picture.items():
        twins = said[words[key].casefold()] - {target}
        queries.append(
            RealQuery(
                f"openmoji/{split}/{key}",
                Dialogue(id=key).user(words[key]),
                target,
                frozenset(twins),
                tuple(sorted(emoji.family(key) - twins - {target})),
            )
        )
    return RealSet(name, emoji.gallery, tuple(queries))


def _edits(name: str, split: str) -> RealSet:
    emoji = _Emoji(split)
    queries = []
    for pair in read_pairs(images_folder() / "openmoji" / "pairs.jsonl", split):
        reference, target = (emoji.picture[pair[each]] for each in ("reference", "target"))
        if reference == target:
            continue  # a change that nobody sees
        dialogue = Dialogue(id=pair["reference"]).user(Image(reference), pair["modification"])
        queries.append(
            RealQuery(
                f"{pair['reference']}+{pair['target']}",
                dialogue,
                target,
                frozenset({reference}),
                tuple(sorted(emoji.family(pair["target"]) - {reference, target})),
            )
        )
    return RealSet(name, emoji.gallery, tuple(queries))


_SETS = {"real-openstax": _openstax, "real-openmoji": _openmoji, "real-edits": _edits}
