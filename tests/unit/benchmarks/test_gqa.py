from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatsearcher.benchmarks import BENCHMARKS, SCORERS, Context
from chatsearcher.benchmarks.answers.gqa import answer_distance
from tests.fixtures.miniatures.answers import GQA, Says, make_gqa

IDS = [f"2013{number:05}" for number in range(len(GQA))]


def score(root: Path, entries: object):
    path = root / "answers.json"
    path.write_text(json.dumps(entries), encoding="utf-8")
    return SCORERS["gqa"].score_predictions([path], Context(data_root=root))


def entries(**said: str) -> list[dict[str, str]]:
    return [
        {"questionId": id, "prediction": said.get(f"q{id}", answer)}
        for id, (_, _, answer, _) in zip(IDS, GQA, strict=True)
    ]


def test_figures_by_kind_of_question(tmp_path: Path) -> None:
    root = make_gqa(tmp_path)
    result = score(root, entries(q201300000="no", q201300008="table"))
    assert result.metrics["accuracy"] == pytest.approx(100 * 10 / 12)
    assert result.metrics["binary"] == pytest.approx(100 * 7 / 8)
    assert result.metrics["open"] == pytest.approx(75)
    assert result.metrics["verify"] == pytest.approx(50)
    assert result.metrics["query"] == pytest.approx(75)
    assert result.metrics["cat"] == pytest.approx(50)
    assert result.metrics["global"] == pytest.approx(100)
    # furniture: 1 chair and 3 tables for 2 and 2; position: as it should be
    assert result.metrics["distribution"] == pytest.approx((1 / 2 + 1 / 2) * 4 / 6 / 100)
    assert result.counts["queries"] == 12  # the one that is not balanced does not count
    assert result.metrics["accuracy"] > result.intervals["accuracy"][0]
    perfect = score(root, entries()).metrics
    assert perfect["accuracy"] == 100
    assert perfect["distribution"] == 0


def test_files_are_scored_as_they_are_and_systems_in_lower_case(tmp_path: Path) -> None:
    root = make_gqa(tmp_path)
    assert score(root, entries(q201300000="Yes.")).metrics["verify"] == 50
    right = dict(zip(IDS, (answer for _, _, answer, _ in GQA), strict=True))
    system = Says(lambda dialogue: f" {right[dialogue.id or ''].capitalize()}. ")
    context = Context(data_root=root, submission=tmp_path / "up")
    result = BENCHMARKS["gqa"].run(system, context)
    assert result.metrics["accuracy"] == 100
    assert "lower case" in result.settings["normalisation"]
    (name,) = result.settings["submission"]
    assert json.loads(Path(name).read_text()) == entries()
    again = SCORERS["gqa"].score_predictions([Path(name)], Context(data_root=root))
    assert again.metrics == result.metrics
    assert system.heard[0].text.endswith("\nAnswer the question using a single word or phrase.")


GROUPS = st.sampled_from([None, "g", "h"])
ANSWERS = st.sampled_from(["red", "blue", "green"])


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(GROUPS, ANSWERS, ANSWERS), min_size=1, max_size=30))
def test_the_distance_of_answers_against_a_slow_one(told) -> None:
    groups = {group for group, _, _ in told if group is not None}
    total, size = 0.0, 0
    for group in groups:
        right = [answer for g, answer, _ in told if g == group]
        given_ = [said for g, _, said in told if g == group]
        for answer in set(right):
            off = given_.count(answer) - right.count(answer)
            total += off * off / right.count(answer) * len(right)
        size += len(right)
    expected = None if not groups else total / size / 100
    found = answer_distance(told)
    if expected is None:
        assert found is None
    else:
        assert found == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e: e[1:], "no answer to question '201300000'; every one of the 12"),
        (lambda e: [*e, e[3]], r"answers\.json, row 12: question '201300003' is answered twice"),
        (lambda e: [{"questionId": "5", "prediction": "x"}], "row 0: '5' is no question"),
        (lambda e: [{"questionId": IDS[0], "answer": "x"}], "row 0: no key 'prediction'"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, change, message: str) -> None:
    root = make_gqa(tmp_path)
    with pytest.raises(ValueError, match=message):
        score(root, change(entries()))


def test_broken_questions_are_named(tmp_path: Path) -> None:
    root = make_gqa(tmp_path)
    path = root / "testdev_balanced_questions.json"
    content = json.loads(path.read_text())
    content[IDS[4]]["types"]["structural"] = "riddle"
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="question 201300004: type 'riddle'"):
        score(root, entries())
    path.unlink()
    with pytest.raises(FileNotFoundError, match="gqadataset"):
        score(root, entries())
