"""The settings of a ChatSearcher network, in one JSON file."""

from __future__ import annotations

import copy
from typing import Any, ClassVar, Literal

from transformers import AutoConfig, Blip2QFormerConfig, PreTrainedConfig

CLIP_MEAN = [0.48145466, 0.4578275, 0.40821073]
CLIP_STD = [0.26862954, 0.26130258, 0.27577711]
VIT_L_14 = {
    "embed_dim": 768,
    "vision_cfg": {"image_size": 224, "layers": 24, "width": 1024, "patch_size": 14},
    "quick_gelu": True,
}


class ChatSearcherConfig(PreTrainedConfig):
    """Tower, connector, language model and retrieval head (paper, section 4).

    The defaults are the paper's where it gives a value: CLIP ViT-L/14, BLIP-2's Q-former with 32
    queries, a LLaMA, a queue of 1,000.

    Attributes:
        llm_config: any causal language model's configuration, or its dictionary.
        tower_config: an ``open_clip`` model configuration (``embed_dim``, ``vision_cfg``, and
            perhaps ``quick_gelu``; ``text_cfg`` is ignored).
        image_size, image_mean, image_std: what the tower reads, as in its preprocessing.
        image_resize: ``"shortest"`` scales the shorter side and crops the middle, ``"squash"``
            scales both sides: as the tower's own preprocessing does.
        tower_layer: which intermediate output of the tower feeds the Q-former; None is the last.
        tower_class_token: whether its class token goes to the Q-former with the patches.
        token_norm_eps: of the layer norm between tower and Q-former.
        qformer_config: a ``Blip2QFormerConfig`` or its dictionary; ``encoder_hidden_size`` is set
            to the tower's own width.
        num_query_tokens: N, the Q-former tokens of a picture.
        embedding_dim: D, the width of the retrieval space.
        queue_size: K, the entries of the feature queue.
        momentum: decay of the moving average that encodes the keys, per optimiser step, in [0, 1);
            0 is the paper's equation 2.
        negatives: ``"queue"``, or ``"batch"`` for the pictures of the global batch alone.
        retrieval_weight: the weight of a picture's loss beside a word's; 1 in equation 1.
        temperature: tau at the start; it is learned.
        max_logit_scale: upper bound of 1 / tau.
        freeze_tower, freeze_llm: what is not trained. A frozen language model still learns the rows
            of ``[IMG]`` and ``[/IMG]``.
        attention: the language model's attention: ``"auto"`` (SDPA, or eager where that is faster),
            ``"eager"``, ``"sdpa"``, ``"varlen"`` (torch's own flash kernel for packed rows),
            ``"flash_attention_2"``, ``"flash_attention_3"``.
        word_loss: ``"plain"`` makes the logits of all words at once, ``"chunked"`` and ``"liger"``
            never; ``"auto"`` chooses by vocabulary and device (:mod:`chatsearcher.model.words`).
        lora: the settings of low-rank adapters on the language model
            (:mod:`chatsearcher.model.lora`); None where there are none.
        search_lead: words with which answers that show a picture begin, where the model was trained
            to say what it looks for before it does ("Looking for"); empty where it was not.
        image_start_token_id, image_end_token_id: ``[IMG]`` and ``[/IMG]``.
        image_token_id: ``<image>``, which holds the places of ``<CLS> q1 … qN``.
    """

    model_type = "chatsearcher"
    sub_configs: ClassVar[dict[str, Any]] = {
        "llm_config": AutoConfig,
        "qformer_config": Blip2QFormerConfig,
    }

    llm_config: Any = None
    tower_config: dict[str, Any] | None = None
    image_size: int = 224
    image_mean: list[float] | None = None
    image_std: list[float] | None = None
    image_resize: Literal["shortest", "squash"] = "shortest"
    tower_layer: int | None = None
    tower_class_token: bool = False
    token_norm_eps: float = 1e-6
    qformer_config: Any = None
    num_query_tokens: int = 32
    embedding_dim: int = 768
    queue_size: int = 1000
    momentum: float = 0.99
    negatives: Literal["queue", "batch"] = "queue"
    retrieval_weight: float = 1.0
    temperature: float = 0.07
    max_logit_scale: float = 100.0
    freeze_tower: bool = True
    freeze_llm: bool = False
    attention: str = "auto"
    word_loss: str = "auto"
    lora: dict[str, Any] | None = None
    search_lead: str = ""
    image_start_token_id: int | None = None
    image_end_token_id: int | None = None
    image_token_id: int | None = None
    initializer_range: float = 0.02

    def __post_init__(self, **kwargs: Any) -> None:
        self.tower_config = dict(self.tower_config or VIT_L_14)
        self.image_mean = list(self.image_mean or CLIP_MEAN)
        self.image_std = list(self.image_std or CLIP_STD)
        if self.llm_config is None:
            self.llm_config = AutoConfig.for_model("llama")
        elif isinstance(self.llm_config, dict):
            values = dict(self.llm_config)
            self.llm_config = AutoConfig.for_model(values.pop("model_type", "llama"), **values)
        else:
            # a copy: the base class sets the attention of its parts, and a language model that
            # shares its configuration would forget its own
            self.llm_config = copy.deepcopy(self.llm_config)
        if not isinstance(self.qformer_config, PreTrainedConfig):
            self.qformer_config = Blip2QFormerConfig(**(self.qformer_config or {}))
        self._check()
        super().__post_init__(**kwargs)

    def _check(self) -> None:
        missing = {"embed_dim", "vision_cfg"} - set(self.tower_config or {})
        if missing:
            raise ValueError(
                f"tower_config lacks {sorted(missing)}; expected an open_clip model configuration: "
                '{"embed_dim": 512, "vision_cfg": {...}}'
            )
        if not 0 <= self.momentum < 1:
            raise ValueError(
                f"momentum is {self.momentum}; expected 0 (off) or a decay below 1, such as 0.99"
            )
        for name in ("queue_size", "num_query_tokens", "embedding_dim", "image_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected at least 1")
        if self.image_resize not in ("shortest", "squash"):
            raise ValueError(
                f"image_resize is {self.image_resize!r}; expected 'shortest' or 'squash'"
            )
        if self.temperature <= 0:
            raise ValueError(f"temperature is {self.temperature}; expected a positive number")

    @property
    def image_length(self) -> int:
        """Positions that a picture takes: ``[IMG] <CLS> q1 … qN [/IMG]``."""
        return self.num_query_tokens + 3

    def token_ids(self) -> tuple[int, int, int]:
        """The ids of ``[IMG]``, ``<image>`` and ``[/IMG]``.

        Raises:
            ValueError: they have not been set.
        """
        ids = (self.image_start_token_id, self.image_token_id, self.image_end_token_id)
        if any(number is None for number in ids):
            raise ValueError(
                "the configuration has no ids for [IMG], <image>, [/IMG]; expected "
                "image_start_token_id, image_token_id and image_end_token_id "
                "(ChatSearcherProcessor.token_ids gives them)"
            )
        return ids  # type: ignore[return-value]
