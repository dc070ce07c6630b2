"""Going on with another number of ranks: DeepSpeed's universal checkpoint, made and read.

A ZeRO checkpoint is cut for the ranks that wrote it. ``python train/elastic.py RUN`` writes the
newest one again a parameter at a time (``engine/universal/`` beside it); from then on ``--resume``
works on any number of ranks. The data need nothing: batch *i* is the same whatever the ranks.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

UNIVERSAL = "universal"
BUFFERS = "buffers.safetensors"


def make_universal(path: Path, workers: int = 1) -> Path:
    """Make a checkpoint readable by any number of ranks; returns the new folder in it.

    Args:
        path: a checkpoint, such as ``runs/vicuna-7b/stage1/checkpoints/step-00001000``.
        workers: processes that read and write.

    Raises:
        ValueError: it was not written by DeepSpeed with ZeRO 1, 2 or 3.
    """
    engine = path / "engine"
    if not engine.is_dir():
        raise ValueError(
            f"{path} was written without DeepSpeed, by one rank; resume it the same way"
        )
    if not any((engine / "state").glob("*zero_pp_rank_*optim_states.pt")):
        raise ValueError(f"{engine} was written with ZeRO 0; expected ZeRO 1, 2 or 3")
    from deepspeed.checkpoint import ds_to_universal

    ds_to_universal.main(
        argparse.Namespace(
            input_folder=str(engine / "state"),
            output_folder=str(engine / UNIVERSAL),
            num_extract_workers=workers,
            num_merge_workers=workers,
            keep_temp_folder=False,
            strict=True,
            inject_missing_state=True,
        )
    )
    return engine / UNIVERSAL


def save_buffers(model: torch.nn.Module, path: Path) -> None:
    """Write what a universal checkpoint leaves out: the feature queue and the averages."""
    kept = model.state_dict().keys()
    buffers = {name: b.detach().cpu() for name, b in model.named_buffers() if name in kept}
    save_file({name: b.clone().contiguous() for name, b in buffers.items()}, path / BUFFERS)


def load(engine: Any, path: Path, ranks: int, ranks_before: int) -> None:
    """Put a universal checkpoint into an engine of another number of ranks.

    Raises:
        ValueError: there is none yet (the message has the command), or the tower is being trained
            with an average beside it, whose weights it does not hold.
    """
    if not (path / "engine" / UNIVERSAL).is_dir():
        run = path.parent.parent
        raise ValueError(
            f"{path} was written by {ranks_before} ranks, this run has {ranks}; make it readable "
            f"by any number with: python train/elastic.py {run}"
        )
    bare = engine.module
    if getattr(bare, "average_tower", None) is not None:
        raise ValueError(
            f"{path} has the average of a tower in training, which a universal checkpoint does not "
            f"hold; resume with {ranks_before} ranks"
        )
    settings = engine._config
    settings.load_universal_checkpoint = True
    try:
        loaded, _ = engine.load_checkpoint(str(path / "engine"), tag=UNIVERSAL)
    finally:
        settings.load_universal_checkpoint = False
    if loaded is None:
        raise ValueError(f"DeepSpeed could not read {path / 'engine' / UNIVERSAL}")
    saved = load_file(path / BUFFERS)
    with torch.no_grad():
        for name, buffer in bare.named_buffers():
            if name in saved:
                buffer.copy_(saved[name])
