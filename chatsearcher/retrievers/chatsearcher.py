"""ChatSearcher as a retriever and an assistant: a saved model folder, ready to search and talk."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from transformers.utils import logging

from chatsearcher.device import pick_device, pick_dtype
from chatsearcher.dialogue import Dialogue, Text, Turn
from chatsearcher.model import ChatSearcherModel, ChatSearcherProcessor, EncodedSample, Segment
from chatsearcher.model.generation import ChatSession
from chatsearcher.model.likelihood import log_likelihoods
from chatsearcher.model.quantization import is_placed
from chatsearcher.model.reformulation import reformulate
from chatsearcher.retriever import Metric, Reply
from chatsearcher.retrievers import weights_fingerprint

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

CALIBRATION = "calibration.json"  # written by eval/calibrate.py
SESSIONS = 8  # conversations whose keys and values are kept


class ChatSearcherRetriever:
    """A trained ChatSearcher.

    Args:
        model: any :class:`ChatSearcherModel`; it is put into evaluation mode and moved.
        processor: the one it was trained with.
        device: where to compute; the best there is by default.
        dtype: of the weights; by default what the device multiplies fast. Neither counts for a
            model that was loaded with ``device_map`` or in 8 or 4 bits.
        image_batch: pictures encoded at once.
        token_budget: positions (rows x longest row) of dialogues encoded at once.
        max_new_tokens: the longest answer in words.

    Attributes:
        no_match_threshold: the score below which nothing fits; None where it is not calibrated.
        search_threshold: the probability of a picture from which one is shown; None leaves the
            decision to the likeliest token.
        reformulates: whether queries are words that the model writes, then ``[IMG]``.
        truncated_texts: none, ever: a dialogue that is too long to be a query is refused.
    """

    metric: Metric = "cosine"
    truncated_texts = 0

    def __init__(
        self,
        model: ChatSearcherModel,
        processor: ChatSearcherProcessor,
        device: str | torch.device | None = None,
        dtype: torch.dtype | None = None,
        image_batch: int = 128,
        token_budget: int = 16_384,
        max_new_tokens: int = 64,
    ) -> None:
        self.device = pick_device(None if device is None else str(device))
        self.fingerprint = image_fingerprint(model)  # before the weights are narrowed
        self.model = model.eval().requires_grad_(False)
        if is_placed(model):  # device_map, 8 or 4 bits: it stays where and as it was loaded
            self.device = model.device
        else:
            self.model.to(device=self.device, dtype=dtype or pick_dtype(self.device))
        self.processor = processor
        self.image_batch = image_batch
        self.token_budget = token_budget
        self.max_new_tokens = max_new_tokens
        self.no_match_threshold: float | None = None
        self.search_threshold: float | None = None
        self.reformulates = bool(model.config.search_lead)
        self._sessions: OrderedDict[Turn, ChatSession] = OrderedDict()
        self._lock = threading.Lock()
        self.embedding_dim = int(model.config.embedding_dim)

    @property
    def dtype(self) -> torch.dtype:
        """What the language model computes in."""
        return next(self.model.llm.parameters()).dtype

    def encode_images(self, images: Sequence[PILImage]) -> np.ndarray:
        """RGB pictures of any size -> [N, D] float32 unit vectors."""
        parts = [np.zeros((0, self.embedding_dim), dtype=np.float32)]
        for start in range(0, len(images), self.image_batch):
            pixels = self.processor.pixel_values(images[start : start + self.image_batch])
            vectors = self.model.encode_images(pixels.to(self.device))
            parts.append(vectors.float().cpu().numpy())
        return np.concatenate(parts)

    def encode_queries(self, dialogues: Sequence[Dialogue]) -> np.ndarray:
        """Dialogues, pictures decoded -> [Q, D] float32 unit vectors.

        Dialogues of similar length are encoded together; the result does not depend on which. A
        model with a ``search_lead`` says first what it looks for, as in a conversation; set
        ``reformulates`` to False for queries without a word.

        Raises:
            ValueError: a picture that is not decoded, or a dialogue longer than the model reads.
        """
        samples = [
            self.processor.encode_query(dialogue, key=dialogue.id or str(number))
            for number, dialogue in enumerate(dialogues)
        ]
        self._check_lengths(samples, self.max_new_tokens if self.reformulates else 0)
        if self.reformulates:
            samples = self._reformulated(samples)
        vectors = np.zeros((len(samples), self.embedding_dim), dtype=np.float32)
        for rows in self._batches(samples):
            batch = self.processor.batch([samples[row] for row in rows]).to(self.device)
            vectors[rows] = self.model.encode_queries(batch).float().cpu().numpy()
        return vectors

    def reformulate(self, dialogues: Sequence[Dialogue]) -> list[str]:
        """What the model says it looks for, after each dialogue: its wish in one sentence.

        Raises:
            ValueError: a model without a ``search_lead``; as ``encode_queries``.
        """
        asked = [self.processor.encode_query(dialogue) for dialogue in dialogues]
        self._check_lengths(asked, self.max_new_tokens)
        written = self._reformulated(asked)
        return [
            self.processor.tokenizer.decode(
                sample.input_ids[len(before.input_ids) - 1 : -1], skip_special_tokens=True
            ).strip()
            for before, sample in zip(asked, written, strict=True)
        ]

    def _reformulated(self, samples: Sequence[EncodedSample]) -> list[EncodedSample]:
        found = list(samples)
        for rows in self._batches(samples):
            written = reformulate(
                self.model, self.processor, [samples[row] for row in rows], self.max_new_tokens
            )
            for row, sample in zip(rows, written, strict=True):
                found[row] = sample
        return found

    def reply(self, dialogue: Dialogue, on_text: Callable[[str], None] | None = None) -> Reply:
        """Answer the last user's turn: words, or a query vector where the model chose a picture.

        What an earlier call read of the same conversation is not read again. Threads wait for one
        another.

        Raises:
            ValueError: a dialogue that does not end in a user's turn, or a picture not decoded.
        """
        if not dialogue.turns or dialogue.turns[-1].role != "user":
            raise ValueError(
                "there is nothing to answer: expected a dialogue ending in a user's turn"
            )
        with self._lock:
            session = self._session(dialogue)
            session.read(dialogue)
            said = session.generate(
                self.max_new_tokens, on_text=on_text, search_threshold=self.search_threshold
            )
        query = None if said.query is None else said.query.float().numpy()
        return Reply(said.text, query, said.search_probability)

    def go_on(self, dialogue: Dialogue, on_text: Callable[[str], None] | None = None) -> str:
        """The words after the picture that was picked; none, where the answer ends with it.

        Args:
            dialogue: ends in the assistant's open answer, the picked picture last.

        Raises:
            ValueError: a dialogue that does not, or a picture not decoded.
        """
        if not dialogue.turns or dialogue.turns[-1].role != "assistant":
            raise ValueError(
                "there is no open answer: expected a dialogue ending in an assistant's"
            )
        *before, answer = dialogue.turns
        with self._lock:
            session = self._session(dialogue)
            session.read(replace(dialogue, turns=tuple(before)))
            said = self.processor.turn_segments(answer, opening=False)
            session.append(said[1:-1])  # without "ASSISTANT:", which stands there, and "</s>"
            return session.generate(self.max_new_tokens, on_text=on_text, allow_search=False).text

    def answer(self, dialogues: Sequence[Dialogue]) -> list[str]:
        """Words to the last user's turn of each dialogue, and never a picture.

        Raises:
            ValueError: as ``reply``.
        """
        said = []
        for dialogue in dialogues:
            if not dialogue.turns or dialogue.turns[-1].role != "user":
                raise ValueError("nothing to answer: expected a dialogue ending in a user's turn")
            with self._lock:
                session = self._session(dialogue)
                session.read(dialogue)
                said.append(session.generate(self.max_new_tokens, allow_search=False).text)
        return said

    def log_likelihoods(
        self, dialogues: Sequence[Dialogue], answers: Sequence[Sequence[str]]
    ) -> list[list[float]]:
        """How likely each of some answers is, for each dialogue.

        Returns:
            sums of log-probabilities over the answer's tokens and ``</s>``.

        Raises:
            ValueError: a picture that is not decoded, or a text longer than the model reads.
        """
        samples = []
        for number, (dialogue, texts) in enumerate(zip(dialogues, answers, strict=True)):
            for text in texts:
                segments = self.processor.dialogue_segments(dialogue, "none", True)
                segments.append(Segment(Text(" " + text), True))
                samples.append(self.processor.encode_segments(segments, dialogue.id or str(number)))
        self._check_lengths(samples)
        found = np.zeros(len(samples))
        for rows in self._batches(samples):
            batch = self.processor.batch([samples[row] for row in rows]).to(self.device)
            found[rows] = log_likelihoods(self.model, batch).numpy()
        ends = np.cumsum([len(texts) for texts in answers])[:-1]
        return [part.tolist() for part in np.split(found, ends)] if len(dialogues) else []

    def _session(self, dialogue: Dialogue) -> ChatSession:
        """The session of the conversation that began like this one, or a new one.

        Two conversations that begin alike share a session: each rewinds it to what they have in
        common, so that only time is lost.
        """
        session = self._sessions.pop(dialogue.turns[0], None)
        if session is None:
            session = ChatSession(self.model, self.processor)
        self._sessions[dialogue.turns[0]] = session
        while len(self._sessions) > SESSIONS:
            self._sessions.popitem(last=False)
        return session

    def _batches(self, samples: Sequence[EncodedSample]) -> Iterator[list[int]]:
        """Rows of similar length, the longest first, within the token budget."""
        order = sorted(range(len(samples)), key=lambda row: -len(samples[row].input_ids))
        start = 0
        while start < len(order):
            longest = len(samples[order[start]].input_ids)
            count = max(1, self.token_budget // longest)
            yield order[start : start + count]
            start += count

    def _check_lengths(self, samples: Sequence[EncodedSample], room: int = 0) -> None:
        """Refuse what the language model cannot read, ``room`` for words to come included."""
        config = self.model.config.llm_config.get_text_config()
        most = getattr(config, "max_position_embeddings", None)
        for sample in samples:
            if most is not None and len(sample.input_ids) + room > most:
                words = f" and {room} are kept for words" if room else ""
                raise ValueError(
                    f"dialogue {sample.key!r} has {len(sample.input_ids)} positions{words}, the "
                    f"language model reads {most}; leave out its oldest turns"
                )


def image_fingerprint(model: ChatSearcherModel) -> str:
    """A name for what decides the image vectors: tower, key projection, preprocessing."""
    tower = "tower." if model.average_tower is None else "average_tower."
    tensors = {
        name: tensor
        for name, tensor in model.state_dict().items()
        if name.startswith((tower, "key_projection."))
    }
    if model.key_projection.average is not None:  # the average encodes; the trained weight does not
        tensors.pop("key_projection.weight")
    config = model.config
    settings = {
        "tower": config.tower_config,
        "size": config.image_size,
        "mean": config.image_mean,
        "std": config.image_std,
    }
    return weights_fingerprint(tensors, settings)


def load(argument: str, device: str | None = None) -> ChatSearcherRetriever:
    """A saved ChatSearcher by its folder, or by the folder of the run that saved it.

    Raises:
        FileNotFoundError: the folder is not there, or holds no saved model.
        ValueError: a calibration of other weights.
    """
    folder = Path(argument)
    if not (folder / "config.json").is_file() and (folder / "model" / "config.json").is_file():
        folder /= "model"
    for name, what in (("config.json", "model"), ("processor_config.json", "processor")):
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"{folder} has no {name}; expected a {what} saved with save_pretrained, as "
                "train/stage2.py leaves it"
            )
    with _without_progress_bars():
        model = ChatSearcherModel.from_pretrained(folder, dtype="auto")
    processor = ChatSearcherProcessor.from_pretrained(folder)
    retriever = ChatSearcherRetriever(model, processor, device)
    retriever.no_match_threshold = read_threshold(folder, retriever.fingerprint)
    return retriever


@contextmanager
def _without_progress_bars() -> Iterator[None]:
    """A model of a second's loading needs no bar amid a command's own output."""
    enabled = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if enabled:
            logging.enable_progress_bar()


def read_threshold(folder: Path, fingerprint: str) -> float | None:
    """The calibrated threshold of a checkpoint, or None where there is none.

    Raises:
        ValueError: the file is of another shape, or belongs to other weights.
    """
    path = folder / CALIBRATION
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        threshold, theirs = float(record["no_match_threshold"]), record["fingerprint"]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error!r}; write it anew with eval/calibrate.py") from error
    if theirs != fingerprint:
        raise ValueError(
            f"{path} was made for other weights; run `python eval/calibrate.py {folder}` again"
        )
    return threshold
