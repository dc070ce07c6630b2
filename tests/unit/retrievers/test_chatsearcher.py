from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from chatsearcher.dialogue import Dialogue, Image, Text
from chatsearcher.model import ChatSearcherModel, Segment
from chatsearcher.model.generation import ChatSession
from chatsearcher.retriever import Assistant, Retriever
from chatsearcher.retrievers import load_retriever
from chatsearcher.retrievers.chatsearcher import SESSIONS, ChatSearcherRetriever, image_fingerprint
from tests.fixtures.tiny import picture, tiny_config, tiny_processor


def build(seed: int = 0, **changes) -> ChatSearcherModel:
    torch.manual_seed(seed)
    return ChatSearcherModel(tiny_config(**changes))


def retriever(**options) -> ChatSearcherRetriever:
    return ChatSearcherRetriever(build(), tiny_processor(), "cpu", torch.float32, **options)


def shown(number: int) -> Image:
    return Image(f"picture {number}", pixels=picture(number))


TALKS = [
    Dialogue().user("a red cat"),
    Dialogue().user("two blue birds", shown(1)).assistant(shown(2)).user("the same but at night"),
    Dialogue().user(shown(3), "how many dogs?").assistant("three").user("show me a green chair"),
    Dialogue().user("a cat"),
]


def test_it_is_a_retriever_of_unit_vectors() -> None:
    system = retriever()
    assert isinstance(system, Retriever)
    for vectors in (
        system.encode_images([picture(1), picture(2, 50)]),
        system.encode_queries(TALKS),
    ):
        assert vectors.dtype == np.float32
        assert vectors.shape[1] == system.embedding_dim
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert system.encode_images([]).shape == (0, system.embedding_dim)
    assert system.encode_queries([]).shape == (0, system.embedding_dim)


def test_the_batch_does_not_matter() -> None:
    pictures = [picture(number, size=28 + number) for number in range(5)]
    whole, single = retriever(), retriever(image_batch=1, token_budget=1)
    assert [len(rows) for rows in single._batches(_samples(single))] == [1] * len(TALKS)
    assert len(list(whole._batches(_samples(whole)))) == 1
    np.testing.assert_allclose(  # measured 1e-7
        whole.encode_images(pictures), single.encode_images(pictures), atol=1e-6
    )
    np.testing.assert_allclose(  # measured 1e-7
        whole.encode_queries(TALKS), single.encode_queries(TALKS), atol=1e-6
    )
    shuffled = whole.encode_queries(TALKS[::-1])[::-1]
    np.testing.assert_allclose(whole.encode_queries(TALKS), shuffled, atol=1e-5)


def _samples(system: ChatSearcherRetriever):
    return [system.processor.encode_query(dialogue) for dialogue in TALKS]


def test_words_and_pictures_both_change_the_query() -> None:
    system = retriever()
    base = Dialogue().user("a cat", shown(1)).assistant("which?").user("the red one")
    others = [
        Dialogue().user("a dog", shown(1)).assistant("which?").user("the red one"),
        Dialogue().user("a cat", shown(2)).assistant("which?").user("the red one"),
        Dialogue().user("a cat", shown(1)).assistant("what?").user("the red one"),
    ]
    vectors = system.encode_queries([base, *others])
    for vector in vectors[1:]:
        assert np.abs(vectors[0] - vector).max() > 1e-5  # untrained: small, but above rounding


def test_save_and_load_give_the_same_vectors(tmp_path: Path) -> None:
    model = build()
    first = ChatSearcherRetriever(model, tiny_processor(), "cpu", torch.float32)
    model.save_pretrained(tmp_path / "model")
    first.processor.save_pretrained(tmp_path / "model")
    second = load_retriever(str(tmp_path), "cpu")
    assert second.fingerprint == first.fingerprint
    again = ChatSearcherRetriever(
        ChatSearcherModel.from_pretrained(tmp_path / "model"),
        second.processor,
        "cpu",
        torch.float32,
    )
    for name, weights in again.model.state_dict().items():
        assert torch.equal(weights, model.state_dict()[name]), name
    # equal weights elsewhere in memory may add up in another order: measured worst 4.5e-8
    same = partial(np.testing.assert_allclose, rtol=0, atol=1e-6)
    same(again.encode_queries(TALKS), first.encode_queries(TALKS))
    pictures = [picture(1), picture(2)]
    same(again.encode_images(pictures), first.encode_images(pictures))


def test_the_fingerprint_follows_what_makes_image_vectors() -> None:
    model = build()
    name = image_fingerprint(model)
    assert image_fingerprint(build()) == name
    with torch.no_grad():
        model.query_projection.weight += 1
        model.queue.features += 1
        model.key_projection.weight += 1  # the average encodes, not this one
    assert image_fingerprint(model) == name
    with torch.no_grad():
        model.key_projection.average.value += 1
    assert image_fingerprint(model) != name
    assert image_fingerprint(build(seed=1)) != name
    plain = build(momentum=0.0)
    before = image_fingerprint(plain)
    with torch.no_grad():
        plain.key_projection.weight += 1
    assert image_fingerprint(plain) != before


def test_bad_dialogues_are_refused() -> None:
    system = retriever()
    with pytest.raises(ValueError, match="has no pixels"):
        system.encode_queries([Dialogue().user("x", Image("file"))])
    with pytest.raises(ValueError, match="oldest turns"):
        system.encode_queries([Dialogue(id="long").user("cat " * 400)])


def test_it_answers_by_itself_and_each_conversation_for_itself() -> None:
    system = retriever(max_new_tokens=5)
    assert isinstance(system, Assistant)
    heard: list[str] = []
    replies = []
    for talk in (*TALKS, *TALKS[::-1]):  # interleaved: what one left behind must not show
        heard.clear()
        replies.append(system.reply(talk, heard.append))
        assert "".join(heard) == replies[-1].text
    fresh = [retriever(max_new_tokens=5).reply(talk) for talk in TALKS]
    for first, second, alone in zip(replies, replies[:3:-1], fresh, strict=False):
        assert first.text == second.text == alone.text
        assert first.search_probability == pytest.approx(alone.search_probability, abs=1e-6)
        assert second.search_probability == pytest.approx(alone.search_probability, abs=1e-6)


def test_a_search_has_the_vector_that_encode_queries_gives() -> None:
    system = retriever()
    system.search_threshold = 0.0  # always a picture
    for talk in TALKS:
        reply = system.reply(talk)
        assert reply.text == ""
        expected = system.encode_queries([talk])[0]
        np.testing.assert_allclose(reply.query, expected, atol=1e-5)
    system.search_threshold = 1.1
    assert all(system.reply(talk).query is None for talk in TALKS)


def test_another_pick_gives_another_answer() -> None:
    system = retriever()
    system.search_threshold = 0.0
    asked = Dialogue().user("a cat")
    one, two = (
        system.reply(asked.assistant(shown(number)).user("the same at night")).query
        for number in (1, 2)
    )
    assert np.abs(one - two).max() > 1e-5


def test_the_answer_goes_on_after_the_pick() -> None:
    system = retriever(max_new_tokens=4)
    asked = Dialogue().user("a cat")
    words = [system.go_on(asked.assistant("here", shown(number))) for number in (1, 2, 1)]
    assert words[0] == words[2]  # another pick in between leaves nothing behind
    heard: list[str] = []
    assert (
        retriever(max_new_tokens=4).go_on(asked.assistant("here", shown(1)), heard.append)
        == words[0]
    )
    assert "".join(heard) == words[0]
    session = ChatSession(system.model, system.processor)
    session.user("a cat")
    session.append([Segment(Text(" here"), False)])
    session.append_image(shown(1))
    assert session.generate(4, allow_search=False).text == words[0]
    with pytest.raises(ValueError, match="no open answer"):
        system.go_on(asked)


def test_many_conversations_do_not_pile_up() -> None:
    system = retriever(max_new_tokens=1)
    for number in range(SESSIONS + 3):
        system.reply(Dialogue().user(f"cat {number}"))
    assert len(system._sessions) == SESSIONS
    with pytest.raises(ValueError, match="nothing to answer"):
        system.reply(Dialogue().user("x").assistant("y"))


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no config\.json"):
        load_retriever(str(tmp_path))


def test_a_calibration_belongs_to_its_weights(tmp_path: Path) -> None:
    model = build()
    model.save_pretrained(tmp_path)
    tiny_processor().save_pretrained(tmp_path)
    assert load_retriever(str(tmp_path), "cpu").no_match_threshold is None
    path = tmp_path / "calibration.json"
    record = {"no_match_threshold": 0.25, "fingerprint": image_fingerprint(model)}
    path.write_text(json.dumps(record))
    assert load_retriever(str(tmp_path), "cpu").no_match_threshold == 0.25
    path.write_text(json.dumps({**record, "fingerprint": "other"}))
    with pytest.raises(ValueError, match="other weights"):
        load_retriever(str(tmp_path), "cpu")
    path.write_text("{}")
    with pytest.raises(ValueError, match="write it anew"):
        load_retriever(str(tmp_path), "cpu")


def test_queries_are_what_the_conversation_searches_with() -> None:
    """Many dialogues encoded at once, and each answered by itself with the same words."""
    system = ChatSearcherRetriever(
        build(search_lead="here they"), tiny_processor(), "cpu", torch.float32, max_new_tokens=9
    )
    system.search_threshold = 0.0
    vectors, words = system.encode_queries(TALKS), system.reformulate(TALKS)
    for talk, vector, said in zip(TALKS, vectors, words, strict=True):
        reply = system.reply(talk)
        np.testing.assert_allclose(vector, reply.query, atol=1e-5)
        assert reply.text == said
        assert said.startswith("here they")
    system.reformulates = False
    bare = system.encode_queries(TALKS)
    assert np.abs(bare - vectors).max() > 1e-3
    np.testing.assert_allclose(bare, retriever().encode_queries(TALKS), atol=1e-6)
    assert not retriever().reformulates
