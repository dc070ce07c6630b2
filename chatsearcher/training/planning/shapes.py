"""The shapes of a recipe's networks, without weights and without a network connection."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig

from chatsearcher.model.configuration import ChatSearcherConfig
from chatsearcher.model.connector import Connector
from chatsearcher.model.language import decoder_layers
from chatsearcher.model.tower import VisionTower
from chatsearcher.training.build import ModelSettings
from chatsearcher.training.planning.memo import once_per_shape
from chatsearcher.training.recipes import TOWERS

NEW_TOKENS = 3
"""``[IMG]``, ``[/IMG]`` and ``<image>``."""

# The published shapes of the language models that recipes name, so that a plan needs no download.
KNOWN_LANGUAGE_MODELS: dict[str, dict[str, Any]] = {
    "lmsys/vicuna-7b-v1.5": {
        "model_type": "llama",
        "vocab_size": 32_000,
        "hidden_size": 4096,
        "intermediate_size": 11_008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "max_position_embeddings": 4096,
        "tie_word_embeddings": False,
    },
    "Qwen/Qwen3-4B": {
        "model_type": "qwen3",
        "vocab_size": 151_936,
        "hidden_size": 2560,
        "intermediate_size": 9728,
        "num_hidden_layers": 36,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "max_position_embeddings": 40_960,
        "tie_word_embeddings": True,
    },
}


@dataclass(frozen=True)
class Counts:
    """Numbers of parameters.

    Attributes:
        trained, frozen: of the whole network.
        llm, tower, connector, heads: of its parts, without adapters.
        adapters: of LoRA.
        head: of the output head, V x H.
        largest: of the largest layer that ZeRO-3 gathers at once.
        patches, channels: what the tower says of a picture: [P, C].
    """

    trained: int
    frozen: int
    llm: int
    tower: int
    connector: int
    heads: int
    adapters: int
    head: int
    largest: int
    patches: int
    channels: int

    @property
    def total(self) -> int:
        return self.trained + self.frozen


def planned_config(settings: ModelSettings, tower_recipe: str | None = None) -> ChatSearcherConfig:
    """The configuration that a recipe's model will have; nothing is read but small files.

    Args:
        tower_recipe: the recipe that will train the tower where it is missing (nano).

    Raises:
        ValueError: a tower that is neither known nor there.
        OSError: a language model that is neither known nor to be had.
    """
    from chatsearcher.training.build import _common

    vocabulary = None
    if tower_recipe is not None:
        vocabulary = TOWERS[tower_recipe].tokenizer.vocab_size
    llm = _language_config(settings, vocabulary)
    tower = _tower_config(settings.tower, tower_recipe)
    size = tower["vision_cfg"]["image_size"]
    return ChatSearcherConfig(
        llm_config=llm,
        tower_config=tower,
        image_size=size if isinstance(size, int) else size[0],
        image_start_token_id=llm.vocab_size - 3,
        image_end_token_id=llm.vocab_size - 2,
        image_token_id=llm.vocab_size - 1,
        **_common(settings),
    )


@once_per_shape
def count(config: ChatSearcherConfig, adapter_rank: int = 0) -> Counts:
    """Count the parameters of a configuration; ``adapter_rank`` is LoRA's (0: none)."""
    with torch.device("meta"), torch.no_grad():
        llm: Any = AutoModelForCausalLM.from_config(config.llm_config)
        tower = VisionTower(config, "meta")
        tokens, pooled = tower(torch.empty(1, 3, config.image_size, config.image_size))
        connector = Connector(copy.deepcopy(config), tokens.shape[2], pooled.shape[1])
    head = llm.get_output_embeddings().weight
    hidden = config.llm_config.get_text_config().hidden_size
    heads = config.embedding_dim * (hidden + pooled.shape[1]) + 1
    parts = {"llm": _size(llm), "tower": _size(tower), "connector": _size(connector)}
    adapters = 0
    if adapter_rank:
        linear = [m for m in llm.modules() if isinstance(m, nn.Linear) and m.weight is not head]
        adapters = sum(adapter_rank * (m.in_features + m.out_features) for m in linear)
        tied = config.llm_config.get_text_config().tie_word_embeddings
        adapters += 2 * hidden * (1 if tied else 2)  # the rows of [IMG] and [/IMG]
    trained = parts["connector"] + heads + adapters
    if not adapter_rank:
        # A frozen language model still trains its token matrices, of which two rows get gradients.
        matrices = {id(w): w for w in (head, llm.get_input_embeddings().weight)}
        rows = sum(weight.numel() for weight in matrices.values())
        trained += rows if config.freeze_llm else parts["llm"]
    trained += 0 if config.freeze_tower else parts["tower"]
    total = sum(parts.values()) + heads + adapters
    return Counts(
        trained=trained,
        frozen=total - trained,
        **parts,
        heads=heads,
        adapters=adapters,
        head=head.numel(),
        largest=max(head.numel(), *(_size(layer) for layer in _layers(llm))),
        patches=tokens.shape[1],
        channels=tokens.shape[2],
    )


def _layers(llm: Any) -> list[nn.Module]:
    return list(decoder_layers(llm))


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _language_config(settings: ModelSettings, vocabulary: int | None) -> PreTrainedConfig:
    given = settings.llm
    if given.pretrained is None:
        from chatsearcher.training.new_llama import llama_config

        return llama_config(given, (vocabulary or 32_000) + NEW_TOKENS)
    if given.pretrained in KNOWN_LANGUAGE_MODELS:
        values = dict(KNOWN_LANGUAGE_MODELS[given.pretrained])
        config: Any = AutoConfig.for_model(values.pop("model_type"), **values)
    else:
        config = AutoConfig.from_pretrained(given.pretrained)
    if given.pretrained == "lmsys/vicuna-7b-v1.5":  # its rows are not padded
        config.vocab_size += NEW_TOKENS
    return config


def _tower_config(source: str, tower_recipe: str | None) -> dict[str, Any]:
    about = Path(source) / "open_clip_config.json"
    if about.is_file():
        found = json.loads(about.read_text(encoding="utf-8"))["model_cfg"]
    elif tower_recipe is not None:
        tower = TOWERS[tower_recipe].tower
        found = {"embed_dim": tower.embedding_dim, "vision_cfg": tower.vision_config()}
    else:
        import open_clip

        found = open_clip.get_model_config(source.rpartition("/")[0])
        if found is None:
            raise ValueError(
                f"the tower {source!r} is neither a folder in open_clip's layout nor NAME/WEIGHTS "
                "of open_clip, such as 'ViT-L-14/openai'"
            )
    return {key: value for key, value in found.items() if key != "text_cfg"}
