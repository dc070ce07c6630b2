"""A run as a checkpoint for use: one precision, whole shards, no adapters, with its processor.

From a finished run, or from any checkpoint of one that is still going on, whatever ZeRO stage
wrote it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from chatsearcher.training import build, checkpoints

if TYPE_CHECKING:
    from chatsearcher.model import ChatSearcherModel, ChatSearcherProcessor

DESCRIPTION = "description"


def describe(run_dir: Path, model: ChatSearcherModel, processor: ChatSearcherProcessor) -> None:
    """Write what a checkpoint's tensors are of: configuration and processor, a few kilobytes."""
    model.config.save_pretrained(run_dir / DESCRIPTION)
    processor.save_pretrained(run_dir / DESCRIPTION)


def export_run(
    folder: Path,
    out: Path,
    dtype: torch.dtype = torch.bfloat16,
    shard_size: str = "5GB",
    step: int | None = None,
    checkpoint: bool = False,
) -> int:
    """Write a run's model with its processor; returns the size in bytes.

    LoRA adapters are folded in. What must stay in float32 (the queue, the average of the key
    projection) does.

    Args:
        folder: the run's.
        out: receives ``config.json``, safetensors shards of at most ``shard_size``, and the
            processor.
        step: of the checkpoint; the newest one by default.
        checkpoint: take a checkpoint, and not the finished model.

    Raises:
        FileNotFoundError: the run has not finished, or never began, or has no such checkpoint.
    """
    if checkpoint or step is not None:
        model, processor = load_checkpoint(folder, step, dtype)
    else:
        model, processor = build.load_run(folder, dtype)
    if model.adapters is not None:
        model.merge_lora()
    model.save_pretrained(out, max_shard_size=shard_size)
    processor.save_pretrained(out)
    return sum(path.stat().st_size for path in out.rglob("*") if path.is_file())


def load_checkpoint(
    folder: Path, step: int | None = None, dtype: torch.dtype = torch.float32
) -> tuple[ChatSearcherModel, ChatSearcherProcessor]:
    """The model at a checkpoint of a run, whole.

    Raises:
        FileNotFoundError: the run has no such checkpoint, or no description.
    """
    from chatsearcher.model import (
        ChatSearcherConfig,
        ChatSearcherModel,
        ChatSearcherProcessor,
        lora,
    )

    path = checkpoints.newest(folder)
    if step is not None:
        path = checkpoints.folder(folder) / f"step-{step:08d}"
        if not path.is_dir():
            known = ", ".join(map(str, checkpoints.steps(folder)))
            raise FileNotFoundError(f"no checkpoint of step {step} in {folder}; there are: {known}")
    about = folder / DESCRIPTION
    if not (about / "config.json").is_file():
        raise FileNotFoundError(
            f"no {DESCRIPTION}/config.json in {folder}; expected what train/stage1.py and "
            "train/stage2.py write when a run begins"
        )
    config = ChatSearcherConfig.from_pretrained(about)
    adapters, config.lora = config.lora, None
    # Of tied embeddings some checkpoints hold both names, and some only the head's: either will do.
    plain, added = lora.split(read_state(path), tied=False)
    load: Any = ChatSearcherModel.from_pretrained
    model: ChatSearcherModel
    model, loading = load(
        None, config=config, state_dict=plain, dtype=dtype, output_loading_info=True
    )
    if missing := loading["missing_keys"]:
        raise ValueError(f"{path} lacks {len(missing)} tensors, such as {sorted(missing)[:3]}")
    if adapters is not None:
        model.add_lora(**adapters)
        unknown = model.load_state_dict(added, strict=False).unexpected_keys
        if unknown or not added:
            raise ValueError(f"the adapters in {path} do not fit its description: {unknown[:3]}")
    return model, ChatSearcherProcessor.from_pretrained(about)


def read_state(path: Path) -> dict[str, Tensor]:
    """All tensors of a checkpoint, put together from the ranks' parts.

    Raises:
        ValueError: DeepSpeed wrote it in a way that we cannot read.
    """
    about = json.loads((path / "about.json").read_text(encoding="utf-8"))
    if not about["engine"]:
        return load_file(path / "model.safetensors")
    engine = path / "engine"
    if any((engine / "state").glob("*zero_pp_rank_*optim_states.pt")):
        from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint

        whole: dict[str, Tensor] = get_fp32_state_dict_from_zero_checkpoint(str(engine), "state")
        return whole
    file = engine / "state" / "mp_rank_00_model_states.pt"
    if not file.is_file():
        raise ValueError(
            f"{engine} holds no model; expected DeepSpeed's mp_rank_00_model_states.pt"
        )
    state: dict[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True)["module"]
    return state
