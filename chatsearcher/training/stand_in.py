"""A tower for machines without open_clip: the same shapes in plain torch, for measuring alone."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class StandInTower(nn.Module):
    """A CLIP vision transformer as open_clip builds it from such a configuration.

    Args:
        tower_config: open_clip's, with ``layers``, ``width`` and ``patch_size``.
    """

    def __init__(self, tower_config: dict[str, Any]) -> None:
        super().__init__()
        cfg = tower_config["vision_cfg"]
        width, patch, side = cfg["width"], cfg["patch_size"], cfg["image_size"]
        self.heads = width // cfg.get("head_width", 64)
        self.grid = side // patch
        self.conv1 = nn.Conv2d(3, width, patch, patch, bias=False)
        self.class_embedding = nn.Parameter(torch.randn(width) * width**-0.5)
        self.positions = nn.Parameter(torch.randn(self.grid**2 + 1, width) * width**-0.5)
        self.ln_pre, self.ln_post = nn.LayerNorm(width), nn.LayerNorm(width)
        self.transformer = nn.Module()
        self.transformer.layers = cfg["layers"]  # as open_clip names its depth
        self.blocks = nn.ModuleList(
            nn.ModuleDict(
                {
                    "ln_1": nn.LayerNorm(width),
                    "qkv": nn.Linear(width, 3 * width),
                    "out": nn.Linear(width, width),
                    "ln_2": nn.LayerNorm(width),
                    "up": nn.Linear(width, 4 * width),
                    "down": nn.Linear(4 * width, width),
                }
            )
            for _ in range(cfg["layers"])
        )
        self.proj = nn.Parameter(torch.randn(width, tower_config["embed_dim"]) * width**-0.5)

    def forward(self, pixels: Tensor) -> Tensor:
        """[I, 3, side, side] -> pooled [I, F]."""
        return self._read(pixels)[1]

    def forward_intermediates(self, pixels: Tensor, **_: Any) -> dict[str, Any]:
        """The last layer's patches as open_clip returns them, and the pooled feature."""
        hidden, pooled = self._read(pixels)
        patches = hidden[:, 1:].transpose(1, 2).unflatten(2, (self.grid, self.grid))
        return {"image_intermediates": [patches], "image_features": pooled}

    def _read(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.conv1(pixels).flatten(2).transpose(1, 2)
        first = self.class_embedding.expand(len(hidden), 1, -1)
        hidden = self.ln_pre(torch.cat([first, hidden], dim=1) + self.positions)
        blocks: Any = self.blocks
        for block in blocks:
            parts = block["qkv"](block["ln_1"](hidden)).chunk(3, dim=2)
            query, key, value = (p.unflatten(2, (self.heads, -1)).transpose(1, 2) for p in parts)
            seen = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
            hidden = hidden + block["out"](seen)
            inner = block["up"](block["ln_2"](hidden))
            hidden = hidden + block["down"](inner * torch.sigmoid(1.702 * inner))
        return hidden, self.ln_post(hidden[:, 0]) @ self.proj
