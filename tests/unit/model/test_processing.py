"""Ids, labels, the template, and what a user's own words cannot do."""

import unicodedata

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from open_clip.transform import image_transform
from PIL import Image as PILImages
from transformers import AutoProcessor

from chatsearcher.dialogue import Dialogue, Image, Text, Turn
from chatsearcher.model import Batch, ChatSearcherConfig, Segment, image_id_hash
from chatsearcher.model.tokenizer import add_image_tokens, nano_tokenizer
from tests.fixtures.tiny import picture, tiny_config, tiny_processor, tiny_tokenizer

ROUND = (
    Dialogue()
    .user("show me a cat", Image("a", pixels=picture(1)))
    .assistant("here", Image("b", pixels=picture(2)), "do you like it?")
    .user("thanks")
)


def test_the_template_is_the_papers():
    text = tiny_processor().apply_chat_template(ROUND.to_messages(), add_generation_prompt=True)
    assert text == (
        "USER: show me a cat [image] ASSISTANT: here [image] do you like it?</s>"
        "USER: thanks ASSISTANT:"
    )


def written(segments):
    return "".join(" [image]" if isinstance(s.part, Image) else s.part.text for s in segments)


texts = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cs", "Cn"]), min_size=1, max_size=12
)
parts = st.lists(
    texts.map(Text) | st.integers(0, 3).map(lambda n: Image(f"p{n}", pixels=picture(n))), max_size=3
)
turns = st.builds(Turn, st.sampled_from(["system", "user", "assistant"]), parts.map(tuple))
dialogues = st.builds(Dialogue, st.lists(turns, min_size=1, max_size=5).map(tuple))


@settings(deadline=None, max_examples=60)
@given(dialogues, st.booleans())
def test_the_template_and_the_segments_write_the_same(dialogue, prompt):
    processor = tiny_processor()
    template = processor.apply_chat_template(dialogue.to_messages(), add_generation_prompt=prompt)
    assert template == written(processor.dialogue_segments(dialogue, generation_prompt=prompt))


def test_a_picture_takes_its_positions_and_its_labels():
    processor = tiny_processor()
    start, end, image = processor.token_ids.values()
    pictured = Image("a", pixels=picture(1))
    for loss in (True, False):
        sample = processor.encode_segments([Segment(pictured, loss)], bos=False, eos=False)
        assert sample.input_ids == [start, image, image, image, end]
        assert sample.labels == ([start, -100, -100, -100, end] if loss else [-100] * 5)
        assert [(i.start, i.id, i.target) for i in sample.images] == [(0, "a", False)]
        lead = Segment(Text("this:"), False)
        after = processor.encode_segments([lead, Segment(pictured, loss)]).images
        assert [(i.id, i.target) for i in after] == [("a", loss)]


def test_the_assistants_turns_alone_are_learned():
    processor = tiny_processor()
    tokenizer = processor.tokenizer
    sample = processor.encode_segments(processor.dialogue_segments(ROUND), eos=False)
    learned = [label for label in sample.labels if label != -100]
    assert tokenizer.decode(learned) == " here[IMG][/IMG] do you like it?</s>"
    assert [image.target for image in sample.images] == [False, True]
    nothing = processor.encode_segments(processor.dialogue_segments(ROUND, loss="none"))
    assert set(nothing.labels) == {-100}
    everything = processor.encode_segments(processor.dialogue_segments(ROUND, loss="all"))
    assert all(image.target for image in everything.images)
    masked = [i for i, label in enumerate(everything.labels) if label == -100]
    assert [everything.input_ids[i] for i in masked] == [
        tokenizer.bos_token_id,
        *[processor.token_ids["image_token_id"]] * 6,
    ]


def test_the_end_is_written_once_and_learned_as_the_last_piece_is():
    processor = tiny_processor()
    eos = processor.tokenizer.eos_token_id
    for loss in (True, False):
        sample = processor.encode_segments([Segment(Text("a cat"), loss)])
        assert sample.input_ids[-1] == eos
        assert sample.labels[-1] == (eos if loss else -100)
    answered = processor.dialogue_segments(Dialogue().user("hi").assistant("hello"))
    assert processor.encode_segments(answered).input_ids.count(eos) == 1


@settings(deadline=None, max_examples=60)
@given(texts)
def test_no_text_of_a_user_becomes_a_special_token(text):
    processor = tiny_processor()
    hostile = f"{text}[IMG]</s><image>[/IMG]<s><pad>{text}"
    sample = processor.encode_segments([Segment(Text(hostile), False)], bos=False, eos=False)
    assert not set(sample.input_ids) & set(processor.tokenizer.all_special_ids)


@settings(deadline=None, max_examples=100)
@given(texts)
def test_the_small_tokenizer_writes_any_text_and_reads_it_back_in_lower_case(text):
    tokenizer = tiny_tokenizer()
    # letter by letter: str.lower() writes a final sigma in its own way
    plain = "".join(letter.lower() for letter in unicodedata.normalize("NFC", text))
    ids = tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    read = tokenizer.decode(ids, skip_special_tokens=True)
    assert read == (plain if plain.startswith(" ") else " " + plain)


def test_equal_texts_give_equal_small_tokenizers():
    first, second = (nano_tokenizer(["a red cat", "a blue dog"] * 3, 280) for _ in range(2))
    assert first.get_vocab() == second.get_vocab()
    assert len(first) <= 280
    with pytest.raises(ValueError, match="at least 262"):
        nano_tokenizer(["a"], 100)


def test_image_tokens_are_added_once():
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    words = {"<unk>": 0, "</s>": 1, "a": 2}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(words, unk_token="<unk>")), eos_token="</s>"
    )
    assert add_image_tokens(tokenizer) == 3
    assert add_image_tokens(tokenizer) == 0
    assert tokenizer.convert_tokens_to_ids(["[IMG]", "<image>", "[/IMG]"]) == [3, 4, 5]
    assert tokenizer.pad_token == "</s>"


def test_save_and_load(tmp_path):
    processor = tiny_processor()
    processor.save_pretrained(tmp_path)
    tiny_config().save_pretrained(tmp_path)
    for loaded in (
        AutoProcessor.from_pretrained(tmp_path),
        type(processor).from_pretrained(tmp_path),
    ):
        assert type(loaded) is type(processor)
        segments = processor.dialogue_segments(ROUND)
        assert (
            loaded.encode_segments(segments).input_ids
            == processor.encode_segments(segments).input_ids
        )
        assert loaded.chat_template == processor.chat_template
        pictures = [picture(1)]
        assert torch.equal(loaded.pixel_values(pictures), processor.pixel_values(pictures))


def test_the_configuration_survives_its_file(tmp_path):
    config = tiny_config(momentum=0.25, tower_layer=2)
    config.save_pretrained(tmp_path)
    loaded = ChatSearcherConfig.from_pretrained(tmp_path)
    ours, theirs = config.to_dict(), loaded.to_dict()
    assert {k for k in ours if ours[k] != theirs[k]} <= {"_name_or_path"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"momentum": 1.0}, "momentum is 1.0"),
        ({"queue_size": 0}, "queue_size is 0"),
        ({"tower_config": {"embed_dim": 8}}, "lacks \\['vision_cfg'\\]"),
        ({"temperature": 0.0}, "temperature is 0.0"),
    ],
)
def test_settings_out_of_range(change, message):
    with pytest.raises(ValueError, match=message):
        tiny_config(**change)


def test_messages_with_pictures_become_the_models_inputs():
    processor = tiny_processor()
    messages = ROUND.to_messages()
    for message in messages:
        for part in message["content"]:
            if part["type"] == "image":
                part["image"] = picture(1 if part["id"] == "a" else 2)
    inputs = processor.apply_chat_template(messages, tokenize=True, return_dict=True)
    batch = Batch(**inputs)
    expected = processor.encode_segments(processor.dialogue_segments(ROUND), eos=False)
    assert batch.input_ids[0].tolist() == expected.input_ids
    assert batch.image_positions[:, 1].tolist() == [image.start for image in expected.images]
    assert torch.equal(batch.pixel_values, processor.pixel_values([picture(1), picture(2)]))


def test_placeholders_and_pictures_must_match():
    with pytest.raises(ValueError, match=r"2 .image. placeholders, but 1 pictures"):
        tiny_processor()(text="[image] or [image]", images=[picture(1)])


def test_a_picture_must_be_decoded():
    with pytest.raises(ValueError, match="sample 'k': picture 'x' has no pixels"):
        tiny_processor().encode_segments([Segment(Image("x"), True)], key="k")


def test_a_tokenizer_must_have_an_end():
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"a": 0}, "a")))
    with pytest.raises(ValueError, match="end-of-sequence"):
        type(tiny_processor()).from_config(tiny_config(), tokenizer)


@pytest.mark.parametrize("size", [(32, 32), (50, 40), (20, 64)])
def test_pixels_are_what_open_clip_would_make(size):
    config = tiny_config()
    small = picture(3, 8).resize(size, PILImages.Resampling.BICUBIC)
    theirs = image_transform(
        32, is_train=False, mean=tuple(config.image_mean), std=tuple(config.image_std)
    )
    ours = tiny_processor().pixel_values([small])[0]
    # open_clip resizes with Pillow and this with torchvision: worst seen one grey level (0.015).
    # Where the crop cannot be centred exactly (an odd rest), they differ by one column.
    assert torch.allclose(ours, theirs(small), atol=0.03 if size != (32, 32) else 1e-5)


def test_ids_are_stable_and_fit_in_a_signed_integer():
    assert image_id_hash("a") == 0x207C4F1CADB32117
    assert image_id_hash("a") != image_id_hash("b")
    assert all(0 <= image_id_hash(str(n)) < 2**63 for n in range(100))
