"""SEED-Bench: four options to a question about a picture, ranked by likelihood or by letter."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from chatsearcher.benchmarks import Context
from chatsearcher.benchmarks.annotations import (
    checksum,
    data_root,
    find_file,
    read_json,
    read_json_lines,
    rows_of,
    value,
)
from chatsearcher.benchmarks.answers.asking import (
    AnswerBenchmark,
    Each,
    Exam,
    Scored,
    Words,
    answers_once,
    check_speaks,
    question,
)
from chatsearcher.benchmarks.answers.choices import LETTER, RULES, UNDECIDED, chosen, with_options
from chatsearcher.benchmarks.card import PLAIN, Card
from chatsearcher.benchmarks.results import Result
from chatsearcher.benchmarks.task import FilePictures, Query, Task
from chatsearcher.dialogue import Dialogue

LETTERS = ("A", "B", "C", "D")
LIKELIHOOD, LETTER_WAY = "likelihood", "letter"
# the types of question that are about pictures, by question_type_id; 10 to 12 are about videos
TYPES = {
    1: "scene understanding",
    2: "instance identity",
    3: "instance attributes",
    4: "instance location",
    5: "instances counting",
    6: "spatial relation",
    7: "instance interaction",
    8: "visual reasoning",
    9: "text understanding",
}
LAYOUT = 'expected lines of {"question_id": "101669", "prediction": "A"}'


@runtime_checkable
class Likelihoods(Protocol):
    """A system that says how likely an answer is."""

    def log_likelihoods(
        self, dialogues: Sequence[Dialogue], answers: Sequence[Sequence[str]]
    ) -> Sequence[Sequence[float]]:
        """For each dialogue, the log-likelihood of each of its answers: the sum over the answer's
        tokens and the one that ends it, given the dialogue."""
        ...


@dataclass(frozen=True)
class Truth:
    """The right letter, the options by letter, the type of question."""

    answer: str
    options: Mapping[str, str]
    kind: int


class SeedBench(AnswerBenchmark):
    """The questions about pictures."""

    card = Card(
        name="seed",
        data="SEED-Bench.json, SEED-Bench-image/",
        sizes={"queries": 14_233},
        metrics=("accuracy", *TYPES.values()),
        primary="accuracy",
        protocol="questions of types 1 to 9; the option of the greatest likelihood (official), or "
        "the letter that was generated: see the result's setting `way`; ties and undecided answers "
        "are wrong",
        source="Li et al., SEED-Bench (CVPR 2024, arXiv:2307.16125); "
        "github.com/AILab-CVC/SEED-Bench",
        prompts={
            PLAIN: "{text}",
            "letter-1": LETTER,
            "question-answer-1": "Question: {text}\nAnswer:",
        },
        options={
            "way": f"{LIKELIHOOD} of the option texts, the question alone being shown, or the "
            f"{LETTER_WAY}, the options being shown; {LIKELIHOOD} where the system can tell it"
        },
    )

    def read(self, root: Path | None, options: Mapping[str, str]) -> Exam:
        """Questions about pictures; those about videos are passed over and counted.

        Raises:
            FileNotFoundError, ValueError: with the file, the row and the remedy.
        """
        way = options.get("way", LIKELIHOOD)
        if way not in (LIKELIHOOD, LETTER_WAY):
            raise ValueError(f"way={way!r}; expected {LIKELIHOOD} or {LETTER_WAY}")
        root = data_root(root, self.name, self.card.data)
        path = find_file(
            root,
            "SEED-Bench.json",
            remedy="download it from the data set AILab-CVC/SEED-Bench",
        )
        entries = value(read_json(path, dict), "questions", list, str(path))
        truths: dict[str, Truth] = {}
        queries, videos = [], []
        pictures: dict[str, None] = {}
        for where, entry in rows_of(entries, path):
            id = str(value(entry, "question_id", (str, int), where))
            if value(entry, "data_type", str, where) != "image":
                videos.append(id)
                continue
            if id in truths:
                raise ValueError(f"{where}: question {id!r} stands twice; keep one")
            truths[id] = _truth(entry, where)
            picture = value(entry, "data_id", str, where)
            pictures[picture] = None
            text = value(entry, "question", str, where)
            if way == LETTER_WAY:
                text = with_options(text, truths[id].options)
            queries.append(question(id, picture, text))
        task = Task(
            images=tuple(pictures),
            queries=tuple(queries),
            pictures=FilePictures(root, lambda picture: [f"SEED-Bench-image/{picture}"]),
            data=checksum(root, [path]),
            facts={"questions about videos passed over": len(videos)},
            space="seed",
        )
        key = _Key(truths, frozenset(videos))
        return Exam(task, key, sizes=self.card.sizes)

    def run(self, system: Any, context: Context | None = None) -> Result:
        """As for every such benchmark; without ``--option way`` the system's ability decides."""
        context = context or Context()
        if "way" not in context.options:
            way = LIKELIHOOD if isinstance(system, Likelihoods) else LETTER_WAY
            context = replace(context, options={**context.options, "way": way})
        return super().run(system, context)

    def asker(self, system: Any, exam: Exam, options: Mapping[str, str]) -> tuple[Each, str | None]:
        """By likelihood with the plain question, or by letter with the options under it."""
        key: _Key = exam.key
        if options.get("way", LIKELIHOOD) == LIKELIHOOD:
            return Likeliest(system, key.truths), PLAIN
        return Lettered(system, self.name, key.truths), "letter-1"

    def check(self, system: Any) -> None:
        """Refuse a system that neither speaks nor tells likelihoods."""
        if not isinstance(system, Likelihoods):
            check_speaks(system, self.name)

    def score(self, exam: Exam, answers: Mapping[str, str]) -> Scored:
        """The right letter, over all questions and over each type."""
        truths = exam.key.truths
        samples: dict[str, list[float]] = defaultdict(list)
        for id, said in answers.items():
            hit = 100.0 * (said == truths[id].answer)
            samples["accuracy"].append(hit)
            samples[TYPES[truths[id].kind]].append(hit)
        undecided = sum(said not in LETTERS for said in answers.values())
        return Scored(
            {name: np.array(some) for name, some in samples.items()},
            counts={"undecided answers": undecided},
        )

    def given(self, path: Path, exam: Exam) -> Mapping[str, str]:
        """Lines of ``{"question_id", "prediction"}``; those about videos may be among them.

        Raises:
            ValueError: with the file, the line and the remedy.
        """
        rows = []
        for where, entry in read_json_lines(path):
            id = str(value(entry, "question_id", (str, int), where))
            if id not in exam.key.videos:
                rows.append((where, id, value(entry, "prediction", str, where)))
        return answers_once(path, rows, [query.id for query in exam.task.queries], LAYOUT)

    def write(self, folder: Path, exam: Exam, answers: Mapping[str, str]) -> Path:
        """The leaderboard's lines."""
        path = folder / "results.json"
        lines = [json.dumps({"question_id": id, "prediction": a}) for id, a in answers.items()]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path


@dataclass(frozen=True)
class _Key:
    truths: Mapping[str, Truth]
    videos: frozenset[str]


class Likeliest:
    """Takes the option whose text is likeliest; the first two equally likely: undecided.

    Raises:
        ValueError: a system that tells no likelihoods, or one that is NaN.
    """

    def __init__(self, system: Any, truths: Mapping[str, Truth]) -> None:
        if not isinstance(system, Likelihoods):
            raise ValueError(
                f"way={LIKELIHOOD} needs a system with log_likelihoods; {type(system).__name__} "
                f"has none: use --option way={LETTER_WAY}"
            )
        self._system = system
        self._truths = truths
        self.settings = {"way": "likelihood of the option texts, sum over tokens and the end"}
        self.counts: dict[str, int] = {}

    def __call__(self, queries: Sequence[Query], dialogues: Sequence[Dialogue]) -> list[str]:
        texts = [list(self._truths[query.id].options.values()) for query in queries]
        told = self._system.log_likelihoods(dialogues, texts)
        return [_likeliest(each, query.id) for each, query in zip(told, queries, strict=True)]


class Lettered(Words):
    """Reads the letter from an answer in words."""

    def __init__(self, system: Any, name: str, truths: Mapping[str, Truth]) -> None:
        super().__init__(system, name)
        self._truths = truths
        self.settings |= {"way": "generated letter", "choice": RULES}

    def __call__(self, queries: Sequence[Query], dialogues: Sequence[Dialogue]) -> list[str]:
        said = super().__call__(queries, dialogues)
        return [
            chosen(text, self._truths[query.id].options)
            for text, query in zip(said, queries, strict=True)
        ]


def _likeliest(told: Sequence[float], id: str) -> str:
    values = np.asarray(told, dtype=np.float64)
    if values.shape != (len(LETTERS),) or np.isnan(values).any():
        raise ValueError(f"question {id!r}: log-likelihoods {told!r}; expected four numbers")
    best = np.flatnonzero(values == values.max())
    return LETTERS[best[0]] if len(best) == 1 else UNDECIDED


def _truth(entry: dict[str, Any], where: str) -> Truth:
    kind = value(entry, "question_type_id", int, where)
    if kind not in TYPES:
        raise ValueError(f"{where}: type {kind} of a question about a picture; expected 1 to 9")
    answer = value(entry, "answer", str, where)
    if answer not in LETTERS:
        raise ValueError(f"{where}: answer {answer!r}; expected one of {', '.join(LETTERS)}")
    options = {
        letter: str(value(entry, f"choice_{letter.lower()}", (str, int, float), where))
        for letter in LETTERS
    }
    return Truth(answer, options, kind)


IMAGES = SeedBench()
