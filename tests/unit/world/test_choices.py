"""Multiple choice: the right answers give the scene back, and nothing is asked in vain."""

from __future__ import annotations

import random

from chatsearcher.world.choices import QUESTIONS, UNASKED, right_answers
from chatsearcher.world.scene import Scene, Thing, sample_scene


def rebuilt(answers: list[int]) -> Scene:
    """The scene that the answers tell."""
    told: dict[str, dict[str, object]] = {}
    frame: dict[str, object] = {}
    for question, answer in zip(QUESTIONS, answers, strict=True):
        if answer == UNASKED:
            continue
        value = question.answers[answer]
        if question.place is None:
            frame[question.attribute] = value
        elif question.attribute != "place":
            told.setdefault(question.place, {})[question.attribute] = value
        elif value == "something":
            told.setdefault(question.place, {})
    things = [Thing(place=place, **looks) for place, looks in told.items()]  # type: ignore[arg-type]
    return Scene(frame["setting"], frame["time"], tuple(things))  # type: ignore[arg-type]


def test_the_right_answers_tell_the_whole_scene() -> None:
    rng = random.Random(4)
    for _ in range(300):
        scene = sample_scene(rng)
        assert rebuilt(right_answers(scene)) == scene


def test_one_change_of_a_scene_changes_an_answer() -> None:
    scene = sample_scene(random.Random(1), things=2)
    known = right_answers(scene)
    assert all(right_answers(scene.apply(edit)) != known for edit in scene.edits())


def test_answers_in_words() -> None:
    words = {q.phrase(n) for q in QUESTIONS for n in range(len(q.answers))}
    assert {"beach", "night", "left: striped", "top: nothing", "middle: cat", "right: 3"} <= words
    assert len(words) == sum(len(question.answers) for question in QUESTIONS)
