"""The interactive protocol: against recorded rounds, and with a system that understands."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from chatsearcher.benchmarks import BENCHMARKS, Context
from chatsearcher.benchmarks.conversations import Setting, converse
from chatsearcher.benchmarks.ranking import target_ranks
from chatsearcher.benchmarks.rounds import dialogue_figures, rank_table, round_queries
from chatsearcher.dialogue import Dialogue
from chatsearcher.retriever import Reply
from chatsearcher.roles import QUESTIONERS, SIMULATORS
from chatsearcher.roles.replay import Replay
from chatsearcher.world.pictures import load, picture_id
from chatsearcher.world.scene import Scene, sample_scene
from tests.fixtures.oracle import WorldOracle


class Hashed:
    """A vector from a hash of what it reads, and of the picture's id."""

    embedding_dim, metric, fingerprint = 6, "cosine", "hashed"

    def image_vectors_of(self, ids: Sequence[str]) -> np.ndarray:
        return np.stack([self._vector(name) for name in ids])

    def encode_images(self, images) -> np.ndarray:
        raise AssertionError("vectors are known by id")

    def encode_queries(self, dialogues: Sequence[Dialogue]) -> np.ndarray:
        return np.stack([self._vector(str(each.to_messages())) for each in dialogues])

    def _vector(self, text: str) -> np.ndarray:
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
        vector = np.random.default_rng(seed).normal(size=6)
        return (vector / np.linalg.norm(vector)).astype(np.float32)


def small_world(targets: int = 12, strangers: int = 150) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Targets with all of their neighbours, and strangers: (gallery, targets)."""
    rng = random.Random(3)
    scenes: dict[Scene, None] = {}
    wanted = [sample_scene(rng, things=2) for _ in range(targets)]
    for scene in wanted:
        scenes[scene] = None
        for edit in rng.sample(list(scene.edits()), 12):
            scenes[scene.apply(edit)] = None
    for _ in range(strangers):
        scenes[sample_scene(rng)] = None
    names = [picture_id(scene, 1) for scene in scenes]
    rng.shuffle(names)
    return tuple(names), tuple(picture_id(scene, 1) for scene in wanted)


def setting(**changes) -> Setting:
    gallery, targets = small_world()
    whole = Setting(gallery, load, SIMULATORS["world"](), targets, rounds=4)
    return replace(whole, **changes)


def test_recorded_users_get_the_ranks_of_recorded_rounds() -> None:
    gallery, targets = small_world()
    system = Hashed()
    vectors = system.image_vectors_of(gallery)
    recorded = {}
    for number, target in enumerate(targets):
        dialogue = Dialogue().user(f"one {number}")
        for turn in range(number % 4):
            dialogue = dialogue.assistant(f"more {turn}?").user(f"word {turn}")
        recorded[target] = dialogue
    asked = [
        query
        for target, dialogue in recorded.items()
        for query in round_queries(dialogue, target, target)
    ]
    rows = [gallery.index(query.targets[0]) for query in asked]
    queries = system.encode_queries([query.dialogue for query in asked])
    table = rank_table(asked, target_ranks(queries, vectors, rows))
    # a question refuses nobody, so that no candidate is lost
    here = setting(simulator=Replay(recorded), rounds=3, act="ask", questioner=Silent())
    ranks, dialogues = converse(system, here, vectors)
    assert ranks.tolist() == table.tolist()
    assert dialogue_figures(ranks).metrics == dialogue_figures(table).metrics
    assert all(
        dialogue.turns[: len(recorded[target].turns)] == recorded[target].turns
        for dialogue, target in zip(dialogues, targets, strict=True)
    )


class Silent:
    """A questioner whose words do not matter."""

    identity = {"questioner": "silent"}  # noqa: RUF012

    def ask(self, dialogue, candidates) -> str:
        return "Well?"


def test_a_system_that_understands_finds_what_it_is_told_and_errors_cost() -> None:
    here = setting(rounds=6)
    system = WorldOracle(here.gallery)
    vectors = system.encode_images([load(name) for name in here.gallery])
    ranks, dialogues = converse(system, here, vectors)
    truthful = dialogue_figures(ranks)
    assert truthful.metrics["R@10"] >= truthful.metrics["Hits@10 round 0"]
    assert truthful.metrics["R@1"] >= 75
    assert truthful.metrics["ATR"] < np.mean(ranks[:, 0])
    erring = replace(here, simulator=SIMULATORS["world"](0.6))
    worse = dialogue_figures(converse(system, erring, vectors)[0])
    assert worse.metrics["BRI"] > truthful.metrics["BRI"]
    again, _ = converse(system, here, vectors)
    assert again.tolist() == ranks.tolist()
    for dialogue, row, target in zip(dialogues, ranks, here.targets, strict=True):
        shown = [image.id for image in dialogue.images]
        assert len(shown) == len(set(shown)), "a refused picture was shown again"
        assert dialogue.id is not None
        assert dialogue.id not in target
        if target in shown:  # perhaps among equal scores, so that its rank need not be 1
            last = sum(turn.role == "user" for turn in dialogue.turns) - 1
            assert set(row[last:].tolist()) == {row[last]}


def test_questions_help_a_system_that_reads_the_answers() -> None:
    here = setting(rounds=6, act="ask", questioner=QUESTIONERS["world"]())
    seen = []

    class Remembering(Hashed):
        def encode_queries(self, dialogues):
            seen.append([each.text for each in dialogues])
            return super().encode_queries(dialogues)

    system = Remembering()
    ranks, dialogues = converse(system, here, system.image_vectors_of(here.gallery))
    assert ranks.shape == (12, 7)
    assert len(seen) == 7
    assert all(not dialogue.images for dialogue in dialogues)
    assert all(len(dialogue.turns) == 13 for dialogue in dialogues)
    assert all("?" in dialogue.turns[1].text for dialogue in dialogues)


def test_an_assistant_may_ask_or_show() -> None:
    class Deciding(Hashed):
        def reply(self, dialogue: Dialogue, on_text=None) -> Reply:
            if len(dialogue.turns) == 1:
                return Reply("What else?")
            return Reply("Here.", self.encode_queries([dialogue])[0], 1.0)

    system = Deciding()
    here = setting(rounds=2, act="reply")
    _, dialogues = converse(system, here, system.image_vectors_of(here.gallery))
    for dialogue in dialogues:
        assert dialogue.turns[1].text == "What else?"
        assert not dialogue.turns[1].images
        assert dialogue.turns[3].text == "Here."
        assert len(dialogue.turns[3].images) == 1
    with pytest.raises(ValueError, match="act=reply needs an assistant; Hashed only searches"):
        converse(Hashed(), here, system.image_vectors_of(here.gallery))


def test_the_worlds_benchmark_says_how_it_was_run() -> None:
    options = {"dialogues": "5", "rounds": "2", "error-rate": "0.25", "act": "ask", "seed": "3"}
    result = BENCHMARKS["world-interactive-val"].run(Hashed(), Context(options=options))
    assert result.settings["simulator"] == {"simulator": "world-1", "error rate": 0.25}
    assert result.settings["questioner"] == {"questioner": "world-1"}
    assert (result.settings["act"], result.settings["seed"]) == ("ask", 3)
    assert (result.counts["dialogues"], result.counts["rounds"]) == (5, 3)
    assert len(result.curves["R@10"]) == 3
    assert result.notes == ["not all of it: 5 dialogues where there are 150"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"rounds": "0"}, "rounds='0'; expected a whole number from 1"),
        ({"error-rate": "2"}, r"error-rate='2'; expected a number in \[0, 1\]"),
        ({"error-rate": "much"}, r"error-rate='much'; expected a number"),
        ({"act": "sing"}, "act='sing'; expected one of show, ask, reply"),
        ({"simulator": "wrld"}, "unknown user simulator 'wrld'; did you mean 'world'"),
        ({"talk": "1"}, "has no option 'talk'"),
    ],
)
def test_bad_options_are_named(options: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        BENCHMARKS["world-interactive-val"].run(Hashed(), Context(options=options))
