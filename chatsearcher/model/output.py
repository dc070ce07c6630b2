"""What the network returns to a training."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from transformers.utils import ModelOutput


@dataclass
class ChatSearcherOutput(ModelOutput):
    """What a training step needs to know.

    Attributes:
        loss: equation 1; on several ranks, scaled so that averaged gradients are those of one rank
            with the whole batch.
        text_loss, image_loss: this rank's means over its words and over its retrieved pictures,
            detached; 0 where it has none.
        retrieval_accuracy: share of this rank's retrieved pictures that scored best.
        text_count, image_count: this rank's words and pictures with a loss.
        target_count: words and pictures with a loss, over all ranks.
        dictionary_size: entries that a picture was told apart from.
        logit_scale: 1 / tau.
    """

    loss: Tensor | None = None
    text_loss: Tensor | None = None
    image_loss: Tensor | None = None
    retrieval_accuracy: Tensor | None = None
    text_count: Tensor | None = None
    image_count: Tensor | None = None
    target_count: Tensor | None = None
    dictionary_size: Tensor | None = None
    logit_scale: Tensor | None = None
