"""A new ChatSearcher from parts with public weights: language model, tower, Q-former.

model, processor = from_public_parts(
    llm="lmsys/vicuna-7b-v1.5",
    tower="ViT-L-14-quickgelu/openai",
    qformer="blip2_pretrained_vitL.pth",
)
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from chatsearcher.model.configuration import ChatSearcherConfig
from chatsearcher.model.modeling import ChatSearcherModel
from chatsearcher.model.processing import ChatSearcherProcessor
from chatsearcher.model.tokenizer import add_image_tokens

HEAD_WIDTH = 64  # of BERT, and so of every BLIP-2 Q-former


class PublicTower(NamedTuple):
    """An image encoder: the fields of ``ChatSearcherConfig`` that describe it, and its weights."""

    settings: dict[str, Any]
    weights: dict[str, Tensor]


def from_public_parts(
    llm: str,
    tower: str,
    qformer: str | None = None,
    tokenizer: str | None = None,
    dtype: torch.dtype = torch.float32,
    **settings: Any,
) -> tuple[ChatSearcherModel, ChatSearcherProcessor]:
    """Put public parts together; projections, retrieval head and new token rows are new.

    Args:
        llm: a causal language model's name or folder.
        tower: ``NAME/WEIGHTS`` of ``open_clip``, or a folder in its layout.
        qformer: see :func:`read_qformer`; None for a new one (``qformer_config`` in ``settings``).
        tokenizer: a name or folder; the language model's by default.
        dtype: of the language model.
        settings: further fields of ``ChatSearcherConfig``.

    Raises:
        ValueError: the Q-former was made for a tower of another width.
    """
    words = AutoTokenizer.from_pretrained(tokenizer or llm)
    add_image_tokens(words)
    ids: Any = words.convert_tokens_to_ids(["[IMG]", "[/IMG]", "<image>"])
    start, end, image = ids
    language_model = AutoModelForCausalLM.from_pretrained(llm, dtype=dtype)
    seen = read_tower(tower)
    connector = None if qformer is None else read_qformer(qformer)
    if connector is not None:
        settings["qformer_config"] = qformer_config(connector)
        settings["num_query_tokens"] = connector["query_tokens"].shape[1]
    config = ChatSearcherConfig(
        llm_config=language_model.config,
        image_start_token_id=start,
        image_end_token_id=end,
        image_token_id=image,
        **{**seen.settings, **settings},
    )
    model = ChatSearcherModel(config, llm=language_model)
    model.tower.visual.load_state_dict(seen.weights)
    if connector is not None:
        load_qformer(model, connector, str(qformer))
    model.resize_tokens(len(words))
    model.reset_momentum()
    return model, ChatSearcherProcessor.from_config(config, words)


def read_tower(source: str) -> PublicTower:
    """The image encoder of ``NAME/WEIGHTS`` of ``open_clip``, or of a folder in its layout.

    Raises:
        FileNotFoundError: a folder without ``open_clip_config.json``.
        ValueError: a name that ``open_clip`` does not know.
    """
    import open_clip

    if Path(source).is_dir():
        about_path = Path(source) / "open_clip_config.json"
        if not about_path.is_file():
            raise FileNotFoundError(f"{source} has no open_clip_config.json; expected a tower")
        about = json.loads(about_path.read_text(encoding="utf-8"))
        every = load_file(Path(source) / "open_clip_model.safetensors")
        weights = {k[7:]: v for k, v in every.items() if k.startswith("visual.")}
        config, preprocessing = about["model_cfg"], about["preprocess_cfg"]
    else:
        name, _, tag = source.rpartition("/")
        config = open_clip.get_model_config(name)
        if config is None:
            raise ValueError(
                f"{source!r} is neither a folder nor NAME/WEIGHTS of open_clip; expected something "
                "like 'ViT-L-14-quickgelu/openai' (open_clip.list_pretrained() has them all)"
            )
        clip: Any = open_clip.create_model(name, pretrained=tag)
        weights = clip.visual.state_dict()
        preprocessing = open_clip.get_model_preprocess_cfg(clip)
        # the weights decide this, whatever the name says
        kinds = {type(module).__name__ for module in clip.visual.modules()}
        config = {**config, "quick_gelu": "QuickGELU" in kinds}
    size = config["vision_cfg"]["image_size"]
    return PublicTower(
        {
            "tower_config": {key: value for key, value in config.items() if key != "text_cfg"},
            "image_size": size if isinstance(size, int) else size[0],
            "image_mean": list(preprocessing["mean"]),
            "image_std": list(preprocessing["std"]),
        },
        weights,
    )


def read_qformer(source: str) -> dict[str, Tensor]:
    """A Q-former's weights under the names of :class:`~chatsearcher.model.connector.Connector`.

    Args:
        source: LAVIS's file (``blip2_pretrained_vitL.pth`` for a ViT-L tower), a safetensors file,
            or the folder or name of a BLIP-2 model of ``transformers`` (they read ViT-g features).

    Raises:
        FileNotFoundError: nothing of that name.
        ValueError: no Q-former in it.
    """
    path = Path(source)
    if path.suffix in (".pth", ".pt", ".bin") and path.is_file():
        loaded = torch.load(path, map_location="cpu", weights_only=True)
        every = loaded.get("model", loaded)
    else:
        every = {}
        for file in _safetensors_files(path):
            with safe_open(file, "pt") as tensors:
                every |= {
                    key: tensors.get_tensor(key)
                    for key in tensors.keys()  # noqa: SIM118 (not a mapping)
                    if _connector_name(key) is not None
                }
    named = {_connector_name(key): tensor for key, tensor in every.items()}
    weights = {key: tensor.float() for key, tensor in named.items() if key is not None}
    if "query_tokens" not in weights or "qformer.layernorm.weight" not in weights:
        raise ValueError(
            f"{source} holds no Q-former; expected query_tokens and Qformer.bert.* (LAVIS) or "
            "qformer.* (transformers)"
        )
    return weights


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


def load_qformer(model: ChatSearcherModel, weights: dict[str, Tensor], source: str) -> None:
    """Put a Q-former's weights into the model's connector.

    Raises:
        ValueError: it reads features of another width than the tower's, or tensors are missing.
    """
    crossing = next(k for k in weights if k.endswith("crossattention.attention.key.weight"))
    width = weights[crossing].shape[1]
    if width != model.tower.token_dim:
        raise ValueError(
            f"the Q-former of {source} reads features of width {width}, the tower's have "
            f"{model.tower.token_dim}; expected one made for this tower: for CLIP ViT-L (1024) "
            "LAVIS's blip2_pretrained_vitL.pth, for EVA ViT-g (1408) Salesforce/blip2-itm-vit-g; "
            "or start with a new one (qformer=None)"
        )
    own = ("cls_projection.", "query_projection.")
    result = model.connector.load_state_dict(weights, strict=False)
    missing = [k for k in result.missing_keys if not k.startswith((*own, "token_norm."))]
    if missing or result.unexpected_keys:
        raise ValueError(
            f"the Q-former of {source} does not fit: missing {missing[:3]}, unexpected "
            f"{result.unexpected_keys[:3]} (of {len(missing)} and {len(result.unexpected_keys)})"
        )


def _layer(number: int) -> str:
    return f"qformer.encoder.layer.{number}"


def _connector_name(key: str) -> str | None:
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


def _safetensors_files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        if path.suffix or path.is_absolute():
            raise FileNotFoundError(f"no Q-former at {path}; expected a file, a folder or a name")
        from huggingface_hub import snapshot_download

        path = Path(snapshot_download(str(path), allow_patterns=["*.safetensors"]))
    return sorted(path.glob("*.safetensors"))
