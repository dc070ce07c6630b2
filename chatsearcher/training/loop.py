"""The one loop behind every training: batches come from a source, an objective makes the loss.

A run that is killed at any step and resumed goes on exactly as if it had never stopped: the
checkpoint holds the model, the optimiser, the random states and the position in the data, and the
learning rate is a function of the step alone.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from chatsearcher.training import checkpoints, distribution
from chatsearcher.training.objectives import Objective
from chatsearcher.training.progress import Meter, Reporter
from chatsearcher.training.schedule import build_optimiser, learning_rate
from chatsearcher.training.settings import RunSettings


class Source(Protocol):
    """Endless batches; the state is that after the last batch handed out, in plain types."""

    def __iter__(self) -> Iterator[Any]: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any]) -> None: ...


Hook = Callable[[torch.nn.Module, int], dict[str, float]]
"""An evaluation: the bare model (in eval mode) and the finished step -> figures to log."""


@dataclass
class Outcome:
    """How a run ended.

    Attributes:
        model: the trained model without the engine around it.
        step: finished optimiser steps.
        interrupted: stopped by Ctrl-C or SIGTERM; the last checkpoint is of ``step``.
        state_dict: the whole model's weights on the main rank (gathered under ZeRO 3), else {}.
        main: whether this process is the one that writes files.
    """

    model: Any
    step: int
    interrupted: bool
    state_dict: dict[str, torch.Tensor]
    main: bool


def train(
    run: RunSettings,
    model: torch.nn.Module,
    objective: Objective,
    source: Callable[[int, int], Source],
    run_dir: Path,
    *,
    hooks: Sequence[Hook] = (),
    resume: bool = False,
    accelerator: Any = None,
    stop_after: int | None = None,
) -> Outcome:
    """Train ``model`` in place.

    Args:
        source: (rank, world size) -> the batches of that rank.
        run_dir: receives ``checkpoints/``, ``log.jsonl`` and ``tensorboard/``.
        hooks: evaluations, every ``run.log.evaluate_every`` steps and at the end.
        resume: go on from the newest checkpoint in ``run_dir``, if there is one.
        accelerator: from ``distribution.build_accelerator``, where the caller already needed it.
        stop_after: finish early, with a checkpoint, after this many steps (the schedule stays).

    Raises:
        FloatingPointError: a loss or gradient was not finite; the message holds the batch's keys.
        ValueError: ``run_dir`` already holds a run and ``resume`` is off.
    """
    accelerator = accelerator or distribution.build_accelerator(run)
    if not resume and checkpoints.steps(run_dir):
        raise ValueError(
            f"{run_dir} already holds a run (step {checkpoints.steps(run_dir)[-1]}); "
            "continue it with --resume, or choose another --run folder, or remove it"
        )
    if not uses_engine(accelerator):
        model.to(accelerator.device)
    bare = model
    prepared: Any = accelerator.prepare(model, build_optimiser(model, run.optimiser))
    wrapped, optimiser = prepared
    batches = source(accelerator.process_index, accelerator.num_processes)
    start = checkpoints.load(accelerator, wrapped, optimiser, batches, run_dir) if resume else 0
    report = Reporter(run_dir, run.log, run.optimiser.steps, start, accelerator.is_main_process)
    if resume:
        report.say(f"resuming after step {start}" if start else "nothing to resume, starting anew")
    update_momentum = getattr(bare, "update_momentum", None)
    last = run.optimiser.steps if stop_after is None else min(stop_after, run.optimiser.steps)
    add_up = distribution.adder(accelerator)
    meter, saved, step, interrupted = Meter(), start, start, False

    wrapped.train()
    with _interruption() as stop_asked:
        stream = iter(batches)
        while step < last and not interrupted:
            rate = learning_rate(step, run.optimiser)
            for group in optimiser.param_groups:
                group["lr"] = rate * group.get("share", 1.0)
            norm: float | None = None
            before = time.perf_counter()
            micro = [next(stream) for _ in range(run.optimiser.accumulation)]
            meter.waiting += time.perf_counter() - before
            micro = [batch.to(accelerator.device) for batch in micro]
            objective.begin_step(micro)
            for batch in micro:
                with accelerator.accumulate(wrapped):
                    with distribution.autocast(accelerator, run):
                        result = objective(wrapped, batch)
                    loss = float(result.loss.detach())
                    if not math.isfinite(loss):
                        raise FloatingPointError(_broken(f"the loss is {loss}", step, [batch]))
                    accelerator.backward(result.loss)
                    if accelerator.sync_gradients and not uses_engine(accelerator):
                        norm = _clip(accelerator, bare, run.optimiser.clip)
                        if not math.isfinite(norm):
                            what = f"the gradient norm is {norm}"
                            raise FloatingPointError(_broken(what, step, micro))
                    optimiser.step()
                    optimiser.zero_grad()
                meter.add({"loss": loss, **result.metrics}, result.tokens, result.samples)
            if uses_engine(accelerator):
                norm = _number(wrapped.get_global_grad_norm())
            if update_momentum is not None:
                update_momentum()
            step += 1
            report.step()
            if run.log.every and (step % run.log.every == 0 or step == last):
                row = meter.report(add_up)
                if norm is not None:
                    row["gradient_norm"] = norm
                report.row(step, {**row, "learning_rate": rate})
            if hooks and run.log.evaluate_every and step % run.log.evaluate_every == 0:
                report.row(step, _evaluate(hooks, bare, step, accelerator, run))
                wrapped.train()
            interrupted = distribution.any_rank(accelerator, stop_asked())
            if interrupted or (run.log.save_every and step % run.log.save_every == 0):
                args = (accelerator, wrapped, optimiser, batches, run_dir, step, run.log.keep)
                checkpoints.save(*args)
                saved = step

    if saved != step:
        args = (accelerator, wrapped, optimiser, batches, run_dir, step, run.log.keep)
        checkpoints.save(*args)
    if interrupted:
        report.say(f"interrupted; step {step} is saved, go on with --resume")
    elif hooks and not (run.log.evaluate_every and step % run.log.evaluate_every == 0):
        report.row(step, _evaluate(hooks, bare, step, accelerator, run))
    report.close()
    weights = accelerator.get_state_dict(wrapped)
    return Outcome(bare, step, interrupted, weights or {}, accelerator.is_main_process)


def uses_engine(accelerator: Any) -> bool:
    """Whether DeepSpeed steps, clips and zeroes by itself."""
    return str(accelerator.distributed_type).endswith("DEEPSPEED")


def _clip(accelerator: Any, model: torch.nn.Module, limit: float) -> float:
    norm = accelerator.clip_grad_norm_(model.parameters(), limit if limit > 0 else math.inf)
    return float(norm)


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _broken(what: str, step: int, batches: Sequence[Any]) -> str:
    keys = ", ".join(key for batch in batches for key in getattr(batch, "keys", ["unknown"]))
    return f"{what} at step {step + 1}; nothing was updated. Keys of the batch: {keys}"


def _evaluate(
    hooks: Sequence[Hook], model: torch.nn.Module, step: int, accelerator: Any, run: RunSettings
) -> dict[str, float]:
    """Run the hooks without leaving a trace in the training's random state."""
    state = checkpoints.random_state()
    model.eval()
    figures: dict[str, float] = {}
    with torch.no_grad(), distribution.autocast(accelerator, run):
        for hook in hooks:
            figures.update(hook(model, step))
    checkpoints.set_random_state(state)
    return figures


@contextmanager
def _interruption() -> Iterator[Callable[[], bool]]:
    """Ctrl-C and SIGTERM ask for a stop after the step in progress; a second Ctrl-C kills."""
    asked = False

    def ask(number: int, frame: object) -> None:
        nonlocal asked
        if asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked = True

    try:
        before = {s: signal.signal(s, ask) for s in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not in the main thread: nobody can press Ctrl-C on us
        yield lambda: False
        return
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
