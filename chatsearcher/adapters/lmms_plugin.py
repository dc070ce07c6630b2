"""What ``lmms-eval`` reads from the entry point ``lmms_eval.models``: names, not classes."""

from __future__ import annotations

from typing import Any


def manifest() -> Any:
    """``--model chatsearcher``: on its tasks of messages, and with ``--force_simple`` on those
    that ask how likely an answer is."""
    from lmms_eval.models.registry_v2 import ModelManifest

    return ModelManifest(
        model_id="chatsearcher",
        chat_class_path="chatsearcher.adapters.lmms_model.ChatModel",
        simple_class_path="chatsearcher.adapters.lmms_model.SimpleModel",
    )
