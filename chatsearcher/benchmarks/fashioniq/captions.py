"""Fashion IQ relative captioning: how does the second product differ from the first?

Scored on the validation pairs, whose two captions are the references; the targets of the test pairs
are not public. Captions made elsewhere are a JSON list ``[{"candidate", "target", "caption"}]``,
one entry a pair: Fashion IQ's own layout, with one caption.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from chatsearcher.benchmarks import Context
from chatsearcher.benchmarks.annotations import (
    checksum,
    data_root,
    read_json,
    rows_of,
    strings,
    value,
)
from chatsearcher.benchmarks.caption_scores import CIDER, METRICS, TOKENS, caption_scores
from chatsearcher.benchmarks.card import PLAIN, Card
from chatsearcher.benchmarks.fashioniq.files import (
    CATEGORIES,
    PAIRS,
    REMEDY,
    SOURCE,
    SPACE,
    Pair,
    caption_file,
    data_of,
    pictures,
    read_pairs,
    split_file,
)
from chatsearcher.benchmarks.predictions import result_of
from chatsearcher.benchmarks.results import Result
from chatsearcher.benchmarks.single_query import CHUNK, with_pixels
from chatsearcher.benchmarks.task import Query, Task
from chatsearcher.dialogue import Dialogue, Image
from chatsearcher.retriever import Assistant

QUESTION = "How does the second product differ from the first?"
LAYOUT = 'expected {"candidate": …, "target": …, "caption": "…"}, one entry a pair'


@runtime_checkable
class RelativeCaptioner(Protocol):
    """A system that says what differs between two pictures."""

    def describe_changes(self, dialogues: Sequence[Dialogue]) -> Sequence[str]:
        """One caption each.

        Args:
            dialogues: the last turn holds the reference, the target, both decoded, and the prompt.
        """
        ...


class FashionIQCaptions:
    """One category, validation split."""

    def __init__(self, category: str) -> None:
        self.category = category
        self.name = f"fashioniq-captions-{category}"
        self.card = Card(
            name=self.name,
            data=f"captions/cap.{category}.val.json, {data_of(category, 'val')}",
            sizes={"queries": PAIRS[category]},
            metrics=METRICS,
            primary=CIDER,
            protocol="relative captioning of the validation pairs against both captions; BLEU, "
            "ROUGE-L and CIDEr of pycocoevalcap, times 100; empty references do not count",
            source=SOURCE,
            prompts={
                PLAIN: "{text}",
                "short-1": "{text} Answer in a few words, such as: is darker and has short sleeves",
            },
            options={"tokens": f"{' or '.join(TOKENS)}: lower-cased words without punctuation, or "
                     "the Penn Treebank tokeniser, which needs Java; words"},
        )  # fmt: skip

    def load(self, root: Path | None, options: Mapping[str, str]) -> Task:
        """A query a pair: both pictures and the question.

        Raises:
            FileNotFoundError, ValueError: with the file, the row and the remedy.
        """
        root, captions, listed = self._files(root)
        pairs = read_pairs(captions, listed)
        return Task(
            images=tuple(
                dict.fromkeys(name for pair in pairs for name in (pair.reference, pair.target))
            ),
            queries=tuple(
                Query(
                    id=str(row),
                    dialogue=Dialogue(id=str(row)).user(
                        Image(pair.reference), Image(pair.target), QUESTION
                    ),
                    targets=(pair.target,),
                    reference=pair.reference,
                )
                for row, pair in enumerate(pairs)
            ),
            pictures=pictures(root),
            data=checksum(root, [captions, listed]),
            space=SPACE,
        )

    def run(self, system: Any, context: Context | None = None) -> Result:
        """Let the system caption every pair.

        Raises:
            ValueError: a system that says nothing about pictures.
            FileNotFoundError: no pair has both pictures.
        """
        if not isinstance(system, RelativeCaptioner | Assistant):
            raise ValueError(
                f"{self.name} needs an assistant, which answers in words, or a relative "
                f"captioner; {type(system).__name__} only searches. Captions made elsewhere are "
                f"scored by `chatsearcher score fashioniq-captions`"
            )
        context = context or Context()
        started = time.perf_counter()
        options = self.card.checked_options(context.options)
        prompt, template = self.card.prompt(context.prompt)
        task = self.load(context.data_root, options).prompted(template)
        missing = task.pictures.missing(task.images)
        left = task.without(missing)
        if not left.queries:
            raise FileNotFoundError(
                f"{self.name}: no pair has both pictures; {len(missing)} of {len(task.images)} "
                f"miss ({next(iter(missing.values()), '')})"
            )
        said: dict[str, str] = {}
        for start in range(0, len(left.queries), CHUNK):
            part = left.queries[start : start + CHUNK]
            said |= _answers(system, part, task, missing)
            if context.progress is not None:
                done = min(start + CHUNK, len(left.queries))
                context.progress("pairs", done, len(left.queries))
        who = {"spec": context.spec, "fingerprint": str(getattr(system, "fingerprint", ""))}
        result = self._result(said, [], context, len(missing), started)
        notes = list(result.notes)
        if missing:
            notes.append(
                f"shrunken: {len(missing):,} of {len(task.images):,} pictures are missing, "
                f"{len(task.queries) - len(said):,} of {len(task.queries):,} pairs were left out; "
                "not comparable with figures over all of them"
            )
        settings = {"prompt": prompt, "prompt text": template, **result.settings}
        return replace(
            result,
            retriever=who,
            settings=settings,
            missing=dict(sorted(missing.items())),
            shrunken=bool(missing),
            notes=notes,
        )

    def score_predictions(self, paths: Sequence[Path], context: Context) -> Result:
        """Score captions made elsewhere.

        Raises:
            ValueError: more than one file; a pair twice, unknown or without a caption, with the
                file, the row and the remedy.
        """
        started = time.perf_counter()
        path = one_file(paths)
        _, captions, listed = self._files(context.data_root)
        rows = {
            (pair.reference, pair.target): str(row)
            for row, pair in enumerate(read_pairs(captions, listed))
        }
        said: dict[str, str] = {}
        for where, pair, caption in read_captions(path):
            if pair not in rows:
                raise ValueError(f"{where}: {pair} is no pair of {captions.name}")
            said[rows[pair]] = caption
        lost = next((pair for pair, row in rows.items() if row not in said), None)
        if lost is not None:
            raise ValueError(
                f"{path}: no caption for candidate {lost[0]!r}, target {lost[1]!r}; every one of "
                f"the {len(rows):,} pairs of {captions.name} needs one, {len(said):,} are there"
            )
        return self._result(said, [path], context, 0, started)

    def _files(self, root: Path | None) -> tuple[Path, Path, Path]:
        root = data_root(root, self.name, self.card.data)
        return root, caption_file(root, self.category), split_file(root, self.category, "val")

    def _result(
        self,
        said: Mapping[str, str],
        paths: Sequence[Path],
        context: Context,
        missing: int,
        started: float,
    ) -> Result:
        """The figures over the captioned pairs that have a reference which says something."""
        root, captions, listed = self._files(context.data_root)
        tokens = context.options.get("tokens", "words")
        pairs: dict[str, Pair] = {
            str(row): pair for row, pair in enumerate(read_pairs(captions, listed))
        }
        asked = [row for row, pair in pairs.items() if any(text.strip() for text in pair.captions)]
        scored = [row for row in asked if row in said]
        figures, samples = caption_scores(
            [pairs[row].captions for row in scored], [said[row] for row in scored], tokens
        )
        counts = {
            "queries": len(scored),
            "missing images": missing,
            "queries left out": len(pairs) - len(scored),
            "empty captions": sum(not said[row].strip() for row in scored),
        }
        data = checksum(root, [captions, listed])
        return result_of(
            self.card, paths, data, samples, counts, figures, {"tokens": tokens}, started
        )


class Predictions:
    """``chatsearcher score fashioniq-captions``: the category is the one that the pairs are of."""

    name = "fashioniq-captions"

    def score_predictions(self, paths: Sequence[Path], context: Context) -> Result:
        """Score captions made elsewhere.

        Raises:
            ValueError: an unknown category; pairs of no category; see ``FashionIQCaptions``.
        """
        options = dict(context.options)
        category = options.pop("category", None) or _category_of(one_file(paths), context)
        if category not in BY_CATEGORY:
            raise ValueError(f"category={category!r}; expected one of {', '.join(BY_CATEGORY)}")
        benchmark = BY_CATEGORY[category]
        benchmark.card.checked_options(options)
        return benchmark.score_predictions(paths, replace(context, options=options))


def one_file(paths: Sequence[Path]) -> Path:
    """The only file.

    Raises:
        ValueError: none or several.
    """
    if len(paths) != 1:
        raise ValueError(f"{len(paths)} files of captions; expected one, of one category")
    return paths[0]


def read_captions(path: Path) -> Iterator[tuple[str, tuple[str, str], str]]:
    """(where, (candidate, target), caption) of each entry.

    Raises:
        ValueError: an entry of another shape, or a pair twice.
    """
    seen: dict[tuple[str, str], str] = {}
    for where, entry in rows_of(read_json(path, list), path):
        pair = (value(entry, "candidate", str, where), value(entry, "target", str, where))
        if pair in seen:
            raise ValueError(f"{where}: {pair} stands in {seen[pair]} too; keep one caption a pair")
        seen[pair] = where
        if "captions" in entry and "caption" not in entry:
            found = strings(entry, "captions", where)
            if len(found) != 1:
                raise ValueError(f"{where}: {len(found)} captions; {LAYOUT}")
            yield where, pair, found[0]
        else:
            yield where, pair, value(entry, "caption", str, where)


def _category_of(path: Path, context: Context) -> str:
    root = data_root(context.data_root, Predictions.name, "captions/cap.CATEGORY.val.json")
    first = next(read_captions(path), None)
    if first is None:
        raise ValueError(f"{path} is an empty list; {LAYOUT}")
    there = []
    for category in CATEGORIES:
        if not (root / f"captions/cap.{category}.val.json").is_file():
            continue
        there.append(category)
        pairs = read_pairs(caption_file(root, category), split_file(root, category, "val"))
        if first[1] in {(pair.reference, pair.target) for pair in pairs}:
            return category
    if not there:
        raise FileNotFoundError(f"{root} lacks captions/cap.CATEGORY.val.json; {REMEDY}")
    raise ValueError(
        f"{first[0]}: {first[1]} is no validation pair of {', '.join(there)}; the order is "
        "candidate (the reference), target"
    )


def _answers(
    system: Any, queries: Sequence[Query], task: Task, missing: dict[str, str]
) -> dict[str, str]:
    """query id -> words; pictures that cannot be decoded are noted and their pairs left out."""
    names, dialogues = [], []
    for query in queries:
        decoded = _decoded(query, task, missing)
        if decoded is not None:
            names.append(query.id)
            dialogues.append(decoded)
    if isinstance(system, RelativeCaptioner):
        said = list(system.describe_changes(dialogues))
        if len(said) != len(names):
            raise ValueError(
                f"{type(system).__name__}.describe_changes gave {len(said)} captions for "
                f"{len(names)} pairs; expected one each"
            )
    else:
        said = [system.reply(dialogue).text for dialogue in dialogues]
    return dict(zip(names, said, strict=True))


def _decoded(query: Query, task: Task, missing: dict[str, str]) -> Dialogue | None:
    for name in query.shown:
        if name in missing:
            return None
        try:
            task.pictures.load(name)
        except (FileNotFoundError, ValueError) as error:
            missing[name] = str(error)
            return None
    return with_pixels(query.dialogue, task.pictures.load)


DRESS, SHIRT, TOPTEE = (FashionIQCaptions(category) for category in CATEGORIES)
BY_CATEGORY = dict(zip(CATEGORIES, (DRESS, SHIRT, TOPTEE), strict=True))
PREDICTIONS = Predictions()
