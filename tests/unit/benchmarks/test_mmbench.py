from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatsearcher.benchmarks import BENCHMARKS, SCORERS, Context
from chatsearcher.benchmarks.answers.choices import UNDECIDED, chosen
from chatsearcher.benchmarks.answers.mmbench_table import read_questions, table
from tests.fixtures.miniatures.answers import (
    MMBENCH,
    Says,
    cell,
    make_mmbench,
    mmbench_rows,
    write_table,
)

DEV = "mmbench_dev_20230712.tsv"
COLOURS = {"A": "Red", "B": "green", "C": "blue", "D": "blue green"}


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("B", "B"),
        ("(B)", "B"),
        ("B. green", "B"),
        ("The answer is C.", "C"),
        ("The correct option is: D!", "D"),
        ("A", "A"),
        ("A.", "A"),
        ("A red thing is there", "A"),  # not by its letter: it holds one option's text
        ("A thing that I cannot name", UNDECIDED),  # the article
        ("red", "A"),
        ("It is RED, I think", "A"),
        ("blue green", "D"),  # the whole answer is one option, though it holds others
        ("it is blue green", UNDECIDED),  # holds three
        ("A or B", UNDECIDED),
        ("A and the blue one", "C"),  # five words: "A" may be the article
        ("b", UNDECIDED),  # no capital
        ("purple", UNDECIDED),
        ("", UNDECIDED),
        ("E", UNDECIDED),
        ("red " * 20, UNDECIDED),  # an essay
    ],
)
def test_which_option_an_answer_means(answer: str, letter: str) -> None:
    assert chosen(answer, COLOURS) == letter


def predictions(root: Path, said, name: str = "answers.xlsx") -> Path:
    """A file with an answer to every row, by ``said(row)``."""
    rows = [{**row, "prediction": said(row)} for row in mmbench_rows()]
    path = root / name
    if path.suffix == ".xlsx":
        openpyxl = pytest.importorskip("openpyxl")
        book = openpyxl.Workbook()
        names = ("index", "question", "A", "B", "C", "D", "answer", "prediction")
        book.active.append(names)
        for row in rows:
            book.active.append([int(row["index"]), *(row[key] for key in names[1:])])
        book.save(path)
    else:
        write_table(path, [{key: row[key] for key in ("index", "prediction")} for row in rows])
    return path


def score(root: Path, path: Path):
    return SCORERS["mmbench"].score_predictions([path], Context(data_root=root))


@pytest.mark.parametrize("name", ["answers.xlsx", "answers.tsv"])
def test_a_question_is_right_only_if_all_its_rotations_are(tmp_path: Path, name: str) -> None:
    root = make_mmbench(tmp_path)
    assert score(root, predictions(root, lambda row: row["answer"], name)).metrics == {
        "circular accuracy": 100,
        "accuracy": 100,
        "CP": 100,
        "LR": 100,
    }

    def one_slip(row: dict[str, str]) -> str:
        return "no idea" if row["index"] == "2000252" else row["answer"]

    result = score(root, predictions(root, one_slip, name))
    assert result.metrics == {"circular accuracy": 75, "accuracy": 100, "CP": 50, "LR": 100}
    assert result.counts["queries"] == 16
    assert result.counts["questions"] == 4
    assert result.counts["undecided answers"] == 1
    assert result.settings["file"] == DEV
    assert "undecided is wrong" in result.settings["choice"]
    assert any(note.startswith("not the official data: 4 questions") for note in result.notes)

    def first_only(row: dict[str, str]) -> str:
        right = next(colour for index, colour, *_ in MMBENCH if int(row["index"]) % 10**6 == index)
        return right if int(row["index"]) < 10**6 else row["A"]

    result = score(root, predictions(root, first_only, name))
    assert result.metrics["accuracy"] == 100
    assert result.metrics["circular accuracy"] == 0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from("ABCD"), min_size=16, max_size=16))
def test_against_a_slow_one(letters: list[str]) -> None:
    from chatsearcher.benchmarks.answers.asking import Exam
    from chatsearcher.benchmarks.answers.mmbench_table import Row
    from chatsearcher.benchmarks.task import Task

    rows = {
        row["index"]: Row(
            int(row["index"]),
            row["question"],
            "",
            {letter: row[letter] for letter in "ABCD"},
            row["answer"],
            row["l2-category"],
            0,
        )
        for row in mmbench_rows()
    }
    said = dict(zip(rows, letters, strict=True))
    task = Task((), (), None, "")  # type: ignore[arg-type]
    found = BENCHMARKS["mmbench"].score(Exam(task, rows), said)
    hits = []
    for index, *_ in MMBENCH:
        turns = [str(index + turn * 10**6) for turn in range(4)]
        hits.append(np.prod([float(said[turn] == rows[turn].answer) for turn in turns]))
    first = [float(said[str(index)] == rows[str(index)].answer) for index, *_ in MMBENCH]
    assert found.samples["circular accuracy"].mean() == pytest.approx(100 * np.mean(hits), abs=1e-9)
    assert found.samples["accuracy"].mean() == pytest.approx(100 * np.mean(first), abs=1e-9)


def test_a_cell_may_name_the_row_with_the_picture(tmp_path: Path) -> None:
    root = make_mmbench(tmp_path)
    rows, pictures = read_questions(root / DEV)
    assert {row.image for row in rows} == {index for index, *_ in MMBENCH}
    assert all(row.image == row.group for row in rows)
    assert pictures.load("252").size == (16, 16)
    again = [{**row, "image": cell(int(row["index"]) % 10**6)} for row in mmbench_rows()]
    write_table(root / DEV, again)  # the same picture in every rotation is one picture
    repeated, _ = read_questions(root / DEV)
    assert [row.image for row in repeated] == [row.image for row in rows]


def test_a_system_reads_hint_question_and_options(tmp_path: Path) -> None:
    root = make_mmbench(tmp_path)
    right = {row["index"]: row["answer"] for row in mmbench_rows()}
    system = Says(lambda dialogue: f"({right[dialogue.id or '']})")
    result = BENCHMARKS["mmbench"].run(system, Context(data_root=root))
    assert result.metrics["circular accuracy"] == 100
    assert system.heard[1].text == (
        "Look twice,\nthen answer.\nWhich colour has thing 252?\n"
        "A. red\nB. green\nC. blue\nD. a dark kind of grey\n"
        "Answer with the option's letter from the given choices directly."
    )
    assert not result.shrunken


def test_a_broken_picture_takes_all_rotations_with_it(tmp_path: Path) -> None:
    root = make_mmbench(tmp_path)
    rows = mmbench_rows()
    rows[0]["image"] = "AAAA" * 30
    write_table(root / DEV, rows)
    right = {row["index"]: row["answer"] for row in rows}
    result = BENCHMARKS["mmbench"].run(
        Says(lambda dialogue: right[dialogue.id or ""]), Context(data_root=root)
    )
    assert result.shrunken
    assert list(result.missing) == ["241"]
    assert result.counts["questions"] == 3
    assert result.counts["queries left out"] == 4
    assert result.metrics["circular accuracy"] == 100


def test_hidden_answers_make_the_table_to_upload(tmp_path: Path) -> None:
    pytest.importorskip("openpyxl")
    root = make_mmbench(tmp_path / "data")
    options = {"file": "mmbench_test_20230712.tsv"}
    system = Says(lambda dialogue: "=B2" if dialogue.id == "241" else "C\x0b")
    context = Context(data_root=root, options=options, submission=tmp_path / "up")
    result = BENCHMARKS["mmbench"].run(system, context)
    assert result.metrics == {}
    (name,) = result.settings["submission"]
    assert Path(name).name == "mmbench_test_20230712.xlsx"
    written = [row for _, row in table(Path(name), ("index", "prediction"))]
    assert [row["index"] for row in written] == [row["index"] for row in mmbench_rows()]
    assert [row["prediction"] for row in written] == ["=B2"] + ["C"] * 15
    assert list(written[0]) == ["index", "question", *"ABCD", "answer", "prediction"]
    with pytest.raises(ValueError, match="give --submission"):
        BENCHMARKS["mmbench"].run(system, Context(data_root=root, options=options))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.pop(), "no answer to question '3001000'; every one of the 16"),
        (lambda rows: rows.append(dict(rows[0])), "row 16: question '241' is answered twice"),
        (lambda rows: rows[2].update(index="7"), "row 2: '7' is no question"),
        (lambda rows: rows[2].update(index="x7"), "row 2: index 'x7'; expected a whole number"),
        (lambda rows: [row.pop("prediction") for row in rows], "no column 'prediction'"),
    ],
)
def test_a_broken_file_of_answers_is_named(tmp_path: Path, change, message: str) -> None:
    root = make_mmbench(tmp_path)
    path = predictions(root, lambda row: row["answer"], "answers.tsv")
    rows = [row for _, row in table(path, ())]
    change(rows)
    write_table(path, rows)
    with pytest.raises(ValueError, match=message):
        score(root, path)


def test_without_openpyxl_nothing_is_asked(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    root = make_mmbench(tmp_path)
    system = Says("A")
    with pytest.raises(ImportError, match=r"chatsearcher\[eval\]"):
        BENCHMARKS["mmbench"].run(system, Context(data_root=root, submission=tmp_path / "up"))
    assert not system.heard


def test_what_is_no_table_is_named(tmp_path: Path) -> None:
    pytest.importorskip("openpyxl")
    root = make_mmbench(tmp_path)
    path = root / "answers.xlsx"
    path.write_text("index\tprediction\n")
    with pytest.raises(ValueError, match=r"answers\.xlsx: no XLSX file"):
        score(root, path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[0].update(image="5"), "row 0: image cell '5' is neither"),
        (lambda rows: rows[5].update(image="1000241"), "row 5: image cell '1000241' is neither"),
        (lambda rows: rows[1].update(answer="F"), "row 1: answer 'F'; expected one of A, B, C, D"),
        (lambda rows: rows[1].update(answer=""), "1 of 16 rows have no answer"),
        (lambda rows: rows[1].update(B=""), "row 1: 1 options"),
        (lambda rows: rows[1].update(index="241"), "row 1: index 241 stands twice"),
        (lambda rows: rows.pop(0), "a rotation of question 241, which the file lacks"),
        (lambda rows: [row.pop("image") for row in rows], "no column 'image'"),
    ],
)
def test_broken_questions_are_named(tmp_path: Path, change, message: str) -> None:
    root = make_mmbench(tmp_path)
    rows = mmbench_rows()
    change(rows)
    write_table(root / DEV, rows)
    with pytest.raises(ValueError, match=message):
        BENCHMARKS["mmbench"].load(root, {})


def test_two_options_are_enough_and_long_cells_are_read(tmp_path: Path) -> None:
    row = {"index": "5", "question": "q", "A": "yes", "B": "no", "C": "nan", "D": ""}
    write_table(
        tmp_path / DEV, [{**row, "answer": "B", "image": cell(1) + " " * 0 + "A" * 200_000}]
    )
    before = csv.field_size_limit()
    rows, _ = read_questions(tmp_path / DEV)
    assert rows[0].options == {"A": "yes", "B": "no"}
    assert csv.field_size_limit() == before
    with pytest.raises(FileNotFoundError, match="MMBench_DEV_EN"):
        BENCHMARKS["mmbench"].load(make_empty(tmp_path), {})


def make_empty(folder: Path) -> Path:
    empty = folder / "empty"
    empty.mkdir()
    return empty
