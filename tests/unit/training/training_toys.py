"""A toy model, batch and source for the loop's tests: a linear classifier over random points."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from chatsearcher.training.objectives import StepResult


@dataclass
class ToyBatch:
    inputs: torch.Tensor
    labels: torch.Tensor
    keys: list[str]

    def to(self, device: torch.device) -> ToyBatch:
        return replace(self, inputs=self.inputs.to(device), labels=self.labels.to(device))


class ToyModel(nn.Module):
    """Two layers with dropout (so random states matter) and a counter of momentum updates."""

    def __init__(self, dropout: float = 0.3) -> None:
        super().__init__()
        self.first = nn.Linear(8, 16)
        self.drop = nn.Dropout(dropout)
        self.second = nn.Linear(16, 4)
        self.register_buffer("updates", torch.zeros((), dtype=torch.long))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.second(self.drop(torch.relu(self.first(inputs))))

    def update_momentum(self) -> None:
        self.updates += 1


class ToySource:
    """Batch i depends on (seed, i) alone; ranks take disjoint rows of one global batch."""

    def __init__(self, rank: int = 0, world: int = 1, rows: int = 8, poison: int = -1) -> None:
        self.rank, self.world, self.rows, self.poison, self.next = rank, world, rows, poison, 0

    def __iter__(self) -> Iterator[ToyBatch]:
        while True:
            generator = torch.Generator().manual_seed(1000 + self.next)
            inputs = torch.randn(self.rows, 8, generator=generator)
            labels = (inputs[:, :4]).argmax(dim=1)
            if self.next == self.poison:
                inputs[0, 0] = float("nan")
            mine = slice(self.rank, None, self.world)
            index = self.next
            self.next += 1
            keys = [f"toy-{index}-{row}" for row in range(self.rows)][mine]
            yield ToyBatch(inputs[mine], labels[mine], keys)

    def state_dict(self) -> dict[str, Any]:
        return {"next": self.next}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.next = state["next"]


class ToyObjective:
    def begin_step(self, batches: list[ToyBatch]) -> None:
        pass

    def __call__(self, model: nn.Module, batch: ToyBatch) -> StepResult:
        logits = model(batch.inputs)
        loss = nn.functional.cross_entropy(logits.float(), batch.labels)
        accuracy = (logits.argmax(dim=1) == batch.labels).float().mean()
        number = len(batch.keys)
        return StepResult(loss, {"accuracy": accuracy}, tokens=number, samples=number)
