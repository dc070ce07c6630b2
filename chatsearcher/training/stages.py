"""The three trainings from recipe to saved model: tower, stage 1, stage 2."""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from chatsearcher.training import build, distribution, efficiency, export, provenance
from chatsearcher.training.loop import Outcome, train
from chatsearcher.training.objectives import ChatSearcherObjective, held_out_hook
from chatsearcher.training.recipes import TOWERS
from chatsearcher.training.recipes.types import Stage1Recipe, Stage2Recipe, StageRecipe, TowerRecipe

if TYPE_CHECKING:
    from chatsearcher.model import ChatSearcherModel, ChatSearcherProcessor


def train_tower(recipe: TowerRecipe, resume: bool = False) -> bool:
    """Train the tokenizer and the tower; returns False when interrupted.

    Writes ``tokenizer/`` and ``model/`` (open_clip's layout) in the run's folder.
    """
    from chatsearcher.data.contrastive import build_contrastive_source, world_questions
    from chatsearcher.training import tower
    from chatsearcher.training.tokenizer import tokenizer_for

    run_dir = Path(recipe.run)
    accelerator = distribution.build_accelerator(recipe)
    with accelerator.main_process_first():
        tokenizer = tokenizer_for(recipe.tokenizer, run_dir / "tokenizer")
    if accelerator.is_main_process:
        provenance.write(run_dir, recipe, accelerator.num_processes)
    config = recipe.tower.model_config(tokenizer)
    torch.manual_seed(recipe.seed)
    questions = world_questions() if recipe.choices else []
    answers = sum(size for _, size in questions)
    model = tower.CroppedClip(tower.build_clip(config), answers, locked=recipe.locked)
    if recipe.start is not None:
        tower.load_pictures(model.clip, Path(recipe.start))
    held_out = dataclasses.replace(recipe.data, split="val", workers=0)
    validation = build_contrastive_source(held_out, tokenizer, 0, 1, recipe.seed)
    group = recipe.data.group if recipe.data.kind == "world" else 1
    hook = tower.held_out_hook(_first(validation, recipe.validation), group)
    outcome = train(
        recipe,
        model,
        tower.ContrastiveObjective(accelerator.process_index, accelerator.num_processes, questions),
        lambda rank, world: build_contrastive_source(
            recipe.data, tokenizer, rank, world, recipe.seed
        ),
        run_dir,
        hooks=[hook] if recipe.validation else [],
        resume=resume,
        accelerator=accelerator,
    )
    if outcome.interrupted:
        return False
    if outcome.main:
        draft = _draft(run_dir)
        tower.save_clip(draft, outcome.state_dict, config, tokenizer)
        _publish(draft, run_dir)
        print(f"tower saved in {run_dir / 'model'}", flush=True)
    accelerator.wait_for_everyone()
    return True


def train_stage1(recipe: Stage1Recipe, resume: bool = False) -> bool:
    """Alignment. Where the recipe's own tower is missing, that is trained first."""
    check_data(recipe)
    if recipe.start is None and recipe.tower_recipe and not _has_model(Path(recipe.model.tower)):
        tower_recipe: TowerRecipe = TOWERS[recipe.tower_recipe]
        if Path(recipe.model.tower) != Path(tower_recipe.run) / "model":
            raise FileNotFoundError(
                f"no tower in {recipe.model.tower}; recipe {recipe.tower_recipe!r} makes one in "
                f"{tower_recipe.run}/model: python train/tower.py --recipe {recipe.tower_recipe}"
            )
        if distribution.is_main():
            print(
                f"there is no tower in {recipe.model.tower} yet: training it first "
                f"(recipe {recipe.tower_recipe})",
                flush=True,
            )
        if not train_tower(tower_recipe, resume=True):
            return False
    accelerator = distribution.build_accelerator(recipe)
    torch.manual_seed(recipe.seed)
    if recipe.start is not None:
        model, processor = build.load_run(Path(recipe.start), _dtype(recipe))
    else:
        model, processor = build.build_model(recipe.model, _dtype(recipe))
    return _train_stage(recipe, model, processor, resume, accelerator)


def train_stage2(recipe: Stage2Recipe, resume: bool = False) -> bool:
    """Conversational instruction tuning of the model of ``recipe.start``."""
    check_data(recipe)
    accelerator = distribution.build_accelerator(recipe)
    model, processor = build.load_run(Path(recipe.start), _dtype(recipe))
    torch.manual_seed(recipe.seed)
    return _train_stage(recipe, model, processor, resume, accelerator)


def _train_stage(
    recipe: StageRecipe,
    model: ChatSearcherModel,
    processor: ChatSearcherProcessor,
    resume: bool,
    accelerator: Any,
) -> bool:
    from chatsearcher.data.loader import build_source

    run_dir = Path(recipe.run)
    if accelerator.is_main_process:
        provenance.write(run_dir, recipe, accelerator.num_processes)
        export.describe(run_dir, model, processor)
    with efficiency.engine_settings(
        model, recipe.engine, accelerator.device, processor
    ) as features:
        outcome: Outcome = train(
            recipe,
            model,
            ChatSearcherObjective(),
            lambda rank, world: build_source(
                recipe.data, processor, rank, world, recipe.seed, features
            ),
            run_dir,
            hooks=_held_out(recipe, processor),
            resume=resume,
            accelerator=accelerator,
        )
    if outcome.interrupted:
        return False
    if outcome.main:
        draft = _draft(run_dir)
        outcome.model.save_pretrained(draft, state_dict=outcome.state_dict)
        processor.save_pretrained(draft)
        _publish(draft, run_dir)
        print(f"model saved in {run_dir / 'model'}", flush=True)
    accelerator.wait_for_everyone()
    return True


def _held_out(recipe: StageRecipe, processor: ChatSearcherProcessor) -> list[Any]:
    """The evaluation on a few batches of the validation split, the same on every rank."""
    from chatsearcher.data.loader import build_source

    if not recipe.validation:
        return []
    sources = {
        name: dataclasses.replace(source, split="val")
        for name, source in recipe.data.sources.items()
    }
    data = dataclasses.replace(recipe.data, sources=sources, workers=0)
    source = build_source(data, processor, 0, 1, recipe.seed)
    return [held_out_hook(_first(source, recipe.validation))]


def _first(source: Any, count: int) -> list[Any]:
    stream = iter(source)
    return [next(stream) for _ in range(count)]


def check_data(recipe: StageRecipe) -> None:
    """Say that data are missing before gigabytes of weights are loaded on every rank."""
    from chatsearcher.data.sources import reads_files

    for name, source in recipe.data.sources.items():
        if source.path is None or not reads_files(source):
            continue
        if not Path(source.path).exists():
            raise FileNotFoundError(
                f"source {name!r} of the recipe reads {source.path}, which is not there; make it "
                f"as docs/data.md says, or give --data.sources.{name}.path (the sets of real "
                "pictures: CHATSEARCHER_IMAGES names their folder)"
            )


def _dtype(recipe: StageRecipe) -> torch.dtype:
    """bfloat16 weights where DeepSpeed keeps the float32 masters."""
    return torch.bfloat16 if recipe.engine.precision == "bf16" else torch.float32


def _has_model(folder: Path) -> bool:
    return any(folder.glob("*.safetensors"))


def _draft(run_dir: Path) -> Path:
    draft = run_dir / ".model.draft"
    shutil.rmtree(draft, ignore_errors=True)
    return draft


def _publish(draft: Path, run_dir: Path) -> None:
    """Let the whole model appear at once."""
    final = run_dir / "model"
    shutil.rmtree(final, ignore_errors=True)
    os.replace(draft, final)
