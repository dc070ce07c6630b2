"""The vision tower: any image encoder of ``open_clip``, built from its configuration alone."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from chatsearcher.model.configuration import ChatSearcherConfig
from chatsearcher.model.precision import Float32Module


class VisionTower(nn.Module):
    """Pictures -> patch tokens and a pooled feature.

    A frozen tower stays in evaluation mode whatever ``train()`` says, so that its batch
    normalisation keeps its statistics, and runs in inference mode.

    Attributes:
        token_dim: C, the width of the tokens.
        feature_dim: F, the width of the pooled feature.
    """

    def __init__(self, config: ChatSearcherConfig, device: str = "cpu") -> None:
        super().__init__()
        # cpu, although from_pretrained builds on the meta device: timm's towers hold tables that
        # are not in the state dict, and nothing would fill those again.
        with torch.device(device):
            self.visual = build_visual(config.tower_config or {})
        self.frozen = config.freeze_tower
        self.layer = config.tower_layer
        self.class_token = config.tower_class_token
        if self.class_token and not has_class_token(self.visual):
            raise ValueError(
                "tower_class_token is on, but this tower has no class token; expected a vision "
                "transformer with one; set it to False"
            )
        self.feature_dim = int((config.tower_config or {})["embed_dim"])
        self.token_dim = token_dim(self.visual, self.layer)
        self.is_convolutional = not hasattr(
            getattr(self.visual, "trunk", self.visual), "patch_embed"
        )
        self.is_convolutional &= not hasattr(self.visual, "class_embedding")
        self._has_bare_stages = hasattr(self.visual, "attnpool") and hasattr(self.visual, "stem")
        self.train(False)

    def train(self, mode: bool = True) -> VisionTower:
        """Training mode, unless the tower is frozen."""
        return super().train(mode and not self.frozen)

    @contextlib.contextmanager
    def standing_still(self) -> Iterator[None]:
        """Evaluation mode for a while: batch statistics neither move nor depend on the batch."""
        training = self.training
        self.train(False)
        try:
            yield
        finally:
            self.train(training)

    def forward(self, pixels_I3hw: Tensor) -> tuple[Tensor, Tensor]:
        """[I, 3, height, width] -> tokens [I, P, C] of the chosen layer, pooled [I, F]."""
        wanted = [-1] if self.layer is None else [self.layer, -1]
        with self._mode():
            visual: Any = self.visual
            output = visual.forward_intermediates(
                self._prepare(pixels_I3hw),
                indices=wanted,
                # open_clip's ResNet has this flag the wrong way round: False skips the last stages
                stop_early=self._has_bare_stages,
                output_fmt="NCHW",
                output_extra_tokens=self.class_token,
            )
            tokens_IPC = output["image_intermediates"][0].flatten(2).transpose(1, 2)
            if self.class_token:
                tokens_IPC = torch.cat([output["image_intermediates_prefix"][0], tokens_IPC], dim=1)
        tokens_IPC, pooled_IF = _ordinary(tokens_IPC, output["image_features"])
        return tokens_IPC, pooled_IF

    def pool(self, pixels_I3hw: Tensor) -> Tensor:
        """[I, 3, height, width] -> pooled [I, F] alone."""
        with self._mode():
            output = self.visual(self._prepare(pixels_I3hw))
            pooled_IF = output[0] if isinstance(output, tuple) else output
        return _ordinary(pooled_IF)[0]

    def _mode(self) -> contextlib.AbstractContextManager[Any]:
        """Inference mode for a frozen tower, but not under ZeRO-3, which fills weights in place."""
        if not self.frozen:
            return contextlib.nullcontext()
        if self.is_parted:
            return torch.no_grad()
        return torch.inference_mode()

    @property
    def is_parted(self) -> bool:
        """Whether ZeRO-3 has parted the weights, so that every rank must run the tower."""
        return any(hasattr(weight, "ds_id") for weight in self.parameters())

    def _prepare(self, pixels: Tensor) -> Tensor:
        pixels = pixels.to(next(self.visual.parameters()).dtype)
        if self.is_convolutional:
            pixels = pixels.contiguous(memory_format=torch.channels_last)
        return pixels


def _ordinary(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Tensors of inference mode as ones that a backward pass may keep."""
    return tuple(t.clone() if t.is_inference() else t for t in tensors)


class AverageTower(Float32Module):
    """The moving average of a tower that is being trained; encodes the keys."""

    def __init__(self, tower: VisionTower) -> None:
        super().__init__()
        self.tower = copy.deepcopy(tower).float().requires_grad_(False)
        self.tower.frozen = True

    @torch.no_grad()
    def move(self, tower: VisionTower, momentum: float) -> None:
        """One step towards the tower; its batch statistics are copied."""
        for average, online in zip(self.tower.parameters(), tower.parameters(), strict=True):
            average.lerp_(online.float(), 1 - momentum)
        for kept, new in zip(self.tower.buffers(), tower.buffers(), strict=True):
            kept.copy_(new)


def build_visual(tower_config: dict[str, Any]) -> nn.Module:
    """The image encoder of an ``open_clip`` model configuration, with new weights, no download."""
    from open_clip.model import CLIPVisionCfg, _build_vision_tower

    values = {**tower_config["vision_cfg"], "timm_model_pretrained": False}
    try:
        settings = CLIPVisionCfg(**values)
    except TypeError as error:
        raise ValueError(
            f"tower_config['vision_cfg']: {error}; expected the fields of open_clip's CLIPVisionCfg"
        ) from error
    return _build_vision_tower(
        tower_config["embed_dim"], settings, tower_config.get("quick_gelu", False)
    )


def has_class_token(visual: nn.Module) -> bool:
    """Whether the tower puts tokens of its own before the patches."""
    trunk = getattr(visual, "trunk", None)
    return hasattr(visual, "class_embedding") or getattr(trunk, "num_prefix_tokens", 0) > 0


def token_dim(visual: nn.Module, layer: int | None) -> int:
    """C: the width of the tower's intermediate output ``layer`` (None: the last).

    Raises:
        ValueError: the tower has no such layer.
    """
    modules: Any = visual
    if hasattr(visual, "class_embedding"):  # VisionTransformer
        widths = [modules.class_embedding.shape[0]] * modules.transformer.layers
    elif hasattr(visual, "trunk"):  # timm
        widths = [stage["num_chs"] for stage in modules.trunk.feature_info]
        if not widths:
            widths = [modules.trunk.num_features]
    else:  # ModifiedResNet: the stem and four stages
        width = modules.conv3.out_channels
        widths = [width, width * 4, width * 8, width * 16, width * 32]
    try:
        return int(widths[-1 if layer is None else layer])
    except IndexError:
        raise ValueError(
            f"tower_layer is {layer}, but the tower has {len(widths)} layers; "
            f"expected {-len(widths)} … {len(widths) - 1}, or None for the last"
        ) from None
