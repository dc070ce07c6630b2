from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatsearcher.benchmarks import BENCHMARKS, SCORERS, Context
from chatsearcher.benchmarks.answers.vqa_words import accuracy, normalised
from tests.fixtures.miniatures.answers import VQA, Says, make_vqav2


def score(root: Path, entries: object):
    path = root / "answers.json"
    path.write_text(json.dumps(entries), encoding="utf-8")
    return SCORERS["vqav2"].score_predictions([path], Context(data_root=root))


def entries(said: dict[int, str] | None = None) -> list[dict[str, object]]:
    said = said or {}
    return [{"question_id": id, "answer": said.get(id, people[0])} for id, _, _, people in VQA]


@pytest.mark.parametrize(
    ("agreeing", "expected"), [(0, 0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1), (9, 1), (10, 1)]
)
def test_agreement_with_ten_people(agreeing: int, expected: float) -> None:
    people = ["cat"] * agreeing + [f"other {n}" for n in range(10 - agreeing)]
    assert accuracy("cat", people) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Yes", "yes"),
        ("two", "2"),
        ("none", "0"),
        ("The red bus.", "red bus"),
        ("an apple", "apple"),
        ("dont know", "don't know"),
        ("don't", "don't"),  # the apostrophe is no punctuation
        ("couldnt've", "couldn't've"),
        ("its", "its"),
        ("12:30", "12:30"),  # nor is the colon
        ("3.5", "3.5"),
        ("st. louis", "st louis"),
        ("black-white", "black white"),  # a mark between letters becomes a space
        ("black -white", "black white"),  # with a space at one side it goes
        ("no-ne -x", "0 x"),  # marks go before words are read as numbers
        ("1,000-2", "10002"),  # with a comma between digits every mark goes
        ("what?!", "what"),
        ("." * 40, "." * 8),  # the official script takes at most 32 full stops out
        ("a the an", ""),
    ],
)
def test_normalisation(text: str, expected: str) -> None:
    assert normalised(text) == expected


def test_nothing_is_normalised_where_all_ten_agree() -> None:
    assert accuracy("The bus", ["the bus"] * 10) == 0
    assert accuracy("The bus", ["The bus"] * 10) == 1
    assert accuracy(" The\nbus\t", ["The bus"] * 10) == 1  # but for white space
    assert accuracy("bus", ["The bus"] * 9 + ["car"]) == 1
    assert accuracy("two", ["2"] * 10) == 0
    assert accuracy("two", ["2"] * 9 + ["3"]) == 1


def slow_accuracy(answer: str, people: list[str]) -> float:
    """As the paper says it: leave each person out in turn."""
    if len(set(people)) > 1:
        answer, people = normalised(answer), [normalised(each) for each in people]
    shares = []
    for left_out in range(len(people)):
        others = [said for person, said in enumerate(people) if person != left_out]
        shares.append(min(1.0, sum(said == answer for said in others) / 3))
    return sum(shares) / len(shares)


WORDS = st.sampled_from(["yes", "Yes", "no", "two", "2", "the cat", "cat", "a-b", "a b", "dont"])


@settings(max_examples=200, deadline=None)
@given(WORDS, st.lists(WORDS, min_size=10, max_size=10))
def test_the_closed_form_is_the_mean_over_leave_one_out(answer: str, people: list[str]) -> None:
    assert accuracy(answer, people) == pytest.approx(slow_accuracy(answer, people), abs=1e-9)


def test_figures_and_counts_of_a_file(tmp_path: Path) -> None:
    root = make_vqav2(tmp_path)
    result = score(root, entries({25002: "Two.", 30001: "bus", 30002: "grey", 9001: ""}))
    expected = {9000: 1, 9001: 0, 25000: 1, 25001: 1, 25002: 1, 30000: 1, 30001: 1, 30002: 0}
    assert result.metrics["accuracy"] == pytest.approx(100 * np.mean(list(expected.values())))
    assert result.metrics["yes/no"] == pytest.approx(75)
    assert result.metrics["number"] == pytest.approx(100)
    assert result.metrics["other"] == pytest.approx(50)
    assert list(result.metrics) == ["accuracy", "yes/no", "number", "other"]
    assert result.primary == "accuracy"
    assert result.counts["queries"] == 8
    assert result.counts["pictures"] == 3
    assert result.counts["empty answers"] == 1
    assert result.settings["split"] == "val"
    low, high = result.intervals["accuracy"]
    assert low < 75 < high
    assert any(note.startswith("not the official data: 8 queries") for note in result.notes)


def test_the_ten_sets_of_a_hedged_question(tmp_path: Path) -> None:
    """ "the red bus" of three and "red bus" of two are one answer of five."""
    result = score(make_vqav2(tmp_path), entries({30001: "red bus", 30002: "Gray"}))
    assert result.metrics["other"] == pytest.approx(100 * (1 + 0.3) / 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e: e[:-1], "no answer to question '30002'; every one of the 8"),
        (lambda e: [*e, e[0]], r"answers\.json, row 8: question '9000' is answered twice"),
        (lambda e: [*e, {"question_id": 1, "answer": "x"}], "row 8: '1' is no question"),
        (lambda e: [{"question_id": "9000", "answer": "yes"}], "row 0: 'question_id' is '9000'"),
        (lambda e: [{"question_id": 9000}], "row 0: no key 'answer'"),
        (lambda e: {"answers": e}, "expected a list at the top"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, change, message: str) -> None:
    root = make_vqav2(tmp_path)
    with pytest.raises(ValueError, match=message):
        score(root, change(entries()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a["answers"].pop(), "row 0: 9 answers, expected 10"),
        (lambda a: a["answers"][3].pop("answer_id"), "row 0, answer 3: no key 'answer_id'"),
        (lambda a: a["answers"][3].update(answer_id=1), "does not tell the 10 people apart"),
        (lambda a: a.update(question_id=77), "question 77 is not among"),
    ],
)
def test_broken_annotations_are_named(tmp_path: Path, change, message: str) -> None:
    root = make_vqav2(tmp_path)
    path = root / "v2_mscoco_val2014_annotations.json"
    content = json.loads(path.read_text())
    change(content["annotations"][0])
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        score(root, entries())


def test_a_system_is_asked_with_the_prompt_and_the_picture(tmp_path: Path) -> None:
    root = make_vqav2(tmp_path)
    right = {id: people[0] for id, _, _, people in VQA}
    system = Says(lambda dialogue: right[int(dialogue.id or "")])
    result = BENCHMARKS["vqav2"].run(system, Context(spec="says", data_root=root))
    assert result.metrics == pytest.approx(score(root, entries()).metrics)
    assert system.heard[0].text == (
        "What about 9000?\nAnswer the question using a single word or phrase."
    )
    assert [image.id for image in system.heard[0].images] == ["9"]
    assert result.settings["prompt"] == "single-word-1"
    assert result.settings["answers"] == "words or a picture"
    assert result.retriever == {"spec": "says", "fingerprint": "says"}
    plain = Says("yes")
    BENCHMARKS["vqav2"].run(plain, Context(data_root=root, prompt="plain-1"))
    assert plain.heard[0].text == "What about 9000?"


def test_pictures_that_cannot_be_had_take_their_questions_with_them(tmp_path: Path) -> None:
    root = make_vqav2(tmp_path)
    (root / "val2014/COCO_val2014_000000000009.jpg").unlink()
    (root / "val2014/COCO_val2014_000000000030.jpg").write_bytes(b"no picture")
    result = BENCHMARKS["vqav2"].run(Says("yes"), Context(data_root=root))
    assert result.shrunken
    assert set(result.missing) == {"9", "30"}
    assert result.counts["missing images"] == 2
    assert result.counts["queries"] == 3
    assert result.counts["queries left out"] == 5
    assert result.metrics["accuracy"] == pytest.approx(100 / 3)
    assert any(note.startswith("shrunken: 2 of 3 pictures") for note in result.notes)
    (root / "val2014/COCO_val2014_000000000025.jpg").unlink()
    with pytest.raises(FileNotFoundError, match="no question's picture"):
        BENCHMARKS["vqav2"].run(Says("yes"), Context(data_root=root))


def test_hidden_answers_make_a_file_to_upload(tmp_path: Path) -> None:
    root = make_vqav2(tmp_path / "data")
    options = {"split": "test-dev"}
    benchmark = BENCHMARKS["vqav2"]
    with pytest.raises(ValueError, match="give --submission"):
        benchmark.run(Says("yes"), Context(data_root=root, options=options))
    context = Context(data_root=root, options=options, submission=tmp_path / "up")
    result = benchmark.run(Says("yes"), context)
    assert result.metrics == {}
    assert result.primary == ""
    (name,) = result.settings["submission"]
    content = json.loads(Path(name).read_text())
    assert content == [{"question_id": id, "answer": "yes"} for id, *_ in VQA]
    ids = [row["question_id"] for row in content]
    assert all(a < b for a, b in pairwise(ids))
    (root / "test2015/COCO_test2015_000000000009.jpg").unlink()
    with pytest.raises(ValueError, match="submission would lack answers"):
        benchmark.run(Says("yes"), context)


def test_what_cannot_speak_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"only searches.*chatsearcher score vqav2"):
        BENCHMARKS["vqav2"].run(object(), Context(data_root=tmp_path))
    with pytest.raises(ValueError, match="split='train'"):
        BENCHMARKS["vqav2"].load(tmp_path, {"split": "train"})
