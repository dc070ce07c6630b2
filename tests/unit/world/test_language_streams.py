"""Training streams: exact resumption, split hygiene, and what tells words from pictures."""

from __future__ import annotations

import math
import re
from collections import Counter
from itertools import islice

import numpy as np
import pytest

from chatsearcher.dialogue import Dialogue
from chatsearcher.world import streams
from chatsearcher.world.reader import scene_of
from chatsearcher.world.reformulation import LEAD
from chatsearcher.world.rounds import read_round
from chatsearcher.world.streams import Decision, conversations, decision_rounds


@pytest.mark.parametrize(
    "name",
    ["pairs", "hard_pairs", "look_alikes", "documents", "conversations", "searches", "requests"],
)
def test_an_item_depends_on_its_place_alone(name: str) -> None:
    stream = getattr(streams, name)
    straight = list(islice(stream("val", 5), 9))
    assert list(islice(stream("val", 5, start=6), 3)) == straight[6:]
    assert [key for key, _ in straight] != [key for key, _ in islice(stream("val", 6), 9)]
    assert [item for _, item in straight] != [item for _, item in islice(stream("val", 6), 9)]


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_every_picture_is_of_the_split(split: streams.Split) -> None:
    names = [part.id for _, item in islice(streams.pairs(split, 1), 40) for part in item[:1]]  # type: ignore[union-attr]
    names += [n for _, item in islice(streams.hard_pairs(split, 1), 20) for n, _ in item]
    names += [n for _, item in islice(streams.look_alikes(split, 1), 20) for n, _ in item]
    names += [n for _, item in islice(streams.documents(split, 1), 20) for n, _ in item]
    names += [i.id for _, item in islice(conversations(split, 1), 60) for i in item.images]
    assert {scene_of(name).split for name in names} == {split}


def test_hard_pairs_differ_from_the_first_in_one_attribute() -> None:
    for _, item in islice(streams.hard_pairs("train", 2), 30):
        first, *others = [scene_of(name) for name, _ in item]
        one_edit = {first.apply(edit) for edit in first.edits()}
        assert len(set(others)) == 3
        assert set(others) <= one_edit


def test_captions_that_leave_something_out_are_shorter() -> None:
    def words(complete: float) -> int:
        items = islice(streams.hard_pairs("train", 2, complete=complete), 30)
        return sum(len(caption.split()) for _, item in items for _, caption in item)

    assert words(0.0) < 0.85 * words(1.0)


def test_an_answer_is_words_or_one_picture_behind_what_is_looked_for() -> None:
    words = pictures = 0
    for _, dialogue in islice(conversations("train", 0), 300):
        assert dialogue.turns[-1].role == "assistant"
        for turn in dialogue.turns[1::2]:
            assert turn.role == "assistant"
            assert turn.text or turn.images
            assert len(turn.images) <= 1
            if turn.images:
                assert turn.content[-1] == turn.images[0]
                assert not turn.text or turn.text.startswith(LEAD)
            words += not turn.images
            pictures += len(turn.images)
    assert 0.3 <= words / (words + pictures) <= 0.65


def test_the_conversation_decides_with_certainty() -> None:
    """An exact reader of the whole conversation knows each answer; few are loosely wished."""
    loose = exact = 0
    for round_ in decision_rounds("val", 1500, seed=3):
        due = read_round(round_.dialogue)
        assert due.kind == round_.kind
        if due.kind == "words":
            assert due.words in (None, round_.answer)
        elif due.scene is None:
            loose += 1
        else:
            exact += 1
            assert due.scene == scene_of(round_.answer)
    assert exact > 10 * loose


def _n_grams(dialogue: Dialogue) -> set[str]:
    """1- to 3-grams of the last user turn, its pictures counted as words."""
    turn = dialogue.turns[-1]
    words = ["<image>"] * len(turn.images) + re.findall(r"[a-z']+|[.,:?]", turn.text.lower())
    words = ["<start>", *words, "<end>"]
    return {" ".join(words[i : i + n]) for n in (1, 2, 3) for i in range(len(words) - n + 1)}


def _balanced_accuracy(guesses: list[bool], truths: list[bool]) -> float:
    hits = np.equal(guesses, truths)
    is_words = np.array(truths)
    return float((hits[is_words].mean() + hits[~is_words].mean()) / 2)


def _naive_bayes(train: list[Decision], test: list[Decision]) -> list[bool]:
    counts = {"words": Counter[str](), "picture": Counter[str]()}
    number = Counter(round_.kind for round_ in train)
    for round_ in train:
        counts[round_.kind].update(_n_grams(round_.dialogue))
    known = {n for n, c in (counts["words"] + counts["picture"]).items() if c > 2}
    odds = {
        n: math.log((counts["words"][n] + 1) / (number["words"] + 2))
        - math.log((counts["picture"][n] + 1) / (number["picture"] + 2))
        for n in known
    }
    return [sum(odds.get(n, 0.0) for n in _n_grams(round_.dialogue)) > 0 for round_ in test]


def _logistic(train: list[Decision], test: list[Decision]) -> list[bool]:
    """Logistic regression by stochastic gradient steps with classes of equal weight."""
    number = Counter(round_.kind for round_ in train)
    count = Counter(n for round_ in train for n in _n_grams(round_.dialogue))
    column = {n: at for at, n in enumerate(sorted(n for n, c in count.items() if c > 2))}

    def columns(dialogue: Dialogue) -> np.ndarray:
        return np.array(sorted(column[n] for n in _n_grams(dialogue) if n in column), dtype=int)

    rows = [(columns(r.dialogue), r.kind == "words", 0.5 / number[r.kind]) for r in train]
    weights, bias = np.zeros(len(column)), 0.0
    order = np.random.default_rng(0)
    for epoch in range(4):
        rate = 0.1 * len(rows) / (1 + epoch)
        for at in order.permutation(len(rows)):
            inside, is_words, weight = rows[at]
            score = weights[inside].sum() + bias
            step = rate * weight * (is_words - 1 / (1 + math.exp(-score)))
            weights[inside] += step - 1e-4 * weights[inside]
            bias += step
    return [weights[columns(r.dialogue)].sum() + bias > 0 for r in test]


def test_the_wording_of_the_last_turn_does_not_give_the_kind_of_answer_away() -> None:
    train = decision_rounds("train", 8000, seed=1)
    test = decision_rounds("test", 4000, seed=2)
    truths = [round_.kind == "words" for round_ in test]
    assert 0.3 <= np.mean(truths) <= 0.65
    for classify in (_naive_bayes, _logistic):
        assert _balanced_accuracy(classify(train, test), truths) <= 0.65
