"""``eval/mistakes.py``, ``eval/reformulations.py`` and ``eval/ceiling.py``: what they count, on
scenes where it is known."""

from __future__ import annotations

import random
import runpy
from pathlib import Path

import numpy as np
import pytest

from chatsearcher.world.choices import QUESTIONS
from chatsearcher.world.scene import sample_scene

EVAL = Path(__file__).resolve().parents[3] / "eval"
MISTAKES = runpy.run_path(str(EVAL / "mistakes.py"))
REFORMULATIONS = runpy.run_path(str(EVAL / "reformulations.py"))
CEILING = runpy.run_path(str(EVAL / "ceiling.py"))


@pytest.mark.parametrize("seed", range(5))
def test_a_single_change_has_its_name(seed: int) -> None:
    scene = sample_scene(random.Random(seed), "train")
    for edit in scene.edits():
        assert MISTAKES["difference"](scene, scene.apply(edit)) == edit.attribute


def test_two_changes_have_none() -> None:
    scene = sample_scene(random.Random(1), "train")
    first = next(edit for edit in scene.edits() if edit.attribute == "setting")
    second = next(edit for edit in scene.edits() if edit.attribute == "time")
    with pytest.raises(ValueError, match="exactly one attribute"):
        MISTAKES["difference"](scene, scene.apply(first).apply(second))


@pytest.mark.parametrize("seed", range(5))
def test_a_wrong_word_counts_for_its_attribute(seed: int) -> None:
    scene = sample_scene(random.Random(seed), "train")
    assert REFORMULATIONS["mistakes"](scene, scene) == set()
    for edit in scene.edits():
        assert REFORMULATIONS["mistakes"](scene, scene.apply(edit)) == {edit.attribute}


def test_right_words_and_wrong_ones_are_counted() -> None:
    scene = sample_scene(random.Random(1), "train")
    night = scene.apply(next(edit for edit in scene.edits() if edit.attribute == "time"))
    said = REFORMULATIONS["summary"]([scene] * 4, [scene, night, None, scene])
    assert said == "right 50.0% of 4; wrong: time 25.0%, not a whole scene 25.0%"


def test_codes_have_a_one_for_every_question_that_is_asked() -> None:
    rng = random.Random(2)
    scenes = [sample_scene(rng, "train") for _ in range(50)]
    codes = CEILING["codes"](scenes)
    assert codes.shape == (50, sum(len(question.answers) for question in QUESTIONS))
    assert set(np.unique(codes)) == {0.0, 1.0}
    for scene, row in zip(scenes, codes, strict=True):
        for edit in scene.edits():  # every change is seen
            assert not np.array_equal(row, CEILING["codes"]([scene.apply(edit)])[0])


def test_keys_of_a_linear_tower_lose_nothing() -> None:
    rng, draw = random.Random(3), np.random.default_rng(3)
    codes = CEILING["codes"]([sample_scene(rng, "train") for _ in range(600)])
    features = codes @ draw.normal(size=(codes.shape[1], 2 * codes.shape[1])) + 5
    matrix, centre, mean, spread = CEILING["fit"](features, codes)
    keys = (features - centre) @ matrix
    assert np.abs(keys - (codes - mean)).mean() < 0.02
    assert np.trace(spread) < 0.01 * codes.var(0).sum()


def test_changes_of_a_target_differ_and_are_counted_by_attribute() -> None:
    rng = random.Random(4)
    changes = CEILING["look_alikes"](sample_scene(rng, "val"), rng)
    assert len({(edit.attribute, edit.thing, edit.value) for edit in changes}) == 12
    names = {edit.attribute for edit in changes}
    above = np.array([[edit.attribute == "kind" for edit in changes]])
    said = CEILING["shares"](above, [changes])
    for name in names:
        assert f"{name} {'100.0%' if name == 'kind' else '0.0%'}" in said
