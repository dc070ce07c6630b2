"""Learning a tower's words: what is taught is the tower's own, and the tower learns nothing."""

from __future__ import annotations

import pytest
import torch

from chatsearcher.data.contrastive import encode_texts
from chatsearcher.data.records import DataConfig, SourceConfig
from chatsearcher.data.texts import TextBatch, TextBatches, words
from chatsearcher.model.tokenizer import nano_tokenizer
from chatsearcher.training.new_llama import LanguageModelSettings, new_llama
from chatsearcher.training.tower import CroppedClip, TowerSettings, build_clip
from chatsearcher.training.words import WordsModel, WordsObjective, WordsSettings, check_vocabulary

TEXTS = ["a red cat", "two blue birds at night", "a bird", "a cat at night and two birds"]


@pytest.fixture
def tokenizer():
    return nano_tokenizer(TEXTS, 300)


@pytest.fixture
def model(tokenizer):
    torch.manual_seed(0)
    settings = TowerSettings(
        image_size=32, embedding_dim=24, text_layers=3, text_width=16, text_heads=2, context=32
    )
    tower = CroppedClip(build_clip(settings.model_config(tokenizer)))
    llm = LanguageModelSettings(
        hidden_size=32, layers=5, heads=4, intermediate_size=48, initialiser="local"
    )
    start = tokenizer.convert_tokens_to_ids("[IMG]")
    return WordsModel(new_llama(llm, tokenizer), tower, start)


def batch(tokenizer, texts=TEXTS) -> TextBatch:
    return TextBatch(*encode_texts(tokenizer, texts, 32), list(texts))


def test_the_last_states_are_those_that_open_clip_pools(model, tokenizer):
    clip = model.tower.clip
    ids = batch(tokenizer).input_ids
    padded = torch.full((len(ids), clip.context_length), tokenizer.pad_token_id)
    padded[:, : ids.shape[1]] = ids
    ends = (ids == tokenizer.eos_token_id).int().argmax(1)
    last = model._states(ids)[-1][torch.arange(len(ids)), ends]
    torch.testing.assert_close(last @ clip.text_projection, clip.encode_text(padded))


def test_each_layer_is_taught_by_the_block_at_its_depth(model):
    assert model.layers == [2, 3, 5]


def test_measured_states_have_no_centre_and_one_spread(model, tokenizer):
    each = batch(tokenizer)
    model.measure([each])
    states = model._taught(each.input_ids)[0][:, each.mask.bool()]
    torch.testing.assert_close(states.mean(1), torch.zeros(3, 16), atol=1e-4, rtol=0)
    torch.testing.assert_close(states.std(1), torch.ones(3, 16), atol=1e-4, rtol=0)


def test_padding_changes_nothing(model, tokenizer):
    each = batch(tokenizer)
    wide = torch.nn.functional.pad(each.input_ids, (0, 5), value=tokenizer.pad_token_id)
    mask = torch.nn.functional.pad(each.mask, (0, 5))
    for narrow, padded in zip(model(each.input_ids, each.mask), model(wide, mask), strict=True):
        torch.testing.assert_close(narrow.float(), padded.float())


def test_the_language_model_learns_and_the_tower_does_not(model, tokenizer):
    each = batch(tokenizer)
    model.measure([each])
    objective = WordsObjective(WordsSettings())
    before = {name: value.clone() for name, value in model.tower.state_dict().items()}
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=3e-3)
    losses = []
    for _ in range(60):
        result = objective(model.train(), each)
        optimiser.zero_grad()
        result.loss.backward()
        optimiser.step()
        losses.append(result.metrics)
    assert losses[-1]["retrieval_accuracy"] == 1
    assert losses[-1]["states_loss"] < 0.5 * losses[0]["states_loss"]
    assert losses[-1]["text_loss"] < 0.5 * losses[0]["text_loss"]
    for name, value in model.tower.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_a_tower_of_another_vocabulary_is_refused(model, tokenizer):
    check_vocabulary(model.tower, tokenizer)
    other = nano_tokenizer(["green dogs run"], 280)
    with pytest.raises(ValueError, match=f"reads {len(tokenizer)} words, .* has {len(other)}"):
        check_vocabulary(model.tower, other)


def test_batches_are_the_sources_words_shared_among_ranks(tokenizer):
    sources = {
        "look-alikes": SourceConfig("world-look-alikes", 8),
        "conversations": SourceConfig("world-conversations", 2),
    }
    config = DataConfig(sources=sources, length=256, workers=0)
    whole = TextBatches(config, tokenizer, 0, 1, 7)
    halves = [TextBatches(config, tokenizer, rank, 2, 7) for rank in range(2)]
    for step in range(3):
        made = whole(step).batch
        assert [key for half in halves for key in half(step).batch.keys] == made.keys
        assert made.input_ids.shape == made.mask.shape
    first = whole.sources["look-alikes"].item(0)
    (text,) = words(first)
    ids, _ = encode_texts(tokenizer, [text], 256)
    row = whole(0).batch.keys.index(first.key)
    assert whole(0).batch.input_ids[row][: ids.shape[1]].tolist() == ids[0].tolist()
