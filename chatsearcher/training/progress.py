"""What a person sees of a run: a progress bar, TensorBoard, and a line of JSON per logged step."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from chatsearcher.training.settings import LogSettings

Figures = dict[str, float]


class Meter:
    """Means of a few steps' metrics over all ranks, and how the time between reports was spent."""

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self._values: dict[str, list[torch.Tensor | float]] = {}
        self.tokens = self.samples = 0
        self.waiting = 0.0
        self._since = time.perf_counter()

    def add(self, metrics: dict[str, torch.Tensor | float], tokens: int, samples: int) -> None:
        """Note one micro-batch; every call of a run must bring the same names."""
        for name, value in metrics.items():
            self._values.setdefault(name, []).append(value)
        self.tokens += tokens
        self.samples += samples

    def report(self, add_up: Callable[[torch.Tensor], torch.Tensor] | None = None) -> Figures:
        """The means since the last report; a metric that was never finite is left out.

        Args:
            add_up: sums a vector over the ranks; None when alone.
        """
        spent = max(1e-9, time.perf_counter() - self._since)
        columns = [[float(v) for v in values] for values in self._values.values()]
        finite = [[v for v in column if math.isfinite(v)] for column in columns]
        sums = torch.tensor(
            [*map(sum, finite), *map(len, finite), self.tokens, self.samples, self.waiting, 1.0],
            dtype=torch.float64,
        )
        totals = (add_up(sums) if add_up else sums).tolist()
        number = len(finite)
        row = {
            name: totals[place] / totals[number + place]
            for place, name in enumerate(self._values)
            if totals[number + place]
        }
        tokens, samples, waiting, ranks = totals[2 * number :]
        row["tokens_per_second"] = tokens / spent
        row["samples_per_second"] = samples / spent
        row["waiting"] = waiting / ranks / spent
        self._clear()
        return row


class Reporter:
    """Writes on the main rank only; ``enabled=False`` makes every call a no-op."""

    def __init__(
        self, run_dir: Path, log: LogSettings, steps: int, start: int, enabled: bool
    ) -> None:
        self.enabled = enabled
        if not enabled:
            return
        from tqdm import tqdm

        run_dir.mkdir(parents=True, exist_ok=True)
        self._path = run_dir / "log.jsonl"
        self._keep_until(start)
        self._file = self._path.open("a", encoding="utf-8")
        self._boards = [_tracker(name, run_dir) for name in log.trackers]
        self._live = log.progress and sys.stderr.isatty()
        self._steps = steps
        self._bar = tqdm(
            total=steps, initial=start, disable=not self._live, dynamic_ncols=True, unit="step"
        )

    def _keep_until(self, start: int) -> None:
        """Drop the rows of steps that a resumed run does again."""
        if not self._path.is_file():
            return
        lines = self._path.read_text(encoding="utf-8").splitlines()
        rows = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= start]
        self._path.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")

    def step(self) -> None:
        if self.enabled:
            self._bar.update(1)

    def row(self, step: int, values: dict[str, float]) -> None:
        if not self.enabled:
            return
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()
        for board in self._boards:
            board.row(step, values)
        shown = "  ".join(f"{_SHORT.get(k, k)} {_figure(k, v)}" for k, v in values.items())
        if self._live:
            self._bar.set_postfix_str(shown, refresh=False)
        else:
            print(f"step {step}/{self._steps}  {shown}", flush=True)

    def say(self, text: str) -> None:
        if self.enabled:
            self._bar.write(text, file=sys.stdout)
            sys.stdout.flush()

    def close(self) -> None:
        if self.enabled:
            self._bar.close()
            self._file.close()
            for board in self._boards:
                board.close()


_SHORT = {
    "retrieval_accuracy": "acc",
    "tokens_per_second": "tok/s",
    "samples_per_second": "samples/s",
    "learning_rate": "lr",
    "gradient_norm": "grad",
}


def _figure(name: str, value: float) -> str:
    if name in ("waiting", "retrieval_accuracy"):
        return f"{100 * value:.1f}%"
    return f"{value:.0f}" if name.endswith("per_second") else f"{value:.4g}"


class _TensorBoard:
    def __init__(self, run_dir: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(run_dir / "tensorboard"))

    def row(self, step: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


class _WeightsAndBiases:
    def __init__(self, run_dir: Path) -> None:
        import wandb

        self._run: Any = wandb.init(project="chatsearcher", name=run_dir.name, dir=str(run_dir))

    def row(self, step: int, values: dict[str, float]) -> None:
        self._run.log(values, step=step)

    def close(self) -> None:
        self._run.finish()


def _tracker(name: str, run_dir: Path) -> Any:
    known: dict[str, Any] = {"tensorboard": _TensorBoard, "wandb": _WeightsAndBiases}
    if name not in known:
        raise ValueError(f"unknown tracker {name!r}; known: {', '.join(known)}")
    return known[name](run_dir)
