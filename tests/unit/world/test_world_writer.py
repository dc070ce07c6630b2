"""The world's writer and captioned pictures: what is written can be read back, exactly."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatsearcher.dialogue import Dialogue
from chatsearcher.foundation.language import Answer
from chatsearcher.foundation.rehearsal.failures import Failures
from chatsearcher.foundation.rehearsal.rules import WRITERS, PlainWriter, captions_in
from chatsearcher.foundation.structured import read_answer
from chatsearcher.preparation.chatsearch.writing import (
    MODIFICATION_SCHEMA,
    ROUNDS_SCHEMA,
    TEXT_SCHEMA,
)
from chatsearcher.world.captioned import captioned
from chatsearcher.world.captions import caption
from chatsearcher.world.edits import apply_all, choose_edits
from chatsearcher.world.pictures import parse
from chatsearcher.world.reader import read_telling
from chatsearcher.world.scene import sample_scene
from chatsearcher.world.writer import WorldWriter, edits_between, modification, reads_as, scene_in

SCHEMAS = {
    "text_dialogue": TEXT_SCHEMA,
    "modification": MODIFICATION_SCHEMA,
    "two_rounds": ROUNDS_SCHEMA,
}
seeds = st.integers(0, 100_000)


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_the_world_writer_means_the_captions_scene(seed: int) -> None:
    rng = random.Random(seed)
    scene = sample_scene(rng)
    words = caption(scene, rng, complete=1.0)
    assert scene_in(words) == scene
    writer = WRITERS["world"]()
    written = writer.write("text_dialogue", [words], rng)
    dialogue = Dialogue()
    for turn in written["rounds"]:
        dialogue = dialogue.user(turn["user"]).assistant(turn["assistant"])
    assert read_telling(dialogue.user(written["request"])) == scene
    rounds = writer.write("two_rounds", [words], rng)
    assert reads_as(rounds["second_request"], scene_in(rounds["first_caption"]), scene)


@settings(max_examples=40, deadline=None)
@given(seeds, st.integers(1, 3))
def test_small_differences_are_found_and_said(seed: int, number: int) -> None:
    rng = random.Random(seed)
    first = sample_scene(rng)
    second = apply_all(first, choose_edits(first, rng, number))
    edits = edits_between(first, second)
    assert edits is not None
    assert apply_all(first, edits) == second
    assert len(edits) <= number
    assert reads_as(modification(first, second, rng), first, second)
    other = sample_scene(rng)
    words = modification(first, other, rng)
    assert reads_as(words, first, other) or scene_in(words) == other


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=200), st.text(min_size=1, max_size=200), seeds)
def test_the_plain_writers_answers_always_fit(first: str, second: str, seed: int) -> None:
    for name, schema in SCHEMAS.items():
        value = PlainWriter().write(name, [first or "x", second], random.Random(seed))
        assert read_answer(Answer(json.dumps(value)), schema) == (value, None)


def test_captions_are_found_behind_their_labels() -> None:
    user = "Caption of the picture the person sees: a: b\nCaption of what they want:  c\nother"
    assert captions_in(user) == ["a: b", "c"]
    for words, fault in (("the of on", "cannot read"), ("two red cats", "not a complete caption")):
        with pytest.raises(ValueError, match=fault):
            WorldWriter().write("text_dialogue", [words], random.Random(0))


def test_failures_follow_from_the_prompt_and_pass() -> None:
    def kinds(failures: Failures) -> list[str | None]:
        return [failures.of(f"prompt {n}", seed) for n in range(300) for seed in (0, 0, 0, 1)]

    first = kinds(Failures(passing=0.3, spoilt=0.3, hopeless=0.05, forbidden=0.05))
    assert first == kinds(Failures(passing=0.3, spoilt=0.3, hopeless=0.05, forbidden=0.05))
    assert {"429", "500", "503", "hang", "reset", "nonsense", "400", "refusal", "broken"} <= {
        str(kind) for kind in first
    }
    third = Failures(passing=1.0)
    assert [third.of("p", 0) is None for _ in range(3)][-1]


def test_captioned_pictures_are_of_their_split_and_items_stand_alone() -> None:
    found = list(captioned("test:40"))
    assert found[:7] == list(captioned("test:7"))
    for id, words, split in found:
        scene = parse(id)[0]
        assert (scene_in(words), scene.split, split) == (scene, "test", "test")
    assert len({id for id, _, _ in found}) == 40
    with pytest.raises(ValueError, match="expected world:SPLIT"):
        next(captioned("test:x"))
