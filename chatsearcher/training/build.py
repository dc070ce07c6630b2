"""A new ChatSearcher from the settings of a recipe: its tower, connector and language model."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from safetensors.torch import load_file

from chatsearcher.training import distribution
from chatsearcher.training.new_llama import LanguageModelSettings

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from chatsearcher.model import ChatSearcherConfig, ChatSearcherModel, ChatSearcherProcessor


@dataclass(frozen=True)
class QFormerSettings:
    """A new Q-former (``Blip2QFormerModel``); where ``pretrained`` names one, its sizes count.

    Attributes:
        initialiser: "bert" draws all weights with a standard deviation of 0.02, "width" by
            :func:`chatsearcher.training.new_connector.draw_by_width`, for narrow ones.
    """

    pretrained: str | None = None
    hidden_size: int = 256
    layers: int = 2
    heads: int = 4
    intermediate_size: int = 512
    cross_attention_every: int = 1
    dropout: float = 0.0
    initialiser: Literal["bert", "width"] = "bert"


@dataclass(frozen=True)
class AdapterSettings:
    """Low-rank adapters (PEFT) on a frozen language model; rank 0: none, all of it is trained."""

    rank: int = 0
    alpha: int = 32
    dropout: float = 0.0
    targets: tuple[str, ...] = ("all-linear",)


@dataclass(frozen=True)
class ModelSettings:
    """How a new model is put together (see ``ChatSearcherConfig`` for what the words mean).

    Attributes:
        tower: a folder in open_clip's layout, or TOWER/WEIGHTS: ``ViT-L-14-quickgelu/openai``.
        tokenizer: a folder or a name; None: the language model's own.
        start: the ``model/`` folder of a finished stage of the same build, whose connector and
            language model it begins with; the retrieval head and the queue are new.
    """

    tower: str
    tokenizer: str | None = None
    start: str | None = None
    tower_layer: int | None = None
    tower_class_token: bool = False
    llm: LanguageModelSettings = field(default_factory=LanguageModelSettings)
    qformer: QFormerSettings = field(default_factory=QFormerSettings)
    query_tokens: int = 8
    embedding_dim: int = 256
    queue_size: int = 1000
    momentum: float = 0.99
    negatives: Literal["queue", "batch"] = "queue"
    retrieval_weight: float = 1.0
    temperature: float = 0.07
    freeze_tower: bool = True
    freeze_llm: bool = False
    lora: AdapterSettings = field(default_factory=AdapterSettings)
    search_lead: str = ""


def build_model(
    settings: ModelSettings, dtype: torch.dtype = torch.float32
) -> tuple[ChatSearcherModel, ChatSearcherProcessor]:
    """A new model and its processor; random numbers come from torch's global generator.

    Args:
        dtype: of a pretrained language model's weights; parts made here are float32.

    Raises:
        FileNotFoundError: the tower or the tokenizer is not there.
    """
    model, processor = _build(settings, dtype)
    lora = settings.lora
    if lora.rank:
        targets = "all-linear" if lora.targets == ("all-linear",) else lora.targets
        model.add_lora(rank=lora.rank, alpha=lora.alpha, dropout=lora.dropout, targets=targets)
    return model, processor


def _build(
    settings: ModelSettings, dtype: torch.dtype
) -> tuple[ChatSearcherModel, ChatSearcherProcessor]:
    if settings.llm.pretrained or settings.qformer.pretrained or not _is_folder(settings.tower):
        return _from_public_parts(settings, dtype)
    from chatsearcher.model import ChatSearcherModel
    from chatsearcher.training.new_connector import draw_by_width
    from chatsearcher.training.new_llama import first_weights

    tower = Path(settings.tower)
    about = json.loads((tower / "open_clip_config.json").read_text(encoding="utf-8"))
    tokenizer = load_tokenizer(settings.tokenizer or settings.tower)
    config = _config(settings, about, tokenizer)
    model = ChatSearcherModel(config)
    if settings.start is not None:
        _take_parts(model, Path(settings.start))
    else:
        first_weights(model.llm, settings.llm)
        if settings.qformer.initialiser == "width":
            draw_by_width(model.connector)
    weights = load_file(tower / "open_clip_model.safetensors")
    visual = {k.removeprefix("visual."): v for k, v in weights.items() if k.startswith("visual.")}
    model.tower.visual.load_state_dict(visual)
    model.reset_momentum()
    return model, _processor(config, tokenizer)


def _take_parts(model: ChatSearcherModel, folder: Path) -> None:
    """Connector and language model of a finished stage.

    Raises:
        FileNotFoundError: there is none in the folder.
        ValueError: it is of another build.
    """
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(
            f"no finished model in {folder}; python train/reading.py makes "
            "nano's, and --model.start None begins without"
        )
    from chatsearcher.model import ChatSearcherModel

    other = ChatSearcherModel.from_pretrained(folder)
    for name in ("connector", "llm"):
        try:
            getattr(model, name).load_state_dict(getattr(other, name).state_dict())
        except RuntimeError as error:
            raise ValueError(f"the {name} in {folder} is of another build: {error}") from error


def _is_folder(tower: str) -> bool:
    folder = Path(tower)
    if (folder / "open_clip_config.json").is_file():
        return True
    if folder.exists() or tower.startswith((".", "/", "runs/")):
        raise FileNotFoundError(
            f"no tower in {folder}: expected open_clip_config.json and "
            "open_clip_model.safetensors; train one with python train/tower.py"
        )
    return False


def _config(
    settings: ModelSettings, about: dict[str, Any], tokenizer: PreTrainedTokenizerBase
) -> ChatSearcherConfig:
    from chatsearcher.model import ChatSearcherConfig
    from chatsearcher.model.tokenizer import add_image_tokens
    from chatsearcher.training.new_llama import llama_config, special_tokens

    add_image_tokens(tokenizer)
    ids: Any = tokenizer.convert_tokens_to_ids(["[IMG]", "[/IMG]", "<image>"])
    start, end, image = ids
    model_cfg = {k: v for k, v in about["model_cfg"].items() if k != "text_cfg"}
    return ChatSearcherConfig(
        llm_config=llama_config(settings.llm, len(tokenizer), **special_tokens(tokenizer)),
        tower_config=model_cfg,
        image_size=model_cfg["vision_cfg"]["image_size"],
        image_mean=about["preprocess_cfg"]["mean"],
        image_std=about["preprocess_cfg"]["std"],
        image_start_token_id=start,
        image_end_token_id=end,
        image_token_id=image,
        **_common(settings),
    )


def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """A folder's tokenizer, or a public one by its name."""
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    if (Path(name) / "tokenizer.json").is_file():
        tokenizer: PreTrainedTokenizerBase = PreTrainedTokenizerFast.from_pretrained(name)
        return tokenizer
    if Path(name).exists() or name.startswith((".", "/", "runs/")):
        raise FileNotFoundError(
            f"no tokenizer.json in {name}; train/tower.py writes one in its run's tokenizer/"
        )
    return AutoTokenizer.from_pretrained(name)


def _processor(
    config: ChatSearcherConfig, tokenizer: PreTrainedTokenizerBase
) -> ChatSearcherProcessor:
    from chatsearcher.model import ChatSearcherProcessor

    return ChatSearcherProcessor.from_config(config, tokenizer)


def _from_public_parts(
    settings: ModelSettings, dtype: torch.dtype
) -> tuple[ChatSearcherModel, ChatSearcherProcessor]:
    from chatsearcher.model.assembly import ChatSearcher

    if settings.llm.pretrained is None:
        raise ValueError(
            f"tower {settings.tower!r} with a new language model: give --model.llm.pretrained a "
            "causal language model, or --model.tower a folder that train/tower.py saved"
        )
    for name, given, plain in (
        ("start", settings.start, None),
        ("llm.start", settings.llm.start, None),
        ("llm.initialiser", settings.llm.initialiser, "llama"),
        ("qformer.initialiser", settings.qformer.initialiser, "bert"),
    ):
        if given != plain:
            raise ValueError(
                f"--model.{name} {given} is for models whose every part is new; beside public "
                f"parts give --model.{name} {plain} (a finished run's model goes on with --start)"
            )
    parts = ChatSearcher.from_parts(
        llm=settings.llm.pretrained,
        tower=settings.tower,
        qformer=settings.qformer.pretrained,
        tokenizer=settings.tokenizer,
        dtype=dtype,
        **_common(settings),
    )
    if distribution.is_main():
        print(parts.report, flush=True)
    return parts.model, parts.processor


def _common(settings: ModelSettings) -> dict[str, Any]:
    """The fields of ``ChatSearcherConfig`` that do not depend on where the parts come from."""
    qformer = settings.qformer
    return {
        "tower_layer": settings.tower_layer,
        "tower_class_token": settings.tower_class_token,
        "qformer_config": {
            "hidden_size": qformer.hidden_size,
            "num_hidden_layers": qformer.layers,
            "num_attention_heads": qformer.heads,
            "intermediate_size": qformer.intermediate_size,
            "cross_attention_frequency": qformer.cross_attention_every,
            "hidden_dropout_prob": qformer.dropout,
            "attention_probs_dropout_prob": qformer.dropout,
        },
        "num_query_tokens": settings.query_tokens,
        "embedding_dim": settings.embedding_dim,
        "queue_size": settings.queue_size,
        "momentum": settings.momentum,
        "search_lead": settings.search_lead,
        "negatives": settings.negatives,
        "retrieval_weight": settings.retrieval_weight,
        "temperature": settings.temperature,
        "freeze_tower": settings.freeze_tower,
        "freeze_llm": settings.freeze_llm,
    }


def load_run(
    folder: Path, dtype: torch.dtype = torch.float32
) -> tuple[ChatSearcherModel, ChatSearcherProcessor]:
    """The model and processor that a finished run saved in ``folder/model``.

    Raises:
        FileNotFoundError: the run has not finished, or never began.
    """
    from chatsearcher.model import ChatSearcherModel, ChatSearcherProcessor

    path = folder / "model"
    if not (path / "config.json").is_file():
        raise FileNotFoundError(
            f"no finished model in {path}; train stage 1 first (python train/stage1.py; for a "
            "further tuning stage 2 too), or give --start a run folder that has one"
        )
    model = ChatSearcherModel.from_pretrained(path, dtype=dtype)
    return model, ChatSearcherProcessor.from_pretrained(path)
