from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatsearcher.benchmarks import BENCHMARKS, SCORERS, Context
from chatsearcher.benchmarks.answers.seed import Likelihoods, _likeliest
from tests.fixtures.miniatures.answers import Judge, Says, make_seed

RIGHT = {str(number): "ABCD"[number % 4] for number in range(8)}


def score(root: Path, lines: list[dict[str, object]]):
    path = root / "answers.json"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return SCORERS["seed"].score_predictions([path], Context(data_root=root))


def lines(**said: str) -> list[dict[str, object]]:
    return [
        {"question_id": id, "prediction": said.get(f"q{id}", right)} for id, right in RIGHT.items()
    ]


def test_figures_by_type_and_videos_passed_over(tmp_path: Path) -> None:
    root = make_seed(tmp_path)
    video = {"question_id": "v", "prediction": "A"}
    result = score(root, [video, *lines(q0="B", q5="(B)", q6="")])
    assert result.metrics["accuracy"] == pytest.approx(100 * 5 / 8)
    assert result.metrics["scene understanding"] == pytest.approx(75)
    assert result.metrics["instance identity"] == pytest.approx(50)  # "(B)" is no letter
    assert result.counts["queries"] == 8
    assert result.counts["undecided answers"] == 2
    assert result.counts["questions about videos passed over"] == 1
    assert any(note.startswith("not the official data: 8 queries") for note in result.notes)


def test_the_likeliest_option_is_the_answer(tmp_path: Path) -> None:
    root = make_seed(tmp_path)

    def rule(dialogue, text: str) -> float:
        right = f"{RIGHT[dialogue.id].lower()} of {dialogue.id}"
        return -1.0 if text == right and dialogue.id != "0" else -2.0 - (text[0] != "d")

    judge = Judge(rule)
    assert isinstance(judge, Likelihoods)
    result = BENCHMARKS["seed"].run(judge, Context(data_root=root))
    assert result.metrics["accuracy"] == pytest.approx(100 * 7 / 8)
    assert result.settings["way"].startswith("likelihood")
    assert result.settings["prompt"] == "plain-1"
    assert judge.heard[0].text == "Which is 0?"  # without the options
    with pytest.raises(ValueError, match="way=likelihood needs a system with log_likelihoods"):
        BENCHMARKS["seed"].run(Says("A"), Context(data_root=root, options={"way": "likelihood"}))
    with pytest.raises(ValueError, match="only searches"):
        BENCHMARKS["seed"].run(object(), Context(data_root=root))
    with pytest.raises(ValueError, match="way='guess'"):
        BENCHMARKS["seed"].run(judge, Context(data_root=root, options={"way": "guess"}))


def test_who_finds_all_options_equally_likely_is_never_right(tmp_path: Path) -> None:
    result = BENCHMARKS["seed"].run(Judge(lambda *_: -3.0), Context(data_root=make_seed(tmp_path)))
    assert result.metrics["accuracy"] == 0
    assert result.counts["undecided answers"] == 8


NUMBERS = st.lists(st.sampled_from([-1.0, -2.5, -2.0, float("-inf")]), min_size=4, max_size=4)


@settings(max_examples=100, deadline=None)
@given(NUMBERS)
def test_the_likeliest_against_a_slow_one(told: list[float]) -> None:
    ranked = sorted(range(4), key=lambda place: -told[place])
    clear = told[ranked[0]] > told[ranked[1]]
    assert _likeliest(told, "q") == ("ABCD"[ranked[0]] if clear else "")


def test_broken_likelihoods_are_refused(tmp_path: Path) -> None:
    root = make_seed(tmp_path)
    with pytest.raises(ValueError, match="question '0': log-likelihoods"):
        BENCHMARKS["seed"].run(Judge(lambda *_: float("nan")), Context(data_root=root))


def test_a_generated_letter_is_read_from_the_answer(tmp_path: Path) -> None:
    root = make_seed(tmp_path)
    system = Says(lambda dialogue: f"{RIGHT[dialogue.id or '']}.")
    context = Context(data_root=root, submission=tmp_path / "up")
    result = BENCHMARKS["seed"].run(system, context)
    assert result.metrics["accuracy"] == 100
    assert result.settings["way"] == "generated letter"
    assert result.settings["prompt"] == "letter-1"
    assert system.heard[0].text == (
        "Which is 0?\nA. a of 0\nB. b of 0\nC. c of 0\nD. d of 0\n"
        "Answer with the option's letter from the given choices directly."
    )
    (name,) = result.settings["submission"]
    again = SCORERS["seed"].score_predictions([Path(name)], Context(data_root=root))
    assert again.metrics == result.metrics


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e: e[1:], "no answer to question '0'; every one of the 8"),
        (lambda e: [*e, e[3]], r"answers\.json, line 9: question '3' is answered twice"),
        (lambda e: [{"question_id": "x", "prediction": "A"}], "line 1: 'x' is no question"),
        (lambda e: [{"question_id": "1", "answer": "A"}], "line 1: no key 'prediction'"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, change, message: str) -> None:
    root = make_seed(tmp_path)
    with pytest.raises(ValueError, match=message):
        score(root, change(lines()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answer": "E"}, "row 2: answer 'E'; expected one of A, B, C, D"),
        ({"question_type_id": 11}, "row 2: type 11"),
        ({"question_id": "1"}, "row 2: question '1' stands twice"),
        ({"choice_c": None}, "row 2: 'choice_c' is None"),
    ],
)
def test_broken_questions_are_named(tmp_path: Path, change, message: str) -> None:
    root = make_seed(tmp_path)
    path = root / "SEED-Bench.json"
    content = json.loads(path.read_text())
    content["questions"][2].update(change)
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        score(root, lines())


def test_missing_pictures_are_counted_and_marked(tmp_path: Path) -> None:
    root = make_seed(tmp_path)
    (root / "SEED-Bench-image/0_0").unlink()
    result = BENCHMARKS["seed"].run(Says("A"), Context(data_root=root))
    assert result.shrunken
    assert list(result.missing) == ["0_0"]
    assert result.counts["queries left out"] == 3
    assert result.metrics["accuracy"] == pytest.approx(20)
