"""What work takes: memory beyond what stood there before, and time; and a machine's peaks."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch


def peak_memory(work: Callable[[], Any], device: torch.device) -> int:
    """Bytes handed out by the device's allocator at the highest moment of ``work``.

    What stood there before does not count, and what ``work`` frees of it is taken off.

    Raises:
        ValueError: a device whose allocator does not tell.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    if device.type != "cpu":
        raise ValueError(f"memory on {device.type} cannot be measured; expected cuda or cpu")
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        work()
    profiler: Any = recorded.profiler
    blocks = [e for e in profiler.kineto_results.events() if e.name() == "[memory]"]
    level = highest = 0
    for block in sorted(blocks, key=lambda event: event.start_ns()):
        level += block.nbytes()
        highest = max(highest, level)
    return highest


def seconds(work: Callable[[], Any], device: torch.device, times: int = 3) -> float:
    """The median time of ``work``, after one run that does not count."""
    taken = []
    for number in range(times + 1):
        _finish(device)
        before = time.perf_counter()
        work()
        _finish(device)
        if number:
            taken.append(time.perf_counter() - before)
    return statistics.median(taken)


def matrix_peak(device: torch.device, size: int = 8192) -> float:
    """Operations a second of a bfloat16 product of random square matrices: the practical peak."""
    left, right = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    return 2.0 * size**3 / seconds(lambda: left @ right, device, times=10)


def copy_bandwidth(device: torch.device, size: int = 1 << 30) -> float:
    """Bytes a second, read and written, of a copy of ``size`` bytes on the device."""
    source = torch.empty(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2.0 * size / seconds(lambda: target.copy_(source), device, times=5)


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
