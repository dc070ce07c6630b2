"""Pictures put in words: BLIP-2, or any image-to-text model that ``transformers`` knows.

``open_captioner`` reads a short text: ``NAME_OR_PATH``, a model of ``transformers``; or the name of
a rule in ``CAPTIONERS``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from chatsearcher.dialogue import Image
from chatsearcher.registry import Registry

PAPER = "Salesforce/blip2-opt-2.7b"
"""ChatSearch's captioner (section 3.1)."""

CAPTIONERS = Registry("captioner", {"world": "chatsearcher.world.captioned:TruthCaptioner"})
"""name -> class without arguments."""


@runtime_checkable
class Captioner(Protocol):
    """Says what is in pictures."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """All that decides its words."""
        ...

    @property
    def needs_pixels(self) -> bool:
        """Whether ``caption`` looks at the pixels, which must then be decoded."""
        ...

    def caption(self, pictures: Sequence[Image]) -> list[str]:
        """One sentence a picture, without line breaks; may be empty."""
        ...


class ImageToText:
    """A captioner of ``transformers``, one sentence by beam search.

    Args:
        name: a folder, or a name on the Hub (``Salesforce/blip2-opt-2.7b`` is the paper's).
        max_tokens: of a sentence at most.
        beams: how many beginnings are followed.
    """

    needs_pixels = True

    def __init__(
        self, name: str = PAPER, *, max_tokens: int = 40, beams: int = 5, device: str | None = None
    ) -> None:
        from transformers import AutoModelForImageTextToText, AutoProcessor

        from chatsearcher.device import pick_device, pick_dtype

        self.name = name
        self.max_tokens = max_tokens
        self.beams = beams
        self._device = pick_device(device)
        self._dtype = pick_dtype(self._device)
        self._processor = AutoProcessor.from_pretrained(name)
        model: Any = AutoModelForImageTextToText.from_pretrained(name, dtype=self._dtype)
        self._model = model.to(self._device).eval()

    @property
    def identity(self) -> Mapping[str, Any]:
        return {"captioner": self.name, "max_tokens": self.max_tokens, "beams": self.beams}

    def caption(self, pictures: Sequence[Image]) -> list[str]:
        """One sentence a picture.

        Raises:
            ValueError: a picture without pixels.
        """
        import torch

        missing = [picture.id for picture in pictures if picture.pixels is None]
        if missing:
            raise ValueError(f"picture {missing[0]!r} is not decoded")
        if not pictures:
            return []
        shown = [picture.pixels for picture in pictures]
        inputs = self._processor(images=shown, return_tensors="pt")
        inputs = inputs.to(self._device, self._dtype)
        with torch.inference_mode():
            written = self._model.generate(
                **inputs, max_new_tokens=self.max_tokens, num_beams=self.beams, do_sample=False
            )
        texts = self._processor.batch_decode(written, skip_special_tokens=True)
        return [" ".join(text.split()) for text in texts]


def open_captioner(spec: str, device: str | None = None) -> Captioner:
    """The captioner that a spec names (see the module's text)."""
    if spec in CAPTIONERS:
        made: Captioner = CAPTIONERS[spec]()
        return made
    return ImageToText(spec, device=device)
