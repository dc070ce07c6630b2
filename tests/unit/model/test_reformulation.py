"""Saying what is looked for before a picture is shown: one dialogue at a time, and many at once."""

from __future__ import annotations

import pytest
import torch
from transformers import GPT2Config, LlamaConfig

from chatsearcher.dialogue import Dialogue, Image
from chatsearcher.model import ChatSearcherModel
from chatsearcher.model.generation import ChatSession
from chatsearcher.model.reformulation import reformulate
from chatsearcher.model.sampling import merge, search_lead_ids
from tests.fixtures.tiny import picture, seeing_model, tiny_processor

LEAD = "here they"
SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
}
LANGUAGE_MODELS = {
    "llama": LlamaConfig(vocab_size=320, max_position_embeddings=256, **SMALL),
    "padded vocabulary": LlamaConfig(vocab_size=384, max_position_embeddings=256, **SMALL),
    "gpt2": GPT2Config(vocab_size=320, n_embd=32, n_layer=2, n_head=2, n_positions=256),
}
TALKS = [
    Dialogue().user("a red cat"),
    Dialogue()
    .user("two blue birds", Image("p1", pixels=picture(1)))
    .assistant("here they are", Image("p2", pixels=picture(2)))
    .user("the same but at night"),
    Dialogue().user("how many dogs?").assistant("three").user(Image("p3", pixels=picture(3))),
]


def leading(name: str = "llama") -> ChatSearcherModel:
    return seeing_model(llm_config=LANGUAGE_MODELS[name], search_lead=LEAD).eval()


def lead_ids() -> list[int]:
    return search_lead_ids(tiny_processor(), LEAD)


def answers(model: ChatSearcherModel, **options):
    for talk in TALKS:
        session = ChatSession(model, tiny_processor())
        session.read(talk)
        yield session, session.generate(search_threshold=0.0, **options)


@pytest.mark.parametrize("name", LANGUAGE_MODELS)
@pytest.mark.parametrize("room", [2, 4, 12])
def test_many_at_once_say_what_each_says_alone(name: str, room: int) -> None:
    """The library's generation on padded rows, against this project's with a cache."""
    model, processor = leading(name), tiny_processor()
    asked = [processor.encode_query(talk) for talk in TALKS]
    many = reformulate(model, processor, asked, max_new_tokens=room)
    queries = model.encode_queries(processor.batch(many))
    for row, (before, sample) in enumerate(zip(asked, many, strict=True)):
        session = ChatSession(model, processor)
        session.read(TALKS[row])
        alone = session.generate(search_threshold=0.0, max_new_tokens=room)
        assert alone.stopped == "image"
        assert sample.input_ids[len(before.input_ids) - 1 :] == list(alone.token_ids)
        assert len(sample.labels) == len(sample.input_ids)
        assert torch.allclose(queries[row], alone.query, atol=1e-5)  # measured 3e-7


def test_a_model_without_a_lead_is_refused() -> None:
    processor = tiny_processor()
    with pytest.raises(ValueError, match="no search_lead"):
        reformulate(seeing_model().eval(), processor, [processor.encode_query(TALKS[0])])


@pytest.mark.parametrize("room", [1, 2, 3, 4, 9])
def test_what_is_looked_for_is_looked_for_however_little_room_there_is(room: int) -> None:
    for session, answer in answers(leading(), max_new_tokens=room):
        assert answer.stopped == "image"
        assert len(answer.token_ids) <= room
        assert list(answer.token_ids[:-1])[: len(lead_ids())] == lead_ids()[: room - 1]
        assert session.waits_for_picture
        assert answer.query is not None


def test_words_are_streamed_with_their_lead() -> None:
    heard: list[str] = []
    session = ChatSession(leading(), tiny_processor())
    session.read(TALKS[0])
    answer = session.generate(search_threshold=0.0, max_new_tokens=9, on_text=heard.append)
    assert "".join(heard) == answer.text
    assert answer.text.startswith(LEAD)


def test_the_probability_of_a_picture_counts_the_words_that_lead_to_one() -> None:
    model, processor = leading(), tiny_processor()
    session = ChatSession(model, processor)
    session.read(TALKS[1])
    p_V = session.next_log_probabilities().exp()
    start = model.config.token_ids()[0]
    expected = (p_V[start] + p_V[lead_ids()[0]]).item()
    assert session.search_probability() == pytest.approx(expected, rel=1e-5)
    answer = session.generate(max_new_tokens=3)
    assert answer.search_probability == pytest.approx(expected, rel=1e-5)


def test_without_search_the_lead_is_not_begun() -> None:
    model = leading()
    first = lead_ids()[0]
    head = model.llm.get_output_embeddings()
    with torch.no_grad():
        head.weight[first] = 50 * head.weight[first]
    for _, answer in answers(model, allow_search=False, temperature=1.0, max_new_tokens=1):
        assert answer.token_ids[0] != first
        assert answer.query is None


def test_merged_probabilities_still_add_up_to_one() -> None:
    log_p_V = torch.randn(9).log_softmax(dim=0)
    merged_V = merge(log_p_V, 2, 7)
    assert merged_V.exp().sum() == pytest.approx(1.0, abs=1e-6)
    assert merged_V[2].exp() == pytest.approx(float(log_p_V[[2, 7]].exp().sum()), abs=1e-6)
    assert merged_V[7] == -torch.inf
    others = [0, 1, 3, 4, 5, 6, 8]
    assert torch.equal(merged_V[others], log_p_V[others])
