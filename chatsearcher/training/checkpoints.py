"""Checkpoints that a killed run resumes from exactly: model, optimiser, random states, data.

A checkpoint is a folder ``checkpoints/step-00000100`` that appears by one rename, whole or not at
all. Weights are safetensors; the rest is read back with ``weights_only=True``.
"""

from __future__ import annotations

import io
import json
import os
import random
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import load_model, save_model

from chatsearcher.training import elastic

if TYPE_CHECKING:
    from accelerate import Accelerator

_NAME = re.compile(r"step-(\d{8})")


def folder(run_dir: Path) -> Path:
    return run_dir / "checkpoints"


def steps(run_dir: Path) -> list[int]:
    """Finished optimiser steps of the complete checkpoints of a run, oldest first."""
    root = folder(run_dir)
    names = [_NAME.fullmatch(p.name) for p in root.iterdir()] if root.is_dir() else []
    return sorted(int(m.group(1)) for m in names if m)


def newest(run_dir: Path) -> Path:
    """The folder of a run's newest complete checkpoint.

    Raises:
        FileNotFoundError: there is none.
    """
    known = steps(run_dir)
    if not known:
        raise FileNotFoundError(
            f"{run_dir} holds no checkpoint; expected a run's folder, e.g. runs/vicuna-7b/stage1"
        )
    return folder(run_dir) / f"step-{known[-1]:08d}"


def random_state() -> dict[str, Any]:
    """Python's, NumPy's and torch's generators as plain types and tensors."""
    version, words, gauss = random.getstate()
    numpy_state: Any = np.random.get_state(legacy=True)
    kind, keys, position, has_gauss, cached = numpy_state
    state: dict[str, Any] = {
        "python": [version, list(words), gauss],
        "numpy": [str(kind), keys.astype("int64").tolist(), position, has_gauss, cached],
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def set_random_state(state: dict[str, Any]) -> None:
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    kind, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((kind, np.array(keys, dtype="uint32"), position, has_gauss, cached))
    torch.set_rng_state(state["torch"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])


def _write_plain(state: Any, path: Path) -> None:
    """torch.save, refusing what ``weights_only=True`` would not read back."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    torch.load(buffer, weights_only=True, map_location="cpu")
    path.write_bytes(buffer.getvalue())


def save(
    accelerator: Accelerator,
    model: Any,
    optimiser: Any,
    source: Any,
    run_dir: Path,
    step: int,
    keep: int,
) -> Path:
    """Write the checkpoint of finished step ``step`` and drop all but the newest ``keep``."""
    final = folder(run_dir) / f"step-{step:08d}"
    draft = final.with_name(f".{final.name}.draft")
    if accelerator.is_main_process:
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
    accelerator.wait_for_everyone()
    rank = accelerator.process_index
    engine = is_engine(model)
    if engine:
        model.save_checkpoint(str(draft / "engine"), tag="state")
        if accelerator.is_main_process:
            elastic.save_buffers(model.module, draft)
    elif accelerator.is_main_process:
        save_model(accelerator.unwrap_model(model), str(draft / "model.safetensors"))
        _write_plain(optimiser.state_dict(), draft / "optimiser.pt")
    state = {"random": random_state(), "source": source.state_dict()}
    _write_plain(state, draft / f"rank-{rank:05d}.pt")
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        about = {"step": step, "ranks": accelerator.num_processes, "engine": engine}
        (draft / "about.json").write_text(json.dumps(about), encoding="utf-8")
        if final.exists():
            shutil.rmtree(final)
        os.replace(draft, final)
        for old in steps(run_dir)[: -max(1, keep)]:
            shutil.rmtree(folder(run_dir) / f"step-{old:08d}")
    accelerator.wait_for_everyone()
    return final


def load(accelerator: Accelerator, model: Any, optimiser: Any, source: Any, run_dir: Path) -> int:
    """Put the newest checkpoint back in place; returns the number of finished steps (0: none).

    Raises:
        ValueError: written by another engine, or by another number of ranks and not yet made
            universal (:mod:`chatsearcher.training.elastic`).
    """
    if not steps(run_dir):
        return 0
    path = newest(run_dir)
    about = json.loads((path / "about.json").read_text(encoding="utf-8"))
    if about["engine"] != is_engine(model):
        kind = "with" if about["engine"] else "without"
        raise ValueError(f"{path} was written {kind} DeepSpeed; resume the same way")
    if about["ranks"] != accelerator.num_processes and not about["engine"]:
        raise ValueError(
            f"{path} was written without DeepSpeed, by {about['ranks']} ranks; resume the same way"
        )
    if about["ranks"] != accelerator.num_processes:
        elastic.load(model, path, accelerator.num_processes, about["ranks"])
    elif about["engine"]:
        loaded, _ = model.load_checkpoint(str(path / "engine"), tag="state")
        if loaded is None:
            raise ValueError(f"DeepSpeed could not read {path / 'engine'}")
    else:
        load_model(accelerator.unwrap_model(model), str(path / "model.safetensors"))
        optimiser.load_state_dict(
            torch.load(path / "optimiser.pt", weights_only=True, map_location="cpu")
        )
    # A rank that was not there before takes another's random state; only dropout draws from it.
    rank = path / f"rank-{accelerator.process_index % about['ranks']:05d}.pt"
    state = torch.load(rank, weights_only=True, map_location="cpu")
    source.load_state_dict(state["source"])
    set_random_state(state["random"])
    return int(about["step"])


def is_engine(model: Any) -> bool:
    """Whether accelerate wrapped the model in a DeepSpeed engine."""
    return hasattr(model, "save_checkpoint") and hasattr(model, "zero_optimization_stage")
