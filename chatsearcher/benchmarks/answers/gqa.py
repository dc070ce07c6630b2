"""GQA: compositional questions about scenes, one right answer each."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from chatsearcher.benchmarks.annotations import (
    checksum,
    data_root,
    find_file,
    read_json,
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
    question,
)
from chatsearcher.benchmarks.answers.vqav2 import SINGLE_WORD
from chatsearcher.benchmarks.card import PLAIN, Card
from chatsearcher.benchmarks.results import write_json
from chatsearcher.benchmarks.task import FilePictures, Task

LAYOUT = 'expected [{"questionId": "201307251", "prediction": "yes"}, …]'
QUESTIONS = "testdev_balanced_questions.json"
STRUCTURES = ("verify", "query", "choose", "logical", "compare")
SEMANTICS = ("obj", "attr", "cat", "rel", "global")


@dataclass(frozen=True)
class Truth:
    """The right answer, and the kinds of question that it is of."""

    answer: str
    structure: str
    semantics: str
    group: str | None


class GQA(AnswerBenchmark):
    """The balanced questions of the test-dev split."""

    card = Card(
        name="gqa",
        data=f"{QUESTIONS}, images/",
        sizes={"queries": 12_578},
        metrics=("accuracy", "binary", "open", *STRUCTURES, *SEMANTICS, "distribution"),
        primary="accuracy",
        protocol="exact match over the balanced questions; answers of a system are lower-cased and "
        "lose their full stop (LLaVA-1.5), files are scored as they are (official evaluator)",
        source="Hudson and Manning, GQA (CVPR 2019); gqadataset.org, eval.py",
        lower=frozenset({"distribution"}),
        prompts={"single-word-1": SINGLE_WORD, PLAIN: "{text}"},
    )

    def read(self, root: Path | None, options: Mapping[str, str]) -> Exam:
        """Questions that are balanced, with their answers.

        Raises:
            FileNotFoundError, ValueError: with the file, the question and the remedy.
        """
        root = data_root(root, self.name, self.card.data)
        path = find_file(
            root,
            QUESTIONS,
            f"questions/{QUESTIONS}",
            remedy="download the questions from gqadataset.org and unpack them here",
        )
        truths, queries = {}, []
        pictures: dict[str, None] = {}
        for id, entry in read_json(path, dict).items():
            where = f"{path}, question {id}"
            if not isinstance(entry, dict):
                raise ValueError(f"{where}: {entry!r}; expected an object")
            if not entry.get("isBalanced", True):
                continue
            picture = value(entry, "imageId", str, where)
            pictures[picture] = None
            queries.append(question(id, picture, value(entry, "question", str, where)))
            truths[id] = _truth(entry, where)
        task = Task(
            images=tuple(pictures),
            queries=tuple(queries),
            pictures=FilePictures(root, lambda picture: [f"images/{picture}.jpg"]),
            data=checksum(root, [path]),
            space="gqa",
        )
        return Exam(task, truths, sizes=self.card.sizes)

    def asker(self, system: Any, exam: Exam, options: Mapping[str, str]) -> tuple[Each, str | None]:
        """Words, lower-cased and without the full stop: what answers of GQA look like."""
        return Plain(system, self.name), None

    def score(self, exam: Exam, answers: Mapping[str, str]) -> Scored:
        """Exact matches over all questions and over kinds of them; chi-square of the answers."""
        truths: Mapping[str, Truth] = exam.key
        hits = {id: 100.0 * (said == truths[id].answer) for id, said in answers.items()}
        samples: dict[str, list[float]] = defaultdict(list)
        for id, hit in hits.items():
            truth = truths[id]
            samples["accuracy"].append(hit)
            samples["open" if truth.structure == "query" else "binary"].append(hit)
            samples[truth.structure].append(hit)
            samples[truth.semantics].append(hit)
        distance = answer_distance(
            (truths[id].group, truths[id].answer, answers[id]) for id in hits
        )
        return Scored(
            {name: np.array(values) for name, values in samples.items()},
            {} if distance is None else {"distribution": distance},
            {"empty answers": sum(not said.strip() for said in answers.values())},
        )

    def given(self, path: Path, exam: Exam) -> Mapping[str, str]:
        """``[{"questionId": str, "prediction": str}]``, every balanced question once.

        Raises:
            ValueError: with the file, the row and the remedy.
        """
        rows = (
            (where, str(value(entry, "questionId", (str, int), where)), _said(entry, where))
            for where, entry in rows_of(read_json(path, list), path)
        )
        return answers_once(path, rows, [query.id for query in exam.task.queries], LAYOUT)

    def write(self, folder: Path, exam: Exam, answers: Mapping[str, str]) -> Path:
        """The evaluator's ``--predictions``."""
        path = folder / "testdev_predictions.json"
        write_json(path, [{"questionId": id, "prediction": said} for id, said in answers.items()])
        return path


class Plain(Words):
    """Answers as GQA writes them."""

    def __init__(self, system: Any, name: str) -> None:
        super().__init__(system, name)
        self.settings["normalisation"] = "lower case, no full stop at the end"

    def __call__(self, queries: Any, dialogues: Any) -> list[str]:
        return [said.strip().rstrip(".").lower() for said in super().__call__(queries, dialogues)]


def answer_distance(told: Iterable[tuple[str | None, str, str]]) -> float | None:
    """How far the given answers lie from the right ones, over groups of questions.

    For each group the chi-square sum over its right answers of (given - right)^2 / right in numbers
    of questions, weighted by the group's size, over the number of questions, over 100; 0 is best.

    Args:
        told: (group, right answer, given answer); questions without a group do not count.
    """
    right: dict[str, Counter[str]] = defaultdict(Counter)
    given: dict[str, Counter[str]] = defaultdict(Counter)
    for group, answer, said in told:
        if group is not None:
            right[group][answer] += 1
            given[group][said] += 1
    if not right:
        return None
    weighted, questions = 0.0, 0
    for group, answers in right.items():
        size = sum(answers.values())
        distance = sum((given[group][each] - n) ** 2 / n for each, n in answers.items())
        weighted += distance * size
        questions += size
    return weighted / questions / 100


def _truth(entry: dict[str, Any], where: str) -> Truth:
    types = value(entry, "types", dict, where)
    structure = value(types, "structural", str, where)
    semantics = value(types, "semantic", str, where)
    if structure not in STRUCTURES or semantics not in SEMANTICS:
        raise ValueError(
            f"{where}: type {structure!r}, {semantics!r}; expected one of {', '.join(STRUCTURES)} "
            f"and one of {', '.join(SEMANTICS)}"
        )
    groups = entry.get("groups")
    group = groups.get("global") if isinstance(groups, dict) else None
    return Truth(value(entry, "answer", str, where), structure, semantics, group)


def _said(entry: dict[str, Any], where: str) -> str:
    return value(entry, "prediction", str, where)


TESTDEV = GQA()
