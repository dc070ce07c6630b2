"""64 dialogues are learned by heart: every one finds its own picture among all of them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from PIL import Image as PILImages

from chatsearcher.dialogue import Dialogue, Image, Text, Turn
from chatsearcher.model import ChatSearcherModel
from chatsearcher.training.loop import train
from chatsearcher.training.objectives import ChatSearcherObjective
from chatsearcher.training.settings import (
    EngineSettings,
    LogSettings,
    OptimiserSettings,
    RunSettings,
)
from tests.fixtures.tiny import tiny_config, tiny_processor

COUNT, STEPS = 64, 120


def picture(number: int) -> PILImages.Image:
    """Four coloured quarters, others for each number."""
    colours = np.random.default_rng(number).integers(0, 256, (2, 2, 3), dtype=np.uint8)
    return PILImages.fromarray(colours).resize((32, 32), PILImages.Resampling.NEAREST)


def request(number: int) -> Turn:
    return Turn("user", (Text(f"show me picture {number:02d}"),))


def dialogue(number: int) -> Dialogue:
    found = Image(f"picture {number}", pixels=picture(number))
    return Dialogue((request(number), Turn("assistant", (found,))))


class AllOfThem:
    """Every batch is all 64 dialogues."""

    def __init__(self, processor) -> None:
        samples = [
            processor.encode_segments(processor.dialogue_segments(dialogue(n)), key=f"dialogue {n}")
            for n in range(COUNT)
        ]
        self.batch = processor.batch(samples)

    def __iter__(self) -> Iterator:
        while True:
            yield self.batch

    def state_dict(self) -> dict:
        return {}

    def load_state_dict(self, state: dict) -> None:
        pass


def settle(tower: torch.nn.Module, pixels: torch.Tensor) -> None:
    """Give an untrained tower the statistics of its pictures; else all look the same to it."""
    for module in tower.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None
            module.train()
    with torch.no_grad():
        tower.visual(pixels)
    tower.eval()


def test_sixty_four_dialogues_are_learned_by_heart(tmp_path):
    processor = tiny_processor()
    torch.manual_seed(0)
    model = ChatSearcherModel(tiny_config(queue_size=COUNT, momentum=0.9))
    settle(model.tower, processor.pixel_values([picture(n) for n in range(COUNT)]))
    run = RunSettings(
        optimiser=OptimiserSettings(steps=STEPS, learning_rate=1e-2, warmup=10),
        engine=EngineSettings(deepspeed="off", precision="fp32"),
        log=LogSettings(every=10, save_every=0, trackers=(), progress=False),
    )
    train(run, model, ChatSearcherObjective(), lambda *_: AllOfThem(processor), tmp_path)

    model.eval()
    queries = [processor.encode_query(Dialogue((request(n),)), key=str(n)) for n in range(COUNT)]
    keys = model.encode_images(processor.pixel_values([picture(n) for n in range(COUNT)]))
    found = (model.encode_queries(processor.batch(queries)) @ keys.T).argmax(dim=1)
    assert found.tolist() == list(range(COUNT))
