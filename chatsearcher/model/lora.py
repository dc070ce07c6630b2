"""Low-rank adapters (PEFT) on the language model, together with the rows of ``[IMG]``, ``[/IMG]``.

The adapters are put into the language model in place, so everything that calls it goes on working.
PEFT's ``trainable_token_indices`` train the two tokens' rows and nothing else of the vocabulary:
without them the rows would stay frozen at the mean of the others, and with ``modules_to_save``
every row would be trained and saved. A saved model has the frozen language model under its plain
names, and the adapters in ``lora/`` as PEFT writes them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedModel
from transformers.utils import cached_file

if TYPE_CHECKING:
    from chatsearcher.model.upkeep import UpkeptModel

FOLDER = "lora"
# transformers takes a folder with an adapter_config.json for an adapter alone, and would look for
# the model elsewhere: hence a folder of their own.
WEIGHTS = "adapter_model.safetensors"
NAME = "default"
PREFIX = "base_model.model."
_OURS = (".lora_A.", ".lora_B.", ".trainable_tokens_")


@dataclass(frozen=True)
class LoraSettings:
    """Adapters on a language model.

    Attributes:
        rank: of the adapters.
        alpha: what they add is scaled by ``alpha / rank``.
        dropout: on what they read.
        targets: names of the linear layers that get one, or ``"all-linear"`` (but for the head).
    """

    rank: int = 16
    alpha: int = 32
    dropout: float = 0.0
    targets: str | tuple[str, ...] = "all-linear"

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f"a LoRA of rank {self.rank}; expected at least 1")


class Adapters:
    """The handle of the adapters that are in a language model."""

    def __init__(self, tuner: Any) -> None:
        self.tuner = tuner


def add(model: UpkeptModel, settings: dict[str, Any]) -> Adapters:
    """Put new adapters into the model's language model and note them in its configuration.

    New ones change nothing until they are trained.

    Raises:
        ImportError: PEFT is not installed.
        ValueError: the model has adapters already, or a setting is wrong.
    """
    if model.adapters is not None:
        raise ValueError("the model has LoRA adapters already; merge_lora folds them in")
    try:
        from peft import LoraConfig
        from peft.tuners.lora import LoraModel
    except ImportError as error:
        raise ImportError(
            "LoRA adapters need the package peft: pip install 'chatsearcher[train]'"
        ) from error
    chosen = LoraSettings(**settings)
    start, _, end = model.config.token_ids()
    targets = chosen.targets if isinstance(chosen.targets, str) else list(chosen.targets)
    config = LoraConfig(
        r=chosen.rank,
        lora_alpha=chosen.alpha,
        lora_dropout=chosen.dropout,
        target_modules=targets,
        trainable_token_indices={name: sorted({start, end}) for name in _token_layers(model.llm)},
        base_model_name_or_path=model.llm.name_or_path or None,
    )
    tuner = LoraModel(model.llm, config, NAME)
    model.config.lora = asdict(chosen)
    return Adapters(tuner)


def merge(model: UpkeptModel) -> None:
    """Fold the adapters and the trained rows into the language model's own weights.

    Raises:
        ValueError: there are none, or a merged weight is not finite.
    """
    if model.adapters is None:
        raise ValueError("the model has no LoRA adapters to merge")
    tied = bool(model.llm.config.get_text_config().tie_word_embeddings)
    model.adapters.tuner.merge_and_unload(safe_merge=True)
    if tied:
        model.llm.tie_weights()
    for weight in model.llm.parameters():
        weight.requires_grad_(weight.is_floating_point())
    model.config.lora = None


def freeze_all_but_adapters(llm: PreTrainedModel) -> None:
    """Let the adapters and the two tokens' rows be trained, and nothing else."""
    for name, weight in llm.named_parameters():
        weight.requires_grad_(any(part in f".{name}." for part in _OURS))


def plain_name(name: str) -> str:
    """A tensor's name as it is without adapters."""
    return name.replace(".token_adapter.base_layer.", ".").replace(".base_layer.", ".")


def is_adapter(name: str) -> bool:
    """Whether a tensor of a state dict belongs to the adapters."""
    return any(part in f".{name}." for part in _OURS)


def split(state: dict[str, Tensor], tied: bool) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """A state dict with adapters as (that of the model without them, the adapters').

    Args:
        tied: the head is the embedding matrix; its second name is left out.
    """
    plain = {plain_name(key): value for key, value in state.items() if not is_adapter(key)}
    if tied:
        plain.pop("llm.lm_head.weight", None)
    return plain, {key: value for key, value in state.items() if is_adapter(key)}


def save(
    model: UpkeptModel, folder: str | Path, state: dict[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """Write the adapters into ``folder/lora``; returns the state dict of all the rest.

    Args:
        state: the whole model's, where the model's own tensors are parted among ranks (ZeRO-3).

    Raises:
        ValueError: an adapter's tensor is empty, as ZeRO-3 leaves it where nobody gathered it.
    """
    from peft import get_peft_model_state_dict

    state = model.state_dict() if state is None else state
    tied = bool(model.llm.config.get_text_config().tie_word_embeddings)
    plain, adapters = split(state, tied)
    empty = [key for key, value in adapters.items() if not value.numel()]
    if empty or not adapters:
        raise ValueError(
            f"{len(empty)} of {len(adapters)} tensors of the adapters are empty (such as "
            f"{empty[:1]}): they were not gathered from the ranks; give save_pretrained "
            "state_dict=accelerator.get_state_dict(engine)"
        )
    llm: Any = model.llm
    own = get_peft_model_state_dict(
        llm,
        {key.removeprefix("llm."): value for key, value in state.items()},
        adapter_name=NAME,
        save_embedding_layers=False,  # "auto" would ask the Hub, and add the whole vocabulary
    )
    out = Path(folder) / FOLDER
    out.mkdir(parents=True, exist_ok=True)
    llm.peft_config[NAME].save_pretrained(str(out))
    tensors = {PREFIX + key: value.detach().cpu().contiguous() for key, value in own.items()}
    save_file(tensors, out / WEIGHTS, metadata={"format": "pt"})
    return plain


def load(model: UpkeptModel, source: Any) -> None:
    """Put saved adapters into a model that was loaded without them, if its configuration has any.

    Raises:
        FileNotFoundError: the configuration speaks of adapters that are not there.
    """
    if model.config.lora is None:
        return
    found = cached_file(
        str(source), WEIGHTS, subfolder=FOLDER, _raise_exceptions_for_missing_entries=False
    )
    if found is None:
        raise FileNotFoundError(
            f"{source} was saved with LoRA adapters, but {FOLDER}/{WEIGHTS} is not there; copy the "
            "whole folder"
        )
    put(model, load_file(found))


def put(model: UpkeptModel, tensors: dict[str, Tensor]) -> None:
    """Adapters as PEFT names them, into a model whose configuration describes them.

    Raises:
        ValueError: some are missing, or do not fit.
    """
    from peft import set_peft_model_state_dict

    model.adapters = add(model, dict(model.config.lora or {}))
    expected = sum(is_adapter(name) for name, _ in model.llm.named_parameters())
    if len(tensors) != expected:
        raise ValueError(
            f"{len(tensors)} tensors of adapters, expected {expected}: the adapters are of another "
            "language model, or were saved without the rows of [IMG] and [/IMG]"
        )
    llm: Any = model.llm
    result: Any = set_peft_model_state_dict(
        llm, {key.removeprefix(PREFIX): value for key, value in tensors.items()}, adapter_name=NAME
    )
    if result.unexpected_keys:
        raise ValueError(f"adapters that do not fit: {result.unexpected_keys[:3]}")


def _token_layers(llm: PreTrainedModel) -> list[str]:
    """The names of the embedding layer and of the head, in this order."""
    wanted: list[Any] = [llm.get_input_embeddings(), llm.get_output_embeddings()]
    names = {id(module): name for name, module in llm.named_modules()}
    return list(dict.fromkeys(names[id(layer)] for layer in wanted))
