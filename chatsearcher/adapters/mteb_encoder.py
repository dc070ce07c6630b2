"""Any retriever as an encoder of MTEB (version 2), for its tasks of texts and pictures.

    import mteb
    from chatsearcher.adapters.mteb_encoder import RetrieverEncoder

    encoder = RetrieverEncoder("nano")  # whatever load_retriever reads, or a retriever
    mteb.evaluate(encoder, mteb.get_tasks(["Flickr30kT2IRetrieval"]))

Pictures of a gallery go through ``encode_images``, everything that is said through
``encode_queries``: a query's text, its picture and its earlier turns become a dialogue. A picture
that texts are searched with (image to text) stands on the gallery's side, as the texts do on the
query's. A document of both words and picture has no place in this: such tasks are refused.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from mteb.models import ModelMeta
from mteb.models.abs_encoder import AbsEncoder
from mteb.models.model_meta import ScoringFunction
from mteb.types import PromptType
from PIL import Image as PILImages
from torch.nn.functional import normalize

from chatsearcher.adapters.content import decoded, dialogue_of, shown
from chatsearcher.dialogue import Dialogue
from chatsearcher.retriever import Retriever
from chatsearcher.retrievers import load_retriever

if TYPE_CHECKING:
    from mteb.abstasks.task_metadata import TaskMetadata
    from torch.utils.data import DataLoader


class RetrieverEncoder(AbsEncoder):  # type: ignore[misc]
    """A retriever behind MTEB's ``EncoderProtocol``.

    Args:
        model_name: what ``load_retriever`` reads; with ``retriever``, only what to call it.
        revision: a name for the weights, under which MTEB keeps results; by default made from
            the vectors themselves.
        device: a torch device's name.
        retriever: a system already loaded.

    Attributes:
        model: the retriever.
    """

    def __init__(
        self,
        model_name: str,
        revision: str | None = None,
        *,
        device: str | None = None,
        retriever: Retriever | None = None,
        **unused: Any,
    ) -> None:
        if unused:
            raise ValueError(f"settings that mean nothing here: {', '.join(sorted(unused))}")
        self.model: Retriever = retriever or load_retriever(model_name, device)
        self.mteb_model_meta = _meta(model_name, revision or _revision(self.model), self.model)

    def encode(
        self,
        inputs: DataLoader[Any],
        *,
        task_metadata: TaskMetadata,
        hf_split: str,
        hf_subset: str,
        prompt_type: PromptType | None = None,
        **kwargs: Any,
    ) -> np.ndarray:
        """Texts, pictures, or both -> [N, D] float32, in the order of ``inputs``.

        Raises:
            ValueError: sound or moving pictures, documents of words and picture, or a query
                without what the retriever needs.
        """
        where = f"{task_metadata.name}, {hf_split}"
        parts = [np.zeros((0, self.model.embedding_dim), np.float32)]
        for batch in inputs:
            kinds = {kind for kind in ("text", "image", "audio", "video") if kind in batch}
            if not kinds or kinds - {"text", "image"}:
                raise ValueError(f"{where}: {', '.join(kinds) or 'nothing'} to encode; expected "
                                 "texts or pictures")  # fmt: skip
            if kinds == {"image"} and _is_gallery(task_metadata, prompt_type):
                pictures = [decoded(picture, where) for picture in batch["image"]]
                parts.append(self.model.encode_images(pictures))
                continue
            if kinds == {"text", "image"} and prompt_type == PromptType.document:
                raise ValueError(f"{where}: a picture of a gallery has no words beside it")
            parts.append(self.model.encode_queries(_dialogues(batch, where)))
        return np.concatenate(parts)

    def similarity(self, embeddings1: Any, embeddings2: Any) -> torch.Tensor:
        """Scores [N1, N2], the larger the better: the cosine, or the distance negated."""
        first, second = self._rows(embeddings1), self._rows(embeddings2)
        if self.model.metric == "l2":
            return -torch.cdist(first, second)
        return first @ second.T

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> torch.Tensor:
        """Scores [N] of corresponding rows."""
        first, second = self._rows(embeddings1), self._rows(embeddings2)
        if self.model.metric == "l2":
            return -(first - second).norm(dim=-1)
        return (first * second).sum(dim=-1)

    def _rows(self, vectors: Any) -> torch.Tensor:
        found = torch.as_tensor(vectors, dtype=torch.float32)
        found = found[None] if found.ndim == 1 else found
        return normalize(found, dim=-1) if self.model.metric == "cosine" else found


def _is_gallery(task: TaskMetadata, prompt_type: PromptType | None) -> bool:
    """Whether pictures alone stand on the gallery's side: always, but for queries that search
    pictures."""
    if prompt_type != PromptType.query:
        return True
    return "image" not in task.get_modalities(PromptType.document)


def _dialogues(batch: dict[str, Any], where: str) -> list[Dialogue]:
    """One dialogue a row: what was said before, then the picture, then the words."""
    count = len(batch["text"] if "text" in batch else batch["image"])
    found = []
    for row in range(count):
        pictures = [{"type": "image", "url": batch["image"][row]}] if "image" in batch else []
        if "conversation" in batch:
            turns = [dict(turn) for turn in batch["conversation"][row]]
        else:
            turns = [{"role": "user", "content": batch["text"][row] if "text" in batch else ""}]
        last = turns[-1]
        words = [{"type": "text", "text": last["content"]}] if last["content"] else []
        turns[-1] = {"role": last["role"], "content": [*pictures, *words]}
        found.append(dialogue_of(turns, f"{where}, row {row}"))
    return found


def _revision(retriever: Retriever) -> str:
    """The fingerprint names what decides the picture vectors; a probe's vector, rounded, tells the
    rest of the weights apart."""
    ramp = np.linspace(0, 255, 3 * 64 * 64).reshape(64, 64, 3).astype(np.uint8)
    probe = Dialogue().user(shown(PILImages.fromarray(ramp), "probe"), "a red cat on a beach")
    vector = np.round(retriever.encode_queries([probe]).astype(np.float64), 2) + 0.0
    return hashlib.sha256(retriever.fingerprint.encode() + vector.tobytes()).hexdigest()[:20]


def _meta(name: str, revision: str, retriever: Retriever) -> ModelMeta:
    """What MTEB wants to know of a model; what is not known is said to be so."""
    safe = "".join(letter if letter.isalnum() or letter in "-_.=" else "-" for letter in name)
    loader: Any = RetrieverEncoder  # its arguments are ours, not those of a name to be loaded
    return ModelMeta(
        loader=loader,
        name=f"chatsearcher/{safe.strip('-')}",
        revision=revision,
        release_date=None,
        languages=["eng-Latn"],
        n_parameters=None,
        memory_usage_mb=None,
        max_tokens=None,
        embed_dim=retriever.embedding_dim,
        license=None,
        open_weights=None,
        public_training_code=None,
        public_training_data=None,
        framework=["PyTorch"],
        similarity_fn_name=(
            ScoringFunction.COSINE if retriever.metric == "cosine" else ScoringFunction.EUCLIDEAN
        ),
        use_instructions=False,
        training_datasets=None,
        modalities=["text", "image"],
    )
