"""The Q-former of BLIP-2, from LAVIS's file or from the Hub, under our connector's names."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import safe_open
from torch import Tensor

HEAD_WIDTH = 64  # of BERT, and so of every BLIP-2 Q-former
LAVIS_NORM_EPS = 1e-5  # ln_vision is torch's LayerNorm as it comes
HUB_NORM_EPS = 1e-6


class PublicQFormer(NamedTuple):
    """A Q-former with weights.

    Attributes:
        weights: under the names of :class:`~chatsearcher.model.connector.Connector`.
        config: the fields of ``Blip2QFormerConfig``.
        norm_eps: of the layer norm between tower and Q-former.
        left_over: tensors of the source that have no part here (its text half, its heads).
    """

    weights: dict[str, Tensor]
    config: dict[str, Any]
    norm_eps: float
    left_over: tuple[str, ...]

    @property
    def width(self) -> int:
        """Of the tower features that it reads."""
        return int(self.config["encoder_hidden_size"])


def read_qformer(source: str) -> PublicQFormer:
    """A Q-former's weights.

    Args:
        source: LAVIS's file (``blip2_pretrained_vitL.pth`` for a ViT-L tower), a safetensors file,
            or the folder or name of a BLIP-2 model of ``transformers`` (they read ViT-g features).

    Raises:
        FileNotFoundError: nothing of that name.
        ValueError: no Q-former in it, or no file of tensors.
    """
    path = Path(source)
    about: dict[str, Any] = {}
    if path.suffix in (".pth", ".pt", ".bin") and path.is_file():
        every: dict[str, Any] = _torch_file(path)
        names = list(every)
    else:
        files, about_file, names = _hub_files(path)
        if about_file is not None:
            about = json.loads(about_file.read_text(encoding="utf-8"))
        every = {}
        for file in files:
            with safe_open(file, "pt") as tensors:
                held = list(tensors.keys())
                names += [key for key in held if key not in names]
                every |= {k: tensors.get_tensor(k) for k in held if connector_name(k) is not None}
    weights = {
        name: every[key].float() for key in names if (name := connector_name(key)) is not None
    }
    if "query_tokens" not in weights or "qformer.layernorm.weight" not in weights:
        raise ValueError(
            f"{source} holds no Q-former; expected query_tokens and Qformer.bert.* (LAVIS) or "
            "qformer.* (transformers)"
        )
    from_lavis = any(key.startswith("Qformer.") for key in names)
    config = qformer_config(weights) | _told(about)
    vision = about.get("vision_config") or {}
    norm_eps = LAVIS_NORM_EPS if from_lavis else vision.get("layer_norm_eps", HUB_NORM_EPS)
    left_over = tuple(key for key in names if connector_name(key) is None)
    return PublicQFormer(weights, config, float(norm_eps), left_over)


def qformer_config(weights: dict[str, Tensor]) -> dict[str, Any]:
    """The ``Blip2QFormerConfig`` that fits the weights."""
    hidden = weights["qformer.layernorm.weight"].shape[0]
    layer = re.compile(r"qformer\.encoder\.layer\.(\d+)\.(\w+)")
    found = {match.groups() for key in weights if (match := layer.match(key))}
    crossing = sorted({int(number) for number, part in found if part == "crossattention"})
    key_weight = weights[f"{_layer(crossing[0])}.crossattention.attention.key.weight"]
    return {
        "hidden_size": hidden,
        "num_hidden_layers": max(int(number) for number, _ in found) + 1,
        "num_attention_heads": max(1, hidden // HEAD_WIDTH),
        "intermediate_size": weights[f"{_layer(0)}.intermediate_query.dense.weight"].shape[0],
        "cross_attention_frequency": crossing[1] - crossing[0] if len(crossing) > 1 else 2,
        "encoder_hidden_size": key_weight.shape[1],
    }


def check_width(qformer: PublicQFormer, source: str, token_dim: int, tower: str) -> None:
    """Refuse a Q-former that was made for a tower of another width.

    Raises:
        ValueError: with the remedy.
    """
    if qformer.width == token_dim:
        return
    raise ValueError(
        f"the Q-former of {source} reads features of width {qformer.width}, the tower's have "
        f"{token_dim} ({tower}); expected one made for this tower: for CLIP ViT-L (1024) LAVIS's "
        "blip2_pretrained_vitL.pth, for EVA ViT-g (1408) Salesforce/blip2-itm-vit-g; or start with "
        "a new one (qformer=None)"
    )


def connector_name(key: str) -> str | None:
    """The connector's name of a BLIP-2 tensor, or None where it has no part there."""
    key = key.removeprefix("model.").replace("Qformer.bert.", "qformer.")
    if key.startswith("ln_vision."):
        return key.replace("ln_vision.", "token_norm.")
    if key.startswith("vision_model.post_layernorm."):
        return key.replace("vision_model.post_layernorm.", "token_norm.")
    key = key.replace("qformer.embeddings.LayerNorm.", "qformer.layernorm.")
    if key != "query_tokens" and not key.startswith(("qformer.encoder.", "qformer.layernorm.")):
        return None  # word embeddings and text heads
    if re.search(r"layer\.\d+\.(intermediate|output)\.", key):
        return None  # the feed-forward layers of text
    return re.sub(r"(attention)\.self\.", r"\1.attention.", key)


def _layer(number: int) -> str:
    return f"qformer.encoder.layer.{number}"


def _torch_file(path: Path) -> dict[str, Any]:
    """The tensors of a file of ``torch.save``, as LAVIS writes it: bare, or under ``model``."""
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # torch's own message proposes weights_only=False, which runs what a stranger wrote.
        raise ValueError(
            f"{path} is no file of tensors alone: a broken download (a page instead of the file), "
            "or objects beside the tensors, which are never loaded here; download it again, or "
            "save its state dict anew as safetensors where you trust it"
        ) from error
    every = loaded.get("model", loaded) if isinstance(loaded, dict) else loaded
    if not isinstance(every, dict):
        raise ValueError(f"{path} holds a {type(every).__name__}; expected tensors by their names")
    return every


def _told(about: dict[str, Any]) -> dict[str, Any]:
    """What a BLIP-2's ``config.json`` says beyond the weights' shapes."""
    told = about.get("qformer_config") or {}
    sizes = ("num_attention_heads", "hidden_act", "layer_norm_eps", "cross_attention_frequency")
    dropout = ("hidden_dropout_prob", "attention_probs_dropout_prob")
    return {name: told[name] for name in (*sizes, *dropout) if name in told}


def _hub_files(path: Path) -> tuple[list[Path], Path | None, list[str]]:
    """Safetensors files that hold a Q-former, ``config.json``, and the names of all tensors.

    Of a sharded model on the Hub only the shards with the Q-former are fetched: its language model
    is most of it.
    """
    if path.is_file():
        return [path], None, []
    local = path.is_dir()
    if not local and (path.suffix in (".pth", ".pt", ".bin") or path.is_absolute()):
        raise FileNotFoundError(f"no Q-former at {path}; expected a file, a folder or a name")

    def get(name: str) -> Path | None:
        if local:
            return path / name if (path / name).is_file() else None
        from transformers.utils import cached_file

        found = cached_file(str(path), name, _raise_exceptions_for_missing_entries=False)
        return None if found is None else Path(found)

    index = get("model.safetensors.index.json")
    if index is not None:
        places: dict[str, str] = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        shards = sorted({file for key, file in places.items() if connector_name(key) is not None})
        return _there((get(shard) for shard in shards), path), get("config.json"), list(places)
    whole = sorted(path.glob("*.safetensors")) if local else [get("model.safetensors")]
    return _there(whole, path), get("config.json"), []


def _there(files: Iterable[Path | None], path: Path) -> list[Path]:
    found = list(files)
    if not found or None in found:
        raise FileNotFoundError(
            f"{path} has no safetensors files of a Q-former; expected a BLIP-2 model of "
            "transformers (model.safetensors, or its index and shards)"
        )
    return [file for file in found if file is not None]
