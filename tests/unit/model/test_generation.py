"""Conversations: kept keys and values change nothing but the time they take."""

import pytest
import torch
from transformers import Gemma3TextConfig, GPT2Config, LlamaConfig

from chatsearcher.dialogue import Dialogue, Image
from chatsearcher.model.generation import ChatSession
from chatsearcher.model.language import cache_argument
from chatsearcher.model.sampling import decide, draw
from tests.fixtures.tiny import picture, seeing_model, tiny_processor

SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
}
LANGUAGE_MODELS = {
    "llama": LlamaConfig(vocab_size=320, **SMALL),
    "gpt2": GPT2Config(vocab_size=320, n_embd=32, n_layer=2, n_head=2, n_positions=256),
    "gemma3": Gemma3TextConfig(  # its cache of a window cannot be shortened
        vocab_size=320,
        head_dim=16,
        num_key_value_heads=1,
        sliding_window=8,
        layer_types=["sliding_attention", "full_attention"],
        pad_token_id=0,
        **SMALL,
    ),
}
TOLERANCE = 1e-4  # float32 log-probabilities; worst seen 3e-6


def shown(number):
    return Image(f"p{number}", pixels=picture(number))


def session(model, **changes):
    return ChatSession(model, tiny_processor(), **changes)


def anew(model, kept):
    """A session that has read the same history in one go, with nothing kept."""
    fresh = session(model)
    fresh._history.ids = list(kept.token_ids)
    for at, heard in kept._history.pictures.items():
        number = int(heard.name[1:])
        fresh._history.pictures[at] = type(heard)(heard.name, picture(number))
    return fresh


def assert_same(first, second):
    ours, theirs = first.next_log_probabilities(), second.next_log_probabilities()
    finite = theirs.isfinite()
    assert torch.equal(ours.isfinite(), finite)
    assert torch.allclose(ours[finite], theirs[finite], atol=TOLERANCE)


@pytest.mark.filterwarnings("error::FutureWarning")
@pytest.mark.parametrize("name", LANGUAGE_MODELS)
def test_a_kept_conversation_equals_one_read_anew(name):
    model = seeing_model(llm_config=LANGUAGE_MODELS[name]).eval()
    talk = session(model)
    for number, words in enumerate(["show me a cat", "like this", "how many are there?"]):
        talk.user(words, *([shown(number)] if number else []))
        assert_same(talk, anew(model, talk))
        fresh = anew(model, talk)
        seed = {"temperature": 1.0, "seed": number, "max_new_tokens": 5, "allow_search": False}
        assert talk.generate(**seed).text == fresh.generate(**seed).text
        assert talk.token_ids == fresh.token_ids
        answer = talk.generate(search_threshold=0.0)
        assert answer.stopped == "image"
        assert torch.allclose(answer.query, anew(model, talk).query_vector(), atol=TOLERANCE)
        mark = talk.mark()
        for picked in (10, 11):
            talk.rewind(mark)
            talk.append_image(shown(picked))
            assert_same(talk, anew(model, talk))


def test_different_picks_lead_to_different_states():
    model = seeing_model().eval()
    talk = session(model)
    talk.user("show me a cat")
    talk.generate(search_threshold=0.0)
    mark = talk.mark()
    states = []
    for picked in (1, 2):
        talk.rewind(mark)
        talk.append_image(shown(picked))
        states.append(talk._read()[1])
    assert (states[0] - states[1]).abs().max() > 1e-4


def test_undo_gives_back_the_state_before():
    model = seeing_model().eval()
    talk = session(model)
    talk.user("show me a cat", shown(1))
    before, ids, mark = talk.next_log_probabilities(), talk.token_ids, talk.mark()
    talk.generate(max_new_tokens=4)
    talk.user("another", shown(2))
    talk.generate(search_threshold=0.0)
    talk.append_image(shown(3))
    talk.rewind(mark)
    assert talk.token_ids == ids
    after = talk.next_log_probabilities()
    assert torch.allclose(before.exp(), after.exp(), atol=TOLERANCE)
    with pytest.raises(ValueError, match="cannot rewind to 999"):
        talk.rewind(999)


def test_sessions_share_no_state():
    model = seeing_model().eval()
    first, second, alone = session(model), session(model), session(model)
    first.user("show me a cat", shown(1))
    second.user("count the dogs", shown(2))
    first.generate(max_new_tokens=3, allow_search=False)
    second.generate(max_new_tokens=3, allow_search=False)
    first.user("and now?")
    second.user("thank you")
    alone.user("show me a cat", shown(1))
    alone.generate(max_new_tokens=3, allow_search=False)
    alone.user("and now?")
    assert first.token_ids == alone.token_ids
    assert_same(first, alone)


def test_reading_a_dialogue_keeps_what_is_the_same():
    model = seeing_model().eval()
    talk = session(model)
    start = Dialogue().user("show me a cat", shown(1))
    assert talk.read(start) == 1  # the beginning-of-sequence token
    talk.next_log_probabilities()
    length = len(talk)
    longer = start.assistant("here", shown(2)).user("the same but red")
    assert talk.read(longer) == length
    assert_same(talk, anew(model, talk))
    other = start.assistant("here", shown(3)).user("the same but red")
    kept = talk.read(other)
    # up to and with the [IMG] whose picture differs
    assert kept == next(at for at in talk._history.pictures if at >= length) + 1
    assert_same(talk, anew(model, talk))


def test_a_session_and_a_query_give_the_same_vector():
    model, processor = seeing_model().eval(), tiny_processor()
    dialogue = Dialogue().user("show me a cat", shown(1)).assistant("here").user("at night")
    talk = session(model)
    talk.read(dialogue)
    length = len(talk)
    expected = model.encode_queries(processor.batch([processor.encode_query(dialogue)]))[0]
    assert torch.allclose(talk.query_vector(), expected, atol=TOLERANCE)
    assert len(talk) == length


def test_turns_have_the_ids_of_the_whole_dialogue():
    processor = tiny_processor()
    talk = session(seeing_model().eval())
    talk.user("show me a cat")
    talk.append_image(shown(1))
    talk.user("thanks", shown(2), "and now?")
    dialogue = (
        Dialogue().user("show me a cat").assistant(shown(1)).user("thanks", shown(2), "and now?")
    )
    segments = processor.dialogue_segments(dialogue, generation_prompt=True)
    assert list(talk.token_ids) == processor.encode_segments(segments, eos=False).input_ids


def test_typing_on_instead_of_picking_drops_the_open_picture():
    talk = session(seeing_model().eval())
    talk.user("show me a cat")
    talk.generate(search_threshold=0.0)
    assert talk.waits_for_picture
    talk.user("no, a dog")
    assert talk._start_id not in talk.token_ids


def test_the_threshold_and_the_permission_decide_about_pictures():
    talk = session(seeing_model().eval())
    talk.user("show me a cat")
    mark, probability = talk.mark(), talk.search_probability()
    assert 0 < probability < 1
    shows = talk.generate(search_threshold=probability - 1e-6)
    assert (shows.stopped, shows.text) == ("image", "")
    assert shows.search_probability == pytest.approx(probability)
    assert shows.query.norm().item() == pytest.approx(1, abs=1e-5)
    talk.rewind(mark)
    tells = talk.generate(search_threshold=probability + 1e-3, max_new_tokens=1)
    assert tells.query is None
    assert tells.token_ids != (talk._start_id,)
    talk.rewind(mark)
    for seed in range(5):
        answer = talk.generate(temperature=5.0, seed=seed, allow_search=False, max_new_tokens=20)
        assert answer.query is None
        talk.rewind(mark)


def test_words_stream_and_seeds_repeat():
    talk = session(seeing_model().eval())
    talk.user("show me a cat")
    mark, answers = talk.mark(), []
    for seed in (1, 1, 2):
        pieces = []
        answers.append(
            talk.generate(20, temperature=2.0, seed=seed, on_text=pieces.append, allow_search=False)
        )
        assert "".join(pieces) == answers[-1].text
        talk.rewind(mark)
    assert answers[0] == answers[1]
    assert answers[0].token_ids != answers[2].token_ids


def test_placeholders_and_padding_are_never_generated():
    processor = tiny_processor()
    talk = session(seeing_model().eval())
    talk.user("hi")
    log_p = talk.next_log_probabilities()
    tokenizer = processor.tokenizer
    banned = tokenizer.convert_tokens_to_ids(["<image>", "[/IMG]", "<s>", "<pad>"])
    assert log_p[banned].isneginf().all()
    assert log_p[tokenizer.convert_tokens_to_ids(["[IMG]", "</s>"])].isfinite().all()
    assert log_p.exp().sum().item() == pytest.approx(1, abs=1e-5)


def test_a_long_conversation_forgets_its_oldest_rounds_and_goes_on():
    model = seeing_model().eval()
    talk = session(model, max_positions=90, reserve=16)
    for number in range(12):
        talk.user(f"show me dogs and birds {number}", shown(number))
        talk.generate(max_new_tokens=16, allow_search=False)
        assert len(talk) <= 90
    assert talk.forgotten_rounds > 0
    assert len(talk._history.rounds) + talk.forgotten_rounds == 12
    assert_same(talk, anew(model, talk))
    assert [p.name for p in talk._history.pictures.values()][-1] == "p11"


def test_a_round_that_does_not_fit_is_refused_with_the_remedy():
    talk = session(seeing_model().eval(), max_positions=40)
    with pytest.raises(ValueError, match=r"the last round alone takes .* of 40; shorten"):
        talk.user("cat " * 60)


def test_a_model_in_training_mode_is_refused():
    with pytest.raises(ValueError, match=r"model\.eval"):
        session(seeing_model().train())


def test_drawing_from_a_nucleus():
    log_p = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()
    generator = torch.Generator().manual_seed(0)
    assert draw(log_p, 0.0, 1.0, generator) == 0
    drawn = [draw(log_p, 1.0, 0.79, generator) for _ in range(2000)]
    assert set(drawn) == {0, 1}
    assert drawn.count(0) / 2000 == pytest.approx(0.5 / 0.8, abs=0.04)
    assert decide(log_p, 3, True).argmax() == 3
    assert decide(log_p, 0, False).exp().tolist() == pytest.approx([0, 0.6, 0.3, 0.1])


def test_the_cache_goes_by_the_name_that_the_model_has_for_it():
    class Former:
        def forward(self, input_ids=None, past_key_values=None): ...

    class Present:
        def forward(self, input_ids=None, cache=None): ...

    assert cache_argument(Former) == "past_key_values"
    assert cache_argument(Present) == "cache"


def test_a_later_turn_makes_tokens_of_itself_alone(monkeypatch):
    talk = session(seeing_model().eval())
    dialogue = Dialogue().user("show me a cat").assistant("which?").user("a red one")
    talk.read(dialogue)
    encoded = []
    encode = talk.processor.encode_segments

    def counting(segments, *rest, **more):
        encoded.append(segments)
        return encode(segments, *rest, **more)

    monkeypatch.setattr(talk.processor, "encode_segments", counting)
    dialogue = dialogue.assistant("here it is").user("two of them")
    talk.read(dialogue)
    assert len(encoded) == 3  # the answer, the new turn, and the beginning of an answer
    fresh = session(talk.model)
    fresh.read(dialogue)
    assert talk.token_ids == fresh.token_ids
