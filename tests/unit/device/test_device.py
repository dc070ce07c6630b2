"""The one place that chooses devices."""

from __future__ import annotations

import pytest
import torch

from chatsearcher import device as module
from chatsearcher.device import pick_device, pick_dtype


def test_the_best_device_here_or_the_named_one() -> None:
    best = pick_device()
    assert best == pick_device("auto")
    assert best.type == "cuda" or not torch.cuda.is_available()
    assert pick_device("cpu") == torch.device("cpu")
    torch.zeros(2, device=best)
    with pytest.raises(ValueError, match="unknown device 'gpu'"):
        pick_device("gpu")
    with pytest.raises(ValueError, match="torch sees"):
        pick_device("cuda:99")


def test_a_cpu_without_fast_bfloat16_computes_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    assert pick_dtype("cpu") == torch.float32
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    assert pick_dtype(torch.device("cpu")) == torch.bfloat16
    monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported")
    monkeypatch.delattr(torch.cpu, "_is_avx512_bf16_supported")
    assert module.pick_dtype("cpu") == torch.float32
