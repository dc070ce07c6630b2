"""The first training of a language model without public weights: it learns its tower's own words.

The text side of a contrastively trained tower knows what is said of which thing, and a language
model of the same vocabulary learns it from there many times faster than from pictures: at every
word it has to give the states of the tower's layers (hints, FitNets, arXiv:1412.6550), at ``[IMG]``
behind the words the tower's vector of the whole text, among those of the batch. What stands for
Vicuna's pre-training in models that begin from nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from chatsearcher.model.language import set_attention
from chatsearcher.training.objectives import StepResult
from chatsearcher.training.tower import CroppedClip, build_clip

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from chatsearcher.data.texts import TextBatch


@dataclass(frozen=True)
class WordsSettings:
    """What the parts of the loss weigh; that of the text's vector weighs 1.

    Attributes:
        words: the next word, as in every language model.
        states: the tower's states, each channel in units of its own spread.
        temperature: of the text's vector among those of the batch.
    """

    words: float = 0.2
    states: float = 0.5
    temperature: float = 0.05


class WordsReading(NamedTuple):
    """What became of P texts: three losses, and [P] whether the right vector was the nearest."""

    words: Tensor
    states: Tensor
    vectors: Tensor
    correct_P: Tensor


class WordsModel(nn.Module):
    """A language model beside the text side of a tower, which stays as it is.

    Args:
        llm: the language model that learns, of the tower's vocabulary.
        tower: a CLIP of ``train/tower.py``.
        image_start_token_id: of ``[IMG]``, which stands where the tower reads ``</s>``.
        temperature: see :class:`WordsSettings`.
    """

    spread: Tensor
    centre: Tensor

    def __init__(
        self,
        llm: PreTrainedModel,
        tower: CroppedClip,
        image_start_token_id: int,
        temperature: float = 0.05,
    ) -> None:
        super().__init__()
        self.llm: Any = llm
        self.tower = tower.requires_grad_(False).eval()
        self.image_start_token_id = image_start_token_id
        self.temperature = temperature
        embeddings, vector = self.tower.clip.text_projection.shape
        blocks = len(self.tower.clip.transformer.resblocks)
        layers, hidden = llm.config.num_hidden_layers, llm.config.hidden_size
        self.layers = [round(layers * (block + 1) / blocks) for block in range(blocks)]
        self.hints = nn.ModuleList([nn.Linear(hidden, embeddings) for _ in range(blocks)])
        self.vector = nn.Linear(hidden, vector)
        self.register_buffer("centre", torch.zeros(blocks, embeddings))
        self.register_buffer("spread", torch.ones(blocks, embeddings))

    def train(self, mode: bool = True) -> WordsModel:
        """The tower keeps still."""
        super().train(mode)
        self.tower.eval()
        return self

    @torch.no_grad()
    def measure(self, batches: Sequence[TextBatch]) -> None:
        """Take centre and spread of the tower's states from some batches."""
        seen = [self._states(batch.input_ids)[:, batch.mask.bool()] for batch in batches]
        states = torch.cat(seen, dim=1).float()
        self.centre.copy_(states.mean(1))
        self.spread.copy_(states.std(1).clamp(min=1e-6))

    def forward(self, input_ids: Tensor, mask: Tensor) -> WordsReading:
        """[P, L] ids of ``<s> words </s>`` as the tower reads them, and where they are."""
        present = mask.bool()
        states, vectors_PD = self._taught(input_ids)
        ends = input_ids == self.tower.clip.text_eos_id
        ids = input_ids.masked_fill(ends, self.image_start_token_id)
        embedded = self.llm.get_input_embeddings()(ids)
        set_attention(self.llm, "auto", embedded)
        decoder = getattr(self.llm, self.llm.base_model_prefix)
        # Padding stands at the right, where causal attention never looks.
        out = decoder(inputs_embeds=embedded, output_hidden_states=True, use_cache=False)
        hidden = [*out.hidden_states[:-1], out.last_hidden_state]
        given = [hidden[layer] for layer in self.layers]
        states_loss = torch.stack(
            [
                (hint(each[present]).float() - state[present]).square().mean()
                for hint, each, state in zip(self.hints, given, states, strict=True)
            ]
        ).sum()
        logits = self.llm.lm_head(out.last_hidden_state[:, :-1][present[:, 1:]])
        words_loss = nn.functional.cross_entropy(logits.float(), ids[:, 1:][present[:, 1:]])
        own_PD = nn.functional.normalize(self.vector(out.last_hidden_state[ends]).float(), dim=-1)
        scores_PP = own_PD @ vectors_PD.T / self.temperature
        right_P = torch.arange(len(own_PD), device=own_PD.device)
        vectors_loss = nn.functional.cross_entropy(scores_PP, right_P)
        return WordsReading(words_loss, states_loss, vectors_loss, scores_PP.argmax(1) == right_P)

    @torch.no_grad()
    def _taught(self, input_ids: Tensor) -> tuple[Tensor, Tensor]:
        """The tower's states in units of their spread, and its vectors, in float32."""
        with torch.autocast(input_ids.device.type, enabled=False):
            states = (self._states(input_ids) - self.centre[:, None, None]) / self.spread[
                :, None, None
            ]
            return states, self.tower.encode_text(input_ids)

    def _states(self, input_ids: Tensor) -> Tensor:
        """The tower's states after each block, the last one normed: [blocks, P, L, embeddings]."""
        clip, length = self.tower.clip, input_ids.shape[1]
        hidden = clip.token_embedding(input_ids) + clip.positional_embedding[:length]
        found = []
        for block in clip.transformer.resblocks:
            hidden = block(hidden, attn_mask=clip.attn_mask[:length, :length])
            found.append(hidden)
        found[-1] = clip.ln_final(hidden)
        return torch.stack(found)


class WordsObjective:
    """The weighed sum of the three losses."""

    def __init__(self, settings: WordsSettings) -> None:
        self.settings = settings

    def begin_step(self, batches: Sequence[TextBatch]) -> None:
        """Micro-batches are contrasted one by one."""

    def __call__(self, model: nn.Module, batch: TextBatch) -> StepResult:
        out: WordsReading = model(batch.input_ids, batch.mask)
        weights = self.settings
        return StepResult(
            loss=out.vectors + weights.words * out.words + weights.states * out.states,
            metrics={
                "retrieval_accuracy": out.correct_P.float().mean(),
                "text_loss": out.words.detach(),
                "states_loss": out.states.detach(),
                "vectors_loss": out.vectors.detach(),
            },
            tokens=int(batch.mask.sum()),
            samples=len(batch.keys),
        )


def held_out_hook(batches: Sequence[TextBatch]) -> Callable[[nn.Module, int], dict[str, float]]:
    """Evaluation on held-out texts: the right vector among those of the batch, and the losses."""

    def evaluate(model: nn.Module, step: int) -> dict[str, float]:
        device = next(model.parameters()).device
        found = [model(*(each.to(device) for each in (b.input_ids, b.mask))) for b in batches]
        return {
            "val_accuracy": float(torch.cat([out.correct_P for out in found]).float().mean()),
            "val_states_loss": float(torch.stack([out.states for out in found]).mean()),
        }

    return evaluate


def load_tower(folder: Path) -> CroppedClip:
    """A saved tower, words and pictures.

    Raises:
        FileNotFoundError: there is none in the folder.
    """
    about = folder / "open_clip_config.json"
    if not about.is_file():
        raise FileNotFoundError(
            f"no tower in {folder}: expected open_clip_config.json; train one with "
            "python train/tower.py"
        )
    clip = build_clip(json.loads(about.read_text(encoding="utf-8"))["model_cfg"])
    clip.load_state_dict(load_file(folder / "open_clip_model.safetensors"))
    return CroppedClip(clip)


def check_vocabulary(tower: CroppedClip, tokenizer: PreTrainedTokenizerBase) -> None:
    """The tower must have been trained on that very vocabulary.

    Raises:
        ValueError: it has another number of words.
    """
    rows = tower.clip.token_embedding.num_embeddings
    if rows != len(tokenizer):
        raise ValueError(
            f"the tower reads {rows} words, the tokenizer has {len(tokenizer)}; give --tokenizer "
            "the tokenizer/ folder of the tower's run"
        )
