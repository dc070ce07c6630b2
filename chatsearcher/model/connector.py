"""The connector: from the tower's features to positions of the language model."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import Blip2QFormerModel
from transformers import initialization as init

from chatsearcher.model.attention import automatic
from chatsearcher.model.configuration import ChatSearcherConfig


class Connector(nn.Module):
    """Tokens and pooled feature of a picture -> ``<CLS> q1 … qN`` (paper, section 4.1).

    The Q-former reads the tokens through a layer norm, as BLIP-2's does (``ln_vision``). The pooled
    feature and the Q-former's outputs have a projector each.

    Attributes:
        attention: the Q-former's, ``sdpa`` or ``eager``; ``auto`` is the faster one of the device.
    """

    attention = "auto"

    def __init__(self, config: ChatSearcherConfig, token_dim: int, feature_dim: int) -> None:
        super().__init__()
        qformer_config = config.qformer_config
        qformer_config.encoder_hidden_size = token_dim
        hidden = config.llm_config.get_text_config().hidden_size
        self.token_norm = nn.LayerNorm(token_dim, eps=config.token_norm_eps)
        self.query_tokens = nn.Parameter(
            torch.empty(1, config.num_query_tokens, qformer_config.hidden_size)
        )
        self.qformer = Blip2QFormerModel._from_config(qformer_config)
        self.cls_projection = nn.Linear(feature_dim, hidden)
        self.query_projection = nn.Linear(qformer_config.hidden_size, hidden)

    def forward(self, tokens_IPC: Tensor, pooled_IF: Tensor) -> Tensor:
        """[I, P, C], [I, F] -> [I, 1 + N, H]."""
        tokens_IPC = self.token_norm(tokens_IPC.to(self.token_norm.weight.dtype))
        if self.qformer.config._attn_implementation in ("sdpa", "eager"):
            fastest = automatic(tokens_IPC.device, tokens_IPC.shape[1])
            self.qformer.config._attn_implementation = (
                fastest if self.attention == "auto" else self.attention
            )
        queries_INQ = self.qformer(
            query_embeds=self.query_tokens.expand(len(tokens_IPC), -1, -1),
            encoder_hidden_states=tokens_IPC,
        ).last_hidden_state
        cls_IH = self.cls_projection(pooled_IF.to(self.cls_projection.weight.dtype))
        return torch.cat([cls_IH[:, None], self.query_projection(queries_INQ)], dim=1)

    def init_weights(self, std: float) -> None:
        """New weights for what the Q-former does not own."""
        init.normal_(self.query_tokens, std=std)
        for projection in (self.cls_projection, self.query_projection):
            init.normal_(projection.weight, std=std)
            init.zeros_(projection.bias)
        init.ones_(self.token_norm.weight)
        init.zeros_(self.token_norm.bias)
