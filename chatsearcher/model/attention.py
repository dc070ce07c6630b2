"""Attention over packed rows without a mask, and a clear word where a kernel is not installed.

``"varlen"`` is ours: the flash kernel that torch itself brings (no further package), which reads
packed samples by where they begin. SDPA needs a mask for packed rows, and with one it computes
every pair of positions.
"""

from __future__ import annotations

import itertools
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AttentionInterface

VARLEN = "varlen"
KNOWN = ("auto", "eager", "sdpa", VARLEN, "flash_attention_2", "flash_attention_3")

_PACKAGES = {
    "flash_attention_2": (
        "flash_attn",
        "pip install 'chatsearcher[flash]' (flash-attn; it needs CUDA's compiler)",
    ),
    "flash_attention_3": (
        "flash_attn_interface",
        "building flash_attn_3 from the folder hopper/ of FlashAttention's repository",
    ),
}


def check_attention(name: str, device: torch.device) -> None:
    """Say what is wrong with a choice of attention before anything is computed.

    Raises:
        ValueError: an unknown name, a kernel on a device that it does not know, or a torch without
            the kernel.
        ImportError: the kernel's package is not installed; the message names the extra.
    """
    if name not in KNOWN:
        raise ValueError(f"unknown attention {name!r}; expected one of {', '.join(KNOWN)}")
    if name in _PACKAGES:
        package, remedy = _PACKAGES[name]
        if find_spec(package) is None:
            raise ImportError(
                f"attention {name!r} needs the package {package}, which is not installed: "
                f"{remedy}; or use 'varlen' (torch's own flash kernel) or 'sdpa'"
            )
        if device.type != "cuda":
            raise ValueError(
                f"attention {name!r} runs on CUDA GPUs only, and this model is on {device.type}; "
                "use 'auto' or 'sdpa'"
            )
    if name == VARLEN and device.type == "cuda" and find_spec("torch.nn.attention.varlen") is None:
        raise ValueError(
            f"attention 'varlen' needs torch 2.10 or newer; this is {torch.__version__}; "
            "use 'sdpa', or update torch"
        )


def automatic(device: torch.device, positions: int) -> str:
    """SDPA, but eager attention for training on a CPU with at most 384 positions.

    There the backward pass of SDPA costs more than all it saves. Measured on one core with AMX, a
    step of nano's second stage (13 rows of 320; 104 pictures of 36 tokens, read by 8 queries):
    1.22 s with SDPA in both models, 1.01 s with the Q-former eager, 1.13 against 1.14 s with the
    language model too, and with its layers compiled 0.69 against 0.82 s.
    """
    short = positions <= 384 and torch.is_grad_enabled()
    return "eager" if device.type == "cpu" and short else "sdpa"


def reads_boundaries(implementation: str) -> bool:
    """Whether it takes all samples as one long row, with the places where they begin."""
    return implementation == VARLEN or implementation.startswith("flash")


def boundaries(segment_ids_BT: Tensor) -> Tensor:
    """Where each packed sample begins in the flattened rows, and the end: [S + 1], int32.

    A run of padding is a sample of its own, and no sample goes on in the next row.
    """
    begins = torch.ones_like(segment_ids_BT, dtype=torch.bool)
    begins[:, 1:] = segment_ids_BT[:, 1:] != segment_ids_BT[:, :-1]
    starts = begins.flatten().nonzero().squeeze(1)
    return F.pad(starts, (0, 1), value=segment_ids_BT.numel()).to(torch.int32)


def boundary_arguments(segment_ids_BT: Tensor) -> dict[str, Any]:
    """The keyword arguments by which ``transformers`` tells attention where samples begin."""
    starts = boundaries(segment_ids_BT)
    # An upper bound, the same for every batch: the true maximum would compile layers again.
    longest = segment_ids_BT.shape[1]
    return {
        "cu_seq_lens_q": starts,
        "cu_seq_lens_k": starts,
        "max_length_q": longest,
        "max_length_k": longest,
    }


def varlen_attention(
    module: nn.Module,
    query_1hTd: Tensor,
    key_1kTd: Tensor,
    value_1kTd: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    cu_seq_lens_q: Tensor | None = None,
    max_length_q: int | None = None,
    sliding_window: int | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Causal attention inside each sample of one long row, as ``transformers`` calls it.

    On a GPU torch's own flash kernel for samples of different lengths; on a CPU, which has no such
    kernel, SDPA sample by sample.

    Returns:
        [1, T, h, d], and no weights.
    """
    if sliding_window is not None or dropout:
        raise ValueError(
            "attention 'varlen' knows neither sliding windows nor dropout, and "
            f"{type(module).__name__} has one of them; use 'sdpa' or 'flash_attention_2'"
        )
    if cu_seq_lens_q is None or max_length_q is None:  # one sample, or a cache before it
        return _whole(query_1hTd, key_1kTd, value_1kTd, attention_mask, scaling), None
    heads = query_1hTd.shape[1]
    query_Thd, key_Thd, value_Thd = (
        _repeated(states, heads)[0].transpose(0, 1) for states in (query_1hTd, key_1kTd, value_1kTd)
    )
    if query_Thd.device.type == "cuda":
        from torch.nn.attention.varlen import varlen_attn

        out: Any = varlen_attn(
            query_Thd.contiguous(),
            key_Thd.contiguous(),
            value_Thd.contiguous(),
            cu_seq_lens_q,
            cu_seq_lens_q,
            max_length_q,
            max_length_q,
            scale=scaling,
            window_size=(-1, 0),  # causal
        )
        return out[None], None
    places = cu_seq_lens_q.tolist()
    samples = []
    for start, end in itertools.pairwise(places):
        query, key, value = (
            states[start:end].transpose(0, 1)[None] for states in (query_Thd, key_Thd, value_Thd)
        )
        samples.append(
            F.scaled_dot_product_attention(query, key, value, is_causal=True, scale=scaling)
        )
    return torch.cat(samples, dim=2).transpose(1, 2), None


def _whole(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scaling: float | None
) -> Tensor:
    heads, asked, seen = query.shape[1], query.shape[2], key.shape[2]
    if mask is None and 1 < asked < seen:  # new positions after a cache
        mask = torch.ones(asked, seen, dtype=torch.bool, device=query.device).tril(seen - asked)
    out = F.scaled_dot_product_attention(
        query,
        _repeated(key, heads),
        _repeated(value, heads),
        attn_mask=mask,
        is_causal=mask is None and asked > 1,
        scale=scaling,
    )
    return out.transpose(1, 2)


def _repeated(states_BkTd: Tensor, heads: int) -> Tensor:
    """Keys or values once for each head that shares them."""
    each = heads // states_BkTd.shape[1]
    return states_BkTd if each == 1 else states_BkTd.repeat_interleave(each, dim=1)


AttentionInterface.register(VARLEN, varlen_attention)
