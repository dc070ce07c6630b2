"""BLIP and BLIP-2 as retrievers: the encoders that their image-text contrastive loss trained.

A spec is ``blip:MODEL[:text|image|both][,option=value…]``, or ``blip2:…``. MODEL is a name on the
Hugging Face Hub or a folder that ``save_pretrained`` wrote (model, tokenizer, image processor), of
``BlipForImageTextRetrieval`` (``Salesforce/blip-itm-base-coco``) or ``Blip2ForImageTextRetrieval``
(``Salesforce/blip2-itm-vit-g``). Weights are read from safetensors only; no remote code is run.

Options ``text``, ``pictures`` and ``weight`` are those of ``retrievers.dual.options``; besides:

- ``length``: the longest text in tokens, special ones included; 200 as in ChatIR's baseline. A
  longer text is cut at its end, as that baseline does, and counted in ``truncated_texts``. (The
  models saw captions in training: 30 tokens and a few more.)
- ``pool`` (``blip2``): how the vectors of a picture's query tokens become the one vector that a
  gallery holds: ``mean`` or ``first``. BLIP-2's own score is the largest cosine over the tokens,
  which no single vector gives: ``image_tokens`` and ``late_scores`` do, and
  ``eval/blip2_pooling.py`` measures the difference.

Sources: Li et al., BLIP, ICML 2022, and BLIP-2, ICML 2023 (image-text contrastive learning).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from torch.nn.functional import normalize

from chatsearcher.device import pick_device, pick_dtype
from chatsearcher.retrievers import weights_fingerprint
from chatsearcher.retrievers.dual.encoder import DualEncoder, unit
from chatsearcher.retrievers.dual.options import QueryOptions, parse_spec

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

Pool = Literal["mean", "first"]


@dataclass(frozen=True)
class BlipOptions(QueryOptions):
    """What of a dialogue becomes the query, and how much of it is read.

    Attributes:
        length: the longest text in tokens.
    """

    length: int = 200
    kind = "blip"


@dataclass(frozen=True)
class Blip2Options(BlipOptions):
    """The same, and what becomes of a picture's query tokens.

    Attributes:
        pool: the mean of the tokens' unit vectors, or the first token's.
    """

    pool: Pool = "mean"
    kind = "blip2"
    choices: ClassVar[Mapping[str, Any]] = {**QueryOptions.choices, "pool": Pool}


class Network(ABC):
    """The two encoders of a loaded model.

    Args:
        model: of the class in ``transformers`` that the subclass names.
    """

    model_type: ClassVar[str]  # in config.json
    image_parts: ClassVar[tuple[str, ...]]  # prefixes of the weights that decide picture vectors

    def __init__(self, model: Any) -> None:
        self.model = model.eval().requires_grad_(False)

    @property
    @abstractmethod
    def positions(self) -> int:
        """The longest text that the text encoder can read, in tokens."""

    @abstractmethod
    def images(self, pixels: torch.Tensor) -> torch.Tensor:
        """[N, 3, H, W] -> [N, T, D] unit vectors, one a token that is compared with texts."""

    @abstractmethod
    def texts(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """[N, L] ids and 1 where they count -> [N, D] unit vectors."""


class BlipNetwork(Network):
    """``BlipForImageTextRetrieval`` without its matching head; T = 1."""

    model_type = "blip"
    image_parts = ("vision_model.", "vision_proj.")

    @property
    def positions(self) -> int:
        return int(self.model.config.text_config.max_position_embeddings)

    def images(self, pixels: torch.Tensor) -> torch.Tensor:
        hidden = self.model.vision_model(pixel_values=pixels).last_hidden_state
        return normalize(self.model.vision_proj(hidden[:, :1]), dim=-1)

    def texts(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        hidden = self.model.text_encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        return normalize(self.model.text_proj(hidden[:, 0]), dim=-1)


class Blip2Network(Network):
    """``Blip2ForImageTextRetrieval`` without its matching head; T = 32 query tokens."""

    model_type = "blip-2"
    image_parts = ("vision_model.", "qformer.", "query_tokens", "vision_projection.")

    @property
    def positions(self) -> int:
        return int(self.model.config.qformer_config.max_position_embeddings)

    def images(self, pixels: torch.Tensor) -> torch.Tensor:
        seen = self.model.vision_model(pixel_values=pixels).last_hidden_state
        found = self.model.qformer(
            query_embeds=self.model.query_tokens.expand(len(pixels), -1, -1),
            encoder_hidden_states=seen,
            encoder_attention_mask=torch.ones(seen.shape[:2], dtype=torch.long, device=seen.device),
        )
        return normalize(self.model.vision_projection(found.last_hidden_state), dim=-1)

    def texts(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        read = self.model.qformer(
            query_embeds=self.model.embeddings(input_ids=ids), query_length=0, attention_mask=mask
        )
        return normalize(self.model.text_projection(read.last_hidden_state[:, 0]), dim=-1)


class BlipRetriever(DualEncoder):
    """A BLIP or BLIP-2 baseline.

    Args:
        network: its encoders.
        image_processor: of ``transformers``: pictures -> ``pixel_values``.
        tokenizer: of ``transformers``.
        options: what of a dialogue becomes the query.
        device: where to compute.
        dtype: of the products; by default what the device multiplies fast.
        batch: pictures or texts at once.

    Attributes:
        truncated_texts: how many texts were longer than ``options.length`` and so cut.

    Raises:
        ValueError: a length that the text encoder cannot read.
    """

    options: BlipOptions

    def __init__(
        self,
        network: Network,
        image_processor: Any,
        tokenizer: Any,
        options: BlipOptions | None = None,
        device: str | torch.device | None = None,
        dtype: torch.dtype | None = None,
        batch: int = 64,
    ) -> None:
        super().__init__()
        self.options = options or BlipOptions()
        if not 3 <= self.options.length <= network.positions:
            raise ValueError(
                f"{self.options.kind}: length={self.options.length}; this model reads from 3 to "
                f"{network.positions} tokens, the first and last of which are special"
            )
        self.device = pick_device(None if device is None else str(device))
        self.batch = batch
        self.truncated_texts = 0
        self._dtype = dtype or pick_dtype(self.device)
        self._network = network
        self._image_processor = image_processor
        self._tokenizer = tokenizer
        # The text's first token is read out, so that padding and cutting happen at its end.
        tokenizer.padding_side = tokenizer.truncation_side = "right"
        self._fingerprint: str | None = None
        network.model.to(self.device)
        self.embedding_dim = int(self.encode_texts(["a"]).shape[1])

    @property
    def pool(self) -> Pool:
        """What becomes of a picture's token vectors."""
        return getattr(self.options, "pool", "first")

    @property
    def fingerprint(self) -> str:
        """A hash of what decides the picture vectors: weights, preprocessing, pooling."""
        if self._fingerprint is None:
            tensors = {
                name: tensor
                for name, tensor in self._network.model.state_dict().items()
                if name.startswith(self._network.image_parts)
            }
            settings = {"preprocess": self._image_processor.to_dict(), "pool": self.pool}
            self._fingerprint = weights_fingerprint(tensors, settings)
        return self._fingerprint

    def encode_images(self, images: Sequence[PILImage]) -> np.ndarray:
        """Pictures -> [N, D] float32 unit vectors, pooled where the model gives several."""
        tokens = self.image_tokens(images)
        return tokens[:, 0] if self.pool == "first" else unit(tokens.mean(axis=1))

    def image_tokens(self, images: Sequence[PILImage]) -> np.ndarray:
        """Pictures -> [N, T, D] float32 unit vectors; T is 1 for BLIP, 32 for BLIP-2."""
        parts = []
        for start in range(0, len(images), self.batch):
            shown = list(images[start : start + self.batch])
            pixels = self._image_processor(images=shown, return_tensors="pt")["pixel_values"]
            parts.append(self._run(self._network.images, pixels))
        return np.concatenate(parts) if parts else np.zeros((0, 1, self.embedding_dim), np.float32)

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Texts -> [N, D] float32 unit vectors; what is longer than ``length`` is cut."""
        parts = []
        for start in range(0, len(texts), self.batch):
            read = self._tokenizer(
                list(texts[start : start + self.batch]),
                padding=True,
                truncation=True,
                max_length=self.options.length,
                return_tensors="pt",
            )
            parts.append(self._run(self._network.texts, read["input_ids"], read["attention_mask"]))
        return np.concatenate(parts) if parts else np.zeros((0, self.embedding_dim), np.float32)

    def fitted(self, texts: Sequence[str]) -> list[str]:
        """Turns joined as one text, counted where it will be cut."""
        whole = " ".join(texts)
        if len(self._tokenizer(whole, verbose=False)["input_ids"]) > self.options.length:
            self.truncated_texts += 1
        return [whole]

    @torch.inference_mode()
    def _run(self, encode: Any, *inputs: torch.Tensor) -> np.ndarray:
        with torch.autocast(self.device.type, self._dtype, enabled=self._dtype != torch.float32):
            vectors = encode(*(tensor.to(self.device) for tensor in inputs))
        return unit(vectors.float().cpu().numpy())


def late_scores(queries: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """BLIP-2's own score: the largest cosine over a picture's tokens.

    Args:
        queries: [Q, D] unit vectors.
        tokens: [N, T, D] unit vectors.

    Returns:
        [Q, N].
    """
    pictures, count, width = tokens.shape
    scores = queries @ tokens.reshape(pictures * count, width).T
    return np.asarray(scores.reshape(len(queries), pictures, count).max(axis=2))


def load_blip(argument: str, device: str | None = None) -> BlipRetriever:
    """``blip:…`` (see the module's text)."""
    return _load(argument, BlipOptions, BlipNetwork, "BlipForImageTextRetrieval", device)


def load_blip2(argument: str, device: str | None = None) -> BlipRetriever:
    """``blip2:…`` (see the module's text)."""
    return _load(argument, Blip2Options, Blip2Network, "Blip2ForImageTextRetrieval", device)


def _load(
    argument: str,
    options: type[BlipOptions],
    network: type[Network],
    class_name: str,
    device: str | None,
) -> BlipRetriever:
    import transformers

    name, chosen = parse_spec(argument, options)
    try:
        config, _ = transformers.PreTrainedConfig.get_config_dict(name)
        if not config:
            raise FileNotFoundError(f"there is no config.json in {name!r}.")
        if config.get("model_type") != network.model_type:
            raise ValueError(
                f"{chosen.kind}: {name!r} is a model of type {config.get('model_type')!r}; "
                f"expected {network.model_type!r}, saved by {class_name}"
            )
        image_processor = transformers.AutoImageProcessor.from_pretrained(name)
        tokenizer = transformers.AutoTokenizer.from_pretrained(name)
        model, read = getattr(transformers, class_name).from_pretrained(
            name, use_safetensors=True, dtype=torch.float32, output_loading_info=True
        )
    except OSError as error:
        raise FileNotFoundError(
            f"{chosen.kind}: {name!r} cannot be read: {error} Expected a folder, or a name on the "
            "Hub that can be reached, with config.json, model.safetensors, the tokenizer's files "
            "and preprocessor_config.json"
        ) from error
    _check_complete(chosen.kind, name, class_name, read)
    return BlipRetriever(network(model), image_processor, tokenizer, chosen, device)


def _check_complete(kind: str, name: str, class_name: str, read: Mapping[str, Any]) -> None:
    """``transformers`` fills what a file lacks with random numbers, and only warns."""
    lost = sorted(key for key in read["missing_keys"] if not key.endswith("position_ids"))
    if lost:
        raise ValueError(
            f"{kind}: the weights of {name!r} lack {len(lost)} tensors of {class_name}, such as "
            f"{lost[0]}; expected a model trained for image-text retrieval, not for captions"
        )
