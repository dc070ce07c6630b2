"""Plans of requests: each round is among look-alikes, and can be read from its dialogue alone."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import pytest

from chatsearcher.dialogue import Dialogue
from chatsearcher.world import streams
from chatsearcher.world.reader import scene_of
from chatsearcher.world.rounds import read_round
from chatsearcher.world.scene import Scene
from chatsearcher.world.streams import CHANGES, FAMILY


def answers(dialogue: Dialogue) -> list[Scene]:
    return [scene_of(t.images[0].id) for t in dialogue.turns if t.role == "assistant"]


def test_every_round_can_be_read_and_leads_to_its_answer() -> None:
    for _, dialogue in islice(streams.requests("train", 3), 120):
        for at in range(1, len(dialogue.turns), 2):
            due = read_round(Dialogue(dialogue.turns[:at]))
            assert due.kind == "picture"
            assert due.scene == scene_of(dialogue.turns[at].images[0].id)


@pytest.mark.parametrize("run", range(20))
def test_the_dialogues_of_a_plan_ask_for_one_family_round_by_round(run: int) -> None:
    plan = [d for _, d in islice(streams.requests("val", 1, FAMILY * run), FAMILY)]
    assert len({len(dialogue.turns) for dialogue in plan}) == 1
    for family in zip(*map(answers, plan), strict=True):
        assert len(set(family)) == FAMILY
        assert all(scene.split == "val" for scene in family)
        for scene in family:
            one_edit = {scene.apply(edit) for edit in scene.edits()}
            assert len(one_edit.intersection(family)) == CHANGES


def test_all_three_kinds_of_round_occur() -> None:
    found: Counter[str] = Counter()
    for run in range(100):
        for number, each in enumerate(streams._plan("train", 2, run)):
            found[each.by] += 1
            assert number or each.by != "change"
    assert all(found[by] > 40 for by in ("description", "own picture", "change")), found
