"""Multiple choice about pictures: dense supervision beside the contrast, where answers are known.

A retrieved picture is one right entry of a dictionary, a few bits however many attributes it has;
questions about each of them ("what colour is what stands on the left?") say far more of the same
vector. The paper has no such loss; it is off unless the configuration lists questions.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import initialization as init

from chatsearcher.model.batch import IGNORE


class Choices(nn.Module):
    """One vector for every answer, that unit vectors of the retrieval space are scored against.

    Queries and keys are asked by the same vectors: they agree on where an answer lies.

    Args:
        questions: the attribute of each question, and how many answers it has.
        dim: D, the width of the retrieval space.
    """

    def __init__(self, questions: Sequence[tuple[str, int]], dim: int) -> None:
        super().__init__()
        self.sizes = [size for _, size in questions]
        self.answers = nn.Linear(dim, sum(self.sizes))

    def forward(self, vectors_nD: Tensor, answers_nQ: Tensor) -> tuple[Tensor, Tensor]:
        """The cross-entropy over all questions asked, summed; which were right, -1 if not asked.

        Args:
            vectors_nD: unit vectors.
            answers_nQ: the right answers, -100 where a question is not asked; empty: none is.

        Returns:
            the sum, and [n, Q] of 1, 0 or -1.
        """
        if not answers_nQ.numel():  # pictures of which nothing is known
            answers_nQ = answers_nQ.new_full((len(vectors_nD), len(self.sizes)), IGNORE)
        # Entries of size one: short vectors could not be sure of anything.
        scores_nA = self.answers(vectors_nD * vectors_nD.shape[1] ** 0.5).float()
        lost, right = scores_nA.sum() * 0, []
        for scores, answers in zip(scores_nA.split(self.sizes, 1), answers_nQ.T, strict=True):
            lost = lost + F.cross_entropy(scores, answers, reduction="sum", ignore_index=IGNORE)
            best = (scores.argmax(1) == answers).long()
            right.append(best.masked_fill(answers == IGNORE, -1))
        return lost, torch.stack(right, 1)

    def init_weights(self) -> None:
        """New weights."""
        init.normal_(self.answers.weight, std=self.answers.weight.shape[1] ** -0.5)
        init.zeros_(self.answers.bias)


def choice_losses(
    choices_PA: Tensor, answers_PQ: Tensor, questions: Sequence[tuple[str, int]]
) -> dict[str, Tensor]:
    """For each attribute the mean cross-entropy of its questions' answers, where they are asked.

    Args:
        choices_PA: the scores of all answers, one question after another.
        answers_PQ: the right ones; -100 where a question is not asked.
        questions: the attribute of each question, and how many answers it has.
    """
    scores = choices_PA.float().split([size for _, size in questions], dim=1)
    sums: dict[str, list[Tensor]] = {}
    for (name, _), score, answers in zip(questions, scores, answers_PQ.T, strict=True):
        lost = F.cross_entropy(score, answers, reduction="sum", ignore_index=IGNORE)
        sums.setdefault(name, []).append(torch.stack([lost, (answers != IGNORE).sum().to(lost)]))
    return {
        name: (total := torch.stack(parts).sum(0))[0] / total[1].clamp(min=1)
        for name, parts in sums.items()
    }
