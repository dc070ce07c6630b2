"""Batches of the data room read by the network: packing and row order change no loss."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch

from chatsearcher.data.batches import MixedBatches
from chatsearcher.data.collate import collate
from chatsearcher.data.loader import build_source
from chatsearcher.data.records import DataConfig, SourceConfig
from chatsearcher.model import ChatSearcherModel, ChatSearcherProcessor
from chatsearcher.model.processing import EncodedSample
from tests.fixtures.tiny import tiny_config, tiny_processor

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "images"
SOURCES = {
    "pairs": SourceConfig("world-pairs", 3),
    "documents": SourceConfig("world-documents", 1),
    "talk": SourceConfig("world-conversations", 1),
}


@pytest.fixture(scope="module")
def model_and_processor() -> tuple[ChatSearcherModel, ChatSearcherProcessor]:
    torch.manual_seed(0)
    config = tiny_config(queue_size=256)
    return ChatSearcherModel(config), tiny_processor(config)


def samples(processor: ChatSearcherProcessor) -> list[EncodedSample]:
    made = MixedBatches(DataConfig(SOURCES, length=4096, image_size=32), processor, 0, 1, 0)
    drawn = (made.mix[position] for position in range(made.batch))
    return [made._sample(name, made.sources[name].item(index), []) for name, index in drawn]


def test_packed_equals_unpacked(
    model_and_processor: tuple[ChatSearcherModel, ChatSearcherProcessor],
) -> None:
    model, processor = model_and_processor
    model.eval()
    encoded = samples(processor)
    plain = model(collate(encoded, processor, pack=False))
    for length in (None, 2000):
        packed = collate(encoded, processor, length)
        assert len(packed.input_ids) < len(encoded)
        out = model(packed)
        assert out.text_count == plain.text_count
        assert out.image_count == plain.image_count > 4
        torch.testing.assert_close(out.text_loss, plain.text_loss, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(out.image_loss, plain.image_loss, rtol=1e-5, atol=1e-6)
    # the comparison can fail: without the borders between samples the loss is another
    packed.segment_ids = packed.segment_ids.clamp(max=1)
    assert abs(model(packed).text_loss - plain.text_loss) > 1e-4


@pytest.mark.skipif(not REAL.is_dir(), reason="no real pictures in ../shared/data/images")
def test_real_shards_become_batches(
    model_and_processor: tuple[ChatSearcherModel, ChatSearcherProcessor],
) -> None:
    model, processor = model_and_processor
    figures = str(REAL / "openstax")
    sources = {
        "pairs": SourceConfig(
            "shard-pairs", 2, path=figures, texts=("captions", "textbook_captions")
        ),
        "talk": SourceConfig("shard-dialogues", 2, path=figures),
        "edits": SourceConfig("modifications", 2, path=str(REAL / "openmoji")),
    }
    source = build_source(DataConfig(sources, length=1024, workers=0), processor)
    for batch in itertools.islice(source, 2):
        assert bool(torch.isfinite(model(batch).loss))
        assert len(batch.pixel_values) == 8
    assert source.report.summary() == ""
