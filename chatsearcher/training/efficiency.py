"""How a recipe's engine settings reach the model: none of them changes what is learned."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from chatsearcher.training.distribution import precision_here, zero_stage
from chatsearcher.training.settings import EngineSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chatsearcher.data.feature_cache import FeatureCache
    from chatsearcher.model import ChatSearcherModel, ChatSearcherProcessor


@contextmanager
def engine_settings(
    model: ChatSearcherModel,
    engine: EngineSettings,
    device: torch.device,
    processor: ChatSearcherProcessor | None = None,
) -> Iterator[FeatureCache | None]:
    """The model with attention, loss, checkpointing and compilation as the settings say.

    Gives the cache of tower features that the data read from and the model fills, if any; it needs
    ``processor``, which prepares the pictures.

    Afterwards its configuration is as before: what is saved must load where no such kernel is.

    Raises:
        ImportError: a kernel that is not installed; the message names the extra.
        ValueError: settings that do not go together, or not with this device.
    """
    from chatsearcher.model.attention import check_attention
    from chatsearcher.model.words import choose

    if engine.attention != "auto":
        check_attention(engine.attention, device)
    if device.type != "cuda" and engine.word_loss == "liger":
        raise ValueError(
            f"word_loss 'liger' runs on CUDA GPUs, and this is {device.type}; use 'chunked'"
        )
    if engine.word_loss != "liger":  # that one is checked again once the model has moved
        choose(engine.word_loss, model.llm)
    if engine.compile and zero_stage(engine) == 3:
        raise ValueError(
            "compile with ZeRO 3: its gathering of weights breaks compiled layers apart; "
            "use --engine.zero 2, or leave compile off"
        )
    before = model.config.attention, model.config.word_loss
    if engine.attention != "auto":
        model.config.attention = engine.attention
    if engine.word_loss != "auto":
        model.config.word_loss = engine.word_loss
    if engine.activation_checkpointing:
        enable_checkpointing(model)
    if engine.compile:
        compile_layers(model.llm)
    cache = open_feature_cache(model, engine, processor)
    model.feature_sink = None if cache is None else cache.put
    try:
        yield cache
    finally:
        model.feature_sink = None
        model.config.attention, model.config.word_loss = before


def open_feature_cache(
    model: ChatSearcherModel, engine: EngineSettings, processor: ChatSearcherProcessor | None
) -> FeatureCache | None:
    """The cache that a recipe asks for, or None.

    Raises:
        ValueError: the tower is trained, the folder holds another tower's features, or nobody says
            how pictures are prepared.
    """
    if not engine.feature_cache:
        return None
    from chatsearcher.data.feature_cache import FeatureCache, tower_fingerprint

    config = model.config
    if not config.freeze_tower:
        raise ValueError(
            "engine.feature_cache keeps what a frozen tower says, and this one is trained; "
            "leave it off, or set --model.freeze-tower True"
        )
    if processor is None:
        raise ValueError(
            "engine.feature_cache is set, but no processor was given; features depend on how it "
            "prepares pictures: give engine_settings the processor of the run"
        )
    settings = {
        "tower": config.tower_config,
        "layer": config.tower_layer,
        "class_token": config.tower_class_token,
        "pictures": processor.image_processor.to_dict(),  # sizes, crop, resampling, mean, deviation
        "precision": precision_here(engine),
    }
    fingerprint = tower_fingerprint(model.tower, settings)
    return FeatureCache(engine.feature_cache, fingerprint, int(engine.feature_cache_gb * 1e9))


def enable_checkpointing(model: ChatSearcherModel) -> None:
    """Compute the language model's layers again in the backward pass, instead of keeping them."""
    newer: Any = getattr(model, "activation_checkpointing_enable", None)
    enable: Any = newer or model.gradient_checkpointing_enable
    enable()


def compile_layers(llm: Any) -> None:
    """Compile each layer of a language model by itself: equal layers share one compilation.

    The whole model has breaks (packed rows of any number of samples), and would take minutes.
    """
    from chatsearcher.model.language import decoder_layers

    for layer in decoder_layers(llm):
        layer.compile()
