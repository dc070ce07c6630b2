"""First weights of a new connector beside a narrow language model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from chatsearcher.model.connector import Connector


@torch.no_grad()
def draw_by_width(connector: Connector) -> None:
    """Draw the Q-former and the projectors by their width: 1 / sqrt(inputs).

    BERT's 0.02 suits wide models. Narrow, its attention sees all of a picture alike at first and
    its queries say much the same; pictures are then read by none of the words after them, and the
    queries' outputs may well grow into constants before they are. The pooled feature begins small:
    with ten times of it, nano's words learned half as much of pictures in as many steps.
    """
    depth = 2 * connector.qformer.config.num_hidden_layers
    for name, weight in connector.named_parameters():
        if weight.ndim == 2:
            added = name.startswith("qformer.") and _adds_to_the_stream(name)
            weight.normal_(std=(weight.shape[1] * (depth if added else 1)) ** -0.5)
    connector.query_tokens.normal_(std=0.5)
    connector.cls_projection.weight.normal_(std=0.002)


def _adds_to_the_stream(name: str) -> bool:
    return name.endswith(("output.dense.weight", "output_query.dense.weight"))
