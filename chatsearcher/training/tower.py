"""The tower of a recipe without public weights: a small CLIP, trained with open_clip's own loss.

The result is a folder in open_clip's layout (``open_clip_config.json``, safetensors, tokenizer), so
that ``open_clip`` itself loads it and ``clip:FOLDER`` is a baseline retriever.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from chatsearcher.model.configuration import CLIP_MEAN, CLIP_STD
from chatsearcher.training.objectives import StepResult

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from chatsearcher.data.contrastive import ContrastiveBatch


@dataclass(frozen=True)
class TowerSettings:
    """A CLIP of open_clip: any timm network for pictures, a causal transformer for words.

    Attributes:
        timm_model: timm's name of the network; ``chatsearcher_nano`` is our own.
        pool: how it pools (timm's names; ``latents`` for our own).
        embedding_dim: the common space of pictures and words.
        context: the longest text in tokens.
    """

    image_size: int = 96
    timm_model: str = "chatsearcher_nano"
    pool: str = "latents"
    embedding_dim: int = 256
    text_layers: int = 3
    text_width: int = 192
    text_heads: int = 3
    context: int = 64

    def vision_config(self) -> dict[str, Any]:
        """open_clip's ``vision_cfg``: all that is known before there is a vocabulary."""
        return {
            "image_size": self.image_size,
            "timm_model_name": self.timm_model,
            "timm_model_pretrained": False,
            "timm_pool": self.pool,
            "timm_proj": "",
        }

    def model_config(self, tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
        """open_clip's model configuration for this tower and that vocabulary."""
        return {
            "embed_dim": self.embedding_dim,
            "nonscalar_logit_scale": True,  # DeepSpeed's broadcast cannot view a scalar as bytes
            "vision_cfg": self.vision_config(),
            "text_cfg": {
                "context_length": self.context,
                "vocab_size": len(tokenizer),
                "width": self.text_width,
                "heads": self.text_heads,
                "layers": self.text_layers,
                # open_clip reads the tokenizer from the folder itself whenever a name stands here.
                "hf_tokenizer_name": "nano",
                "pool_type": "eos",
                "eos_id": tokenizer.eos_token_id,
                "pad_id": tokenizer.pad_token_id,
            },
        }


def build_clip(config: dict[str, Any]) -> nn.Module:
    """An untrained open_clip CLIP of a model configuration."""
    from open_clip.model import CLIP

    model: nn.Module = CLIP(
        embed_dim=config["embed_dim"],
        vision_cfg=config["vision_cfg"],
        text_cfg=config["text_cfg"],
        quick_gelu=config.get("quick_gelu", False),
        nonscalar_logit_scale=config.get("nonscalar_logit_scale", False),
    )
    return model  # weights stay contiguous: DeepSpeed cannot broadcast channels-last ones


class CroppedClip(nn.Module):
    """A CLIP that reads texts only as far as the longest of the batch reaches.

    open_clip computes all ``context`` positions; under its causal mask the positions behind a
    text's end cannot change its vector, so leaving them out gives the same vectors for less work.
    """

    def __init__(self, clip: nn.Module) -> None:
        super().__init__()
        self.clip: Any = clip

    def encode_text(self, input_ids: torch.Tensor) -> torch.Tensor:
        """[P, L] with L up to the context -> [P, D] unit vectors."""
        from open_clip.transformer import text_global_pool

        clip, length = self.clip, input_ids.shape[1]
        hidden = clip.token_embedding(input_ids) + clip.positional_embedding[:length]
        hidden = clip.transformer(hidden, attn_mask=clip.attn_mask[:length, :length])
        hidden = clip.ln_final(hidden)
        pooled = text_global_pool(hidden, input_ids, clip.text_pool_type, clip.text_eos_id)
        return nn.functional.normalize(pooled @ clip.text_projection, dim=-1)

    def forward(
        self, pixel_values: torch.Tensor, input_ids: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Unit vectors of the pictures and of the words, [P, D] each, and the logit scale."""
        pixel_values = pixel_values.contiguous(memory_format=torch.channels_last)
        # The fused attention of CPUs is slow backwards in bfloat16, and gains nothing this short.
        with sdpa_kernel(SDPBackend.MATH):
            images = self.clip.encode_image(pixel_values, normalize=True)
            texts = self.encode_text(input_ids)
        return images, texts, self.clip.logit_scale.exp().squeeze()

    def update_momentum(self) -> None:
        """After each step: keep the logit scale within CLIP's bound of 100."""
        with torch.no_grad():
            self.clip.logit_scale.clamp_(0.0, 4.6052)


class ContrastiveObjective:
    """open_clip's ClipLoss over the global batch."""

    def __init__(self, rank: int = 0, world_size: int = 1) -> None:
        from open_clip import ClipLoss

        self._loss = ClipLoss(
            local_loss=False, gather_with_grad=True, rank=rank, world_size=world_size
        )

    def begin_step(self, batches: Sequence[ContrastiveBatch]) -> None:
        """Micro-batches are contrasted one by one."""

    def __call__(self, model: nn.Module, batch: ContrastiveBatch) -> StepResult:
        images, texts, scale = model(batch.pixel_values, batch.input_ids)
        images, texts = images.float(), texts.float()
        blocks = list(batch.blocks)
        pairs = list(zip(images.split(blocks), texts.split(blocks), strict=True))
        losses = [self._loss(seen, said, scale.float()) * len(seen) for seen, said in pairs]
        loss = torch.stack(losses).sum() / len(images)
        with torch.no_grad():
            right = torch.cat([_best(said @ seen.T) for seen, said in pairs])
        return StepResult(
            loss=loss,
            metrics={"retrieval_accuracy": right.float().mean(), "logit_scale": scale.detach()},
            tokens=int(batch.input_ids.numel()),
            samples=len(batch.keys),
        )


def _best(scores: torch.Tensor) -> torch.Tensor:
    """[P, P] -> [P]: whether each row is highest on the diagonal."""
    return scores.argmax(1) == torch.arange(len(scores), device=scores.device)


def held_out_hook(
    batches: list[ContrastiveBatch], group: int
) -> Callable[[nn.Module, int], dict[str, float]]:
    """Evaluation on held-out pairs: text -> picture in the batch, and within each hard group."""

    def evaluate(model: nn.Module, step: int) -> dict[str, float]:
        device = next(model.parameters()).device
        found: list[torch.Tensor] = []
        in_group: list[torch.Tensor] = []
        for batch in batches:
            batch = batch.to(device)
            images, texts, _ = model(batch.pixel_values, batch.input_ids)
            scores = texts @ images.T
            rows = torch.arange(len(scores), device=device)
            outside = rows[:, None] // group != rows[None] // group
            found.append(_best(scores))
            in_group.append(_best(scores.masked_fill(outside, -torch.inf)))
        return {
            "val_recall_at_1": float(torch.cat(found).float().mean()),
            "val_in_group": float(torch.cat(in_group).float().mean()),
        }

    return evaluate


def with_sentence_tokens(tokenizer: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    """A copy that writes ``<s> words </s>`` by itself, as the contrastive batches do."""
    import copy

    from tokenizers.processors import TemplateProcessing

    tokenizer = copy.deepcopy(tokenizer)
    bos, eos = str(tokenizer.bos_token), str(tokenizer.eos_token)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{bos} $A {eos}",
        special_tokens=[(bos, tokenizer.bos_token_id), (eos, tokenizer.eos_token_id)],
    )
    return tokenizer


def save_clip(
    folder: Path,
    state_dict: dict[str, torch.Tensor],
    config: dict[str, Any],
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    """Write a CLIP in open_clip's own layout.

    Args:
        state_dict: of ``CroppedClip`` (names begin with ``clip.``) or of the CLIP itself.
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights = {k.removeprefix("clip."): v.cpu().contiguous() for k, v in state_dict.items()}
    preprocess = {"mean": CLIP_MEAN, "std": CLIP_STD}
    about = {"model_cfg": config, "preprocess_cfg": preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(about, indent=2), encoding="utf-8")
    with_sentence_tokens(tokenizer).save_pretrained(folder)
    save_file(weights, folder / "open_clip_model.safetensors")


def is_saved(folder: Path) -> bool:
    """Whether a whole tower stands there: the weights are written last."""
    return (folder / "open_clip_model.safetensors").is_file()
