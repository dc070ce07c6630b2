"""``eval/seeing.py``: what words take from pictures, of models of which it is known."""

from __future__ import annotations

import runpy
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from chatsearcher.data.collate import collate
from chatsearcher.model import Batch, ChatSearcherModel
from chatsearcher.model.language import decoder_layers
from tests.fixtures.tiny import seeing_model, tiny_processor, tiny_samples

SEEING = runpy.run_path(str(Path(__file__).resolve().parents[3] / "eval" / "seeing.py"))


@pytest.fixture
def model() -> ChatSearcherModel:
    made = seeing_model().eval()
    with torch.no_grad():  # new weights of 0.02 hardly pass anything on
        made.connector.cls_projection.weight.mul_(50)
        for layer in decoder_layers(made.llm):
            for part in (layer.self_attn.v_proj, layer.self_attn.o_proj):
                part.weight.mul_(20)
    return made


@pytest.fixture
def batch(model: ChatSearcherModel) -> Batch:
    processor = tiny_processor(model.config)
    return collate(tiny_samples(processor, range(4)), processor, 64)


def taken(model: ChatSearcherModel, batch: Batch) -> float:
    own = SEEING["loss"](model, [batch])
    return float(SEEING["loss"](model, [SEEING["with_others"](batch)]) - own)


def test_a_model_that_sees_takes_something(model: ChatSearcherModel, batch: Batch) -> None:
    assert abs(taken(model, batch)) > 1e-4


def test_equal_pictures_and_blind_models_take_nothing(
    model: ChatSearcherModel, batch: Batch
) -> None:
    alike = replace(batch, pixel_values=batch.pixel_values[:1].expand_as(batch.pixel_values))
    assert taken(model, alike) == pytest.approx(0, abs=1e-6)
    with torch.no_grad():
        for projection in (model.connector.cls_projection, model.connector.query_projection):
            projection.weight.zero_()
    assert taken(model, batch) == pytest.approx(0, abs=1e-6)


def test_the_loss_is_that_of_all_words(model: ChatSearcherModel, batch: Batch) -> None:
    processor = tiny_processor(model.config)
    single = [collate(tiny_samples(processor, [number]), processor, 64) for number in range(4)]
    assert SEEING["loss"](model, single) == pytest.approx(SEEING["loss"](model, [batch]), rel=1e-4)
