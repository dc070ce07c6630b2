"""The ChatSearcher network: tensors only. Importing this registers it with the Auto classes."""

from transformers import AutoConfig, AutoModel, AutoProcessor

from chatsearcher.model import nano_tower as _nano_tower  # noqa: F401  (registers with timm)
from chatsearcher.model.batch import Batch, image_id_hash
from chatsearcher.model.configuration import ChatSearcherConfig
from chatsearcher.model.modeling import ChatSearcherModel, ChatSearcherOutput
from chatsearcher.model.processing import (
    ChatSearcherProcessor,
    EncodedImage,
    EncodedSample,
    Segment,
)

AutoConfig.register(ChatSearcherConfig.model_type, ChatSearcherConfig, exist_ok=True)
AutoModel.register(ChatSearcherConfig, ChatSearcherModel, exist_ok=True)
AutoProcessor.register(ChatSearcherConfig, ChatSearcherProcessor, exist_ok=True)

__all__ = [
    "Batch",
    "ChatSearcherConfig",
    "ChatSearcherModel",
    "ChatSearcherOutput",
    "ChatSearcherProcessor",
    "EncodedImage",
    "EncodedSample",
    "Segment",
    "image_id_hash",
]
