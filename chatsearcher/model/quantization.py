"""Loading in 8 or 4 bits (bitsandbytes): the language model alone, never the small parts.

from transformers import AutoModel, BitsAndBytesConfig

AutoModel.from_pretrained(path, quantization_config=BitsAndBytesConfig(load_in_4bit=True))
"""

from __future__ import annotations

import copy
from importlib.util import find_spec
from typing import Any

WHOLE = ("tower", "average_tower", "connector", "query_projection", "key_projection", "lm_head")
"""What stays as it is: a few hundred million weights that every picture and query goes through.

The tower could not be quantised anyway: its attention reads its output projection's weight past the
layer. The head's new rows are what decides between words and pictures.
"""


def protect_small_parts(options: dict[str, Any]) -> None:
    """Tell bitsandbytes what to leave alone, in the options of ``from_pretrained``.

    Who names ``llm_int8_skip_modules`` decides for himself.

    Raises:
        ImportError: bitsandbytes is not installed.
    """
    config = options.get("quantization_config")
    if config is None or not hasattr(config, "llm_int8_skip_modules"):
        return
    if find_spec("bitsandbytes") is None:
        raise ImportError(
            "loading in 8 or 4 bits needs the package bitsandbytes, which is not installed: "
            "pip install 'chatsearcher[quantize]'; or load in bfloat16 (dtype=torch.bfloat16)"
        )
    if config.llm_int8_skip_modules is None:
        config = copy.deepcopy(config)
        config.llm_int8_skip_modules = list(WHOLE)
        options["quantization_config"] = config


def is_placed(model: Any) -> bool:
    """Whether the model's devices or number formats were fixed when it was loaded."""
    return hasattr(model, "hf_device_map") or bool(getattr(model, "is_quantized", False))


def refuse_adapters(model: Any) -> None:
    """Say that adapters on a quantised language model are not saved with it.

    Raises:
        ValueError: the language model is quantised.
    """
    if getattr(model, "is_quantized", False):
        raise ValueError(
            "the language model is in 8 or 4 bits and has LoRA adapters; a quantised model is "
            "saved as it was loaded, without them. Train the adapters on a bfloat16 model, and "
            "quantise what train/export.py makes of it"
        )
