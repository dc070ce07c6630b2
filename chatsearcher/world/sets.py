"""The fixed test sets of the picture world, after the three of the ChatSearch paper.

They are generated, not stored: the same code gives the same sets, and ``set_hashes.json`` holds
what they must come out as. They were frozen before any model was trained. A changed wording in
the writing rooms changes the sets: new wordings for training go where the sets do not draw from.
"""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

from chatsearcher.dialogue import Dialogue, Image
from chatsearcher.world.pictures import picture_id
from chatsearcher.world.references import instruction, mixed_rounds, single_round
from chatsearcher.world.reformulation import without_reformulations
from chatsearcher.world.scene import Edit, Scene, Split, sample_scene
from chatsearcher.world.telling import telling

NAMES: tuple[str, ...] = ("world-t", "world-i", "world-m")
VALIDATION: tuple[str, ...] = tuple(f"{name}-val" for name in NAMES)
NEIGHBOURS = 12  # pictures per target, at least, that differ from it in exactly one attribute


@dataclass(frozen=True)
class Query:
    """One dialogue that ends in a user's turn, and the picture it asks for."""

    id: str
    dialogue: Dialogue
    target: str
    exclude: frozenset[str]  # the pictures of the dialogue, left out of its own candidates
    neighbours: tuple[str, ...]  # candidates that differ from the target in exactly one attribute


@dataclass(frozen=True)
class WorldSet:
    """Queries over one gallery of picture ids, no two of the same graph."""

    name: str
    gallery: tuple[str, ...]
    queries: tuple[Query, ...]


@dataclass(frozen=True)
class _Size:
    split: Split
    targets: int
    gallery: int


_SIZES = {"": _Size("test", 500, 10_000), "-val": _Size("val", 150, 3_000)}


def set_names() -> tuple[str, ...]:
    """Every set: the three test sets and their validation twins."""
    return NAMES + VALIDATION


@lru_cache(maxsize=6)
def load_set(name: str) -> WorldSet:
    """Generate a set by its name.

    Raises:
        ValueError: no such set.
    """
    if name not in set_names():
        raise ValueError(f"unknown set {name!r}; expected one of {', '.join(set_names())}")
    ending = "-val" if name in VALIDATION else ""
    size = _SIZES[ending]
    if name.startswith("world-t"):
        return _text_set(name, size)
    return _picture_sets(ending, size)[name]


def set_hash(world_set: WorldSet) -> str:
    """sha256 of the set as canonical JSON: dialogues, targets, excluded pictures, gallery."""
    record = {
        "name": world_set.name,
        "gallery": world_set.gallery,
        "queries": [
            {
                "id": query.id,
                "messages": query.dialogue.to_messages(),
                "target": query.target,
                "exclude": sorted(query.exclude),
                "neighbours": query.neighbours,
            }
            for query in world_set.queries
        ],
    }
    text = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def frozen_hashes() -> dict[str, str]:
    """What the sets must come out as."""
    text = resources.files(__package__).joinpath("set_hashes.json").read_text(encoding="utf-8")
    return dict(json.loads(text))


class _Gallery:
    """Pictures by graph: each graph has one picture, named on first use."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.ids: dict[Scene, str] = {}
        self.order: list[str] = []  # all ids, once filled, in an order that tells nothing

    def show(self, scene: Scene) -> Image:
        if scene not in self.ids:
            self.ids[scene] = picture_id(scene, self._rng.randrange(1_000_000))
        return Image(self.ids[scene])

    def fill(self, targets: list[Scene], taken: dict[Scene, set[str]], size: _Size) -> None:
        """Add the targets, their neighbours, and strangers up to the wanted size."""
        for target in targets:
            self.show(target)
        for target in targets:
            added = 0
            for edit in _spread(target, size.split, self._rng):
                image = self.show(target.apply(edit))
                added += image.id not in taken.get(target, set())
                if added == NEIGHBOURS:
                    break
        while len(self.ids) < size.gallery:
            self.show(sample_scene(self._rng, size.split))
        if len(self.ids) != size.gallery:
            raise ValueError(f"{len(self.ids)} pictures do not fit a gallery of {size.gallery}")
        self.order = sorted(self.ids.values())
        self._rng.shuffle(self.order)

    def neighbours(self, target: Scene, exclude: frozenset[str]) -> tuple[str, ...]:
        """Every picture that differs from the target in exactly one attribute."""
        scenes = (target.apply(edit) for edit in target.edits())
        found = (self.ids[scene] for scene in scenes if scene in self.ids)
        return tuple(sorted(name for name in found if name not in exclude))


def _spread(target: Scene, split: Split, rng: random.Random) -> list[Edit]:
    """Edits that stay in the split, in turn from each attribute."""
    heaps: dict[str, list[Edit]] = {}
    for edit in target.edits():
        if target.apply(edit).split == split:
            heaps.setdefault(edit.attribute, []).append(edit)
    for heap in heaps.values():
        rng.shuffle(heap)
    turns = [(number, name) for name, heap in sorted(heaps.items()) for number in range(len(heap))]
    return [heaps[name][number] for number, name in sorted(turns)]


def _targets(size: _Size, rng: random.Random) -> list[Scene]:
    found: dict[Scene, None] = {}
    while len(found) < size.targets:
        found[sample_scene(rng, size.split)] = None
    return list(found)


def _text_set(name: str, size: _Size) -> WorldSet:
    rng = random.Random(f"sets/{name}/1")
    gallery = _Gallery(rng)
    targets = _targets(size, rng)
    dialogues = [(target, telling(target, rng)) for target in targets for _ in range(2)]
    gallery.fill(targets, {}, size)
    return _world_set(name, gallery, dialogues)


@lru_cache(maxsize=2)
def _picture_sets(ending: str, size: _Size) -> dict[str, WorldSet]:
    """world-i and world-m over one gallery: each pair of queries shares its last round."""
    rng = random.Random(f"sets/world-i+m{ending}/1")
    gallery = _Gallery(rng)
    targets = _targets(size, rng)
    single, mixed = [], []
    taken: dict[Scene, set[str]] = {}
    for target in targets:
        for _ in range(2):
            said = instruction(target, size.split, rng)
            single.append((target, single_round(said, gallery.show)))
            rounds = mixed_rounds(said, size.split, gallery.show, rng)
            mixed.append((target, without_reformulations(rounds)))
            for _, dialogue in (single[-1], mixed[-1]):
                taken.setdefault(target, set()).update(image.id for image in dialogue.images)
    gallery.fill(targets, taken, size)
    names = (f"world-i{ending}", f"world-m{ending}")
    return {
        name: _world_set(name, gallery, dialogues)
        for name, dialogues in zip(names, (single, mixed), strict=True)
    }


def _world_set(name: str, gallery: _Gallery, dialogues: list[tuple[Scene, Dialogue]]) -> WorldSet:
    queries = []
    for number, (target, dialogue) in enumerate(dialogues):
        exclude = frozenset(image.id for image in dialogue.images)
        queries.append(
            Query(
                id=f"{name}-{number:04d}",
                dialogue=Dialogue(dialogue.turns, f"{name}-{number:04d}"),
                target=gallery.ids[target],
                exclude=exclude,
                neighbours=gallery.neighbours(target, exclude),
            )
        )
    return WorldSet(name, tuple(gallery.order), tuple(queries))
