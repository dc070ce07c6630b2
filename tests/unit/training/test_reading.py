"""A new connector's first words: each query says one, in the language model's own embeddings."""

from __future__ import annotations

import pytest
import torch

from chatsearcher.dialogue import Image, Text
from chatsearcher.model import Segment
from chatsearcher.training.reading import ReadingModel, ReadingObjective, held_out_hook
from tests.fixtures.tiny import picture, seeing_model, tiny_config, tiny_processor

TEXTS = ["two at three", "the two are", "please how a", "three a at", "are the how"]  # 3 tokens


def batch(texts: list[str]):
    processor = tiny_processor(tiny_config(num_query_tokens=3))
    samples = []
    for number, text in enumerate(texts):
        parts = [Image(f"p{number}", pixels=picture(number)), Text(" " + text)]
        segments = [Segment(part, True) for part in parts]
        samples.append(processor.encode_segments(segments, f"key {number}"))
    return processor.batch(samples)


@pytest.fixture
def model() -> ReadingModel:
    return ReadingModel(seeing_model(num_query_tokens=3))


def test_the_words_are_those_behind_each_picture(model) -> None:
    tokenizer = tiny_processor().tokenizer
    found = [tokenizer.decode(row).strip() for row in model.words_of(batch(TEXTS))]
    assert found == TEXTS


@pytest.mark.parametrize("text", ["two at", "two at three a", "two at three at night", ""])
def test_another_number_of_words_is_refused(model, text: str) -> None:
    with pytest.raises(ValueError, match="exactly 3 words"):
        model(batch([TEXTS[0], text]))


def test_the_loss_is_softmax_over_squared_distances(model) -> None:
    each = batch(TEXTS)
    with torch.no_grad():
        out = model(each)
        said_INH = model.model.embed_images(each.pixel_values)[:, 1:]
        embeddings_VH = model.model.llm.get_input_embeddings().weight
        squared_INV = (said_INH[:, :, None] - embeddings_VH).square().sum(-1)
    words_IN = model.words_of(each)
    expected = -(-squared_INV).log_softmax(-1).gather(-1, words_IN[..., None]).mean()
    torch.testing.assert_close(out.loss, expected, atol=1e-5, rtol=1e-5)
    assert torch.equal(out.correct_IN, squared_INV.argmin(-1) == words_IN)


def test_the_connector_learns_and_nothing_else(model) -> None:
    each, objective = batch(TEXTS), ReadingObjective()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=1e-2, weight_decay=0.0)
    model.train()
    for _ in range(120):
        result = objective(model, each)
        optimiser.zero_grad()
        result.loss.backward()
        optimiser.step()
    assert result.samples == 5
    assert result.tokens == 15
    assert float(result.metrics["retrieval_accuracy"]) == 1.0
    figures = held_out_hook([each])(model.eval(), 0)
    assert figures == {"val_words": 1.0, "val_pictures": 1.0}
    changed = {
        name for name, value in model.state_dict().items() if not torch.equal(value, before[name])
    }
    assert changed
    assert all(name.startswith("model.connector.") for name in changed)
    assert not any("cls_projection" in name for name in changed)
