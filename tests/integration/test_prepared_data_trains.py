"""From published files through `prepare` and the stream to a finite loss: vicuna-7b's own mixes."""

from __future__ import annotations

import dataclasses
import itertools
import runpy
import sys
from pathlib import Path

import pytest
import torch

from chatsearcher.data.loader import build_source
from chatsearcher.data.records import DataConfig
from chatsearcher.model import ChatSearcherModel
from chatsearcher.training.recipes import STAGE1, STAGE2
from tests.fixtures.published import (
    img2dataset,
    jpeg,
    llava_entry,
    mmc4_document,
    write_json,
    write_lines,
    write_pictures,
)
from tests.fixtures.tiny import tiny_config, tiny_processor

ROOT = Path(__file__).resolve().parents[2]


def downloads(folder: Path) -> Path:
    records = [(f"{n:09}", jpeg(n), f"a picture of {n}", f"http://x/{n}") for n in range(60)]
    img2dataset(folder / "cc3m" / "00000.tar", records)
    write_lines(folder / "mmc4-core" / "docs_shard_0_v3.jsonl.zip", map(mmc4_document, range(40)))
    img2dataset(
        folder / "mmc4-core" / "images" / "00000.tar",
        [
            (f"{n:04}{i}", jpeg(n + i), "", f"http://pictures.example/{n}/{i}.jpg?size=large")
            for n in range(40)
            for i in (1, 3)
        ],
    )
    names = [f"{n:012d}.jpg" for n in range(40)]
    entries = [llava_entry(n, name) for n, name in enumerate(names)]
    for name, kind in (("150k", "llava_instruct_150k"), ("665k", "llava_v1_5_mix665k")):
        write_json(folder / f"llava-{name}" / f"{kind}.json", entries)
        write_pictures(folder / f"llava-{name}", names)
    seeds = [[f"{n:07d}", ["5"]] for n in range(300)]
    write_json(folder / "instructpix2pix" / "seeds.json", seeds)
    for name, _ in seeds:
        write_json(folder / "instructpix2pix" / name / "prompt.json", {"edit": "make it red"})
        write_pictures(folder / "instructpix2pix" / name, ["5_0.jpg", "5_1.jpg"])
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts that people run, over small files in the published layouts."""
    folder = tmp_path_factory.mktemp("prepared")
    source = downloads(folder / "downloads")
    for script in ("stage1.py", "stage2.py"):
        words = sys.argv
        sys.argv = [script, str(source), "--out", str(folder / "data")]
        try:
            with pytest.raises(SystemExit) as done:
                runpy.run_path(str(ROOT / "data_prep" / script), run_name="__main__")
        finally:
            sys.argv = words
        assert done.value.code == 0
    return folder


def mix(data: DataConfig, folder: Path, leave_out: tuple[str, ...] = ()) -> DataConfig:
    """A recipe's own data settings, its folders put where the records are, in small batches."""
    sources = {
        name: dataclasses.replace(
            source, path=str(folder / str(source.path)), count=max(1, source.count // 64)
        )
        for name, source in data.sources.items()
        if name not in leave_out
    }
    return dataclasses.replace(data, sources=sources, batch=0, length=256, workers=0)


@pytest.mark.parametrize("stage", ["stage 1", "stage 2", "665k"])
def test_the_recipes_mixes_train(data: Path, stage: str) -> None:
    pytest.importorskip("datasets")
    torch.manual_seed(0)
    recipe = {
        "stage 1": STAGE1["vicuna-7b"],
        "stage 2": STAGE2["vicuna-7b"],
        "665k": STAGE2["vicuna-7b-llava665k"],
    }[stage]
    config = tiny_config(queue_size=256)
    model, processor = ChatSearcherModel(config), tiny_processor(config)
    chosen = mix(recipe.data, data, leave_out=("chatsearch",))
    assert (chosen.reader == "stream") == (stage == "stage 1")
    source = build_source(chosen, processor)
    pictures = 0
    for batch in itertools.islice(source, 3):
        loss = model(batch).loss
        assert torch.isfinite(loss)
        loss.backward()
        pictures += len(batch.pixel_values)
    assert pictures >= 3
    assert source.report.summary() == ""
