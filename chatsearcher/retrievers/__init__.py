"""Systems that find pictures, by name.

``load_retriever`` reads a short text:

- ``nano``: the checkpoint that ships with the package;
- ``path/to/folder``: a saved ChatSearcher, or the run that saved it (``runs/nano/stage2``);
- ``clip:PATH_OR_TOWER/WEIGHTS[:text|image|both][,option=value…]``: a CLIP baseline, e.g.
  ``clip:ViT-B-32/openai:both,weight=0.3`` (see ``retrievers.clip``);
- ``blip:NAME_OR_FOLDER[:text|image|both][,option=value…]``, ``blip2:…``: BLIP and BLIP-2 by
  ``transformers``, e.g. ``blip:Salesforce/blip-itm-base-coco`` (see ``retrievers.blip``);
- ``precomputed:FILE.npz``: vectors made elsewhere.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chatsearcher.registry import Registry
from chatsearcher.retriever import Retriever

if TYPE_CHECKING:
    from torch import Tensor

# Each entry is a function (argument: str, device: str | None) -> Retriever.
RETRIEVERS = Registry(
    "retriever",
    {
        "blip": "chatsearcher.retrievers.blip:load_blip",
        "blip2": "chatsearcher.retrievers.blip:load_blip2",
        "chatsearcher": "chatsearcher.retrievers.chatsearcher:load",
        "clip": "chatsearcher.retrievers.clip:load",
        "precomputed": "chatsearcher.retrievers.precomputed:load",
    },
)
CHECKPOINTS = Path(__file__).resolve().parent.parent / "checkpoints"


def load_retriever(spec: str, device: str | None = None) -> Retriever:
    """The retriever that a spec names (see the module's text).

    Args:
        spec: a shipped checkpoint's name, a folder, or ``kind:argument``.
        device: a torch device's name; None picks the best one there is.

    Raises:
        FileNotFoundError: a folder or file that is not there.
        ValueError: an unknown kind or option.
    """
    if Path(spec).is_dir():
        return _load("chatsearcher", spec, device)
    kind, colon, argument = spec.partition(":")
    if colon:
        return _load(kind, argument, device)
    if "/" in spec or spec.startswith("."):
        raise FileNotFoundError(f"no such folder: {spec!r}; expected a saved ChatSearcher")
    shipped = CHECKPOINTS / spec
    if shipped.is_dir():
        return _load("chatsearcher", str(shipped), device)
    known = sorted(path.name for path in CHECKPOINTS.glob("*") if path.is_dir())
    if spec == "nano":
        raise FileNotFoundError(
            f"the checkpoint 'nano' is not at {shipped}; train it with `make train-nano`, or give "
            "the folder of a checkpoint that you have"
        )
    raise ValueError(
        f"unknown retriever {spec!r}; expected a checkpoint ({', '.join(known) or 'none shipped'}),"
        f" a folder, or KIND:ARGUMENT with KIND one of {', '.join(RETRIEVERS)}"
    )


def _load(kind: str, argument: str, device: str | None) -> Any:
    return RETRIEVERS[kind](argument, device)


def weights_fingerprint(tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> str:
    """A short name for weights and preprocessing: equal names, equal image vectors.

    A sha256 (hex) over named tensors and JSON-able settings.

    Tensors are hashed in float32, so that a model held in bf16 and the same one held in float32
    (with the same values) have one name, on any device.
    """
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach()
        if tensor.is_floating_point():
            tensor = tensor.float()
        tensor = tensor.cpu().contiguous()
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()
