"""Every wording has an inverse: what is written is read back from the words alone."""

from __future__ import annotations

import random
import re
from contextlib import suppress

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chatsearcher.world import wishes
from chatsearcher.world.captions import caption
from chatsearcher.world.edits import apply_all, choose_edits, read_edit, say_edits
from chatsearcher.world.questions import answer, ask, judge
from chatsearcher.world.reader import read_dialogue, read_telling
from chatsearcher.world.reading import read
from chatsearcher.world.references import difference
from chatsearcher.world.scene import Scene, sample_scene
from chatsearcher.world.telling import telling
from chatsearcher.world.vocabulary import KINDS

SEEDS = st.integers(0, 2**32)
CATS = Scene.from_key("beach.day|left:3-big-red-striped-cat|right:1-small-blue-plain-car")


@settings(max_examples=150, deadline=None)
@given(SEEDS)
def test_a_complete_caption_says_the_whole_scene(seed: int) -> None:
    rng = random.Random(seed)
    scene = sample_scene(rng)
    said = read(caption(scene, rng, complete=1.0))
    assert (said.setting, said.time, said.loose) == (scene.setting, scene.time, {})
    assert len(said.things) == len(scene.things)
    for named in said.things:
        thing = scene.find(str(named.kind))
        assert thing is not None
        assert named.place == thing.place
        assert named.looks == {
            name: getattr(thing, name) for name in ("count", "size", "colour", "pattern")
        }


def test_an_incomplete_caption_is_shorter_and_never_false() -> None:
    rng = random.Random("short")
    full = short = 0
    for _ in range(300):
        scene = sample_scene(rng)
        text = caption(scene, rng, complete=0.0)
        assert judge(text, scene) == "Yes."
        short += len(text.split())
        full += len(caption(scene, rng, complete=1.0).split())
    assert short < 0.8 * full


@settings(max_examples=200, deadline=None)
@given(SEEDS, st.integers(1, 3))
def test_an_instruction_leads_to_its_target(seed: int, number: int) -> None:
    rng = random.Random(seed)
    scene = sample_scene(rng)
    edits = choose_edits(scene, rng, number)
    target = apply_all(scene, edits)
    assert len({edit.attribute for edit in edits}) == number
    assert read_edit(say_edits(scene, edits, rng), scene) == target
    assert apply_all(scene, difference(scene, target)) == target


@settings(max_examples=150, deadline=None)
@given(SEEDS)
@example(384)
def test_a_telling_tells_the_whole_scene_at_its_end_only(seed: int) -> None:
    rng = random.Random(seed)
    scene = sample_scene(rng)
    dialogue = telling(scene, rng)
    assert read_dialogue(dialogue) == scene
    earlier = list(dialogue.rounds())[:-1]
    assert 1 <= len(earlier) <= 3
    for prefix in earlier:
        with suppress(KeyError, TypeError):  # something is not told yet
            # a kind put right ("two dogs instead of the …") may tell a number that was due later
            told_early = re.search(r"\b(one|two|three|four) \w+ instead of the ", prefix.text)
            assert read_telling(prefix) != scene or told_early


def test_unknown_words_are_refused() -> None:
    with pytest.raises(ValueError, match="gigantic"):
        read("two gigantic cats")


def test_every_fact_is_true_of_one_kind_and_can_be_asked() -> None:
    assert set(wishes.FACTS) == set(KINDS)
    assert all(len(facts) >= 2 for facts in wishes.FACTS.values())
    assert set(wishes.clauses().values()) == set(KINDS)  # raises on a fact said of two kinds
    for kind, facts in wishes.FACTS.items():
        for fact in facts:
            assert judge(wishes.question(fact), CATS) == wishes.answer(kind)
            assert judge(f"Something {wishes.clause(fact)}?", CATS) == wishes.answer(kind)


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("How many cats are there?", "Three."),
        ("What colour is the car?", "Blue."),
        ("What pattern do the cats have?", "Striped."),
        ("Are the cats big or small?", "Big."),
        ("Where is this?", "On a beach."),
        ("Is it day or night?", "Day."),
        ("Is there an umbrella?", "No."),
        ("Do you see any cars?", "Yes."),
        ("What is left of the car?", "Three cats."),
        ("What is right of the cats?", "A car."),
        ("Where do the cats stand?", "On the left."),
    ],
)
def test_answers(question: str, expected: str) -> None:
    assert answer(question, CATS) == expected


@pytest.mark.parametrize(
    ("claim", "expected"),
    [
        ("Three big red striped cats?", "Yes."),
        ("And two cats?", "No, there are three cats."),
        ("A green car?", "No, the car is blue."),
        ("What about at night?", "No, it is day."),
        ("In the snow?", "No, it is on a beach."),
        ("A dog?", "No, there is no dog."),
        ("And the cats on the right?", "No, the cats are on the left."),
        ("What gives milk?", "A cow."),
    ],
)
def test_judgements(claim: str, expected: str) -> None:
    assert judge(claim, CATS) == expected


def test_questions_are_about_what_is_there() -> None:
    rng = random.Random("questions")
    for _ in range(300):
        scene = sample_scene(rng)
        text, said = ask(scene, rng)
        assert said == answer(text, scene)
