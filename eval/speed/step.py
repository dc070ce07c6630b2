"""A training step beside the bare parts on the same tensors, and the share of waiting for data.

    python eval/speed/step.py [--steps 20] [--deepspeed] [--json OUT]

The bare step is open_clip's tower, the Q-former, and the language model with its own loss over the
same packed rows, in the same precision, and the same optimiser step (clipping included). The full
step is the loop's: unified loss, queue, momentum, logging. Both use the recipe ``nano`` with new
weights; they take turns, and the median ratio counts (bound: 1.10). Then the loop reads real
batches from its worker, and says how long it waited (bound: 5 % of the time).
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from chatsearcher.data.loader import build_source
from chatsearcher.model import Batch, ChatSearcherModel, ChatSearcherProcessor, language
from chatsearcher.model.tokenizer import nano_tokenizer
from chatsearcher.training import build, distribution
from chatsearcher.training.loop import train
from chatsearcher.training.objectives import ChatSearcherObjective
from chatsearcher.training.recipes import STAGE1, TOWERS
from chatsearcher.training.recipes.types import Stage1Recipe
from chatsearcher.training.schedule import build_optimiser
from chatsearcher.training.settings import LogSettings
from chatsearcher.training.tokenizer import texts
from chatsearcher.training.tower import build_clip, save_clip

BOUND, WAITING_BOUND = 1.10, 0.05
QUIET = LogSettings(every=10, save_every=0, trackers=(), progress=False)


def new_nano(folder: Path) -> tuple[Stage1Recipe, ChatSearcherModel, ChatSearcherProcessor]:
    """The recipe nano with an untrained tower and a tokenizer of few texts."""
    recipe, tower = STAGE1["nano"], TOWERS["nano-tower"]
    few = {k: replace(v, count=300) for k, v in tower.tokenizer.sources.items()}
    words = texts(replace(tower.tokenizer, sources=few))
    tokenizer = nano_tokenizer(words, tower.tokenizer.vocab_size)
    config = tower.tower.model_config(tokenizer)
    save_clip(folder / "tower", build_clip(config).state_dict(), config, tokenizer)
    tokenizer.save_pretrained(folder / "tokenizer")
    places = {"tower": str(folder / "tower"), "tokenizer": str(folder / "tokenizer")}
    untaught = replace(recipe.model.llm, start=None)
    recipe = replace(recipe, model=replace(recipe.model, llm=untaught, **places), log=QUIET)
    model, processor = build.build_model(recipe.model)
    return recipe, model, processor


class Bare(nn.Module):
    """The same parts, called as their own libraries call them."""

    def __init__(self, model: ChatSearcherModel) -> None:
        super().__init__()
        self.visual = model.tower.visual
        self.layer = model.config.tower_layer
        self.has_bare_stages = model.tower._has_bare_stages
        self.connector, self.llm = model.connector, model.llm
        self.attention = model.config.attention

    def forward(self, batch: Batch) -> torch.Tensor:
        with torch.no_grad():
            pixels = batch.pixel_values.contiguous(memory_format=torch.channels_last)
            wanted = [-1] if self.layer is None else [self.layer, -1]
            read = self.visual.forward_intermediates(
                pixels, indices=wanted, stop_early=self.has_bare_stages, output_fmt="NCHW"
            )
        tokens = read["image_intermediates"][0].flatten(2).transpose(1, 2)
        visual = self.connector(tokens, read["image_features"])
        embeddings = self.llm.get_input_embeddings()(batch.input_ids)
        rows, columns = batch.image_positions.unbind(1)
        places = columns[:, None] + 1 + torch.arange(visual.shape[1])
        embeddings = embeddings.index_put(
            (rows[:, None].expand_as(places), places), visual.to(embeddings.dtype)
        )
        kind = language.set_attention(self.llm, self.attention, embeddings)
        mask = language.block_mask(batch.segment_ids, kind, embeddings.dtype)
        loss: torch.Tensor = self.llm(
            inputs_embeds=embeddings,
            attention_mask=mask,
            position_ids=batch.position_ids,
            labels=batch.labels,
            use_cache=False,
        ).loss
        return loss


class Repeat:
    """Ready batches over and over, with the moments at which the loop asked for them."""

    def __init__(self, batches: list[Batch], aside: Callable[[], None] = lambda: None) -> None:
        self.batches, self.aside = batches, aside
        self.asked: list[tuple[float, float]] = []

    def __iter__(self) -> Iterator[Batch]:
        number = 0
        while True:
            asked = time.perf_counter()
            self.aside()
            self.asked.append((asked, time.perf_counter()))
            yield self.batches[number % len(self.batches)]
            number += 1

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


def ratios(recipe: Stage1Recipe, folder: Path, steps: int, deepspeed: bool) -> dict[str, Any]:
    """Full and bare steps in turns: the bare one runs whenever the loop asks for a batch."""
    run = replace(
        recipe,
        optimiser=replace(recipe.optimiser, steps=steps + 4),
        engine=replace(recipe.engine, deepspeed="on" if deepspeed else "off"),
    )
    accelerator = distribution.build_accelerator(run)
    torch.manual_seed(0)
    model, processor = build.build_model(recipe.model)
    other, _ = build.build_model(recipe.model)
    source = iter(build_source(replace(recipe.data, workers=0), processor, 0, 1, 0))
    batches = [next(source).to(accelerator.device) for _ in range(3)]
    bare = Bare(other).to(accelerator.device).train()
    bare.visual.eval()
    optimiser = build_optimiser(bare, run.optimiser)
    bare_seconds: list[float] = []

    def bare_step() -> None:
        batch = batches[len(bare_seconds) % len(batches)]
        before = time.perf_counter()
        with distribution.autocast(accelerator, run):
            loss = bare(batch)
        float(loss.detach())
        loss.backward()
        nn.utils.clip_grad_norm_(bare.parameters(), run.optimiser.clip)
        optimiser.step()
        optimiser.zero_grad()
        bare_seconds.append(time.perf_counter() - before)

    repeat = Repeat(batches, bare_step)
    where = folder / ("engine" if deepspeed else "plain")
    train(run, model, ChatSearcherObjective(), lambda r, w: repeat, where, accelerator=accelerator)
    # The full step n lies between the end of ask n and the beginning of ask n + 1.
    spans = zip(repeat.asked, repeat.asked[1:], strict=False)
    full = [after[0] - before[1] for before, after in spans][3:]
    pairs = list(zip(bare_seconds[3:], full, strict=False))
    return {
        "engine": "deepspeed" if deepspeed else "plain",
        "bare_ms": 1e3 * statistics.median(b for b, _ in pairs),
        "full_ms": 1e3 * statistics.median(f for _, f in pairs),
        "ratio": statistics.median(f / b for b, f in pairs),
        "bound": BOUND,
        "steps": len(pairs),
    }


def waiting(
    recipe: Stage1Recipe, model: ChatSearcherModel, processor: Any, folder: Path, steps: int
) -> dict[str, Any]:
    """The loop with its data worker: the share of the time spent waiting for a batch."""
    run = replace(
        recipe,
        optimiser=replace(recipe.optimiser, steps=steps),
        log=replace(QUIET, every=max(1, steps // 2)),
        engine=replace(recipe.engine, deepspeed="off"),
    )
    train(
        run,
        model,
        ChatSearcherObjective(),
        lambda rank, world: build_source(run.data, processor, rank, world, 0),
        folder / "waiting",
    )
    last = (folder / "waiting" / "log.jsonl").read_text(encoding="utf-8").splitlines()[-1]
    figures = json.loads(last)
    return {
        "waiting": figures["waiting"],
        "bound": WAITING_BOUND,
        "samples_per_second": figures["samples_per_second"],
        "tokens_per_second": figures["tokens_per_second"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--deepspeed", action="store_true", help="measure the engine as well")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recipe, model, processor = new_nano(folder)
        figures: dict[str, Any] = {"threads": torch.get_num_threads()}
        figures["step"] = [ratios(recipe, folder, arguments.steps, False)]
        figures["data"] = waiting(recipe, model, processor, folder, 2 * arguments.steps)
        if arguments.deepspeed:
            figures["step"].append(ratios(recipe, folder, arguments.steps, True))
    print(json.dumps(figures, indent=2))
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
