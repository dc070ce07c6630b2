"""Which ZeRO stage and micro-batch fit: every way to part a recipe's step over GPUs."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from chatsearcher.model.configuration import ChatSearcherConfig
from chatsearcher.training.distribution import zero_stage
from chatsearcher.training.planning.activations import Kept, kept
from chatsearcher.training.planning.flops import step_flops
from chatsearcher.training.planning.memory import Memory, Workload, need, weight_dtype
from chatsearcher.training.planning.shapes import Counts, count, planned_config
from chatsearcher.training.recipes import STAGE1, STAGE2
from chatsearcher.training.recipes.types import Stage1Recipe, StageRecipe
from chatsearcher.training.settings import EngineSettings

GIGABYTE = 10**9
MOST_ROWS = 4096

# What an item of a source holds on average: words in tokens, and pictures. Assumptions, for no file
# is opened: CC3M's captions have some ten words; mmc4-core has 3 pictures a document, and mmc4 some
# 425 words (published); the others are ours. --rows and --images say better.
ITEMS: dict[str, tuple[int, int]] = {
    "pairs": (16, 1),
    "look-alikes": (16, 1),
    "requests": (80, 4),
    "documents": (560, 3),
    "conversations": (300, 1),
    "dialogues": (60, 1),
    "searches": (80, 2),
    "modifications": (30, 2),
    "questions": (60, 1),
}
WORLD_DOCUMENT = (60, 3)


@dataclass(frozen=True)
class Choice:
    """One way to run the recipe.

    Attributes:
        name: ``ZeRO 2``, ``ZeRO 3 + host``, ``plain``.
        memory: of one GPU at the recipe's own micro-batch.
        fits: whether that is within the GPU's memory.
        most_rows: the largest micro-batch that is, in rows; 0: none.
    """

    name: str
    zero: int
    offload: bool
    memory: Memory
    fits: bool
    most_rows: int


@dataclass(frozen=True)
class Plan:
    """A recipe's memory on so many GPUs.

    Attributes:
        workload: the micro-batch of one GPU in the recipe.
        flops: model FLOPs of one GPU's micro-batch.
        own: the recipe's own choice.
    """

    recipe: str
    stage: int
    gpus: int
    gigabytes: float
    config: ChatSearcherConfig
    counts: Counts
    engine: EngineSettings
    workload: Workload
    accumulation: int
    flops: float
    choices: tuple[Choice, ...]
    own: Choice

    @property
    def advice(self) -> str:
        """What to do, in a sentence or two."""
        rows = self.workload.rows
        if self.own.fits:
            spare = self.gigabytes - self.own.memory.peak / GIGABYTE
            said = f"The recipe fits as it is ({self.own.name}, {rows} rows of "
            said += f"{self.workload.length:,} a GPU), with {spare:.1f} GB to spare."
            if self.own.most_rows > rows:
                said += f" Up to {self.own.most_rows} rows would."
            return said
        for choice in self.choices:
            if choice.fits:
                return f"The recipe's {self.own.name} does not fit; {_how(choice)} does."
        possible = [c for c in self.choices if c.most_rows]
        if possible:
            best = max(possible, key=lambda c: (not c.offload, c.most_rows))
            pieces = math.ceil(rows / best.most_rows)
            return (
                f"{rows} rows a GPU do not fit. With {_how(best)} {best.most_rows} do: divide the "
                f"sources' counts by {pieces} and set --optimiser.accumulation "
                f"{pieces * self.accumulation}."
            )
        more = [] if self.engine.activation_checkpointing else ["--engine.activation-checkpointing"]
        more += [] if self.counts.adapters else ["a LoRA recipe"]
        return f"Nothing fits: try {', or '.join([*more, 'more or larger GPUs'])}."

    def as_json(self) -> dict[str, Any]:
        """Plain types, bytes and counts."""
        choices = [{**vars(c), "memory": c.memory.as_json()} for c in (*self.choices,)]
        return {
            "recipe": self.recipe,
            "stage": self.stage,
            "gpus": self.gpus,
            "gigabytes": self.gigabytes,
            "parameters": vars(self.counts),
            "workload": {**vars(self.workload), "accumulation": self.accumulation},
            "model_flops": self.flops,
            "choices": choices,
            "own": self.own.name,
            "advice": self.advice,
        }


def plan(
    name: str,
    gpus: int,
    gigabytes: float,
    *,
    stage: int = 1,
    rows: int | None = None,
    images: int | None = None,
    changes: EngineSettings | None = None,
) -> Plan:
    """Plan a recipe.

    Args:
        gigabytes: memory of one GPU, 10^9 bytes.
        rows, images: of one GPU's micro-batch, where they are known better.
        changes: other engine settings than the recipe's.

    Raises:
        ValueError: an unknown recipe, or impossible numbers.
    """
    if gpus < 1 or gigabytes <= 0:
        raise ValueError(f"{gpus} GPUs of {gigabytes} GB; expected at least one, with some memory")
    if (rows is not None and rows < 1) or (images is not None and images < 0):
        raise ValueError(
            f"a micro-batch of {rows} rows with {images} pictures; expected at least one row, and "
            "no pictures or more (leave --rows and --images out for the recipe's own)"
        )
    recipe: StageRecipe = (STAGE1 if stage == 1 else STAGE2)[name]
    first = _first_stage(recipe, name)
    config = planned_config(first.model, first.tower_recipe)
    adapter = first.model.lora
    counts = count(config, adapter.rank)
    engine = changes or recipe.engine
    workload = estimate_workload(recipe, config, gpus)
    if rows is not None:
        share = workload.images / workload.rows
        workload = replace(workload, rows=rows, images=round(rows * share))
    if images is not None:
        workload = replace(workload, images=images)

    def kept_by(rows: int, images: int) -> Kept:
        return kept(
            config,
            rows,
            workload.length,
            images,
            patches=counts.patches,
            channels=counts.channels,
            dtype=weight_dtype(engine),
            autocast=engine.autocasts_on_gpus,
            attention="sdpa" if engine.attention == "auto" else engine.attention,
            adapter_rank=adapter.rank,
            adapter_dropout=adapter.dropout,
        )

    one, two = kept_by(1, 1), kept_by(2, 2)  # everything grows evenly with rows and pictures
    per_row = workload.images / workload.rows

    def memory(rows: int, pictures: int, zero: int, offload: bool, deepspeed: bool) -> Memory:
        each = Kept(
            once=one.once + (rows - 1) * (two.once - one.once),
            layer=one.layer + (rows - 1) * (two.layer - one.layer),
            layer_input=one.layer_input * rows,
            connector=one.connector + (pictures - 1) * (two.connector - one.connector),
        )
        return need(
            config,
            counts,
            each,
            replace(workload, rows=rows, images=pictures),
            replace(engine, zero=zero),  # type: ignore[arg-type]
            gpus=gpus,
            offload=offload,
            deepspeed=deepspeed,
        )

    limit = int(gigabytes * GIGABYTE)
    choices = []
    for label, zero, offload, deepspeed in _ways(engine, gpus):
        own = memory(workload.rows, workload.images, zero, offload, deepspeed)

        def fits(rows: int, way: tuple[int, bool, bool] = (zero, offload, deepspeed)) -> bool:
            return memory(rows, max(1, round(rows * per_row)), *way).peak <= limit

        most = _largest(fits)
        choices.append(Choice(label, zero, offload, own, own.peak <= limit, most))
    host, own_zero = "offload" in engine.deepspeed, zero_stage(engine)
    own_choice = next((c for c in choices if c.zero == own_zero and c.offload == host), choices[0])
    flops = step_flops(config, workload, adapters=bool(adapter.rank)).total
    return Plan(
        name,
        stage,
        gpus,
        gigabytes,
        config,
        counts,
        engine,
        workload,
        recipe.optimiser.accumulation,
        flops,
        tuple(choices),
        own_choice,
    )


def estimate_workload(recipe: StageRecipe, config: ChatSearcherConfig, gpus: int) -> Workload:
    """One GPU's share of a recipe's batch, by :data:`ITEMS`."""
    data = recipe.data
    total = sum(source.count for source in data.sources.values())
    batch = data.batch or total
    tokens = pictures = 0.0
    for source in data.sources.values():
        kind = source.kind.partition("-")[2] or source.kind
        if source.kind == "world-documents":
            words, images = WORLD_DOCUMENT
        else:
            words, images = ITEMS.get(kind, ITEMS.get(source.kind, ITEMS["conversations"]))
        share = source.count / total * batch / gpus
        # A document that is longer than a row goes on in the next one.
        tokens += share * (words + images * config.image_length)
        pictures += share * images
    rows = max(1, math.ceil(tokens / data.length))
    return Workload(rows, data.length, max(1, math.ceil(pictures)))


def _ways(engine: EngineSettings, gpus: int) -> list[tuple[str, int, bool, bool]]:
    ways = [(f"ZeRO {zero}", zero, False, True) for zero in (1, 2, 3)]
    ways += [(f"ZeRO {zero} + host", zero, True, True) for zero in (2, 3)]
    if gpus == 1 and engine.precision != "bf16":
        return [("plain", 0, False, False), *ways]
    return [("ZeRO 0", 0, False, True), *ways]


def _largest(fits: Any) -> int:
    low, high = 0, 1
    while high <= MOST_ROWS and fits(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def _how(choice: Choice) -> str:
    if choice.offload:
        return f"--engine.deepspeed ds_configs/zero{choice.zero}_offload.json"
    return f"--engine.zero {choice.zero}"


def _first_stage(recipe: StageRecipe, name: str) -> Stage1Recipe:
    """The recipe that makes the model: itself, or the one whose run a stage 2 goes on from."""
    if isinstance(recipe, Stage1Recipe):
        return recipe
    start = getattr(recipe, "start", None)
    for _ in STAGE2:
        found = [STAGE1[n] for n in STAGE1 if STAGE1[n].run == start]
        if found:
            return found[0]
        start = next((STAGE2[n].start for n in STAGE2 if STAGE2[n].run == start), None)
    raise ValueError(
        f"stage 2 recipe {name!r} starts from {recipe!r}, which no stage 1 recipe makes"
    )
