"""VQAv2: open questions about COCO pictures, ten people's answers to each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from chatsearcher.benchmarks.annotations import (
    checksum,
    data_root,
    find_file,
    once,
    read_json,
    rows_of,
    value,
)
from chatsearcher.benchmarks.answers.asking import (
    AnswerBenchmark,
    Exam,
    Scored,
    answers_once,
    question,
)
from chatsearcher.benchmarks.answers.vqa_words import PEOPLE, accuracy
from chatsearcher.benchmarks.card import PLAIN, Card
from chatsearcher.benchmarks.results import write_json
from chatsearcher.benchmarks.task import FilePictures, Task

SINGLE_WORD = "{text}\nAnswer the question using a single word or phrase."  # LLaVA-1.5
LAYOUT = 'expected [{"question_id": 262148000, "answer": "yes"}, …]'
REMEDY = "download the questions and annotations of VQA v2.0 from visualqa.org and unpack them here"
TYPES = ("yes/no", "number", "other")


@dataclass(frozen=True)
class Split:
    """One split: where its pictures lie, and how many questions it has."""

    subtype: str
    folder: str
    picture: str
    questions: int
    public: bool


SPLITS = {
    "val": Split("val2014", "val2014", "COCO_val2014_", 214_354, True),
    "test-dev": Split("test-dev2015", "test2015", "COCO_test2015_", 107_394, False),
    "test": Split("test2015", "test2015", "COCO_test2015_", 447_793, False),
}


@dataclass(frozen=True)
class Truth:
    """What ten people answered, and the kind of their answers."""

    answers: tuple[str, ...]
    kind: str


class VQAv2(AnswerBenchmark):
    """Open-ended questions; the validation split unless told otherwise."""

    card = Card(
        name="vqav2",
        data="v2_OpenEnded_mscoco_val2014_questions.json, v2_mscoco_val2014_annotations.json, "
        "val2014/ (test-dev and test: their questions, test2015/)",
        sizes={"queries": 214_354, "test-dev queries": 107_394, "test queries": 447_793},
        metrics=("accuracy", *TYPES),
        primary="accuracy",
        protocol="VQA accuracy of the official evaluator: mean over the ten sets of nine people of "
        "min(1, agreeing / 3), its normalisation done once, none where all ten agree",
        source="Goyal et al., Making the V in VQA Matter (CVPR 2017); "
        "github.com/GT-Vision-Lab/VQA @a013f00",
        prompts={"single-word-1": SINGLE_WORD, PLAIN: "{text}"},
        options={"split": f"{', '.join(SPLITS)}; val (the others have no public answers)"},
    )

    def read(self, root: Path | None, options: Mapping[str, str]) -> Exam:
        """Questions, and the ten answers where they are public.

        Raises:
            FileNotFoundError, ValueError: with the file, the row and the remedy.
        """
        name = options.get("split", "val")
        if name not in SPLITS:
            raise ValueError(f"split={name!r}; expected one of {', '.join(SPLITS)}")
        split = SPLITS[name]
        root = data_root(root, self.name, self.card.data)
        asked = _file(root, "Questions", f"v2_OpenEnded_mscoco_{split.subtype}_questions.json")
        files = [asked]
        queries = []
        pictures: dict[str, None] = {}
        seen: dict[str, str] = {}
        for where, entry in _entries(asked, "questions"):
            picture = str(value(entry, "image_id", int, where))
            pictures[picture] = None
            id = str(value(entry, "question_id", int, where))
            once(seen, id, where, "question")
            queries.append(question(id, picture, value(entry, "question", str, where)))
        truths: dict[str, Truth] = {}
        if split.public:
            told = _file(root, "Annotations", f"v2_mscoco_{split.subtype}_annotations.json")
            files.append(told)
            truths = _truths(told, {query.id for query in queries})

        def places(picture: str) -> list[str]:
            file = f"{split.folder}/{split.picture}{int(picture):012}.jpg"
            return [file, f"Images/{file}", f"Images/mscoco/{file}"]

        task = Task(
            images=tuple(pictures),
            queries=tuple(queries),
            pictures=FilePictures(root, places),
            data=checksum(root, files),
            space="coco",
        )
        return Exam(task, truths, split.public, {"queries": split.questions}, {"split": name})

    def score(self, exam: Exam, answers: Mapping[str, str]) -> Scored:
        """VQA accuracy over all questions, and over those of each kind of answer."""
        truths: Mapping[str, Truth] = exam.key
        worth = {id: 100 * accuracy(said, truths[id].answers) for id, said in answers.items()}
        samples = {"accuracy": np.array(list(worth.values()))}
        for kind in TYPES:
            some = [points for id, points in worth.items() if truths[id].kind == kind]
            if some:
                samples[kind] = np.array(some)
        return Scored(
            samples, counts={"empty answers": sum(not a.strip() for a in answers.values())}
        )

    def given(self, path: Path, exam: Exam) -> Mapping[str, str]:
        """``[{"question_id": int, "answer": str}]``, every question once."""
        rows = (
            (
                where,
                str(value(entry, "question_id", int, where)),
                value(entry, "answer", str, where),
            )
            for where, entry in rows_of(read_json(path, list), path)
        )
        return answers_once(path, rows, [query.id for query in exam.task.queries], LAYOUT)

    def write(self, folder: Path, exam: Exam, answers: Mapping[str, str]) -> Path:
        """The file that the evaluation server takes."""
        subtype = SPLITS[exam.settings["split"]].subtype
        path = folder / f"vqa_OpenEnded_mscoco_{subtype}_chatsearcher_results.json"
        write_json(path, [{"question_id": int(id), "answer": a} for id, a in answers.items()])
        return path


def _file(root: Path, folder: str, name: str) -> Path:
    return find_file(root, name, f"{folder}/{name}", remedy=REMEDY)


def _entries(path: Path, key: str) -> Iterator[tuple[str, dict[str, Any]]]:
    content = read_json(path, dict)
    return rows_of(value(content, key, list, str(path)), path)


def _truths(path: Path, asked: set[str]) -> dict[str, Truth]:
    """The ten answers of every question.

    Raises:
        ValueError: not ten answers, an ``answer_id`` that is missing or twice (it tells people with
            the same answer apart), an unknown question, or one without annotations.
    """
    truths: dict[str, Truth] = {}
    for where, entry in _entries(path, "annotations"):
        id = str(value(entry, "question_id", int, where))
        if id not in asked:
            raise ValueError(f"{where}: question {id} is not among the questions of this split")
        if id in truths:
            raise ValueError(f"{where}: question {id} is annotated twice; keep one")
        people = value(entry, "answers", list, where)
        if len(people) != PEOPLE:
            raise ValueError(f"{where}: {len(people)} answers, expected {PEOPLE}")
        told, persons = [], set()
        for place, person in enumerate(people):
            there = f"{where}, answer {place}"
            if not isinstance(person, dict):
                raise ValueError(f"{there}: {person!r}; expected an object")
            persons.add(value(person, "answer_id", int, there))
            told.append(value(person, "answer", str, there))
        if len(persons) != PEOPLE:
            raise ValueError(f"{where}: answer_id does not tell the {PEOPLE} people apart")
        truths[id] = Truth(tuple(told), value(entry, "answer_type", str, where))
    lost = next((id for id in asked if id not in truths), None)
    if lost is not None:
        raise ValueError(
            f"{path}: no annotation of question {lost}; are both files of the same split?"
        )
    return truths


VQAV2 = VQAv2()
