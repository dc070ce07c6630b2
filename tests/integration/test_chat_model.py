"""Conversations with a real (tiny, random) ChatSearcher: kept caches never show in the answers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL.Image import Image as PILImage

from chatsearcher.conversation import Conversation
from chatsearcher.conversation.script import Action, perform
from chatsearcher.index.exact import ExactIndex
from chatsearcher.model import ChatSearcherModel
from chatsearcher.retrievers.chatsearcher import ChatSearcherRetriever
from tests.fixtures.tiny import picture, tiny_config, tiny_processor

SIZE = 12


class NoiseGallery:
    """Pictures of noise; "7" is picture number 7."""

    def __init__(self) -> None:
        self.ids = [str(number) for number in range(SIZE)]

    def thumbnail(self, id: str) -> PILImage:
        return picture(int(id))

    def thumbnail_jpeg(self, id: str) -> bytes:
        raise NotImplementedError

    def source(self, id: str) -> str:
        return id

    def metadata(self, id: str) -> dict[str, str]:
        return {}


def system(search_threshold: float | None) -> ChatSearcherRetriever:
    """Equal weights each time; the threshold decides between words and pictures."""
    torch.manual_seed(0)
    config = tiny_config()
    made = ChatSearcherRetriever(
        ChatSearcherModel(config),
        tiny_processor(config),
        device="cpu",
        dtype=torch.float32,
        max_new_tokens=6,
    )
    made.search_threshold = search_threshold
    return made


def converse(with_system: ChatSearcherRetriever) -> Conversation:
    gallery = NoiseGallery()
    vectors = with_system.encode_images([gallery.thumbnail(id) for id in gallery.ids])
    return Conversation(with_system, gallery, ExactIndex(vectors), k=4)


@pytest.fixture(scope="module")
def searcher() -> ChatSearcherRetriever:
    return system(0.0)


def scores(conversation: Conversation) -> list[tuple[str, float]]:
    return [(candidate.id, candidate.score) for candidate in conversation.candidates]


def same(one: list[tuple[str, float]], other: list[tuple[str, float]]) -> bool:
    ids = [id for id, _ in one] == [id for id, _ in other]
    return ids and np.allclose([s for _, s in one], [s for _, s in other], atol=1e-5)


STEPS = (
    Action("say", "a red cat"),
    Action("pick", 2),
    Action("say", "the same but at night"),
    Action("more"),
    Action("pick", 6),
    Action("say", "two birds, please"),
    Action("none"),
)


def test_different_picks_lead_to_different_answers(searcher):
    found = []
    for number in (1, 2, 3):
        conversation = converse(searcher)
        conversation.say("a red cat")
        conversation.pick(number)
        conversation.say("the same but at night")
        found.append(scores(conversation))
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert not same(found[one], found[other])


def test_the_answer_goes_on_after_the_pick_and_stays_in_the_history(searcher):
    conversation = converse(searcher)
    conversation.say("a red cat")
    heard: list[str] = []
    answer = conversation.pick(2, heard.append)
    assert "".join(heard) == answer.text == conversation.rounds[0].continuation
    fresh = converse(system(0.0))
    fresh.say("a red cat")
    fresh.pick(1)
    assert fresh.pick(2).text == answer.text, "the first pick has left something behind"
    assert fresh.dialogue == conversation.dialogue


def test_a_long_used_system_answers_as_a_fresh_one(searcher):
    used = converse(searcher)
    for end in range(1, len(STEPS) + 1):
        perform(used, STEPS[end - 1])
        fresh = converse(system(0.0))
        for step in STEPS[:end]:
            perform(fresh, step)
        assert same(scores(used), scores(fresh)), STEPS[end - 1]
        assert used.state.rejected == fresh.state.rejected


def test_what_was_undone_does_not_show(searcher):
    undone, plain = converse(searcher), converse(system(0.0))
    undone.say("a red cat")
    undone.pick(3)
    undone.say("on a green chair")
    undone.none_of_these()
    for _ in range(3):
        undone.undo()
    for conversation in (undone, plain):
        if conversation is plain:
            conversation.say("a red cat")
        conversation.pick(1)
        conversation.say("two blue birds")
    assert same(scores(undone), scores(plain))
    assert undone.dialogue == plain.dialogue


def test_conversations_share_no_state(searcher):
    together = [converse(searcher), converse(searcher)]
    for step in STEPS:
        for number, conversation in enumerate(together):
            if number and step.verb == "say":
                step = Action("say", f"{step.value} and a dog")
            perform(conversation, step)
    for number, conversation in enumerate(together):
        alone = converse(system(0.0))
        for step in STEPS:
            if number and step.verb == "say":
                step = Action("say", f"{step.value} and a dog")
            perform(alone, step)
        assert same(scores(alone), scores(conversation))


def test_words_are_streamed_and_stay_in_the_history():
    conversation = converse(system(1.1))  # never a picture
    heard: list[str] = []
    answer = conversation.say("how many dogs are there?", on_text=heard.append)
    assert answer.candidates == ()
    assert "".join(heard) == answer.text
    assert conversation.dialogue.turns[-1].text == answer.text
    assert 0 <= answer.search_probability <= 1


def test_a_saved_conversation_goes_on_with_the_same_answers(searcher, tmp_path):
    conversation = converse(searcher)
    for step in STEPS:
        perform(conversation, step)
    conversation.save(tmp_path / "talk.jsonl")
    loaded = Conversation.load(
        tmp_path / "talk.jsonl", system(0.0), conversation.gallery, conversation.index, k=4
    )
    assert same(scores(loaded), scores(conversation))
    for each in (loaded, conversation):
        each.more()
        each.pick(5)
        each.say("the same at night")
    assert same(scores(loaded), scores(conversation))
