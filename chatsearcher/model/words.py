"""The words' half of equation 1 without all logits at once.

At a vocabulary of 32,000, the logits of 8,192 positions are a gigabyte in float32, and their
log-probabilities and gradients two more. ``chunked`` makes them for a few hundred positions at a
time; ``liger`` is Liger's fused kernel (GPU, extra ``liger``).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from chatsearcher.model import language
from chatsearcher.model.losses import word_loss

WordLoss = Literal["auto", "plain", "chunked", "liger"]
WORD_LOSSES = ("auto", "plain", "chunked", "liger")

LARGE_VOCABULARY = 16_384
"""From here on ``auto`` is not ``plain``: below, all logits at once are small, and faster."""

CHUNK_LOGITS = 1 << 24
"""Logits that stand in memory at once: 64 MB in float32."""

_PLAIN_HEAD = "_chatsearcher_head_gives_logits"


def choose(setting: str, llm: PreTrainedModel) -> str:
    """``plain``, ``chunked`` or ``liger``: what a setting means for this language model here.

    ``auto`` is Liger's where it is installed, the model is on a CUDA GPU, and its head is a whole
    linear layer; else ``chunked`` for vocabularies from 16,384 on, and ``plain`` below.

    Raises:
        ImportError: ``liger`` where it is not installed.
        ValueError: an unknown setting, or ``liger`` where its kernel does not work.
    """
    if setting not in WORD_LOSSES:
        raise ValueError(f"unknown word_loss {setting!r}; expected one of {', '.join(WORD_LOSSES)}")
    head: Any = llm.get_output_embeddings()
    obstacle = _liger_obstacle(head)
    if setting == "liger":
        if not _installed("liger_kernel"):
            raise ImportError(
                "word_loss 'liger' needs the package liger-kernel, which is not installed: "
                "pip install 'chatsearcher[liger]'; or use 'chunked', which needs nothing"
            )
        if obstacle:
            raise ValueError(f"word_loss 'liger' does not work here: {obstacle}; use 'chunked'")
        return "liger"
    if setting != "auto":
        return setting
    if llm.config.get_text_config().vocab_size < LARGE_VOCABULARY:
        return "plain"
    return "chunked" if obstacle or not _installed("liger_kernel") else "liger"


@functools.cache
def _installed(package: str) -> bool:
    return find_spec(package) is not None


def read(
    llm: PreTrainedModel,
    setting: str,
    embeddings_BTH: Tensor,
    position_ids_BT: Tensor,
    positions_n: Tensor,
    targets_n: Tensor,
    segment_ids_BT: Tensor,
    attention: str,
) -> tuple[Tensor, Tensor]:
    """Run the language model over packed rows.

    Args:
        setting: one of :data:`WORD_LOSSES`.
        positions_n, targets_n: where words are predicted from, in [B * T], and which.

    Returns:
        last hidden states [B, T, H], and the sum of the words' negative log-likelihoods.

    Raises:
        ValueError: the loss is to be made in pieces, and this language model does something to its
            logits after its head.
    """
    kind = choose(setting, llm)
    unchecked = kind != "plain" and not getattr(llm, _PLAIN_HEAD, False)
    wanted_n = positions_n
    if kind != "plain":  # one position, once, to compare the head with the model's own logits
        wanted_n = positions_n.new_zeros(1 if unchecked else 0)
    hidden_BTH, logits = language.run(
        llm, embeddings_BTH, position_ids_BT, wanted_n, segment_ids_BT, attention
    )
    if kind == "plain":
        return hidden_BTH, word_loss(logits, targets_n)
    if unchecked:
        _check_head(llm, hidden_BTH, logits, kind)
    hidden_nH = hidden_BTH.flatten(0, 1)[positions_n]
    if kind == "liger":
        return hidden_BTH, _liger(llm, hidden_nH, targets_n)
    return hidden_BTH, chunked(llm.get_output_embeddings(), hidden_nH, targets_n)


def chunked(head: Any, hidden_nH: Tensor, targets_n: Tensor, rows: int | None = None) -> Tensor:
    """The sum of the words' negative log-likelihoods, some positions at a time.

    A whole linear head has its gradients made together with the loss. Any other (adapters on it, a
    weight that ZeRO-3 has parted) is called as the module it is, and once more in the backward
    pass.

    Args:
        head: hidden states [n, H] -> logits [n, V].
        rows: positions of a piece; by default as many as make ``CHUNK_LOGITS`` logits.
    """
    if rows is None:
        rows = max(64, CHUNK_LOGITS // max(1, _width(head)))
    whole = type(head) is nn.Linear and not hasattr(head.weight, "ds_id")
    if whole and len(hidden_nH) and torch.is_grad_enabled():
        apply: Callable[..., Tensor] = _LinearInPieces.apply
        return apply(hidden_nH, head.weight, head.bias, targets_n, rows)
    pieces = _pieces(head, -(-len(hidden_nH) // rows))
    total = hidden_nH.new_zeros((), dtype=torch.float32)
    for number in range(pieces):
        some = slice(number * rows, (number + 1) * rows)
        total = total + _piece(head, hidden_nH[some], targets_n[some])
    return total


class _LinearInPieces(torch.autograd.Function):
    """Cross-entropy after a linear layer: loss and gradients piece by piece, in the forward pass.

    The gradient of a sum over positions is the sum of the pieces' gradients, up to the factor that
    the backward pass brings; so nothing of a piece needs to be kept.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden_nH: Tensor, weight_VH: Tensor, bias_V: Any, targets_n: Tensor, rows: int
    ) -> Tensor:
        device = hidden_nH.device.type
        narrow = torch.is_autocast_enabled(device)
        dtype = torch.get_autocast_dtype(device) if narrow else weight_VH.dtype
        total = torch.zeros((), dtype=torch.float32, device=hidden_nH.device)
        wanted = ctx.needs_input_grad[:3]
        sums = [
            torch.zeros_like(t) if want else None
            for want, t in zip(wanted, (hidden_nH, weight_VH, bias_V), strict=True)
        ]
        with torch.autocast(device, enabled=False):
            seen_VH = weight_VH.to(dtype)
            seen_V = None if bias_V is None else bias_V.to(dtype)
            for start in range(0, len(hidden_nH), rows):
                some = slice(start, start + rows)
                piece_mH, words_m = hidden_nH[some].to(dtype), targets_n[some, None]
                logits_mV = F.linear(piece_mH, seen_VH, seen_V).float()
                spread_m1 = logits_mV.logsumexp(dim=1, keepdim=True)
                total += (spread_m1 - logits_mV.gather(1, words_m)).sum()
                if not any(wanted):
                    continue
                slopes_mV = logits_mV.sub_(spread_m1).exp_()  # softmax less one-hot
                slopes_mV.scatter_add_(1, words_m, slopes_mV.new_full(words_m.shape, -1))
                _add_up(sums, slopes_mV.to(dtype), piece_mH, seen_VH, some)
                del logits_mV, slopes_mV  # or they stand beside those of the next piece
        ctx.sums = sums
        return total

    @staticmethod
    def backward(ctx: Any, factor: Tensor) -> Any:  # type: ignore[override]
        if ctx.sums is None:
            raise RuntimeError("the words' loss in pieces goes backward once only")
        sums, ctx.sums = ctx.sums, None
        return (*(None if s is None else s.mul_(factor) for s in sums), None, None)


def _add_up(
    sums: list[Any], slopes_mV: Tensor, piece_mH: Tensor, weight_VH: Tensor, some: slice
) -> None:
    hidden, weight, bias = sums
    if hidden is not None:
        hidden[some] = slopes_mV @ weight_VH
    if weight is not None and weight.dtype == slopes_mV.dtype:
        weight.addmm_(slopes_mV.T, piece_mH)
    elif weight is not None:
        weight += slopes_mV.T @ piece_mH
    if bias is not None:
        bias += slopes_mV.sum(dim=0)


def _piece(head: Any, hidden_nH: Tensor, targets_n: Tensor) -> Tensor:
    def loss(hidden: Tensor) -> Tensor:
        return word_loss(head(hidden), targets_n)

    if not torch.is_grad_enabled():
        return loss(hidden_nH)
    again: Any = checkpoint(loss, hidden_nH, use_reentrant=False, preserve_rng_state=False)
    return again


def _pieces(head: Any, own: int) -> int:
    """How often the head is called: equally often on every rank where ZeRO-3 gathers it."""
    shared = any(hasattr(weight, "ds_id") for weight in head.parameters())
    if not (shared and dist.is_initialized()):
        return max(1, own)
    most = torch.tensor(own, device=next(head.parameters()).device)
    dist.all_reduce(most, op=dist.ReduceOp.MAX)
    return max(1, int(most))


def _width(head: Any) -> int:
    width = getattr(head, "out_features", None) or getattr(head, "num_embeddings", None)
    return int(width or max(weight.shape[0] for weight in head.parameters()))


def _liger(llm: PreTrainedModel, hidden_nH: Tensor, targets_n: Tensor) -> Tensor:
    head: Any = llm.get_output_embeddings()
    if not len(targets_n):
        return word_loss(head(hidden_nH), targets_n)
    from liger_kernel.transformers.functional import liger_fused_linear_cross_entropy

    loss: Tensor = liger_fused_linear_cross_entropy(
        hidden_nH,
        head.weight,
        targets_n,
        bias=head.bias,
        reduction="sum",
        accum_dtype=torch.float32,  # or the pieces' gradients are added up in bfloat16
    )
    return loss


def _liger_obstacle(head: Any) -> str:
    if type(head) is not nn.Linear:
        return f"its kernel reads the weight of a linear head, and this one is {type(head)}"
    if hasattr(head.weight, "ds_id"):
        return "its kernel reads the head's whole weight, and ZeRO-3 has parted it"
    if head.weight.device.type != "cuda":
        return f"its kernel runs on CUDA GPUs, and the model is on {head.weight.device.type}"
    return ""


def _check_head(llm: PreTrainedModel, hidden_BTH: Tensor, logits_1V: Tensor, kind: str) -> None:
    with torch.no_grad():
        own = llm.get_output_embeddings()(hidden_BTH.flatten(0, 1)[:1])
    if not torch.allclose(own.float(), logits_1V.detach().float(), rtol=1e-2, atol=1e-3):
        raise ValueError(
            f"{type(llm).__name__} changes its logits after its head (a scale or a soft cap), "
            f"which word_loss {kind!r} would miss; expected the head's own output; use "
            "--engine.word-loss plain"
        )
    setattr(llm, _PLAIN_HEAD, True)
