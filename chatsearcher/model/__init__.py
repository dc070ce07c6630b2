"""The ChatSearcher network: tensors only. Importing this registers it with the Auto classes."""

from transformers import AutoConfig, AutoProcessor

from chatsearcher.model.batch import Batch, image_id_hash
from chatsearcher.model.configuration import ChatSearcherConfig
from chatsearcher.model.processing import (
    ChatSearcherProcessor,
    EncodedImage,
    EncodedSample,
    Segment,
)

AutoConfig.register(ChatSearcherConfig.model_type, ChatSearcherConfig, exist_ok=True)
AutoProcessor.register(ChatSearcherConfig, ChatSearcherProcessor, exist_ok=True)

__all__ = [
    "Batch",
    "ChatSearcherConfig",
    "ChatSearcherProcessor",
    "EncodedImage",
    "EncodedSample",
    "Segment",
    "image_id_hash",
]
