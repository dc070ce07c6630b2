"""Successes and failures: some queries in words and pictures, what was wanted, what came first.

A results file has ids alone. Words and pixels come from the benchmark's own data, read again: from
``--data-root``, or for the sets that the package draws itself from nowhere. Where that fails, the
page says why and shows the ids.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chatsearcher.benchmarks import BENCHMARKS
from chatsearcher.benchmarks.reporting.reading import Entry, Group
from chatsearcher.benchmarks.task import Query, Task
from chatsearcher.dialogue import Dialogue, Image, Text

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

SIDE = 144  # pixels of a picture on the page
SHOWN = 5  # of the pictures that came first
SPEAKERS = {"user": "User", "assistant": "System", "system": "Instruction"}


@dataclass
class Shelf:
    """What can be shown of one benchmark's data.

    Attributes:
        queries: id -> query.
        load: picture id -> pixels; None where there are none to be had.
        why: why something is not shown, or "".
    """

    queries: Mapping[str, Query] = field(default_factory=dict)
    load: Callable[[str], PILImage] | None = None
    why: str = ""
    _known: dict[str, str] = field(default_factory=dict)

    def picture(self, id: str, what: str) -> str:
        """An ``<img>`` with the pixels inside, or a frame with the id."""
        if id not in self._known:
            self._known[id] = self._source(id)
        source = self._known[id]
        if not source:
            return f'<span class="nothing">{escape(id)}</span>'
        return f'<img src="{source}" alt="{escape(what)}: {escape(id)}" title="{escape(id)}">'

    def _source(self, id: str) -> str:
        if self.load is None:
            return ""
        try:
            small = thumbnail(self.load(id))
        except (FileNotFoundError, ValueError) as error:
            self.why = self.why or f"some pictures cannot be shown: {error}"
            return ""
        return "data:image/webp;base64," + base64.b64encode(small).decode("ascii")


def thumbnail(picture: PILImage) -> bytes:
    """A WebP without metadata: a third of a JPEG's size, and a page holds hundreds."""
    small = picture.convert("RGB")
    small.thumbnail((SIDE, SIDE))
    small.info = {}
    buffer = io.BytesIO()
    small.save(buffer, "WEBP", quality=80)
    return buffer.getvalue()


class Roots:
    """Where the benchmarks' data lie.

    Args:
        given: texts of ``--data-root``: ``FOLDER`` for every benchmark whose files are in it, or
            ``NAME=FOLDER`` for one.

    Raises:
        ValueError: a name that is not a benchmark's, or is given twice.
        FileNotFoundError: no such folder.
    """

    def __init__(self, given: Sequence[str] = ()) -> None:
        self.anywhere: list[Path] = []
        self.named: dict[str, Path] = {}
        for text in given:
            name, equals, folder = text.partition("=")
            if not equals or Path(text).is_dir():
                self.anywhere.append(Path(text))
                continue
            BENCHMARKS[name]
            if name in self.named:
                raise ValueError(f"--data-root {name}=… is given twice")
            self.named[name] = Path(folder)
        for path in (*self.anywhere, *self.named.values()):
            if not path.is_dir():
                raise FileNotFoundError(
                    f"--data-root {path} is no folder; expected FOLDER or NAME=FOLDER with a "
                    "benchmark's data"
                )

    def unplaced(self, text: str, group: Group) -> str:
        """The text without where things lie on this machine, for a page that travels."""
        files = [entry.file for entry in group.entries]
        for path in (*self.named.values(), *self.anywhere, *files):
            text = text.replace(str(path), path.name)
        return text

    def shelf(self, entry: Entry) -> Shelf:
        """What can be shown beside one result.

        Raises:
            FileNotFoundError, ValueError: a folder that was named for this benchmark does not
                hold the data that the figures are of.
        """
        name = entry.result.benchmark
        if name in self.named:
            return _shelf(entry, self.named[name])
        reasons = []
        for root in [None, *self.anywhere]:
            try:
                return _shelf(entry, root)
            except (FileNotFoundError, ValueError) as error:
                reasons.append(str(error))
        return Shelf(why=reasons[-1])


def _shelf(entry: Entry, root: Path | None) -> Shelf:
    """The benchmark's data, which must be those that the figures are of."""
    benchmark, result = BENCHMARKS[entry.result.benchmark], entry.result
    options = {str(key): str(value) for key, value in _options(result.settings).items()}
    if hasattr(benchmark, "setting"):  # interactive: its dialogues stand in the results file
        setting, data = benchmark.setting(options)
        queries: Mapping[str, Query] = {}
        load = setting.load
    else:
        found = (getattr(benchmark, "load", None) or benchmark.read)(root, options)
        task: Task = getattr(found, "task", found)
        data, load = task.data, task.pictures.load
        queries = {query.id: query for query in task.queries}
    if data != result.data:
        raise ValueError(
            f"{entry.file}: {result.benchmark} was measured on other data (checksum "
            f"{result.data[:12]}) than those at hand ({data[:12]}); give the folder that it was "
            "measured on"
        )
    return Shelf(queries, load)


def _options(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    found = settings.get("options", {})
    return found if isinstance(found, Mapping) else {}


def section(group: Group, roots: Roots) -> tuple[str, list[str]]:
    """The part of the page, "" where no entry has examples; and what could not be shown.

    The data are read once for all entries that were measured on them.
    """
    parts, said = [], []
    shelves: dict[str, Shelf] = {}
    for entry in group.entries:
        if not entry.result.examples:
            continue
        key = f"{entry.result.data}{_options(entry.result.settings)}"
        if key not in shelves:
            shelves[key] = roots.shelf(entry)
        shelf = shelves[key]
        part = entry_part(entry, shelf)
        if shelf.why:
            said.append(f"{entry.result.benchmark}: {shelf.why}")
            why = roots.unplaced(shelf.why, group)
            part = f'<p class="note">Not all can be shown: {escape(why)}</p>{part}'
        parts.append(f"<details><summary>{escape(entry.system)}</summary>{part}</details>")
    if not parts:
        return "", []
    return f"<h3>Successes and failures</h3>{''.join(parts)}", list(dict.fromkeys(said))


def entry_part(entry: Entry, shelf: Shelf) -> str:
    """The examples of one result: the better half, then the worse one, the worst first."""
    examples = sorted(entry.result.examples, key=lambda example: int(example["rank"]))
    half = (len(examples) + 1) // 2
    best, worst = examples[:half], examples[half:][::-1]
    return "".join(
        f'<h4>{title}</h4><div class="examples">'
        f"{''.join(card(example, shelf) for example in chosen)}</div>"
        for title, chosen in (("Answered best", best), ("Answered worst", worst))
        if chosen
    )


def card(example: Mapping[str, Any], shelf: Shelf) -> str:
    """One query: what was said, what came first, and where the wanted picture stood."""
    query = shelf.queries.get(example["query"])
    found = [str(name) for name in example["found"]][:SHOWN]
    target = example.get("target")
    wanted = set(query.targets) if query else set()
    if target is not None:
        wanted.add(str(target))
    recorded = example.get("dialogue")
    dialogue = None
    if recorded is not None:
        dialogue = Dialogue.from_messages(recorded)
    elif query is not None:
        dialogue = query.dialogue
    words = said(dialogue, shelf) if dialogue is not None else ""
    if query is not None and query.reference and (dialogue is None or not dialogue.images):
        words += f"<p><b>Begins at</b> {shelf.picture(query.reference, 'first picture')}</p>"
    items = "".join(
        f"<li{_class(name in wanted)}>{shelf.picture(name, f'place {place}')}"
        f"<span>{place}{' ✓ wanted' if name in wanted else ''}</span></li>"
        for place, name in enumerate(found, start=1)
    )
    if target is not None and not wanted & set(found):
        items += (
            f'<li class="wanted away">{shelf.picture(str(target), "wanted")}<span>wanted, place '
            f"{int(example['rank']):,}</span></li>"
        )
    return (
        f'<article class="example"><header><b>place {int(example["rank"]):,}</b> '
        f'<span>{escape(str(example["query"]))}</span></header><div class="words">{words}</div>'
        f'<ol class="found">{items}</ol></article>'
    )


def said(dialogue: Dialogue, shelf: Shelf) -> str:
    """The dialogue, words and pictures in their order."""
    lines = []
    for turn in dialogue.turns:
        parts = []
        for part in turn.content:
            if isinstance(part, Text):
                parts.append(f"<span>{escape(part.text)}</span>")
            elif isinstance(part, Image):
                parts.append(shelf.picture(part.id, "shown"))
        lines.append(f"<p><b>{SPEAKERS.get(turn.role, turn.role)}</b> {' '.join(parts)}</p>")
    return "".join(lines)


def _class(wanted: bool) -> str:
    return ' class="wanted"' if wanted else ""
