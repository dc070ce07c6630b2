"""Stage 2: what of a dialogue is learned, and what happens to long ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image as Pictures

from chatsearcher.data.batches import MixedBatches
from chatsearcher.data.records import BrokenRecord, DataConfig, Record, SourceConfig
from chatsearcher.dialogue import Dialogue, Image
from chatsearcher.model.processing import ChatSearcherProcessor

CONFIG = DataConfig({"talk": SourceConfig("world-pairs")}, length=80, image_size=32)


class Talk:
    """A source with one dialogue; counts what is decoded."""

    remarks = ()

    def __init__(self, dialogue: Dialogue) -> None:
        self.dialogue = dialogue
        self.decoded: list[str] = []

    def item(self, index: int) -> Record:
        return Record(f"talk/{index}", self.dialogue, self.load)

    def load(self, picture: str) -> Pictures.Image:
        self.decoded.append(picture)
        if picture == "broken":
            raise BrokenRecord(picture, "broken picture")
        return Pictures.new("RGB", (16, 16), "red")


def batches(
    processor: ChatSearcherProcessor, dialogue: Dialogue, config: DataConfig = CONFIG
) -> tuple[MixedBatches, Talk]:
    made = MixedBatches(config, processor, 0, 1, 0)
    talk = Talk(dialogue)
    made.sources["talk"] = talk
    return made, talk


def test_only_the_assistants_answers_are_learned(processor: ChatSearcherProcessor) -> None:
    dialogue = (
        Dialogue()
        .user(Image("a"), "the same two")
        .assistant("red cars", Image("b"))
        .user("a cat")
        .assistant("beach")
    )
    made, _ = batches(processor, dialogue)
    batch = made(0).batch
    tokenizer = processor.tokenizer
    learned = tokenizer.decode(batch.labels[batch.labels >= 0])
    assert learned.replace(" ", "") == "redcars[IMG][/IMG]</s>beach</s>"
    assert batch.image_targets.tolist() == [False, True]


def test_long_dialogues_lose_whole_rounds_from_the_front(
    processor: ChatSearcherProcessor,
) -> None:
    dialogue = Dialogue()
    for number in range(6):
        dialogue = dialogue.user(f"round {number}").assistant(Image(f"p{number}"))
    made, talk = batches(processor, dialogue)
    result = made(0)
    words = processor.tokenizer.decode(result.batch.input_ids[result.batch.segment_ids > 0])
    kept = [number for number in range(6) if f"round {number}" in words]
    assert kept == list(range(6 - len(kept), 6))
    assert 0 < len(kept) < 6
    assert words.startswith("<s> user: round")
    assert talk.decoded == [f"p{n}" for n in kept], "what is dropped is not decoded"
    (remark,) = result.remarks
    assert remark.kind == "shortened"
    assert remark.reason == f"{6 - len(kept)} rounds dropped from the front"


def test_the_number_of_rounds_can_be_limited(processor: ChatSearcherProcessor) -> None:
    dialogue = Dialogue().user("one").assistant("1").user("two").assistant("2")
    config = replace(CONFIG, sources={"talk": SourceConfig("world-pairs", max_rounds=1)})
    made, _ = batches(processor, dialogue, config)
    result = made(0)
    words = processor.tokenizer.decode(result.batch.input_ids[result.batch.segment_ids > 0])
    assert "two" in words
    assert "one" not in words


@pytest.mark.parametrize(
    ("dialogue", "reason"),
    [
        (Dialogue().user("word " * 100).assistant("yes"), "the last round alone is longer"),
        (Dialogue().user("see").assistant(Image("broken")), "broken picture"),
    ],
)
def test_what_cannot_be_used_is_skipped_with_its_reason(
    processor: ChatSearcherProcessor, dialogue: Dialogue, reason: str
) -> None:
    made, _ = batches(processor, dialogue)
    (remark,) = made(7).remarks
    assert (remark.key, remark.kind) == ("talk/7", "skipped")
    assert reason in remark.reason


def test_a_picture_shown_twice_is_decoded_once(processor: ChatSearcherProcessor) -> None:
    made, talk = batches(processor, Dialogue().user(Image("a"), "again").assistant(Image("a")))
    batch = made(0).batch
    assert talk.decoded == ["a"]
    assert torch.equal(batch.image_ids[0], batch.image_ids[1])
    assert len(batch.pixel_values) == 2


def test_unknown_sources_are_named(processor: ChatSearcherProcessor, tmp_path: Path) -> None:
    wrong = replace(CONFIG, sources={"x": SourceConfig("world-pair")})
    with pytest.raises(ValueError, match="unknown data source 'world-pair'; did you mean"):
        MixedBatches(wrong, processor, 0, 1, 0)
