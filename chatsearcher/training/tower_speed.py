"""Pictures a second through tower and key projection, from tensors and from JPEG files."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from chatsearcher.images import open_image
from chatsearcher.model import ChatSearcherModel, ChatSearcherProcessor
from chatsearcher.model.tokenizer import nano_tokenizer
from chatsearcher.training.measure import seconds


def tower_rates(
    model: ChatSearcherModel, device: torch.device, folder: Path, *, small: bool = False
) -> list[dict[str, Any]]:
    """Rows of a table: what the pictures came from, and how many a second.

    Args:
        model: with bfloat16 weights on ``device``; left in training mode.
        folder: an empty one, for the JPEG files.
        small: few pictures, and no compiled tower: for a processor.
    """
    side, number = model.config.image_size, 16 if small else 256
    pixels = torch.randn(number, 3, side, side, device=device, dtype=torch.bfloat16)
    visual: Any = model.tower.visual
    model.eval()
    rows: list[dict[str, Any]] = []
    for compiled in (False,) if small else (False, True):
        if compiled:
            visual.compile()
        taken = seconds(lambda: model.encode_images(pixels), device, times=5)
        name = "prepared tensors" + (", tower compiled" if compiled else "")
        rows.append({"from": name, "images_per_second": number / taken})
    files = _jpegs(folder, 32 if small else 8192)
    rows.append({"from": "JPEG files, 500 x 375", **_from_files(model, files, number, device)})
    visual._compiled_call_impl = None
    model.train()
    return rows


class _Files(torch.utils.data.Dataset[Tensor]):
    """Decoded and prepared as everywhere in this project."""

    def __init__(self, files: list[Path], processor: ChatSearcherProcessor) -> None:
        self.files, self.processor = files, processor

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Tensor:
        return self.processor.pixel_values([open_image(self.files[index])])[0]


def _from_files(
    model: ChatSearcherModel, files: list[Path], batch: int, device: torch.device
) -> dict[str, float]:
    processor = ChatSearcherProcessor.from_config(model.config, nano_tokenizer(["a b c"], 300))
    workers = 0 if len(files) < 100 else max(1, (torch.multiprocessing.cpu_count()) - 1)
    loader = torch.utils.data.DataLoader(
        _Files(files, processor),
        batch_size=batch,  # as measured before: another would compile the tower again, on the clock
        num_workers=workers,
        pin_memory=device.type == "cuda",
    )
    begun = time.perf_counter()  # the workers' start counts
    for pixels in loader:
        model.encode_images(pixels.to(device, torch.bfloat16, non_blocking=True))
    if device.type == "cuda":
        torch.cuda.synchronize()
    return {"images_per_second": len(files) / (time.perf_counter() - begun), "workers": workers}


def _jpegs(folder: Path, number: int) -> list[Path]:
    """Files with the content of smooth noise, some 60 kB each, as photographs have."""
    generator, files = np.random.default_rng(0), []
    for index in range(min(64, number)):
        coarse = generator.integers(0, 256, (94, 125, 3), dtype=np.uint8)
        picture = Image.fromarray(coarse).resize((500, 375), Image.Resampling.BICUBIC)
        picture.save(folder / f"{index}.jpg", quality=90)
        files.append(folder / f"{index}.jpg")
    return [files[index % len(files)] for index in range(number)]
