"""How likely a given answer is: teacher forcing instead of generation."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from chatsearcher.model import language
from chatsearcher.model.batch import Batch
from chatsearcher.model.losses import word_targets
from chatsearcher.model.modeling import ChatSearcherModel


@torch.no_grad()
def log_likelihoods(model: ChatSearcherModel, batch: Batch) -> Tensor:
    """Summed log-probabilities [B], float64 on the CPU, of each row's labelled tokens.

    Args:
        batch: one sample a row, the answer's tokens labelled.
    """
    positions_n, words_n = word_targets(batch.labels, batch.segment_ids)
    logits_nV = language.run(
        model.llm,
        model._embed(batch, model.embed_images(batch.pixel_values)),
        batch.position_ids,
        positions_n,
        batch.segment_ids,
        model.config.attention,
    ).logits_nV
    lost_n = F.cross_entropy(logits_nV.float(), words_n.to(logits_nV.device), reduction="none")
    rows, length = batch.input_ids.shape
    rows_n = (positions_n // length).cpu()
    return torch.zeros(rows, dtype=torch.float64).index_add_(0, rows_n, -lost_n.double().cpu())
