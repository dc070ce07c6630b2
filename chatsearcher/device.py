"""Where tensors live and how wide they are: the one place that chooses."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def pick_device(name: str | None = None) -> torch.device:
    """The named device, or the best one here: cuda, then mps, then cpu.

    Raises:
        ValueError: a device that this machine does not have.
    """
    import torch

    if name is None or name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        if torch.backends.mps.is_available():
            return torch.device("mps")
        return torch.device("cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"unknown device {name!r}; expected cuda, cuda:N, mps or cpu") from error
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            raise ValueError(f"device {name!r} asked for, but torch sees {count} CUDA devices")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError("device 'mps' asked for, but torch sees none; use --device cpu")
    return device


def pick_dtype(device: torch.device | str) -> torch.dtype:
    """bfloat16 where the device multiplies it fast, else float32.

    On a CPU that means AMX tiles or AVX512-BF16: elsewhere bfloat16 works but is several times
    slower than float32.
    """
    import torch

    device = torch.device(device)
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if fast else torch.float32
    if device.type == "cpu" and _cpu_has_fast_bfloat16():
        return torch.bfloat16
    return torch.float32


def _cpu_has_fast_bfloat16() -> bool:
    """Private torch helpers: a torch without them counts as a CPU without the instructions."""
    import torch

    for probe in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
        if getattr(torch.cpu, probe, bool)():
            return True
    return False
