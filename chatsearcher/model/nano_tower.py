"""nano's picture encoder: a small plain convolutional network, offered to timm and so to open_clip.

A residual network whose blocks begin as identities, as open_clip's own, learns shapes slowly from
scratch; this one has no such blocks and keeps a stride of 16. It pools in one of two ways
(``global_pool``), neither of which loses what stands where: ``cells`` has weights of its own for
every cell of the last feature map, for pictures whose frame means something (the picture world);
``latents`` asks by several learned queries. Importing this module registers it with timm under
``chatsearcher_nano``.
"""

from __future__ import annotations

from typing import Any

import torch
from timm.models import register_model
from torch import Tensor, nn
from torch.nn import functional as F

WIDTHS = (64, 128, 256)
STEM = 32
QUERIES = 8


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class _Residual(nn.Module):
    """Two convolutions beside the identity; both count from the first step on."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = _conv(width, width)
        self.second = nn.Sequential(
            nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.second(self.first(x)))


class CellPool(nn.Module):
    """Every cell of a feature map by its place, squeezed and mixed: [B, features].

    Attention has to learn first where to look, a plain layer has not. Maps of another grid are
    brought to this one by averaging.
    """

    features = 1024

    def __init__(self, width: int, squeezed: int = 64, grid: int = 6) -> None:
        super().__init__()
        self.grid = grid
        self.squeeze = nn.Sequential(
            nn.Conv2d(width, squeezed, 1, bias=False), nn.BatchNorm2d(squeezed), nn.ReLU()
        )
        self.mix = nn.Sequential(
            nn.Linear(squeezed * grid**2, self.features, bias=False),
            nn.BatchNorm1d(self.features),
            nn.ReLU(),
        )

    def forward(self, x_BCyx: Tensor) -> Tensor:
        cells = self.squeeze(x_BCyx)
        if cells.shape[2:] != (self.grid, self.grid):
            cells = F.adaptive_avg_pool2d(cells, self.grid)
        return self.mix(cells.flatten(1))


class LatentPool(nn.Module):
    """Learned queries read the cells of a feature map; their findings side by side: [B, Q * C].

    One query per picture, as in CLIP's attention pool, has to weigh everything in one mixture;
    several can look for several things, wherever they stand.
    """

    def __init__(self, width: int, queries: int = 8, heads: int = 8, grid: int = 6) -> None:
        super().__init__()
        self.heads = heads
        self.queries = nn.Parameter(torch.randn(queries, width) * 0.02)
        self.places = nn.Parameter(torch.randn(1, width, grid, grid) * 0.02)
        self.norm = nn.LayerNorm(width)
        self.ask = nn.Linear(width, width)
        self.tell = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.think_norm = nn.LayerNorm(width)
        self.think = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, x_BCyx: Tensor) -> Tensor:
        places: Tensor = self.places
        if places.shape[2:] != x_BCyx.shape[2:]:
            places = F.interpolate(places, x_BCyx.shape[2:], mode="bilinear", align_corners=False)
        cells_BPC = self.norm((x_BCyx + places).flatten(2).transpose(1, 2))
        keys, values = self.tell(cells_BPC).chunk(2, dim=-1)
        asked = self.ask(self.queries).expand(len(x_BCyx), -1, -1)
        asked, keys, values = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (asked, keys, values)
        )
        found = F.scaled_dot_product_attention(asked, keys, values)
        found = self.out(found.transpose(1, 2).flatten(2))
        return (found + self.think(self.think_norm(found))).flatten(1)


class NanoTower(nn.Module):
    """[B, 3, height, width] -> [B, num_classes]; intermediates at strides 4, 8 and 16."""

    def __init__(self, num_classes: int, pool: str = "cells") -> None:
        super().__init__()
        self.num_classes = num_classes
        self.feature_info = [
            {"num_chs": width, "reduction": 4 * 2**stage, "module": f"stages.{stage}"}
            for stage, width in enumerate(WIDTHS)
        ]
        self.stem = _conv(3, STEM, 2)
        stages, before = [], STEM
        for width in WIDTHS:
            stages.append(nn.Sequential(_conv(before, width, 2), _Residual(width)))
            before = width
        stages[-1].append(_Residual(before))
        self.stages = nn.ModuleList(stages)
        self.pool: nn.Module
        self.head: nn.Module
        if pool == "cells":
            self.num_features = CellPool.features
            self.pool = CellPool(WIDTHS[-1])
            # Features of one spread: a training that tells pictures apart leaves most of them all
            # but constant otherwise, and whoever projects them later cannot reach those.
            self.head = nn.Sequential(
                nn.Linear(self.num_features, num_classes, bias=False),
                nn.BatchNorm1d(num_classes, affine=False),
            )
        elif pool == "latents":
            self.num_features = QUERIES * WIDTHS[-1]
            self.pool = LatentPool(WIDTHS[-1], QUERIES)
            self.head = nn.Linear(self.num_features, num_classes, bias=False)
        else:
            raise ValueError(f"chatsearcher_nano pools by cells or latents, got {pool!r}")

    def forward_intermediates(
        self,
        x: Tensor,
        indices: list[int] | int | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
        **unknown: Any,
    ) -> Any:
        """timm's interface: (last feature map, the chosen stages' feature maps)."""
        if unknown or norm or output_fmt != "NCHW":
            raise ValueError(
                f"chatsearcher_nano gives plain NCHW feature maps; got output_fmt={output_fmt!r}, "
                f"norm={norm}, {sorted(unknown)}"
            )
        count = len(self.stages)
        if indices is None or isinstance(indices, int):
            indices = list(range(count))[-(indices or count) :]
        wanted = {index % count for index in indices}
        x, found = self.stem(x), {}
        for number, stage in enumerate(self.stages):
            x = stage(x)
            if number in wanted:
                found[number] = x
        chosen = [found[number] for number in sorted(wanted)]
        return chosen if intermediates_only else (x, chosen)

    def forward_head(self, x: Tensor) -> Tensor:
        """The last feature map -> [B, num_classes]."""
        pooled: Tensor = self.head(self.pool(x))
        return pooled

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
        return self.forward_head(x)


@register_model
def chatsearcher_nano(
    pretrained: bool = False, num_classes: int = 256, global_pool: str = "cells", **_: Any
) -> NanoTower:
    """timm's entry point.

    Raises:
        ValueError: pretrained weights are asked for, and there are none apart from our checkpoints;
            an unknown pooling.
    """
    if pretrained:
        raise ValueError("chatsearcher_nano has no weights of its own: load a saved tower")
    return NanoTower(num_classes, global_pool)
