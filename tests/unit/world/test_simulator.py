"""The world's own roles: what a user says is true unless it is made to err."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatsearcher.dialogue import Dialogue, Image
from chatsearcher.roles import ANSWERERS, QUESTIONERS, SIMULATORS
from chatsearcher.world.edits import apply_all, read_edit
from chatsearcher.world.pictures import picture_id
from chatsearcher.world.questions import ask
from chatsearcher.world.reading import read, sentences
from chatsearcher.world.scene import Scene, sample_scene
from chatsearcher.world.simulator import NOTHING_MORE, differences, mistaken, read_question
from chatsearcher.world.telling import QUESTIONS, facts_of

ONE = Scene.from_key("beach.day|left:2-big-red-plain-cat|right:1-small-blue-striped-dog")
OTHER = Scene.from_key("forest.day|left:3-big-red-plain-cat|right:1-small-blue-striped-dog")
seeds = st.integers(0, 10_000)


def user(scene: Scene, seed: int = 0, error_rate: float = 0.0):
    return SIMULATORS["world"](error_rate).user(picture_id(scene, 1), seed)


def said_wrongly(text: str, scene: Scene) -> int:
    """How many values the words give that are not the scene's (settings, times, looks)."""
    wrong = 0
    for part in sentences(text):
        said = read(part)
        wrong += said.setting not in (None, scene.setting)
        wrong += said.time not in (None, scene.time)
        for named in said.things:
            thing = scene.find(str(named.kind))
            if thing is not None:
                wrong += sum(getattr(thing, k) != v for k, v in named.looks.items())
                wrong += named.place not in (None, thing.place)
    return wrong


@given(seeds)
@settings(max_examples=60, deadline=None)
def test_differences_lead_from_one_scene_to_the_other(seed: int) -> None:
    rng = random.Random(seed)
    shown, target = sample_scene(rng), sample_scene(rng)
    edits = differences(shown, target)
    if len(shown.things) != len(target.things):
        assert edits is None
    else:
        assert edits is not None
        assert apply_all(shown, edits) == target


@given(seeds)
@settings(max_examples=60, deadline=None)
def test_what_is_said_of_a_shown_picture_brings_it_nearer(seed: int) -> None:
    rng = random.Random(seed)
    target = sample_scene(rng, things=2)
    shown = target
    for _ in range(3):
        shown = shown.apply(rng.choice(list(shown.edits())))
    before = differences(shown, target)
    if not before:
        return
    one = user(target, seed)
    dialogue = one.begin().assistant(Image(picture_id(shown, 5)))
    answered = one.respond(dialogue)
    assert answered is not None
    assert answered.turns[:-1] == dialogue.turns
    after = differences(read_edit(answered.turns[-1].text, shown), target)
    assert after is not None
    assert len(after) < len(before)


@given(seeds)
@settings(max_examples=40, deadline=None)
def test_a_truthful_user_says_nothing_wrong_and_an_erring_one_does(seed: int) -> None:
    scene = sample_scene(random.Random(seed))
    assert said_wrongly(user(scene, seed).begin().text, scene) == 0
    assert said_wrongly(user(scene, seed, 1.0).begin().text, scene) > 0


def test_the_same_seed_says_the_same_and_another_one_something_else() -> None:
    texts = [user(ONE, seed, 0.3).begin().text for seed in (4, 4, 5, 6, 7)]
    assert texts[0] == texts[1]
    assert len(set(texts)) > 1


def test_who_sees_the_wanted_picture_is_content() -> None:
    one = user(ONE)
    dialogue = one.begin()
    assert one.respond(dialogue.assistant(Image(one.target))) is None
    assert one.respond(dialogue.assistant(Image(picture_id(OTHER, 1)))) is not None
    with pytest.raises(ValueError, match="ends in the system's turn"):
        one.respond(dialogue)


@pytest.mark.parametrize(
    ("question", "answers"),
    [
        ("Good. How many cats should there be?", {"Two.", "Two, please."}),
        ("Last question: what is the pattern of the dogs?", {"Striped.", "Striped, please."}),
        ("First, where should the dogs stand?", {"On the right.", "On the right, please."}),
        ("What colour are the cats?", {"Red."}),
        ("Which colour do the cows have?", {"There is no cow."}),
        ("Where does it happen?", {"On a beach.", "On a beach, please.", "On the beach."}),
    ],
)
def test_questions_are_answered_with_the_truth(question: str, answers: set[str]) -> None:
    given = {user(ONE, seed).respond(Dialogue().user("x").assistant(question)) for seed in range(8)}
    texts = {dialogue.turns[-1].text for dialogue in given if dialogue is not None}
    assert texts & answers
    assert all(text.removesuffix(", please.").rstrip(".") for text in texts)
    assert said_wrongly(" ".join(texts - {"There is no cow."}), ONE) == 0


def test_what_else_tells_everything_in_the_end_and_each_fact_once() -> None:
    one = user(ONE)
    dialogue, told = one.begin(), []
    for _ in range(len(facts_of(ONE)) + 1):
        dialogue = one.respond(dialogue.assistant("What else?"))
        told.append(dialogue.turns[-1].text)
    assert told[-1] == NOTHING_MORE
    facts = [text for text in told if text != NOTHING_MORE]
    assert len(facts) == len(facts_of(ONE)) - max(1, len(facts_of(ONE)) * 2 // 5)


def test_every_question_of_the_world_is_read() -> None:
    for name, forms in QUESTIONS.items():
        for form in forms:
            asked = read_question(f"Tell me more: {form.format(k='cats')}")
            assert asked == (name, "cat" if "{k}" in form else None)
    assert read_question("How are you?") is None


@given(seeds)
@settings(max_examples=40, deadline=None)
def test_a_mistake_changes_exactly_that_fact(seed: int) -> None:
    rng = random.Random(seed)
    scene = sample_scene(rng)
    fact = rng.choice(facts_of(scene))
    wrong = mistaken(scene, fact, rng)
    edits = differences(scene, wrong)
    assert edits is not None
    assert [edit.attribute for edit in edits] == [fact[0]]


def test_the_questioner_asks_what_tells_the_candidates_apart() -> None:
    questioner = QUESTIONERS["world"]()
    pictures = [Image(picture_id(scene, 1)) for scene in (ONE, OTHER)]
    dialogue = Dialogue().user("two cats and a dog")
    first = questioner.ask(dialogue, pictures)
    second = questioner.ask(dialogue.assistant(first).user("Two."), pictures)
    assert {read_question(first), read_question(second)} == {("count", "cat"), ("setting", None)}
    everything = dialogue.assistant(first).user("a").assistant(second).user("b")
    assert questioner.ask(everything, pictures) == "What else?"
    assert questioner.ask(dialogue, []) == "What else?"


@given(seeds)
@settings(max_examples=40, deadline=None)
def test_the_answerer_knows_the_picture(seed: int) -> None:
    rng = random.Random(seed)
    scene = sample_scene(rng)
    question, answer = ask(scene, rng)
    assert ANSWERERS["world"]().answer(question, Image(picture_id(scene, 3))) == answer


def test_an_error_rate_is_a_probability() -> None:
    with pytest.raises(ValueError, match="expected a probability"):
        SIMULATORS["world"](1.5)
