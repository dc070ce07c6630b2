"""MMBench: multiple choice, right only if it stays right when the options are rotated."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from chatsearcher.benchmarks.annotations import checksum, data_root, find_file
from chatsearcher.benchmarks.answers.asking import (
    AnswerBenchmark,
    Exam,
    Scored,
    answers_once,
    question,
)
from chatsearcher.benchmarks.answers.choices import LETTER, RULES, UNDECIDED, chosen, with_options
from chatsearcher.benchmarks.answers.mmbench_table import (
    Row,
    excel,
    index_of,
    read_questions,
    table,
    write_answers,
)
from chatsearcher.benchmarks.card import PLAIN, Card
from chatsearcher.benchmarks.task import Task

CIRCULAR, FIRST = "circular accuracy", "accuracy"
# the six abilities of the second level, by the names in the column l2-category
ABILITIES = {
    "coarse_perception": "CP",
    "finegrained_perception (instance-level)": "FP-S",
    "finegrained_perception (cross-instance)": "FP-C",
    "attribute_reasoning": "AR",
    "logic_reasoning": "LR",
    "relation_reasoning": "RR",
}
# file -> how many questions it holds (rotations not counted); the first that is there is read
FILES = {
    "mmbench_dev_20230712.tsv": 1164,
    "MMBench_DEV_EN.tsv": 1164,
    "mmbench_dev_cn_20231003.tsv": 1164,
    "MMBench_DEV_CN.tsv": 1164,
    "mmbench_test_20230712.tsv": 1784,
    "MMBench_TEST_EN.tsv": 1784,
    "mmbench_test_cn_20231003.tsv": 1784,
    "MMBench_TEST_CN.tsv": 1784,
}
LAYOUT = "expected a table, .xlsx or .tsv, with the columns index and prediction"


class MMBench(AnswerBenchmark):
    """One TSV: the development set unless told otherwise."""

    card = Card(
        name="mmbench",
        data="mmbench_dev_20230712.tsv or MMBench_DEV_EN.tsv (or another of its TSV files)",
        sizes={"questions": 1164, "test questions": 1784},
        metrics=(CIRCULAR, FIRST, *ABILITIES.values()),
        primary=CIRCULAR,
        protocol="CircularEval: a question counts where all its rotations are right; the choice is "
        "read from the answer by rules alone, and one that they do not decide is wrong",
        source="Liu et al., MMBench (ECCV 2024, arXiv:2307.06281); github.com/open-compass/MMBench",
        prompts={"letter-1": LETTER, PLAIN: "{text}"},
        options={"file": "the TSV under the data root; the first there is, English before Chinese"},
    )

    def read(self, root: Path | None, options: Mapping[str, str]) -> Exam:
        """All rotations of all questions.

        Raises:
            FileNotFoundError, ValueError: with the file, the row and the remedy.
        """
        root = data_root(root, self.name, self.card.data)
        names = [options["file"]] if "file" in options else list(FILES)
        path = find_file(
            root, *names, remedy="download a TSV of github.com/open-compass/MMBench to it"
        )
        rows, pictures = read_questions(path)
        hidden = [row for row in rows if row.answer is None]
        if hidden and len(hidden) != len(rows):
            raise ValueError(
                f"{path}: {len(hidden)} of {len(rows)} rows have no answer (index "
                f"{hidden[0].index} is one); expected all of them or none"
            )
        groups = {row.group for row in rows}
        task = Task(
            images=tuple(dict.fromkeys(str(row.image) for row in rows)),
            queries=tuple(question(str(row.index), str(row.image), _asked(row)) for row in rows),
            pictures=pictures,
            data=checksum(root, [path]),
            facts={"questions": len(groups)},
            space=path.stem,
        )
        sizes = {"questions": FILES[path.name]} if path.name in FILES else {}
        by_id = {str(row.index): row for row in rows}
        settings = {"file": path.name, "choice": RULES}
        return Exam(task, by_id, not hidden, sizes, settings)

    def score(self, exam: Exam, answers: Mapping[str, str]) -> Scored:
        """Questions of which every rotation was asked; a rotation left out takes them with it."""
        rows: Mapping[str, Row] = exam.key
        picked = {id: chosen(said, rows[id].options) for id, said in answers.items()}
        groups: dict[int, list[Row]] = defaultdict(list)
        for row in rows.values():
            groups[row.group].append(row)
        samples: dict[str, list[float]] = defaultdict(list)
        for group, members in groups.items():
            if any(str(row.index) not in picked for row in members):
                continue
            right = {row.index: picked[str(row.index)] == row.answer for row in members}
            hit = 100.0 * all(right.values())
            samples[CIRCULAR].append(hit)
            samples[FIRST].append(100.0 * right[group])
            ability = next(row.ability for row in members if row.index == group)
            if ability in ABILITIES:
                samples[ABILITIES[ability]].append(hit)
        counts = {
            "questions": len(samples[CIRCULAR]),
            "undecided answers": sum(each == UNDECIDED for each in picked.values()),
        }
        return Scored({name: np.array(some) for name, some in samples.items() if some}, {}, counts)

    def given(self, path: Path, exam: Exam) -> Mapping[str, str]:
        """A table with the columns index and prediction, every row of the TSV once.

        Raises:
            ValueError: with the file, the row and the remedy.
        """
        rows = (
            (where, str(index_of(entry, where)), entry["prediction"])
            for where, entry in table(path, ("index", "prediction"))
        )
        return answers_once(path, rows, [query.id for query in exam.task.queries], LAYOUT)

    def can_write(self) -> None:
        """XLSX needs a package of its own.

        Raises:
            ImportError: openpyxl is not installed.
        """
        excel()

    def write(self, folder: Path, exam: Exam, answers: Mapping[str, str]) -> Path:
        """The XLSX that the evaluation server takes."""
        rows: Mapping[str, Row] = exam.key
        path = folder / f"{Path(exam.settings['file']).stem}.xlsx"
        write_answers(path, list(rows.values()), {int(id): said for id, said in answers.items()})
        return path


def _asked(row: Row) -> str:
    text = f"{row.hint}\n{row.question}" if row.hint else row.question
    return with_options(text, row.options)


MMBENCH = MMBench()
