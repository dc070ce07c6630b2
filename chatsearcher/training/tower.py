"""The tower of a recipe without public weights: a small CLIP, trained with open_clip's own loss.

The result is a folder in open_clip's layout (``open_clip_config.json``, safetensors, tokenizer), so
that ``open_clip`` itself loads it and ``clip:FOLDER`` is a baseline retriever.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from chatsearcher.model.batch import IGNORE
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
        pool: how it pools (timm's names; ``cells`` or ``latents`` for our own).
        embedding_dim: the common space of pictures and words.
        context: the longest text in tokens.
    """

    image_size: int = 96
    timm_model: str = "chatsearcher_nano"
    pool: str = "cells"
    embedding_dim: int = 512
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


class Reading(NamedTuple):
    """What a CLIP makes of P pairs.

    Attributes:
        images: [P, D] unit vectors of the pictures.
        texts: [P, D] unit vectors of the words.
        scale: the logit scale.
        choices: [P, A], a score for every answer of the multiple choice; A may be 0.
    """

    images: torch.Tensor
    texts: torch.Tensor
    scale: torch.Tensor
    choices: torch.Tensor


class CroppedClip(nn.Module):
    """A CLIP that reads texts only as far as the longest of the batch reaches.

    open_clip computes all ``context`` positions; under its causal mask the positions behind a
    text's end cannot change its vector, so leaving them out gives the same vectors for less work.

    Args:
        clip: open_clip's model.
        answers: the answers of a multiple choice, each with a vector of its own that a picture's
            features are scored against; they are no part of the saved tower.
        locked: the picture side stays as it is, and the words learn it (LiT, arXiv:2111.07991).
    """

    def __init__(self, clip: nn.Module, answers: int = 0, locked: bool = False) -> None:
        super().__init__()
        self.locked = locked
        self.clip = cast("Any", clip)
        features = self.clip.text_projection.shape[1]
        self.answers = nn.Linear(features, answers) if answers else None
        if locked:
            self.clip.visual.requires_grad_(False)

    def train(self, mode: bool = True) -> CroppedClip:
        """A locked picture side keeps its running statistics."""
        super().train(mode)
        if self.locked:
            self.clip.visual.eval()
        return self

    def encode_text(self, input_ids: torch.Tensor) -> torch.Tensor:
        """[P, L] with L up to the context -> [P, D] unit vectors."""
        from open_clip.transformer import text_global_pool

        clip, length = self.clip, input_ids.shape[1]
        hidden = clip.token_embedding(input_ids) + clip.positional_embedding[:length]
        hidden = clip.transformer(hidden, attn_mask=clip.attn_mask[:length, :length])
        hidden = clip.ln_final(hidden)
        pooled = text_global_pool(hidden, input_ids, clip.text_pool_type, clip.text_eos_id)
        return nn.functional.normalize(pooled @ clip.text_projection, dim=-1)

    def forward(self, pixel_values: torch.Tensor, input_ids: torch.Tensor) -> Reading:
        """[P, 3, height, width] pictures and [P, L] words."""
        pixel_values = pixel_values.contiguous(memory_format=torch.channels_last)
        # The fused attention of CPUs is slow backwards in bfloat16, and gains nothing this short.
        with sdpa_kernel(SDPBackend.MATH):
            seen = self.clip.encode_image(pixel_values)
            texts = self.encode_text(input_ids)
        choices = seen[:, :0] if self.answers is None else self.answers(seen)
        images = nn.functional.normalize(seen, dim=-1)
        return Reading(images, texts, self.clip.logit_scale.exp().squeeze(), choices)

    def update_momentum(self) -> None:
        """After each step: keep the logit scale within CLIP's bound of 100."""
        with torch.no_grad():
            self.clip.logit_scale.clamp_(0.0, 4.6052)


class ContrastiveObjective:
    """open_clip's ClipLoss over the global batch, and beside it the multiple choice.

    Args:
        questions: the attribute that each question is about, and how many answers it has; the
            model's ``choices`` are theirs, one question after another. Each attribute adds the mean
            cross-entropy over all pictures and questions that ask for it.
    """

    def __init__(
        self, rank: int = 0, world_size: int = 1, questions: Sequence[tuple[str, int]] = ()
    ) -> None:
        from open_clip import ClipLoss

        self._loss = ClipLoss(
            local_loss=False, gather_with_grad=True, rank=rank, world_size=world_size
        )
        self.questions = questions

    def begin_step(self, batches: Sequence[ContrastiveBatch]) -> None:
        """Micro-batches are contrasted one by one."""

    def __call__(self, model: nn.Module, batch: ContrastiveBatch) -> StepResult:
        images, texts, scale, choices = model(batch.pixel_values, batch.input_ids)
        images, texts = images.float(), texts.float()
        loss = self._loss(images, texts, scale.float())
        with torch.no_grad():
            metrics = {
                "retrieval_accuracy": _best(texts @ images.T).float().mean(),
                "logit_scale": scale.detach(),
            }
        if self.questions:
            asked = choice_losses(choices, batch.answers, self.questions)
            loss = loss + torch.stack(list(asked.values())).sum()
            metrics |= {f"loss_{name}": value.detach() for name, value in asked.items()}
        return StepResult(
            loss=loss,
            metrics=metrics,
            tokens=int(batch.input_ids.numel()),
            samples=len(batch.keys),
        )


def choice_losses(
    choices_PA: torch.Tensor, answers_PQ: torch.Tensor, questions: Sequence[tuple[str, int]]
) -> dict[str, torch.Tensor]:
    """For each attribute the mean cross-entropy of its questions' answers, where they are asked.

    Args:
        choices_PA: the scores of all answers, one question after another.
        answers_PQ: the right ones; -100 where a question is not asked.
        questions: the attribute of each question, and how many answers it has.
    """
    scores = choices_PA.float().split([size for _, size in questions], dim=1)
    sums: dict[str, list[torch.Tensor]] = {}
    for (name, _), score, answers in zip(questions, scores, answers_PQ.T, strict=True):
        lost = nn.functional.cross_entropy(score, answers, reduction="sum", ignore_index=IGNORE)
        sums.setdefault(name, []).append(torch.stack([lost, (answers != IGNORE).sum().to(lost)]))
    return {
        name: (total := torch.stack(parts).sum(0))[0] / total[1].clamp(min=1)
        for name, parts in sums.items()
    }


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
            images, texts, _, _ = model(batch.pixel_values, batch.input_ids)
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
        state_dict: of ``CroppedClip`` (names begin with ``clip.``; the vectors of its multiple
            choice are left out) or of the CLIP itself.
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights = {
        name.removeprefix("clip."): value.cpu().contiguous()
        for name, value in state_dict.items()
        if not name.startswith("answers.")
    }
    preprocess = {"mean": CLIP_MEAN, "std": CLIP_STD}
    about = {"model_cfg": config, "preprocess_cfg": preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(about, indent=2), encoding="utf-8")
    with_sentence_tokens(tokenizer).save_pretrained(folder)
    save_file(weights, folder / "open_clip_model.safetensors")


def load_pictures(clip: nn.Module, folder: Path) -> None:
    """Give a CLIP the picture side of a saved one.

    Raises:
        FileNotFoundError: there is no tower in the folder.
        ValueError: it is a tower of another build.
    """
    if not is_saved(folder):
        raise FileNotFoundError(
            f"no tower in {folder}: expected open_clip_model.safetensors; give --start the model/ "
            "folder of a finished run of train/tower.py"
        )
    weights = load_file(folder / "open_clip_model.safetensors")
    visual: Any = clip.visual
    try:
        visual.load_state_dict(
            {k.removeprefix("visual."): v for k, v in weights.items() if k.startswith("visual.")}
        )
    except RuntimeError as error:
        raise ValueError(
            f"the tower in {folder} is built otherwise than --tower asks for: {error}"
        ) from error


def is_saved(folder: Path) -> bool:
    """Whether a whole tower stands there: the weights are written last."""
    return (folder / "open_clip_model.safetensors").is_file()
