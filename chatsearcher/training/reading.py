"""The first training of a new connector: its queries learn to say what they see, in one word each.

Q-former query k is the k-th word of what a picture shows, in the language model's own input
embeddings: the nearest embedding is the word that it says, and softmax over the negative squared
distances is its loss. All words at once, and no language model: many times more pictures a second
than captions take, and what stands before the language model afterwards are words that it knows.
What stands for BLIP-2's pre-training (its image-grounded text generation, arXiv:2301.12597, 3.1) in
models that begin from nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from chatsearcher.training.objectives import StepResult

if TYPE_CHECKING:
    from chatsearcher.model import Batch, ChatSearcherModel


class Reading(NamedTuple):
    """What I pictures were read as: the loss, and [I, N] whether each word is the nearest."""

    loss: Tensor
    correct_IN: Tensor


class ReadingModel(nn.Module):
    """A ChatSearcher of which the Q-former side of the connector learns.

    Args:
        model: a new one; its tower, language model and head stay as they are.
    """

    def __init__(self, model: ChatSearcherModel) -> None:
        super().__init__()
        self.model = model.requires_grad_(False)
        self.model.connector.requires_grad_(True)
        self.model.connector.cls_projection.requires_grad_(False)

    def train(self, mode: bool = True) -> ReadingModel:
        """What does not learn keeps still: no queue, no momentum, no statistics."""
        super().train(mode)
        self.model.eval()
        self.model.connector.train(mode)
        return self

    def forward(self, batch: Batch) -> Reading:
        """Pictures that are followed by one word for each query.

        Raises:
            ValueError: a picture with another number of words behind it.
        """
        words_IN = self.words_of(batch)
        with torch.no_grad():
            tokens_IPC, pooled_IF = self.model.tower(batch.pixel_values)
        said_INH = self.model.connector(tokens_IPC, pooled_IF)[:, 1:].float()
        embeddings_VH = self.model.llm.get_input_embeddings().weight.detach().float()
        # -|v - e|^2 without |v|^2, which is the same for all words
        scores_INV = 2 * said_INH @ embeddings_VH.T - embeddings_VH.square().sum(-1)
        loss = nn.functional.cross_entropy(scores_INV.flatten(0, 1), words_IN.flatten())
        return Reading(loss, scores_INV.argmax(-1) == words_IN)

    def words_of(self, batch: Batch) -> Tensor:
        """The words behind each picture: ids [I, N]."""
        count = self.model.config.num_query_tokens
        rows_I, starts_I = batch.image_positions.unbind(1)
        first_I = starts_I + self.model.config.image_length
        columns_IN = first_I[:, None] + torch.arange(count + 1, device=first_I.device)
        if int(columns_IN.max()) >= batch.input_ids.shape[1]:
            raise ValueError(self._mismatch(batch))
        ids_IN = batch.input_ids[rows_I[:, None], columns_IN]
        eos = self.model.config.llm_config.get_text_config().eos_token_id
        if bool((ids_IN[:, :-1] == eos).any()) or bool((ids_IN[:, -1] != eos).any()):
            raise ValueError(self._mismatch(batch))
        return ids_IN[:, :-1]

    def _mismatch(self, batch: Batch) -> str:
        return (
            f"a picture (keys {batch.keys[:3]}, …) is not followed by exactly "
            f"{self.model.config.num_query_tokens} words, one for each query; take a source such "
            "as world-keywords, or another model.query_tokens"
        )


class ReadingObjective:
    """The mean over all words."""

    def begin_step(self, batches: Sequence[Batch]) -> None:
        """Every picture has as many words."""

    def __call__(self, model: nn.Module, batch: Batch) -> StepResult:
        out: Reading = model(batch)
        return StepResult(
            loss=out.loss,
            metrics={
                "text_loss": out.loss.detach(),
                "retrieval_accuracy": out.correct_IN.float().mean(),
            },
            tokens=out.correct_IN.numel(),
            samples=len(batch.keys),
        )


def held_out_hook(batches: Sequence[Batch]) -> Callable[[nn.Module, int], dict[str, float]]:
    """On held-out pictures: the share of words said rightly, and of pictures with all of them."""

    def evaluate(model: nn.Module, step: int) -> dict[str, float]:
        device = next(model.parameters()).device
        correct = torch.cat([model(batch.to(device)).correct_IN for batch in batches]).float()
        return {
            "val_words": float(correct.mean()),
            "val_pictures": float(correct.min(dim=1).values.mean()),
        }

    return evaluate
