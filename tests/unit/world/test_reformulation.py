"""What an assistant says before a picture: all that is known of it, and nothing else."""

from __future__ import annotations

import random
from itertools import islice

import pytest

from chatsearcher.benchmarks.world import WorldBenchmark
from chatsearcher.dialogue import Dialogue, Image, Text
from chatsearcher.training.recipes import nano
from chatsearcher.world import streams
from chatsearcher.world.captions import EVERYTHING, plain_description
from chatsearcher.world.reader import scene_of
from chatsearcher.world.reading import read
from chatsearcher.world.reformulation import (
    LEAD,
    read_reformulation,
    reformulation,
    without_reformulations,
)
from chatsearcher.world.rounds import read_round
from chatsearcher.world.scene import sample_scene

STREAMS = (streams.conversations, streams.searches, streams.requests)


def shown(turn) -> bool:
    return turn.role == "assistant" and bool(turn.images)


def test_the_whole_scene_can_be_read_from_its_reformulation() -> None:
    for number in range(500):
        scene = sample_scene(random.Random(number), "val")
        words = reformulation(scene)
        assert words.startswith(LEAD + " ")
        assert read_reformulation(words) == read_reformulation(words.lower()) == scene


@pytest.mark.parametrize("text", ["", "yes.", "looking for", "looking for a cat on the left."])
def test_words_that_tell_no_whole_scene_are_none(text: str) -> None:
    assert read_reformulation(text) is None


def test_what_is_not_known_is_not_said() -> None:
    for number in range(300):
        rng = random.Random(number)
        scene = sample_scene(rng, "train")
        say = frozenset(name for name in sorted(EVERYTHING) if rng.random() < 0.5)
        said = read(plain_description(scene, say))
        assert [named.kind for named in said.things] == [thing.kind for thing in scene.things]
        for named in said.things:
            looks = set(named.looks) - ({"count"} - say)  # the article of a single thing counts
            assert looks <= say
            assert (named.place is not None) == ("place" in say)
        assert (said.setting is not None) == ("setting" in say)
        assert (said.time is not None) == ("time" in say)


@pytest.mark.parametrize("stream", STREAMS)
def test_training_dialogues_say_what_is_due_before_most_pictures(stream) -> None:
    bare = said = 0
    for _, dialogue in islice(stream("train", 5), 80):
        for at, turn in enumerate(dialogue.turns):
            if not shown(turn):
                continue
            *words, picture = turn.content
            assert isinstance(picture, Image)
            bare, said = bare + (not words), said + bool(words)
            due = read_round(without_reformulations(Dialogue(dialogue.turns[:at])))
            if words and due.scene is not None:
                assert words == [Text(reformulation(scene_of(picture.id)))]
    assert 0.65 < said / (said + bare) < 0.95  # streams.TERSE, and the last one always


def test_the_words_are_taken_from_answers_with_pictures_alone() -> None:
    for _, dialogue in islice(streams.conversations("val", 1), 40):
        bare = without_reformulations(dialogue)
        assert bare.images == dialogue.images
        for before, after in zip(dialogue.turns, bare.turns, strict=True):
            assert after.text == "" if shown(before) else after == before
        assert without_reformulations(dialogue, 0.0, random.Random(1)) == dialogue


@pytest.mark.parametrize("name", ["world-t-val", "world-i-val", "world-m-val"])
def test_the_test_sets_have_none(name: str) -> None:
    for query in WorldBenchmark(name).queries().queries:
        assert not any(shown(turn) and turn.text for turn in query.dialogue.turns)


def test_nano_is_told_how_its_reformulations_begin() -> None:
    assert nano.MODEL.search_lead == LEAD
