"""Modules that stay in float32 when the rest of the network does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn


class Float32Module(nn.Module):
    """Keeps its floating-point parameters and buffers in float32 under ``.to(bfloat16)``.

    A moving average with a decay of 0.99 stops moving in bfloat16: a hundredth of a small
    difference is below its resolution.
    """

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        stores = [
            store for module in self.modules() for store in (module._parameters, module._buffers)
        ]
        before = [(store, name, tensor) for store in stores for name, tensor in store.items()]
        before = [(store, name, t.data if t is not None else None) for store, name, t in before]
        super()._apply(fn, recurse)
        for store, name, old in before:
            new = store[name]
            if new is None or old is None or new.dtype == old.dtype:
                continue
            kept = old.to(new.device)
            if isinstance(new, nn.Parameter):
                new.data = kept
            else:
                store[name] = kept  # type: ignore[assignment]
        return self
