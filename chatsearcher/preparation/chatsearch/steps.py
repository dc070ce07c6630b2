"""The automatic stages, each made from a run's options. One is asked for by its name."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from chatsearcher.foundation.cache import AnswerCache, CachedModel, Price
from chatsearcher.foundation.captioner import open_captioner
from chatsearcher.foundation.language import open_model
from chatsearcher.foundation.neighbours import PictureSearch
from chatsearcher.preparation.chatsearch import (
    captions,
    compose,
    finding,
    source,
    split,
    writing,
)
from chatsearcher.preparation.chatsearch.galleries import open_search
from chatsearcher.preparation.chatsearch.layout import Entry, StageFolder
from chatsearcher.preparation.chatsearch.names import Names
from chatsearcher.preparation.chatsearch.options import need
from chatsearcher.preparation.chatsearch.prompts import load_prompt
from chatsearcher.preparation.chatsearch.run import Run
from chatsearcher.preparation.chatsearch.stage import Plan, Work, run_stage
from chatsearcher.preparation.convert import write_json

Progress = Callable[[str, int, int], None]
"""(stage, inputs dealt with, all of them or 0)."""


@dataclass(frozen=True)
class Means:
    """How to go about it; changes nothing in what is written.

    Attributes:
        endpoint: fields of ``EndpointSettings`` that are not kept: concurrency, limits, timeout.
        device: for what runs here.
        price: None leaves the one that was given last.
    """

    endpoint: dict[str, Any] = field(default_factory=dict)
    device: str | None = None
    price: Price | None = None


def run_step(
    run: Run, name: str, settings: Entry, means: Means, progress: Progress | None = None
) -> Entry:
    """Make a stage, or what is missing of it; returns its summary.

    Raises:
        FileNotFoundError: a stage before it is missing.
        ValueError: it was begun with other options.
        ConnectionError: the endpoint is down; what was done is kept.
    """
    return asyncio.run(STEPS[name](_Step(run, name, settings, means, progress)))


@dataclass(frozen=True)
class _Step:
    run: Run
    name: str
    settings: Entry
    means: Means
    progress: Progress | None

    @property
    def folder(self) -> StageFolder:
        return self.run.stage(self.name)

    async def make(
        self,
        own: Entry,
        inputs: Iterable[Entry],
        total: int,
        work: Work,
        plan: Plan,
    ) -> Entry:
        part = self.settings["part"]
        plan = Plan(plan.batch, plan.window, part)
        report = self.progress
        counted = None if report is None else lambda done: report(self.name, done, total)
        return await run_stage(self.folder, own, inputs, work, plan, counted)

    def before(self, name: str) -> tuple[StageFolder, Entry, int]:
        """The stage that this one reads: folder, what to note of it, number of records."""
        folder = self.run.stage(name)
        summary = folder.need()
        return folder, {"input": summary["sha256"]}, summary["records"]


async def _source(step: _Step) -> Entry:
    kept = step.settings
    options = source.SourceOptions(
        tuple(need(kept, "source")),
        tuple(kept["texts"]),
        {key: tuple(values) for key, values in kept["where"].items()},
        kept["below"],
        tuple((name, path) for name, path in kept["lists"]),
        kept["limit"],
    )
    own = source.source_settings(options, kept["seed"])
    work = partial(source.source_work, seed=kept["seed"])
    return await step.make(own, source.source_inputs(options), 0, work, source.PLAN)


async def _write(step: _Step, writing: writing.Writing, reads: str) -> Entry:
    """A stage in which the language model writes."""
    folder, own, total = step.before(reads)
    kept = step.settings
    spec: str = need(kept, "model")
    options: Entry = {name: kept[name] for name in ("temperature", "max_tokens")}
    if spec.startswith("local:"):
        options["device"] = step.means.device
    else:
        options |= {"structured": kept["structured"], "body": kept["body"], **step.means.endpoint}
    prompt = load_prompt(writing.prompt, Path(kept["prompts"]) if kept["prompts"] else None)
    (step.run.path / "prompts").mkdir(parents=True, exist_ok=True)
    copy = step.run.path / "prompts" / f"{prompt.name}.txt"
    copy.write_text(prompt.text, encoding="utf-8")
    cache = AnswerCache(step.run.path / "answers.sqlite")
    asked = open_model(spec, **options)
    model = CachedModel(asked, cache)
    try:
        attempts = kept["attempts"]
        own |= writing.settings(prompt, model, attempts)
        work = partial(writing.work, prompt=prompt, model=model, attempts=attempts)
        window = 16 * int(step.means.endpoint.get("concurrency", 64))
        plan = Plan(1, max(64, window))
        return await step.make(own, folder.records(), total, work, plan)
    finally:
        _note_usage(step, cache, getattr(asked, "counts", {}))
        await model.close()


def _note_usage(step: _Step, cache: AnswerCache, calls: Mapping[str, int]) -> None:
    """What the run has cost so far, and how the calls of each stage went when it last made any."""
    usage = cache.usage()
    path = step.run.path / "usage.json"
    noted: Entry = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    price = step.means.price or Price(*noted.get("price_per_million", (0.0, 0.0)))
    made = {step.name: dict(sorted(calls.items()))} if calls else {}
    write_json(
        path,
        {
            "answers": {
                name: {
                    "answers": used.answers,
                    "prompt_tokens": used.prompt_tokens,
                    "completion_tokens": used.completion_tokens,
                    "cost": round(used.cost(price), 6),
                }
                for name, used in usage.items()
            },
            "price_per_million": [price.prompt, price.completion],
            "cost": round(sum(used.cost(price) for used in usage.values()), 6),
            "calls": {**noted.get("calls", {}), **made},
        },
    )


async def _neighbours(step: _Step) -> Entry:
    kept = step.settings
    least, most = kept["similarity"]
    threshold = finding.Threshold(least, most, kept["neighbours"])
    own = {"similarity": [threshold.least, threshold.most], "k": threshold.k, "seed": kept["seed"]}

    def work(search: PictureSearch, barred: finding.Barred) -> Work:
        return partial(
            finding.neighbours_work,
            search=search,
            threshold=threshold,
            seed=kept["seed"],
            barred=barred,
        )

    return await _find(step, "source", own, work)


async def _answers(step: _Step) -> Entry:
    k: int = step.settings["answers"]

    def work(search: PictureSearch, barred: finding.Barred) -> Work:
        return partial(finding.answers_work, search=search, k=k, barred=barred)

    return await _find(step, "rounds", {"k": k}, work)


async def _find(
    step: _Step, reads: str, own: Entry, work: Callable[[PictureSearch, finding.Barred], Work]
) -> Entry:
    """A stage in which the gallery is asked."""
    folder, noted, total = step.before(reads)
    splits = _splits(step)
    search = open_search(
        need(step.settings, "gallery"), step.settings["retriever"], step.means.device
    )
    try:
        own = {**noted, "gallery": dict(search.identity), "splits": splits, **own}
        with Names() as names:
            if step.folder.done() is None:
                for entry in step.run.stage("source").records():
                    names.add(entry["id"], entry["split"])
            barred = finding.other_split(names, splits)
            return await step.make(own, folder.records(), total, work(search, barred), finding.PLAN)
    finally:
        await search.close()


def _splits(step: _Step) -> dict[str, str]:
    return split.KEEP_VAL if step.settings["keep_val"] else split.PAPER


async def _captions(step: _Step) -> Entry:
    folder, own, total = step.before("neighbours")
    name = step.settings["captioner"]
    captioner = None if name == "gallery" else open_captioner(name, step.means.device)
    own["captioner"] = "gallery" if captioner is None else dict(captioner.identity)
    work = partial(captions.captions_work, captioner=captioner)
    return await step.make(own, folder.records(), total, work, captions.PLAN)


async def _compose(step: _Step) -> Entry:
    first, _, total = step.before("source")
    names = ("text", "modifications", "answers")
    made = [step.before(name) for name in names]
    own = {name: noted["input"] for name, (_, noted, _) in zip(names, made, strict=True)}
    inputs = compose.compose_inputs(first, *(folder for folder, _, _ in made))
    return await step.make(own, inputs, total, compose.compose_work, Plan(50, 2))


async def _split(step: _Step) -> Entry:
    folder, own, total = step.before("compose")
    names = _splits(step)
    if step.folder.done() is None:
        shelves = split.protected_shelves(folder.records(), names)
    else:
        shelves = []
    work = partial(split.split_work, shelves=shelves, names=names)
    return await step.make({**own, "splits": names}, folder.records(), total, work, Plan(50, 2))


STEPS: dict[str, Callable[[_Step], Coroutine[Any, Any, Entry]]] = {
    "source": _source,
    "text": lambda step: _write(step, writing.TEXT, "source"),
    "neighbours": _neighbours,
    "captions": _captions,
    "modifications": lambda step: _write(step, writing.MODIFICATIONS, "captions"),
    "rounds": lambda step: _write(step, writing.ROUNDS, "source"),
    "answers": _answers,
    "compose": _compose,
    "split": _split,
}


def discard(run: Run, name: str) -> None:
    """Remove a stage's output, so that it is made anew (answers stay in the cache)."""
    shutil.rmtree(run.stage(name).path, ignore_errors=True)
