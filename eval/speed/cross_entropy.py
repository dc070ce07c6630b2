"""Memory and time of the words' loss: all logits at once, beside a piece at a time.

    python eval/speed/cross_entropy.py [--tokens 8192] [--vocabulary 32000] [--hidden 512]

Each version runs forward and backward over the same hidden states and output head. What counts is
the most memory beyond what stood there before, less the gradients that stay. On a CPU it is what
the allocator handed out (torch's profiler sees every block); on a GPU what CUDA's did. Bound:
0.15 of the plain version.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from chatsearcher.device import pick_device
from chatsearcher.model import words
from chatsearcher.model.losses import word_loss
from chatsearcher.training.measure import peak_memory

BOUND = 0.15


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tokens", type=int, default=8192)
    parser.add_argument("--vocabulary", type=int, default=32_000)
    parser.add_argument("--hidden", type=int, default=512)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--device")
    arguments = parser.parse_args()
    device, dtype = pick_device(arguments.device), getattr(torch, arguments.dtype)
    torch.manual_seed(0)
    options: Any = {"device": device, "dtype": dtype}
    head = nn.Linear(arguments.hidden, arguments.vocabulary, bias=False, **options)
    hidden = torch.randn(arguments.tokens, arguments.hidden, requires_grad=True, **options)
    targets = torch.randint(0, arguments.vocabulary, (arguments.tokens,), device=device)
    versions: dict[str, Callable[[], Tensor]] = {
        "plain": lambda: word_loss(head(hidden), targets),
        "chunked": lambda: words.chunked(head, hidden, targets),
    }
    kept = sum(p.numel() * p.element_size() for p in (head.weight, hidden))
    rows: list[dict[str, Any]] = []
    gradients: list[list[Tensor]] = []
    for name, loss in versions.items():

        def step(loss: Callable[[], Tensor] = loss) -> None:
            head.weight.grad = hidden.grad = None
            loss().backward()

        step()
        before = time.perf_counter()
        step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds = time.perf_counter() - before
        head.weight.grad = hidden.grad = None
        extra = peak_memory(step, device) - kept
        gradients.append([head.weight.grad, hidden.grad])  # type: ignore[list-item]
        rows.append({"version": name, "extra_mb": extra / 1e6, "seconds": seconds})
    plain, pieces = rows
    apart = max(
        float(((a - b).norm() / a.norm()).detach()) for a, b in zip(*gradients, strict=True)
    )
    figures = {
        "tokens": arguments.tokens,
        "vocabulary": arguments.vocabulary,
        "hidden": arguments.hidden,
        "dtype": arguments.dtype,
        "device": str(device),
        "versions": rows,
        "memory_ratio": pieces["extra_mb"] / plain["extra_mb"],
        "bound": BOUND,
        "gradients_apart": apart,
    }
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
