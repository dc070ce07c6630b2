from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

from chatsearcher.benchmarks import BENCHMARKS
from chatsearcher.benchmarks.decision import DecisionBenchmark, normalised, summarise
from chatsearcher.dialogue import Dialogue
from chatsearcher.retriever import Reply


class Case(NamedTuple):
    dialogue: Dialogue
    kind: str
    answer: str


VECTOR = np.ones(2, dtype=np.float32)


def asked(text: str) -> Dialogue:
    return Dialogue().user(text)


def test_figures_closed_form() -> None:
    rounds = [
        Case(asked("how many?"), "words", "Two."),
        Case(asked("what colour?"), "words", "Red."),
        Case(asked("is it night?"), "words", "Yes."),
        Case(asked("a cat"), "words", "How many cats?"),
        Case(asked("a red cat"), "picture", "id"),
        Case(asked("a dog"), "picture", "id"),
    ]
    rounds.append(Case(asked("fine?"), "words", "Noted."))
    replies = [
        Reply("two", None, 0.1),
        Reply("Green.", None, 0.2),
        Reply("", VECTOR, 0.6),
        Reply("What kind?", None, 0.3),
        Reply("", VECTOR, 0.9),
        Reply("Yes.", None, 0.45),
        Reply("All right.", None, 0.2),
    ]
    result = summarise("d", rounds, replies, {}, "data", free=("Noted.",))
    assert result.metrics["words answered in words"] == 80
    assert result.metrics["pictures answered with a picture"] == 50
    assert result.metrics["balanced accuracy"] == 65
    assert result.metrics["word answers"] == pytest.approx(100 / 3)
    assert result.metrics["with the best threshold"] == pytest.approx(90)
    assert result.metrics["threshold"] == pytest.approx((0.3 + 0.45) / 2)
    assert result.counts["questions with an answer in words"] == 3
    low, high = result.intervals["balanced accuracy"]
    assert 0 <= low < 65 < high <= 100


def test_normalising_forgives_case_space_and_the_full_stop_only() -> None:
    assert normalised(" A  Cow. ") == normalised("a cow")
    assert normalised("a cow") != normalised("cow")


class Blind:
    """Always shows a picture."""

    fingerprint = "blind"

    def reply(self, dialogue, on_text=None):
        assert all(image.pixels is not None for image in dialogue.images)
        return Reply("", VECTOR, 1.0)


def test_an_assistant_that_always_shows_a_picture_is_no_better_than_chance() -> None:
    result = DecisionBenchmark("few", "val", 60).run(Blind())
    assert result.metrics["balanced accuracy"] == 50
    assert result.metrics["with the best threshold"] == 50
    assert result.counts["rounds answered in words"] / 60 >= 0.3


def test_a_system_that_only_searches_is_refused() -> None:
    with pytest.raises(ValueError, match="only searches"):
        BENCHMARKS["world-decision"].run(object())
