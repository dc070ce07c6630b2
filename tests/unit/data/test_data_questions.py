"""Questions about the world's pictures: true answers, one picture, the same item each time."""

from __future__ import annotations

import pytest

from chatsearcher.data.records import SourceConfig
from chatsearcher.data.sources import build
from chatsearcher.world.pictures import parse
from chatsearcher.world.questions import answer


@pytest.mark.parametrize("split", ["train", "val"])
def test_each_round_is_a_question_with_its_true_answer(split):
    source = build(SourceConfig("world-questions", 1, split=split), seed=3, image_size=32)
    rounds = []
    for index in range(60):
        record = source.item(index)
        assert record.content == source.item(index).content
        turns = record.content.turns
        assert [turn.role for turn in turns] == ["user", "assistant"] * (len(turns) // 2)
        (shown,) = record.content.images  # one, and in the first turn
        assert turns[0].images == (shown,)
        scene, _ = parse(shown.id)
        assert scene.split == split
        asked = [turn.text.strip() for turn in turns[::2]]
        assert len(set(asked)) == len(asked)
        assert [turn.text for turn in turns[1::2]] == [answer(text, scene) for text in asked]
        assert record.load(shown.id).size == (32, 32)
        rounds.append(len(asked))
    assert set(rounds) == {1, 2, 3, 4}
