"""A new ChatSearcher from parts with public weights: language model, tower, Q-former.

from chatsearcher import ChatSearcher

parts = ChatSearcher.from_parts(
    llm="lmsys/vicuna-7b-v1.5",
    tower="ViT-L-14/openai",
    qformer="blip2_pretrained_vitL.pth",
)
print(parts.report)
parts.save_pretrained("my-chatsearcher")
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from chatsearcher.model.configuration import ChatSearcherConfig
from chatsearcher.model.modeling import ChatSearcherModel
from chatsearcher.model.processing import ChatSearcherProcessor
from chatsearcher.model.qformer_weights import PublicQFormer, check_width, read_qformer
from chatsearcher.model.tokenizer import IMAGE_END, IMAGE_START, IMAGE_TOKEN, add_image_tokens
from chatsearcher.model.tower import build_visual, has_class_token, token_dim
from chatsearcher.model.tower_weights import PublicTower, read_tower

PENULTIMATE = -2
"""The tower's layer that BLIP-2's Q-formers read (BLIP-2, section 3.1: the last one is dropped)."""


@dataclass(frozen=True)
class PartsReport:
    """What became of the weights.

    Attributes:
        taken: part -> names, as in our state dict, whose values come from the source.
        new: names whose values are new.
        left_over: part -> names, as in the source, of tensors that found no place.
        rows: tokens whose rows are new: the mean of the old ones.
    """

    taken: dict[str, tuple[str, ...]]
    new: tuple[str, ...]
    left_over: dict[str, tuple[str, ...]]
    rows: tuple[str, ...] = field(default=())

    def __str__(self) -> str:
        lines = [
            f"taken from {part}: {len(names)} tensors{_examples(names)}"
            for part, names in self.taken.items()
        ]
        lines.append(f"newly initialised: {len(self.new)} tensors{_examples(self.new)}")
        if self.rows:
            lines.append(f"new token rows, the mean of the old: {' '.join(self.rows)}")
        lines += [
            f"left over in {part}: {len(names)} tensors{_examples(names)}"
            for part, names in self.left_over.items()
            if names
        ]
        return "\n".join(lines)


class ChatSearcher(NamedTuple):
    """A model, its processor, and where its weights came from (None: a saved one)."""

    model: ChatSearcherModel
    processor: ChatSearcherProcessor
    report: PartsReport | None = None

    @classmethod
    def from_parts(
        cls,
        llm: str,
        tower: str,
        qformer: str | None = None,
        tokenizer: str | None = None,
        dtype: torch.dtype = torch.float32,
        **settings: Any,
    ) -> ChatSearcher:
        """Put public parts together; projections, retrieval head and new token rows are new.

        Args:
            llm: a causal language model's name or folder.
            tower: ``NAME/WEIGHTS`` of ``open_clip``, or a folder in its layout.
            qformer: see :func:`~chatsearcher.model.qformer_weights.read_qformer`; None for a new
                one (``qformer_config`` in ``settings``). A public one reads the tower's last layer
                but one, class token included, unless ``settings`` say otherwise.
            tokenizer: a name or folder; the language model's by default.
            dtype: of the language model.
            settings: further fields of ``ChatSearcherConfig``.

        Raises:
            FileNotFoundError: a part that is not there.
            ValueError: the Q-former was made for a tower of another width, or does not fit.
        """
        # The language model last: what is wrong with the others is said before gigabytes load.
        public = None if qformer is None else read_qformer(qformer)
        words = AutoTokenizer.from_pretrained(tokenizer or llm)
        known = len(words)
        new_tokens = [
            t for t in (IMAGE_START, IMAGE_TOKEN, IMAGE_END) if t not in words.get_vocab()
        ]
        add_image_tokens(words)
        ids: Any = words.convert_tokens_to_ids([IMAGE_START, IMAGE_END, IMAGE_TOKEN])
        start, end, image = ids
        seen = read_tower(tower)
        if public is not None:
            settings = _as_blip2(settings, public)
            width = _tokens_width(seen, settings["tower_layer"])
            check_width(public, str(qformer), width, tower)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            llm, dtype=dtype, output_loading_info=True
        )
        language_model, about_llm = loaded
        config = ChatSearcherConfig(
            llm_config=language_model.config,
            image_start_token_id=start,
            image_end_token_id=end,
            image_token_id=image,
            **{**seen.settings, **settings},
        )
        model = ChatSearcherModel(config, llm=language_model)
        model.tower.visual.load_state_dict(seen.weights)
        if public is not None:
            if "tower_class_token" not in settings:
                config.tower_class_token = model.tower.class_token = has_class_token(
                    model.tower.visual
                )
            load_qformer(model, public, str(qformer), tower)
        model.resize_tokens(len(words), known)
        model.reset_momentum()
        report = _report(model, about_llm, seen.left_over, public, new_tokens)
        return cls(model, ChatSearcherProcessor.from_config(config, words), report)

    @classmethod
    def from_pretrained(cls, source: str | Path, **options: Any) -> ChatSearcher:
        """A saved model and its processor; ``options`` go to the model (``dtype``, ``device_map``,
        ``quantization_config`` …)."""
        model = ChatSearcherModel.from_pretrained(source, **options)
        return cls(model, ChatSearcherProcessor.from_pretrained(source))

    def save_pretrained(self, folder: str | Path, **options: Any) -> None:
        """Model and processor in one folder; ``options`` such as ``max_shard_size``."""
        self.model.save_pretrained(folder, **options)
        self.processor.save_pretrained(folder)


def load_qformer(
    model: ChatSearcherModel, public: PublicQFormer, source: str, tower: str = ""
) -> None:
    """Put a Q-former's weights into the model's connector.

    Raises:
        ValueError: it reads features of another width than the tower's, or tensors are missing.
    """
    check_width(public, source, model.tower.token_dim, tower)
    own = ("cls_projection.", "query_projection.")
    result = model.connector.load_state_dict(public.weights, strict=False)
    missing = [k for k in result.missing_keys if not k.startswith((*own, "token_norm."))]
    if missing or result.unexpected_keys:
        raise ValueError(
            f"the Q-former of {source} does not fit: missing {missing[:3]}, unexpected "
            f"{result.unexpected_keys[:3]} (of {len(missing)} and {len(result.unexpected_keys)})"
        )


def _tokens_width(tower: PublicTower, layer: int | None) -> int:
    with torch.device("meta"):
        return token_dim(build_visual(tower.settings["tower_config"]), layer)


def _as_blip2(settings: dict[str, Any], public: PublicQFormer) -> dict[str, Any]:
    """The settings with the Q-former's own sizes, fed as BLIP-2 fed it."""
    dropout = settings.get("qformer_config") or {}
    kept = {key: value for key, value in dropout.items() if key.endswith("dropout_prob")}
    return {
        "tower_layer": PENULTIMATE,
        **settings,
        "qformer_config": {**public.config, **kept},
        "num_query_tokens": public.weights["query_tokens"].shape[1],
        "token_norm_eps": public.norm_eps,
    }


def _report(
    model: ChatSearcherModel,
    about_llm: dict[str, Any],
    tower_left_over: tuple[str, ...],
    public: PublicQFormer | None,
    new_tokens: list[str],
) -> PartsReport:
    missing = {f"llm.{name}" for name in about_llm["missing_keys"]}
    ours = [name for name, _ in model.named_parameters()]
    from_qformer = {f"connector.{name}" for name in (public.weights if public else ())}

    def of(prefix: str, among: Iterable[str] = ours) -> tuple[str, ...]:
        return tuple(name for name in among if name.startswith(prefix))

    taken = {
        "the language model": tuple(name for name in of("llm.") if name not in missing),
        "the tower": of("tower."),
        "the Q-former": tuple(name for name in ours if name in from_qformer),
    }
    held = {name for names in taken.values() for name in names}
    return PartsReport(
        taken={part: names for part, names in taken.items() if names},
        new=tuple(name for name in ours if name not in held),
        left_over={
            "the language model": tuple(about_llm["unexpected_keys"]),
            "the tower": tower_left_over,
            "the Q-former": public.left_over if public else (),
        },
        rows=tuple(new_tokens),
    )


def _examples(names: tuple[str, ...]) -> str:
    return f" ({', '.join(names[:4])}{', …' if len(names) > 4 else ''})" if names else ""
