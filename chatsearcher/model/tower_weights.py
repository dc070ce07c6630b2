"""Public image encoders: what ``open_clip`` loads, as settings and weights of our tower."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from safetensors.torch import load_file
from torch import Tensor


class PublicTower(NamedTuple):
    """An image encoder.

    Attributes:
        settings: the fields of ``ChatSearcherConfig`` that describe it.
        weights: of ``open_clip``'s ``visual``.
        left_over: tensors of its text half.
    """

    settings: dict[str, Any]
    weights: dict[str, Tensor]
    left_over: tuple[str, ...]


def read_tower(source: str) -> PublicTower:
    """The image encoder of ``NAME/WEIGHTS`` of ``open_clip``, or of a folder in its layout.

    ``WEIGHTS`` is a tag of ``open_clip`` (``openai``, ``webli``, ``dfn5b``) or the path of a file.

    Raises:
        FileNotFoundError: a folder without ``open_clip_config.json``, or without weights.
        ValueError: a name that ``open_clip`` does not know, or preprocessing that we do not have.
    """
    if Path(source).is_dir():
        config, preprocessing, every = _read_folder(Path(source))
    else:
        config, preprocessing, every = _read_name(source)
    weights = {key[7:]: value for key, value in every.items() if key.startswith("visual.")}
    size = config["vision_cfg"]["image_size"]
    return PublicTower(
        {
            "tower_config": {key: value for key, value in config.items() if key != "text_cfg"},
            "image_size": size if isinstance(size, int) else size[0],
            "image_mean": list(preprocessing["mean"]),
            "image_std": list(preprocessing["std"]),
            "image_resize": preprocessing.get("resize_mode") or "shortest",
        },
        weights,
        tuple(key for key in every if not key.startswith("visual.")),
    )


def _read_folder(folder: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, Tensor]]:
    about_path = folder / "open_clip_config.json"
    if not about_path.is_file():
        raise FileNotFoundError(f"{folder} has no open_clip_config.json; expected a tower")
    weights = folder / "open_clip_model.safetensors"
    if not weights.is_file():
        raise FileNotFoundError(
            f"{folder} has no open_clip_model.safetensors; expected the weights beside "
            "open_clip_config.json"
        )
    about = json.loads(about_path.read_text(encoding="utf-8"))
    return about["model_cfg"], about["preprocess_cfg"], load_file(weights)


def _read_name(source: str) -> tuple[dict[str, Any], dict[str, Any], dict[str, Tensor]]:
    import open_clip

    name, config = _longest_known_name(source)
    if config is None:
        raise ValueError(
            f"{source!r} is neither a folder nor NAME/WEIGHTS of open_clip; expected something "
            "like 'ViT-L-14/openai' (open_clip.list_pretrained() has them all)"
        )
    tag = source[len(name) + 1 :]
    # Some weights want another activation than the plain name says: ViT-L-14/openai is one, and
    # open_clip only warns. A mistake here costs most of the tower's worth, without an error.
    known = open_clip.get_pretrained_cfg(name, tag) or {}
    quick = bool(known.get("quick_gelu", config.get("quick_gelu", False)))
    clip: Any = open_clip.create_model(name, pretrained=tag, quick_gelu=quick)
    preprocessing = open_clip.get_model_preprocess_cfg(clip)
    return {**config, "quick_gelu": quick}, preprocessing, clip.state_dict()


def _longest_known_name(source: str) -> tuple[str, dict[str, Any] | None]:
    """The model's name in ``NAME/WEIGHTS``, where WEIGHTS may be a path with slashes."""
    import open_clip

    parts = source.split("/")
    for end in range(len(parts) - 1, 0, -1):
        config = open_clip.get_model_config("/".join(parts[:end]))
        if config is not None:
            return "/".join(parts[:end]), config
    return source, None
