"""A benchmark's data once read: pictures in order, queries in order, and where the pixels are."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from chatsearcher.dialogue import Dialogue, Part, Text, Turn
from chatsearcher.images import open_image

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage


@dataclass(frozen=True, slots=True)
class Query:
    """One query.

    Attributes:
        id: unique in its benchmark; also the id of the dialogue.
        dialogue: what the system reads; its pictures by id.
        targets: the right pictures, the one target first; empty where they are not public.
        exclude: pictures that are no candidates for this query.
        reference: the picture that the dialogue starts from, where there is one.
        round: 0-based, where a dialogue is asked at several rounds.
        group: a name that queries share (the dialogue's, a category's); or pictures that belong
            to this query alone (CIRR's image set, a gallery of its own, near neighbours).
    """

    id: str
    dialogue: Dialogue
    targets: tuple[str, ...] = ()
    exclude: frozenset[str] = frozenset()
    reference: str | None = None
    round: int | None = None
    group: str | tuple[str, ...] | None = None

    @property
    def target(self) -> str | None:
        """The one right picture, or the first of several."""
        return self.targets[0] if self.targets else None

    @property
    def members(self) -> tuple[str, ...]:
        """The pictures of ``group``; none where it is a name."""
        return self.group if isinstance(self.group, tuple) else ()

    @property
    def shown(self) -> frozenset[str]:
        """The pictures without which the query cannot be asked."""
        return frozenset(image.id for image in self.dialogue.images)


class Pictures(Protocol):
    """Pixels by picture id."""

    def missing(self, ids: Collection[str]) -> dict[str, str]:
        """Which of them are not there, each with the reason; looks at names, decodes nothing."""
        ...

    def path(self, id: str) -> str | None:
        """The file's path under the data root, where the picture is a file."""
        ...

    def load(self, id: str) -> PILImage:
        """The decoded picture.

        Raises:
            FileNotFoundError, ValueError: it is not there, or broken.
        """
        ...


class FilePictures:
    """Pictures that are files under the data root.

    Args:
        root: the data root.
        places: picture id -> paths under the root where it may lie; the first that exists counts.
    """

    def __init__(self, root: Path, places: Callable[[str], Sequence[str]]) -> None:
        self.root = root
        self.places = places

    def path(self, id: str) -> str | None:
        """The first place that exists, else the first of all."""
        names = self.places(id)
        return next((name for name in names if self._there(name)), names[0] if names else None)

    def missing(self, ids: Collection[str]) -> dict[str, str]:
        """Those of whose places none exists."""
        lost = {}
        for id in ids:
            names = self.places(id)
            if not any(self._there(name) for name in names):
                lost[id] = f"no file {' or '.join(names)}" if names else "no file is named for it"
        return lost

    def load(self, id: str) -> PILImage:
        """The decoded picture."""
        name = self.path(id)
        if name is None:
            raise FileNotFoundError(f"no file is named for picture {id!r}")
        return open_image(self.root / name)

    def _there(self, name: str) -> bool:
        inside = os.path.normpath(name)
        if os.path.isabs(inside) or inside.split(os.sep)[0] == os.pardir:
            raise ValueError(f"picture path {name!r} leads out of {self.root}")
        return (self.root / inside).is_file()


@dataclass(frozen=True)
class Task:
    """What is ranked for whom.

    Attributes:
        images: the gallery's ids in order, each once; row n of the image vectors is images[n].
        queries: in order; row n of the query vectors is queries[n].
        pictures: the pixels.
        data: checksum of all that was read (``annotations.checksum``).
        facts: further counts for the result.
        space: the set that the ids are unique in; benchmarks on the same pictures share it, and
            with it the vectors.
        own_galleries: each query is ranked among its targets and the pictures of its own group,
            not among all of ``images``.
    """

    images: tuple[str, ...]
    queries: tuple[Query, ...]
    pictures: Pictures
    data: str
    facts: Mapping[str, int] = field(default_factory=dict)
    space: str = ""
    own_galleries: bool = False

    def __post_init__(self) -> None:
        _unique(self.images, "picture")
        _unique([query.id for query in self.queries], "query")
        known = set(self.images)
        for query in self.queries:
            for name in (*query.targets, *query.members):
                if name not in known:
                    raise ValueError(f"query {query.id!r}: {name!r} is not in the gallery")

    @property
    def rows(self) -> dict[str, int]:
        """picture id -> row of its vector."""
        return {name: row for row, name in enumerate(self.images)}

    def target_rows(self) -> list[int]:
        """The row of each query's (first) target.

        Raises:
            ValueError: a query without a public target.
        """
        rows = self.rows
        hidden = next((query.id for query in self.queries if not query.targets), None)
        if hidden is not None:
            raise ValueError(f"query {hidden!r} has no public target: it cannot be scored here")
        return [rows[query.targets[0]] for query in self.queries]

    def exclude_rows(self) -> list[set[int]]:
        """The rows that are no candidates, for each query."""
        rows = self.rows
        return [{rows[n] for n in query.exclude if n in rows} for query in self.queries]

    def prompted(self, template: str) -> Task:
        """The same task with the last user's words of every query put into a template."""
        if template == "{text}":
            return self
        queries = tuple(
            replace(query, dialogue=reworded(query.dialogue, template)) for query in self.queries
        )
        return replace(self, queries=queries)

    def without(self, missing: Collection[str]) -> Task:
        """The task that is left without some pictures.

        They are no candidates any more. A query goes with them where it shows one of them, or all
        of its targets are among them.
        """
        if not missing:
            return self
        lost = set(missing)
        queries = []
        for query in self.queries:
            targets = tuple(name for name in query.targets if name not in lost)
            if query.shown & lost or (query.targets and not targets):
                continue
            group = query.group
            if isinstance(group, tuple):
                group = tuple(name for name in group if name not in lost)
            queries.append(replace(query, targets=targets, group=group))
        images = tuple(name for name in self.images if name not in lost)
        return replace(self, images=images, queries=tuple(queries))


def reworded(dialogue: Dialogue, template: str) -> Dialogue:
    """The dialogue with the last user's words put into ``template`` at ``{text}``; pictures stay
    where they are, before or behind the words."""
    last = max(
        (place for place, turn in enumerate(dialogue.turns) if turn.role == "user"), default=None
    )
    if last is None:
        return dialogue
    turn = dialogue.turns[last]
    words = template.replace("{text}", turn.text)
    content: list[Part] = []
    said = False
    for part in turn.content:
        if not isinstance(part, Text):
            content.append(part)
        elif not said:
            content.append(Text(words))
            said = True
    if not said:
        content.append(Text(words))
    turns = list(dialogue.turns)
    turns[last] = Turn(turn.role, tuple(content))
    return replace(dialogue, turns=tuple(turns))


def _unique(names: Sequence[str], what: str) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"{what} {name!r} stands in the data twice; ids must be unique")
        seen.add(name)
