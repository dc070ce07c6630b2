"""CLIP as a retriever of dialogues: by their text, by their pictures, or by both.

A spec is ``clip:MODEL[:text|image|both][,option=value…]``. MODEL is an ``open_clip`` name with its
weights (``ViT-B-32/openai``), or a folder in ``open_clip``'s own layout, as our tower training
saves it: ``open_clip_config.json``, ``open_clip_model.safetensors`` and a tokenizer.

Options:

- ``text``: ``last`` (the last user's turn), ``all`` (every turn, joined), ``user`` (every user's
  turn, joined), ``mean`` (the mean of the turns' vectors).
- ``long``: what becomes of a text longer than the model's context. ``divide`` (the default) loses
  nothing: it is divided at turns, then sentences, then words, and the mean of the pieces' vectors
  stands for it; ``divided_texts`` counts them. ``cut`` drops its end, as the published baselines of
  ChatIR do, whose late rounds CLIP therefore never reads; ``truncated_texts`` counts them.
- ``pictures``: ``last`` or ``mean`` (of all pictures of the dialogue).
- ``weight``: in ``both``, the share of the text in ``w·text + (1 − w)·pictures``, in [0, 1]. A
  dialogue without a picture is its text alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import numpy as np
import torch

from chatsearcher.device import pick_device, pick_dtype
from chatsearcher.retrievers import weights_fingerprint
from chatsearcher.retrievers.dual import options as dual
from chatsearcher.retrievers.dual.encoder import DualEncoder, unit
from chatsearcher.retrievers.dual.options import Mode, PictureChoice, QueryOptions, TextChoice

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

LongChoice = Literal["divide", "cut"]
WEIGHTS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)  # of the text in `both`, for tuning


@dataclass(frozen=True)
class ClipOptions(QueryOptions):
    """What of a dialogue becomes the query (see the module's text).

    Attributes:
        long: what becomes of a text longer than the context.
    """

    long: LongChoice = "divide"

    kind = "clip"
    choices: ClassVar[Mapping[str, Any]] = {**QueryOptions.choices, "long": LongChoice}


@dataclass
class ClipModel:
    """A loaded model and how to feed it.

    Attributes:
        network: with ``encode_image`` and ``encode_text``.
        preprocess: PIL RGB picture -> [3, H, W].
        tokenize: texts -> ids [N, context], cut at the context.
        token_count: text -> how many tokens it is uncut, special ones included.
        context: the longest text in tokens.
    """

    network: Any
    preprocess: Callable[[PILImage], torch.Tensor]
    tokenize: Callable[[list[str]], torch.Tensor]
    token_count: Callable[[str], int]
    context: int
    name: str


class ClipRetriever(DualEncoder):
    """A CLIP baseline.

    Args:
        model: from ``load_model``.
        options: what of a dialogue becomes the query.
        device: where to compute.
        batch: pictures or texts at once.

    Attributes:
        divided_texts: how many encoded texts were longer than the context and so divided.
        truncated_texts: how many of them were cut instead (``long=cut``).
    """

    options: ClipOptions

    def __init__(
        self,
        model: ClipModel,
        options: ClipOptions | None = None,
        device: str | torch.device | None = None,
        batch: int = 128,
    ) -> None:
        super().__init__()
        self.options = options or ClipOptions()
        self.device = pick_device(None if device is None else str(device))
        self.batch = batch
        self.divided_texts = self.truncated_texts = 0
        self._model = model
        self._dtype = pick_dtype(self.device)
        self._fingerprint: str | None = None
        model.network.eval().requires_grad_(False).to(self.device)
        self.embedding_dim = int(self.encode_texts(["a"]).shape[1])

    @property
    def fingerprint(self) -> str:
        """A hash of the vision tower's weights and its preprocessing."""
        if self._fingerprint is None:
            visual = self._model.network.visual.state_dict()
            preprocess = getattr(self._model.network.visual, "preprocess_cfg", None)
            self._fingerprint = weights_fingerprint(visual, {"preprocess": preprocess})
        return self._fingerprint

    def with_options(self, options: ClipOptions) -> ClipRetriever:
        """The same model with another choice of query; image vectors and text cache are shared."""
        other = object.__new__(ClipRetriever)
        other.__dict__.update(self.__dict__)
        other.options = options
        other.divided_texts = other.truncated_texts = 0
        return other

    def encode_images(self, images: Sequence[PILImage]) -> np.ndarray:
        """Pictures -> [N, D] float32 unit vectors."""
        parts = []
        for start in range(0, len(images), self.batch):
            pixels = torch.stack(
                [self._model.preprocess(image) for image in images[start : start + self.batch]]
            )
            pixels = pixels.to(self.device).contiguous(memory_format=torch.channels_last)
            parts.append(self._run(self._model.network.encode_image, pixels))
        return self._joined(parts)

    def fitted(self, texts: Sequence[str]) -> list[str]:
        """Turns -> pieces that each fit the context: one piece if all fit together, or if what is
        too long is to be cut by the tokenizer."""
        whole = " ".join(texts)
        if self._model.token_count(whole) <= self._model.context:
            return [whole]
        if self.options.long == "cut":
            self.truncated_texts += 1
            return [whole]
        self.divided_texts += 1
        return list(self._divided(texts))

    def _divided(self, texts: Iterable[str]) -> Iterable[str]:
        for text in texts:
            if self._model.token_count(text) <= self._model.context:
                yield text
                continue
            sentences = re.split(r"(?<=[.!?;])\s+", text)
            if len(sentences) > 1:
                yield from self._divided(sentences)
                continue
            words = text.split()
            if len(words) < 2:
                raise ValueError(
                    f"a single word of {len(text)} characters is longer than the context of "
                    f"{self._model.context} tokens"
                )
            half = len(words) // 2
            yield from self._divided([" ".join(words[:half]), " ".join(words[half:])])

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Texts -> [N, D] float32 unit vectors; what does not fit is cut at its end."""
        parts = []
        for start in range(0, len(texts), self.batch):
            ids = self._model.tokenize(list(texts[start : start + self.batch])).to(self.device)
            parts.append(self._run(self._model.network.encode_text, ids))
        return self._joined(parts)

    @torch.inference_mode()
    def _run(self, function: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> np.ndarray:
        with torch.autocast(self.device.type, self._dtype, enabled=self._dtype != torch.float32):
            out = function(x)
        return unit(out.float().cpu().numpy())

    def _joined(self, parts: list[np.ndarray]) -> np.ndarray:
        return np.concatenate(parts) if parts else np.zeros((0, self.embedding_dim), np.float32)


def load_model(name: str) -> ClipModel:
    """A CLIP from a folder in ``open_clip``'s layout, or by ``TOWER/WEIGHTS``.

    Raises:
        FileNotFoundError: a folder without the files it should have.
        ValueError: an unknown tower or weights.
    """
    import open_clip

    from chatsearcher.model import nano_tower as _nano_tower  # noqa: F401  (registers with timm)

    folder = Path(name)
    if folder.is_dir():
        for needed in ("open_clip_config.json",):
            if not (folder / needed).exists():
                raise FileNotFoundError(
                    f"{folder} has no {needed}; expected a folder in open_clip's layout, as "
                    "train/tower.py saves it"
                )
        source, weights = f"local-dir:{folder}", None
    else:
        source, _, tag = name.rpartition("/")
        if (source, tag) not in open_clip.list_pretrained():
            raise ValueError(
                f"clip: {name!r} is neither a folder that is there, nor TOWER/WEIGHTS of open_clip "
                "such as ViT-B-32/openai (see open_clip.list_pretrained())"
            )
        weights = tag
    network, preprocess = open_clip.create_model_from_pretrained(source, pretrained=weights)
    tokenizer = open_clip.get_tokenizer(source)
    context = int(getattr(network, "context_length", None) or tokenizer.context_length)
    return ClipModel(
        network=network,
        preprocess=preprocess,
        tokenize=tokenizer,
        token_count=_token_counter(tokenizer),
        context=context,
        name=name,
    )


def _token_counter(tokenizer: Any) -> Callable[[str], int]:
    """How many tokens a text takes uncut, for ``open_clip``'s two families of tokenizers."""
    if hasattr(tokenizer, "tokenizer"):
        return lambda text: len(tokenizer.tokenizer(tokenizer.clean_fn(text)).input_ids)
    return lambda text: len(tokenizer.encode(text)) + 2  # start and end of text


def parse_spec(argument: str) -> tuple[str, ClipOptions]:
    """``MODEL[:mode][,option=value…]`` -> (MODEL, options).

    Raises:
        ValueError: an unknown mode or option.
    """
    return dual.parse_spec(argument, ClipOptions)


def grid(mode: Mode, weights: Sequence[float] = WEIGHTS) -> list[str]:
    """Every combination of options that can matter in a mode, written as in a spec."""
    texts = [f"text={choice}" for choice in get_args(TextChoice)]
    pictures = [f"pictures={choice}" for choice in get_args(PictureChoice)]
    if mode == "text":
        return texts
    if mode == "image":
        return pictures
    return [f"{t},{p},weight={w:g}" for t in texts for p in pictures for w in weights]


def load(argument: str, device: str | None = None) -> ClipRetriever:
    """``clip:…`` (see the module's text)."""
    name, options = parse_spec(argument)
    return ClipRetriever(load_model(name), options, device)
