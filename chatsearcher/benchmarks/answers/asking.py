"""Asking a system questions about pictures, and what every such benchmark shares.

A benchmark of this kind is a class with a ``card``, ``read`` (official files -> ``Exam``),
``score`` (answers -> ``Scored``), ``given`` and ``write`` (its submission format). Everything else
is here: missing pictures, prompts, intervals, counts, the result.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from chatsearcher.benchmarks import Context
from chatsearcher.benchmarks.card import Card
from chatsearcher.benchmarks.predictions import result_of
from chatsearcher.benchmarks.results import Result
from chatsearcher.benchmarks.single_query import with_pixels
from chatsearcher.benchmarks.task import Query, Task
from chatsearcher.dialogue import Dialogue, Image
from chatsearcher.retriever import Assistant

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

ASKED_AT_ONCE = 64  # questions handed to a system together
KEPT_PICTURES = 128  # decoded, since several questions are asked about one picture

Each = Callable[[Sequence[Query], Sequence[Dialogue]], Sequence[str]]
"""Questions and their dialogues with decoded pictures -> one answer each."""


@runtime_checkable
class Answerer(Protocol):
    """A system that answers in words and never with a picture."""

    def answer(self, dialogues: Sequence[Dialogue]) -> Sequence[str]:
        """One answer each; the dialogues end in a user's turn, pictures decoded."""
        ...


@dataclass(frozen=True)
class Exam:
    """What was read of a benchmark.

    Attributes:
        task: one query a question; the pictures they show.
        key: what ``score`` and ``write`` need to know of the questions.
        public: whether the right answers are.
        sizes: the official counts of just these files (a split, a language), by name of count.
        settings: what the files decided and the result must say.
    """

    task: Task
    key: Any
    public: bool = True
    sizes: Mapping[str, int] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Scored:
    """What answers are worth.

    Attributes:
        samples: figure -> its value for each question (or group of them), in percent.
        metrics: figures that are no means over questions.
        counts: further counts.
    """

    samples: Mapping[str, np.ndarray]
    metrics: Mapping[str, float] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)


class AnswerBenchmark(ABC):
    """A benchmark of questions about pictures."""

    card: Card

    @property
    def name(self) -> str:
        """The registered name."""
        return self.card.name

    @abstractmethod
    def read(self, root: Path | None, options: Mapping[str, str]) -> Exam:
        """Read the official files.

        Raises:
            FileNotFoundError, ValueError: with the file, the row and the remedy.
        """

    @abstractmethod
    def score(self, exam: Exam, answers: Mapping[str, str]) -> Scored:
        """The figures of answers by query id; questions without one were left out."""

    @abstractmethod
    def given(self, path: Path, exam: Exam) -> Mapping[str, str]:
        """Answers by query id from a file in the official submission format, every question once.

        Raises:
            ValueError: with the file, the row and the remedy.
        """

    @abstractmethod
    def write(self, folder: Path, exam: Exam, answers: Mapping[str, str]) -> Path:
        """Write the official submission file."""

    def can_write(self) -> None:
        """Complain, before anything is asked, where ``write`` would lack a package."""
        return

    def check(self, system: Any) -> None:
        """Refuse a system that cannot answer, before anything is read.

        Raises:
            ValueError: it says nothing.
        """
        check_speaks(system, self.name)

    def asker(self, system: Any, exam: Exam, options: Mapping[str, str]) -> tuple[Each, str | None]:
        """How the system is asked, and the prompt to ask with by default (None: the card's)."""
        return Words(system, self.name), None

    def load(self, root: Path | None, options: Mapping[str, str]) -> Task:
        """Pictures and questions in order: what ``--list`` prints."""
        return self.read(root, options).task

    def run(self, system: Any, context: Context | None = None) -> Result:
        """Ask the system every question, and score its answers.

        Raises:
            ValueError: a system that cannot answer; hidden answers and no submission folder.
            FileNotFoundError: not one picture is there.
        """
        context = context or Context()
        started = time.perf_counter()
        options = self.card.checked_options(context.options)
        self.check(system)
        exam = self.read(context.data_root, options)
        if not exam.public and context.submission is None:
            raise ValueError(
                f"the answers of these questions of {self.name} are not public: give --submission "
                "FOLDER for the file to upload"
            )
        each, usual = self.asker(system, exam, options)
        prompt, template = self.card.prompt(context.prompt or usual)
        whole = exam.task.prompted(template)
        if context.submission is not None:  # before hours of asking
            self.can_write()
            self._refuse_gaps(whole.pictures.missing(whole.images))
        answers, missing = ask(self.name, whole, each, context)
        settings: dict[str, Any] = {"prompt": prompt, "prompt text": template}
        if options:
            settings["options"] = dict(options)
        settings |= {**exam.settings, **getattr(each, "settings", {})}
        if context.submission is not None:
            settings["submission"] = [str(self._submit(context.submission, exam, answers, missing))]
        result = self._result(exam, answers, [], settings, started)
        counts = {**result.counts, **getattr(each, "counts", {})}
        counts["missing images"] = len(missing)
        counts["queries left out"] = len(whole.queries) - len(answers)
        return replace(
            result,
            retriever={
                "spec": context.spec,
                "fingerprint": str(getattr(system, "fingerprint", "")),
            },
            counts=counts,
            missing=dict(sorted(missing.items())),
            shrunken=bool(missing),
            notes=[*result.notes, *shrunken_notes(whole, answers, missing)],
        )

    def score_predictions(self, paths: Sequence[Path], context: Context) -> Result:
        """Score answers made elsewhere, in the official submission format.

        Raises:
            ValueError: more than one file, or a file that the official evaluator would refuse.
        """
        started = time.perf_counter()
        if len(paths) != 1:
            raise ValueError(f"{len(paths)} files of answers; {self.name} has one")
        exam = self.read(context.data_root, self.card.checked_options(context.options))
        answers = self.given(paths[0], exam)
        settings: dict[str, Any] = {"options": dict(context.options)} if context.options else {}
        return self._result(exam, answers, paths, {**settings, **exam.settings}, started)

    def _submit(
        self,
        folder: Path,
        exam: Exam,
        answers: Mapping[str, str],
        missing: Mapping[str, str],
    ) -> Path:
        self._refuse_gaps(missing)
        folder.mkdir(parents=True, exist_ok=True)
        return self.write(folder, exam, answers)

    def _refuse_gaps(self, missing: Mapping[str, str]) -> None:
        if missing:
            raise ValueError(
                f"{self.name}: {len(missing)} pictures are missing ({next(iter(missing))!r} is "
                "one), so the submission would lack answers; get them first"
            )

    def _result(
        self,
        exam: Exam,
        answers: Mapping[str, str],
        paths: Sequence[Path],
        settings: Mapping[str, Any],
        started: float,
    ) -> Result:
        scored = self.score(exam, answers) if exam.public else Scored({})
        whole = {"queries": len(exam.task.queries), "pictures": len(exam.task.images)}
        counts = {**whole, "queries": len(answers), **exam.task.facts, **scored.counts}
        card = replace(self.card, sizes={})  # those of the files that were read are compared here
        result = result_of(
            card, paths, exam.task.data, scored.samples, counts, scored.metrics, settings, started
        )
        read = {**whole, **exam.task.facts}
        marks = [
            f"not the official data: {read[what]:,} {what} where there are {size:,} of them"
            for what, size in exam.sizes.items()
            if what in read and read[what] != size
        ]
        return replace(result, notes=[*marks, *result.notes])


class Words:
    """Lets a system answer in words.

    Args:
        system: an ``Answerer``, or an ``Assistant``, which may show a picture instead.
        name: the benchmark's, for the error.

    Attributes:
        counts: how many questions were answered with a picture, and so wrongly.
        settings: which of the two it is.
    """

    def __init__(self, system: Any, name: str) -> None:
        check_speaks(system, name)
        self._system = system
        self.counts = {"answers with a picture": 0}
        how = "in words only" if isinstance(system, Answerer) else "words or a picture"
        self.settings = {"answers": how}

    def __call__(self, queries: Sequence[Query], dialogues: Sequence[Dialogue]) -> Sequence[str]:
        if isinstance(self._system, Answerer):
            return self._system.answer(dialogues)
        replies = [self._system.reply(dialogue) for dialogue in dialogues]
        self.counts["answers with a picture"] += sum(each.query is not None for each in replies)
        return [each.text for each in replies]


def check_speaks(system: Any, name: str) -> None:
    """Refuse a system that says nothing.

    Raises:
        ValueError: it has neither ``answer`` nor ``reply``.
    """
    if not isinstance(system, Answerer | Assistant):
        raise ValueError(
            f"{name} needs an assistant, which answers in words; {type(system).__name__} only "
            f"searches. Answers made elsewhere are scored by `chatsearcher score {name}`"
        )


def ask(
    name: str, task: Task, each: Each, context: Context
) -> tuple[dict[str, str], dict[str, str]]:
    """Ask every question whose picture can be had.

    Returns:
        query id -> answer, and picture id -> why it could not be used.

    Raises:
        FileNotFoundError: not one question's picture is there.
        ValueError: a system that gives more or fewer answers than it was asked questions.
    """
    missing = task.pictures.missing(task.images)
    left = task.without(missing)
    load = lru_cache(maxsize=KEPT_PICTURES)(task.pictures.load)
    answers: dict[str, str] = {}
    for start in range(0, len(left.queries), ASKED_AT_ONCE):
        queries, dialogues = [], []
        for query in left.queries[start : start + ASKED_AT_ONCE]:
            dialogue = _decoded(query, load, missing)
            if dialogue is not None:
                queries.append(query)
                dialogues.append(dialogue)
        if queries:
            said = list(each(queries, dialogues))
            if len(said) != len(queries):
                raise ValueError(f"{len(said)} answers to {len(queries)} questions; one each")
            answers |= {query.id: text for query, text in zip(queries, said, strict=True)}
        if context.progress is not None:
            done = min(start + ASKED_AT_ONCE, len(left.queries))
            context.progress("questions", done, len(left.queries))
    if not answers:
        raise FileNotFoundError(
            f"{name}: no question's picture can be had; {len(missing):,} of "
            f"{len(task.images):,} miss (the first: {next(iter(missing.values()), '')})"
        )
    return answers, missing


def question(id: str, image: str, text: str) -> Query:
    """A query that shows a picture and asks about it."""
    return Query(id=id, dialogue=Dialogue(id=id).user(Image(image), text))


def shrunken_notes(
    whole: Task, answers: Mapping[str, str], missing: Mapping[str, str]
) -> list[str]:
    """What must be said where pictures are missing."""
    if not missing:
        return []
    return [
        f"shrunken: {len(missing):,} of {len(whole.images):,} pictures are missing, "
        f"{len(whole.queries) - len(answers):,} of {len(whole.queries):,} questions were left out; "
        "not comparable with figures over all of them"
    ]


def answers_once(
    path: Path, rows: Iterable[tuple[str, str, str]], ids: Sequence[str], layout: str
) -> dict[str, str]:
    """Answers by id, each question of ``ids`` once and no other.

    Args:
        rows: (where, question id, answer).
        layout: the format, for the errors.

    Raises:
        ValueError: a question twice, unknown, or without an answer; with the file and the row.
    """
    known = set(ids)
    found: dict[str, str] = {}
    for where, id, text in rows:
        if id not in known:
            raise ValueError(f"{where}: {id!r} is no question of the data under --data-root")
        if id in found:
            raise ValueError(f"{where}: question {id!r} is answered twice; keep one answer")
        found[id] = text
    lost = next((id for id in ids if id not in found), None)
    if lost is not None:
        raise ValueError(
            f"{path}: no answer to question {lost!r}; every one of the {len(known):,} questions "
            f"needs one, {len(found):,} are there ({layout})"
        )
    return found


def _decoded(
    query: Query, load: Callable[[str], PILImage], missing: dict[str, str]
) -> Dialogue | None:
    for name in query.shown:
        if name in missing:
            return None
        try:
            load(name)
        except (FileNotFoundError, ValueError) as error:
            missing[name] = str(error)
            return None
    return with_pixels(query.dialogue, load)
