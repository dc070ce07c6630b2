"""What a composed network needs besides its mathematics: token rows, adapters, freezing, files."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from chatsearcher.model import lora, quantization
from chatsearcher.model.configuration import ChatSearcherConfig
from chatsearcher.model.tower import AverageTower, VisionTower


class UpkeptModel(PreTrainedModel):
    """The upkeep of ``ChatSearcherModel``, which has the parts."""

    config: ChatSearcherConfig
    tower: VisionTower
    average_tower: AverageTower | None
    llm: Any
    adapters: lora.Adapters | None

    def get_input_embeddings(self) -> nn.Module:
        return self.llm.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.llm.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Module:
        return self.llm.get_output_embeddings()

    def resize_tokens(self, size: int, known: int | None = None) -> None:
        """Give the language model ``size`` rows; new ones start at the mean of the old ones.

        A language model that has more rows already keeps them (padded vocabularies). Before
        DeepSpeed takes the model, and before adapters, not after.

        Args:
            known: ids below this have learned rows; all rows by default. In a padded vocabulary the
                rows of new tokens are there already, and nobody has trained them.

        Raises:
            ValueError: the model has adapters.
        """
        if self.adapters is not None:
            raise ValueError(
                "the rows of a model with LoRA adapters cannot be resized: the adapters hold "
                "copies of the rows of [IMG] and [/IMG]; resize first, then add_lora"
            )
        old = len(self._token_weights()[0])
        if size > old:
            self.llm.resize_token_embeddings(size, mean_resizing=False)
            self.config.llm_config = self.llm.config
        known = min(old, old if known is None else known)
        layers: list[Any] = [self.get_input_embeddings(), self.get_output_embeddings()]
        stores = {id(layer.weight): layer.weight for layer in layers}
        stores |= {id(b): b for b in (getattr(x, "bias", None) for x in layers) if b is not None}
        with torch.no_grad():
            for rows in stores.values():
                if known < size:
                    rows[known:size] = rows[:known].float().mean(dim=0)
        self.apply_freezing()

    def add_lora(self, **settings: Any) -> None:
        """Low-rank adapters on the frozen language model: see :class:`.lora.LoraSettings`."""
        self.adapters = lora.add(self, settings)
        self.apply_freezing()

    def merge_lora(self) -> None:
        """Fold adapters and trained token rows into the language model, as if there were none."""
        lora.merge(self)
        self.adapters = None
        self.apply_freezing()

    def apply_freezing(self) -> None:
        """Set what is trained from the configuration (loading forgets it)."""
        self.tower.frozen = self.config.freeze_tower
        self.tower.requires_grad_(not self.config.freeze_tower).train(self.training)
        if self.average_tower is not None:
            self.average_tower.requires_grad_(False)
        if self.adapters is not None:
            lora.freeze_all_but_adapters(self.llm)
            return
        if not self.config.freeze_llm:
            return
        self.llm.requires_grad_(False)
        start, _, end = self.config.token_ids()
        for weight in self._token_weights():
            weight.requires_grad_(True)
            if not getattr(weight, "_only_image_rows", False):
                weight.register_hook(lambda gradient: _rows_only(gradient, (start, end)))
                weight._only_image_rows = True

    def _token_weights(self) -> list[Any]:
        """The input rows and the output rows: two matrices, or one where they are tied."""
        layers: list[Any] = [self.get_input_embeddings(), self.get_output_embeddings()]
        return list({id(layer.weight): layer.weight for layer in layers}.values())

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> Any:
        """As in ``transformers``; what is frozen stays frozen, and new averages start here."""
        wants_info = kwargs.pop("output_loading_info", False)
        load: Any = super().from_pretrained
        source = args[0] if args else kwargs.get("pretrained_model_name_or_path")
        quantization.protect_small_parts(kwargs)
        model, info = load(*args, output_loading_info=True, **kwargs)
        lora.load(model, source)
        if any(key.startswith("average_tower.") for key in info["missing_keys"]):
            model.average_tower.move(model.tower, 0.0)
        model.apply_freezing()
        return (model, info) if wants_info else model

    def save_pretrained(self, save_directory: Any, *args: Any, **kwargs: Any) -> None:
        """As in ``transformers``; adapters go to files of their own, as PEFT writes them."""
        if self.adapters is not None:
            quantization.refuse_adapters(self)
            state = kwargs.pop("state_dict", None)
            kwargs["state_dict"] = lora.save(self, save_directory, state)
        super().save_pretrained(save_directory, *args, **kwargs)


def _rows_only(gradient: Tensor, rows: tuple[int, ...]) -> Tensor:
    kept = torch.zeros_like(gradient)
    kept[list(rows)] = gradient[list(rows)]
    return kept
