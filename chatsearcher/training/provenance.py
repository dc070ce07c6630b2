"""What a run was made of: its recipe, the commit, the packages, the machine."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch

from chatsearcher.training.distribution import precision_here
from chatsearcher.training.settings import as_json

_PACKAGES = (
    "torch",
    "transformers",
    "open_clip_torch",
    "accelerate",
    "deepspeed",
    "tokenizers",
    "numpy",
    "pillow",
)


def git_commit() -> str | None:
    """The commit of the clone this runs from, with ``+changes`` where files differ from it."""
    root = Path(__file__).resolve().parents[2]
    try:
        commit = _git(root, "rev-parse", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):  # no git, or an installed package
        return None
    return commit + ("+changes" if changed else "")


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {"cpus": os.cpu_count(), "threads": torch.get_num_threads(), "gpus": gpus}


def write(run_dir: Path, recipe: Any, ranks: int) -> Path:
    """``recipe.json`` in the run's folder: the resolved recipe and where it ran."""
    about = {
        "recipe": as_json(recipe),
        "commit": git_commit(),
        "versions": versions(),
        "machine": machine(),
        "precision": precision_here(recipe.engine),
        "ranks": ranks,
    }
    run_dir.mkdir(parents=True, exist_ok=True)
    path = run_dir / "recipe.json"
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    os.replace(draft, path)
    return path
