"""The command line of the trainings: a named recipe, then dotted overrides through tyro."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chatsearcher.registry import Registry


@dataclass(frozen=True)
class Call:
    """One command line: the resolved recipe and what to do with it."""

    recipe: Any
    resume: bool


def parse(table: Registry, default: str, arguments: Sequence[str] | None = None) -> Call:
    """``--recipe NAME [--resume] [--dotted.override VALUE …]``.

    ``--run-dir`` is another name of ``--run``, which torchrun takes for an option of its own.

    Raises:
        ValueError: an unknown recipe; the message offers the nearest known one.
    """
    import tyro

    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--recipe", default=default)
    first.add_argument("--resume", action="store_true")
    # The deepspeed launcher passes the rank this way too; the environment already says it.
    first.add_argument("--local_rank", "--local-rank", type=int, default=-1)
    first.add_argument("--run-dir")
    known, rest = first.parse_known_args(arguments)
    if known.run_dir is not None:
        rest += ["--run", known.run_dir]
    recipe = table[known.recipe]
    description = (
        f"Recipe {known.recipe!r}; choose with --recipe {{{','.join(table)}}}, continue a run with "
        "--resume, and override any setting below. Under torchrun say --run-dir instead of --run."
    )
    resolved = tyro.cli(type(recipe), default=recipe, args=rest, description=description)
    return Call(resolved, known.resume)


def _quiet() -> None:
    """Library chatter that would bury the progress bar."""
    import logging
    import warnings

    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("DS_LOG_LEVEL", "warning")
    logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*requires_grad=True to a scalar.*")


def _run(table: Registry, default: str, runner: Any, arguments: Sequence[str] | None) -> None:
    _quiet()
    try:
        call = parse(table, default, arguments)
        finished = runner(call.recipe, call.resume)
    except (ValueError, FileNotFoundError, FloatingPointError) as error:
        sys.exit(f"error: {error}")
    if not finished:
        sys.exit(130)


def tower(arguments: Sequence[str] | None = None) -> None:
    """Train a tower and its tokenizer."""
    from chatsearcher.training.recipes import TOWERS
    from chatsearcher.training.stages import train_tower

    _run(TOWERS, "nano-tower", train_tower, arguments)


def words(arguments: Sequence[str] | None = None) -> None:
    """Let a new language model learn its tower's words."""
    from chatsearcher.training.recipes import WORDS
    from chatsearcher.training.stages import train_words

    _run(WORDS, "nano-words", train_words, arguments)


def reading(arguments: Sequence[str] | None = None) -> None:
    """Let a new connector learn to say what it sees."""
    from chatsearcher.training.recipes import READING
    from chatsearcher.training.stages import train_reading

    _run(READING, "nano-reading", train_reading, arguments)


def stage1(arguments: Sequence[str] | None = None) -> None:
    """Alignment: pairs and interleaved documents, loss on every word and every picture."""
    from chatsearcher.training.recipes import STAGE1
    from chatsearcher.training.stages import train_stage1

    _run(STAGE1, "nano", train_stage1, arguments)


def stage2(arguments: Sequence[str] | None = None) -> None:
    """Conversational instruction tuning: loss on the assistant's answers only."""
    from chatsearcher.training.recipes import STAGE2
    from chatsearcher.training.stages import train_stage2

    _run(STAGE2, "nano", train_stage2, arguments)


def export(arguments: Sequence[str] | None = None) -> None:
    """Write a run's model whole, in one precision, as it is shipped."""
    parser = argparse.ArgumentParser(
        description="A run as a checkpoint for use: whole safetensors shards, LoRA folded in."
    )
    parser.add_argument("run", help="a run's folder, e.g. runs/nano/stage2")
    parser.add_argument("out", help="the checkpoint's folder")
    parser.add_argument("--dtype", default="bfloat16", choices=("bfloat16", "float16", "float32"))
    parser.add_argument("--shard-size", default="5GB", help="the largest file, e.g. 5GB")
    parser.add_argument(
        "--checkpoint", action="store_true", help="the newest checkpoint, not the finished model"
    )
    parser.add_argument("--step", type=int, help="the checkpoint of this step")
    known = parser.parse_args(arguments)
    _quiet()
    import torch

    from chatsearcher.training.export import export_run

    try:
        size = export_run(
            Path(known.run),
            Path(known.out),
            getattr(torch, known.dtype),
            known.shard_size,
            known.step,
            known.checkpoint,
        )
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f"error: {error}")
    print(f"{known.out}: {size / 1e6:.1f} MB")


def elastic(arguments: Sequence[str] | None = None) -> None:
    """Make the newest checkpoint of a run readable by any number of ranks."""
    parser = argparse.ArgumentParser(description="A checkpoint for any number of ranks.")
    parser.add_argument("run", help="a run's folder, e.g. runs/vicuna-7b/stage1")
    parser.add_argument("--workers", type=int, default=4, help="processes that read and write")
    known = parser.parse_args(arguments)
    _quiet()
    from chatsearcher.training import checkpoints
    from chatsearcher.training.elastic import make_universal

    try:
        folder = make_universal(checkpoints.newest(Path(known.run)), known.workers)
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f"error: {error}")
    print(f"{folder}: go on with --resume on any number of ranks")
