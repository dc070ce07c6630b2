from __future__ import annotations

import pytest
import torch
from PIL import Image as Pictures

from chatsearcher.data.collate import collate
from chatsearcher.dialogue import Image, Text
from chatsearcher.model.batch import image_id_hash
from chatsearcher.model.processing import ChatSearcherProcessor, EncodedSample, Segment

SIDE, IMAGE_TOKENS = 16, 5


def picture(name: str, colour: str) -> Image:
    return Image(name, pixels=Pictures.new("RGB", (SIDE, SIDE), colour))


def samples(processor: ChatSearcherProcessor) -> list[EncodedSample]:
    red, blue = picture("red", "red"), picture("blue", "blue")
    made = [
        [Segment(Text(" a red cat"), True), Segment(red, True)],
        [Segment(Text(" the same " * 9), True)],
        [Segment(blue, False), Segment(Text(" two blue cars"), True)],
        [Segment(red, True), Segment(Text(" at the beach"), False), Segment(blue, True)],
    ]
    return [processor.encode_segments(each, key=f"s{n}") for n, each in enumerate(made)]


@pytest.mark.parametrize("pack", [True, False])
def test_each_sample_stands_whole_in_its_own_segment(
    processor: ChatSearcherProcessor, pack: bool
) -> None:
    encoded = samples(processor)
    batch = collate(encoded, processor, 64, pack)
    found = []
    for row in range(len(batch.input_ids)):
        for segment in range(1, int(batch.segment_ids[row].max()) + 1):
            where = batch.segment_ids[row] == segment
            ids = batch.input_ids[row][where].tolist()
            assert batch.position_ids[row][where].tolist() == list(range(len(ids)))
            assert bool(where.nonzero().diff(dim=0).eq(1).all()), "a segment is contiguous"
            found.append((ids, batch.labels[row][where].tolist()))
    assert sorted(found) == sorted((s.input_ids, s.labels) for s in encoded)
    padding = batch.segment_ids == 0
    assert bool((batch.labels[padding] == -100).all())
    assert batch.keys == ["s0", "s1", "s2", "s3"]
    assert (len(batch.input_ids) == 4) is not pack
    if pack:
        assert batch.input_ids.shape[1] <= 64


@pytest.mark.parametrize("pack", [True, False])
def test_pictures_keep_the_samples_order_and_know_their_place(
    processor: ChatSearcherProcessor, pack: bool
) -> None:
    batch = collate(samples(processor), processor, 64, pack)
    names = ["red", "blue", "red", "blue"]
    assert batch.image_ids.tolist() == [image_id_hash(name) for name in names]
    assert batch.image_targets.tolist() == [True, False, False, True], "nothing before the third"
    start, end = processor.tokenizer.convert_tokens_to_ids(["[IMG]", "[/IMG]"])
    for row, column in batch.image_positions.tolist():
        assert batch.input_ids[row, column] == start
        assert batch.input_ids[row, column + IMAGE_TOKENS - 1] == end
    assert torch.equal(batch.pixel_values[0], batch.pixel_values[2])
    assert not torch.equal(batch.pixel_values[0], batch.pixel_values[1])
    channel = batch.pixel_values[1].mean(dim=(1, 2))
    assert channel.argmax() == 2, "the blue picture is blue"


def test_a_long_sample_goes_on_in_further_segments(processor: ChatSearcherProcessor) -> None:
    encoded = samples(processor)
    batch = collate(encoded, processor, 12, pack=True)
    assert batch.input_ids.shape[1] <= 12
    bos = processor.tokenizer.bos_token_id
    words = [t for sample in encoded for t in sample.input_ids if t != bos]
    there = batch.input_ids[(batch.segment_ids > 0) & (batch.input_ids != bos)]
    assert sorted(there.tolist()) == sorted(words)
    assert len(batch.image_positions) == 4


def test_tensors_pass_unchanged_beside_pictures(processor: ChatSearcherProcessor) -> None:
    encoded = samples(processor)
    ready = torch.rand(3, SIDE, SIDE)
    encoded[2].images[0].pixels = ready
    batch = collate(encoded, processor, 64)
    assert torch.equal(batch.pixel_values[1], ready)
    whole = collate(samples(processor), processor, 64)
    assert torch.equal(batch.pixel_values[[0, 2, 3]], whole.pixel_values[[0, 2, 3]])


def test_no_picture_gives_an_empty_tensor_of_the_right_shape(
    processor: ChatSearcherProcessor,
) -> None:
    sample = processor.encode_segments([Segment(Text(" a cat"), True)])
    batch = collate([sample], processor, 16)
    assert batch.pixel_values.shape == (0, 3, SIDE, SIDE)
    assert batch.image_positions.shape == (0, 2)


def test_nothing_tells_which_picture_a_sample_or_its_next_piece_begins_with(
    processor: ChatSearcherProcessor,
) -> None:
    red, blue, green = (picture(name, name) for name in ("red", "blue", "green"))
    parts = [red, Text(" a red cat"), blue, Text(" two"), green]
    sample = processor.encode_segments([Segment(part, True) for part in parts])
    assert [image.target for image in sample.images] == [False, True, True]
    start = sample.images[1].start
    whole = collate([sample], processor, None, True)
    cut = collate([sample], processor, start, True)
    assert whole.image_targets.tolist() == [False, True, True]
    assert cut.image_positions[1].tolist()[1] == 1, "the second piece begins with the second"
    assert not cut.image_targets[1]
