"""The unified objective as pure functions (paper, section 4.2), and the retrieval head."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import initialization as init

from chatsearcher.model.batch import IGNORE
from chatsearcher.model.precision import Float32Module


def word_targets(labels_BT: Tensor, segment_ids_BT: Tensor) -> tuple[Tensor, Tensor]:
    """Where words are predicted from, and which (the D of equation 1, its words).

    The label of position t is predicted at t - 1, in the same packed sample.

    Returns:
        flat positions [n] in the [B * T] hidden states, and the labels [n].
    """
    follows = (segment_ids_BT[:, 1:] == segment_ids_BT[:, :-1]) & (segment_ids_BT[:, 1:] > 0)
    learned = F.pad(follows & (labels_BT[:, 1:] != IGNORE), (0, 1))
    positions = learned.flatten().nonzero().squeeze(1)
    return positions, labels_BT.flatten()[positions + 1] if len(positions) else positions


def word_loss(logits_nV: Tensor, targets_n: Tensor) -> Tensor:
    """The sum of the words' negative log-likelihoods."""
    return F.cross_entropy(logits_nV.float(), targets_n, reduction="sum")


def retrieval_losses(
    queries_nD: Tensor, keys_KD: Tensor, own_n: Tensor, excluded_nK: Tensor, logit_scale: Tensor
) -> tuple[Tensor, Tensor]:
    """Equation 3: the negative log-probability of each picture among the dictionary.

    Args:
        queries_nD: unit vectors.
        keys_KD: unit vectors.
        own_n: the right key of each query.
        excluded_nK: keys that do not count.
        logit_scale: 1 / tau.

    Returns:
        losses [n], and whether the right key scored best [n].
    """
    scores_nK = logit_scale * queries_nD @ keys_KD.T
    scores_nK = scores_nK.masked_fill(excluded_nK, -torch.inf)
    losses_n = F.cross_entropy(scores_nK, own_n, reduction="none")
    return losses_n, scores_nK.argmax(dim=1) == own_n


class MovingAverage(Float32Module):
    """The moving average of a matrix, in float32, as a buffer: part of every checkpoint."""

    value: Tensor

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__()
        self.register_buffer("value", torch.empty(rows, columns, dtype=torch.float32))


class KeyProjection(nn.Module):
    """M_Q of equation 2, and its moving average when ``momentum`` > 0.

    With momentum a key has the value of the average's and the gradient of the online projection's
    (straight through): ``average + (online - online.detach())``. Without, it is equation 2.
    """

    def __init__(self, feature_dim: int, embedding_dim: int, momentum: float) -> None:
        super().__init__()
        self.momentum = momentum
        self.weight = nn.Parameter(torch.empty(embedding_dim, feature_dim))
        self.average = MovingAverage(embedding_dim, feature_dim) if momentum > 0 else None

    def forward(
        self, features_KF: Tensor | None, online_features_KF: Tensor | None = None
    ) -> Tensor:
        """Raw features -> unit keys [K, D], in float32.

        Args:
            features_KF: features as the key encoder sees them; None moves the average one step
                instead (through ``forward``, because ZeRO-3 gathers the weight only there).
            online_features_KF: the same pictures through the tower being trained, where it is.
        """
        if features_KF is None:
            return self._move()
        with torch.autocast(features_KF.device.type, enabled=False):
            seen = features_KF if online_features_KF is None else online_features_KF
            online_KD = unit(F.linear(seen.float(), self.weight.float()))
            if self.average is None:
                return online_KD
            with torch.no_grad():
                average_KD = unit(F.linear(features_KF.float(), self.average.value))
            return average_KD + (online_KD - online_KD.detach())

    @torch.no_grad()
    def _move(self) -> Tensor:
        assert self.average is not None
        return self.average.value.lerp_(self.weight.float(), 1 - self.momentum)

    def init_weights(self) -> None:
        """New weights; the average starts where they are."""
        init.normal_(self.weight, std=self.weight.shape[1] ** -0.5)
        if self.average is not None:
            init.copy_(self.average.value, self.weight.detach().float())

    @torch.no_grad()
    def reset_average(self) -> None:
        """Start the average anew at the weights."""
        if self.average is not None:
            self.average.value.copy_(self.weight)


def unit(vectors: Tensor) -> Tensor:
    """Vectors of length 1 along the last dimension."""
    return F.normalize(vectors, dim=-1)
