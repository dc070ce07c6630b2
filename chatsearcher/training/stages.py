"""The trainings from recipe to saved model: tower, words, reading, stage 1, stage 2."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from chatsearcher.registry import Registry
from chatsearcher.training import build, distribution, efficiency, export, provenance
from chatsearcher.training.loop import Outcome, train
from chatsearcher.training.new_llama import new_llama
from chatsearcher.training.objectives import ChatSearcherObjective, held_out_hook
from chatsearcher.training.recipes import READING, TOWERS, WORDS
from chatsearcher.training.recipes.types import (
    ReadingRecipe,
    Stage1Recipe,
    Stage2Recipe,
    StageRecipe,
    TowerRecipe,
    WordsRecipe,
)

if TYPE_CHECKING:
    from chatsearcher.data.records import DataConfig, SplitName
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

    def save(folder: Path) -> None:
        tower.save_clip(folder, outcome.state_dict, config, tokenizer)

    return _finish(outcome, accelerator, run_dir, "tower", save)


def train_words(recipe: WordsRecipe, resume: bool = False) -> bool:
    """Let a new language model learn its tower's words; returns False when interrupted.

    Where the recipe's own tower is missing, that is trained first. Writes ``model/``, in the layout
    of ``transformers``, in the run's folder.
    """
    from chatsearcher.data.texts import build_text_source
    from chatsearcher.model.tokenizer import IMAGE_START
    from chatsearcher.training import words

    if not _has_tower(recipe.tower, recipe.tower_recipe):
        return False
    run_dir = Path(recipe.run)
    accelerator = distribution.build_accelerator(recipe)
    torch.manual_seed(recipe.seed)
    tokenizer = build.load_tokenizer(recipe.tokenizer)
    tower = words.load_tower(Path(recipe.tower))
    words.check_vocabulary(tower, tokenizer)
    llm = new_llama(recipe.llm, tokenizer)
    start: Any = tokenizer.convert_tokens_to_ids(IMAGE_START)
    model = words.WordsModel(llm, tower, start, recipe.words.temperature)
    held_out = dataclasses.replace(_on(recipe.data, "val"), workers=0)
    first = build_text_source(dataclasses.replace(recipe.data, workers=0), tokenizer, 0, 1)
    model.measure(_first(first, 10))
    validation = build_text_source(held_out, tokenizer, 0, 1, recipe.seed)
    if accelerator.is_main_process:
        provenance.write(run_dir, recipe, accelerator.num_processes)
    outcome = train(
        recipe,
        model,
        words.WordsObjective(recipe.words),
        lambda rank, world: build_text_source(recipe.data, tokenizer, rank, world, recipe.seed),
        run_dir,
        hooks=[words.held_out_hook(_first(validation, recipe.validation))],
        resume=resume,
        accelerator=accelerator,
    )

    def save(folder: Path) -> None:
        llm.save_pretrained(folder, state_dict=_part(outcome.state_dict, "llm."))
        tokenizer.save_pretrained(folder)

    return _finish(outcome, accelerator, run_dir, "language model", save)


def train_reading(recipe: ReadingRecipe, resume: bool = False) -> bool:
    """Let a new connector learn to say what it sees; returns False when interrupted.

    Writes a whole ``model/``, of which stage 1 takes connector and language model.
    """
    from chatsearcher.data.loader import build_source
    from chatsearcher.training import reading

    check_data(recipe)
    if not _has_parts(recipe):
        return False
    run_dir = Path(recipe.run)
    accelerator = distribution.build_accelerator(recipe)
    torch.manual_seed(recipe.seed)
    model, processor = build.build_model(recipe.model, _dtype(recipe))
    held_out = dataclasses.replace(_on(recipe.data, "val"), workers=0)
    validation = build_source(held_out, processor, 0, 1, recipe.seed)
    if accelerator.is_main_process:
        provenance.write(run_dir, recipe, accelerator.num_processes)
    outcome = train(
        recipe,
        reading.ReadingModel(model),
        reading.ReadingObjective(),
        lambda rank, world: build_source(recipe.data, processor, rank, world, recipe.seed),
        run_dir,
        hooks=[reading.held_out_hook(_first(validation, recipe.validation))],
        resume=resume,
        accelerator=accelerator,
    )

    def save(folder: Path) -> None:
        model.save_pretrained(folder, state_dict=_part(outcome.state_dict, "model."))
        processor.save_pretrained(folder)

    return _finish(outcome, accelerator, run_dir, "model", save)


def _has_parts(recipe: ReadingRecipe | Stage1Recipe) -> bool:
    """Whether the tower and the language model's first weights are there, or could be made."""
    return _has_tower(recipe.model.tower, recipe.tower_recipe) and _has_words(
        recipe.model.llm.start, recipe.words_recipe
    )


def train_stage1(recipe: Stage1Recipe, resume: bool = False) -> bool:
    """Alignment. Where the recipe's own tower or language model is missing, it is trained first."""
    check_data(recipe)
    if recipe.start is None:
        if not _has_parts(recipe):
            return False
        if not _has_reading(recipe.model.start, recipe.reading_recipe):
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

    def save(folder: Path) -> None:
        outcome.model.save_pretrained(folder, state_dict=outcome.state_dict)
        processor.save_pretrained(folder)

    return _finish(outcome, accelerator, run_dir, "model", save)


def _held_out(recipe: StageRecipe, processor: ChatSearcherProcessor) -> list[Any]:
    """The evaluation on a few batches of the validation split, the same on every rank."""
    from chatsearcher.data.loader import build_source

    if not recipe.validation:
        return []
    data = dataclasses.replace(_on(recipe.data, "val"), workers=0)
    source = build_source(data, processor, 0, 1, recipe.seed)
    return [held_out_hook(_first(source, recipe.validation))]


def _on(data: DataConfig, split: SplitName) -> DataConfig:
    """The same sources, of another split."""
    sources = {
        name: dataclasses.replace(source, split=split) for name, source in data.sources.items()
    }
    return dataclasses.replace(data, sources=sources)


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


def _has_tower(tower: str, name: str | None) -> bool:
    """Whether the tower is there, after it was trained where a recipe makes it."""
    return _is_made(tower, name, "tower", TOWERS, train_tower)


def _has_words(start: str | None, name: str | None) -> bool:
    """The same for a language model's first weights."""
    return start is None or _is_made(start, name, "language model", WORDS, train_words)


def _has_reading(start: str | None, name: str | None) -> bool:
    """The same for the connector's first weights."""
    return start is None or _is_made(start, name, "model that reads", READING, train_reading)


def _is_made(
    folder: str,
    name: str | None,
    what: str,
    recipes: Registry,
    make: Callable[[Any, bool], bool],
) -> bool:
    """Whether a part is in its folder; the named recipe makes it there, where it is that recipe's.

    Raises:
        FileNotFoundError: it is not there, and the recipe makes it elsewhere.
    """
    if name is None or any(Path(folder).glob("*.safetensors")):
        return True
    recipe = recipes[name]
    if Path(folder) != Path(recipe.run) / "model":
        script = make.__name__.removeprefix("train_")
        raise FileNotFoundError(
            f"no {what} in {folder}; recipe {name!r} makes one in {recipe.run}/model: "
            f"python train/{script}.py --recipe {name}"
        )
    _say(f"there is no {what} in {folder} yet: training it first (recipe {name})")
    return make(recipe, True)


def _say(text: str) -> None:
    if distribution.is_main():
        print(text, flush=True)


def _dtype(recipe: StageRecipe) -> torch.dtype:
    """bfloat16 weights where DeepSpeed keeps the float32 masters."""
    return torch.bfloat16 if recipe.engine.precision == "bf16" else torch.float32


def _part(state: dict[str, Any], prefix: str) -> dict[str, Any]:
    """The weights under a prefix, without it."""
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def _finish(
    outcome: Outcome, accelerator: Any, run_dir: Path, what: str, save: Callable[[Path], None]
) -> bool:
    """Let the whole model of a finished run appear at once; returns False when interrupted."""
    if outcome.interrupted:
        return False
    if outcome.main:
        final, draft = run_dir / "model", run_dir / ".model.draft"
        shutil.rmtree(draft, ignore_errors=True)
        save(draft)
        shutil.rmtree(final, ignore_errors=True)
        os.replace(draft, final)
        print(f"{what} saved in {final}", flush=True)
    accelerator.wait_for_everyone()
    return True
