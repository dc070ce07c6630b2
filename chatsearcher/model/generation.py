"""Talking to the model: a conversation whose keys and values are kept between turns.

session = ChatSession(model, processor)
session.user("show me a red bird")
answer = session.generate()          # words, or answer.query to search with
session.append_image(picked)         # the picture that was chosen
answer = session.generate()          # the answer goes on
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import DynamicCache

from chatsearcher.dialogue import Dialogue, Image, Part, Text, Turn
from chatsearcher.model import language
from chatsearcher.model.history import History
from chatsearcher.model.modeling import ChatSearcherModel
from chatsearcher.model.processing import (
    ASSISTANT,
    ChatSearcherProcessor,
    EncodedSample,
    Segment,
)
from chatsearcher.model.sampling import (
    TextStream,
    decide,
    draw,
    merge,
    never_generated,
    search_lead_ids,
)


@dataclass(frozen=True)
class Generated:
    """A piece of an answer.

    Attributes:
        text: the words, without special tokens.
        token_ids: what was generated.
        query: unit vector [D], float32 on the CPU, where the model chose to show a picture.
        search_probability: probability of ``[IMG]``, or of the words that lead to it, at the first
            position.
        stopped: by ``</s>``, by ``[IMG]``, or because there was no room.
    """

    text: str
    token_ids: tuple[int, ...]
    query: Tensor | None
    search_probability: float
    stopped: Literal["end", "image", "length"]


class ChatSession:
    """One conversation with one model. Sessions share nothing but the model's weights.

    What is added is read when the next token is asked for, in one pass.

    Args:
        model: in evaluation mode.
        processor: the model's.
        max_positions: the longest history; the language model's limit by default. When it is full,
            the oldest rounds are forgotten (``forgotten_rounds`` counts them).
        reserve: positions kept free for an answer when a turn is added.

    Raises:
        ValueError: a model in training mode.
    """

    _cache: DynamicCache
    _cached: int  # positions that the cache holds
    _last: tuple[Tensor, Tensor] | None  # logits and hidden state at the end, once read
    _words: dict[tuple[Turn, bool], EncodedSample]  # the last dialogue's turns of words, as tokens

    def __init__(
        self,
        model: ChatSearcherModel,
        processor: ChatSearcherProcessor,
        max_positions: int | None = None,
        reserve: int = 64,
    ) -> None:
        if model.training:
            raise ValueError("the model is in training mode; call model.eval() first")
        text_config = model.config.llm_config.get_text_config()
        limit = getattr(text_config, "max_position_embeddings", None)
        self.model = model
        self.processor = processor
        self.max_positions = min(max_positions or 1 << 30, limit or 1 << 30)
        self.reserve = min(reserve, self.max_positions // 4)
        self._start_id = model.config.token_ids()[0]
        self._eos_id = processor.tokenizer.eos_token_id
        self._lead = search_lead_ids(processor, model.config.search_lead)
        self._forbidden_V = never_generated(processor, self._start_id)
        self.reset()

    def reset(self) -> None:
        """Begin again, with nothing said."""
        self.forgotten_rounds = 0
        self._history = self._nothing()
        self._words = {}
        self._forget_cache()

    # ------------------------------------------------------------- what is said

    def __len__(self) -> int:
        """Positions of the history."""
        return len(self._history.ids)

    @property
    def token_ids(self) -> tuple[int, ...]:
        """The history's ids."""
        return tuple(self._history.ids)

    @property
    def waits_for_picture(self) -> bool:
        """Whether the history ends in an ``[IMG]`` without its picture."""
        return self._history.ids[-1:] == [self._start_id]

    def user(self, *content: str | Part) -> None:
        """Close the answer before, add a user's turn, and ask for an answer.

        Raises:
            ValueError: a turn longer than the longest history.
        """
        self.end_answer()
        parts = tuple(Text(part) if isinstance(part, str) else part for part in content)
        sample = self._encode(self.processor.turn_segments(Turn("user", parts), self._opening()))
        sample.input_ids += self._encode([Segment(Text(ASSISTANT), False)]).input_ids
        self._history.rounds.append(len(self))
        self._history.add(sample)
        self._last = None
        if self._fit(self._history, self.reserve):
            self._forget_cache()

    def append(self, segments: Sequence[Segment]) -> None:
        """Add pieces as they are, in no template."""
        self._drop_waiting()
        self._history.add(self._encode(segments))
        self._last = None
        if self._fit(self._history, 0):
            self._forget_cache()

    def append_image(self, image: Image) -> None:
        """Add the picture that was picked, in the place of an ``[IMG]`` that waits for one."""
        self.append([Segment(image, False)])

    def end_answer(self) -> None:
        """Close an open answer; an ``[IMG]`` that waits for its picture is dropped."""
        self._drop_waiting()
        if self._history.rounds and self._history.ids[-1] != self._eos_id:
            self._history.ids.append(self._eos_id)
            self._last = None

    def read(self, dialogue: Dialogue) -> int:
        """Make ``dialogue`` the history and ask for an answer, keeping what has been read already.

        Returns:
            how many positions were kept.
        """
        wanted = self._nothing()
        opening = True
        words: dict[tuple[Turn, bool], EncodedSample] = {}
        for turn in dialogue.turns:
            if turn.role == "user":
                wanted.rounds.append(len(wanted.ids))
            sample = self._words.get((turn, opening))
            if sample is None:
                sample = self._encode(self.processor.turn_segments(turn, opening))
            if not turn.images:  # a picture's pixels are not to be kept
                words[turn, opening] = sample
            wanted.add(sample)
            opening = turn.role == "assistant"
        self._words = words
        wanted.add(self._encode([Segment(Text(ASSISTANT), False)]))
        self._fit(wanted, self.reserve)
        kept = wanted.shared_with(self._history)
        for at, picture in self._history.pictures.items():
            if at + 1 < kept:
                wanted.pictures[at] = picture
        self.rewind(kept)
        self._history = wanted
        return kept

    def mark(self) -> int:
        """The present length: what :meth:`rewind` takes."""
        return len(self)

    def rewind(self, length: int) -> None:
        """Forget what was said after ``length`` positions (a round, a pick: undo).

        Raises:
            ValueError: a length that the history does not have.
        """
        if not 0 <= length <= len(self):
            raise ValueError(
                f"cannot rewind to {length} of {len(self)} positions; expected a number that "
                "mark() gave in this conversation, before any round was forgotten"
            )
        self._history.cut(length)
        self._crop(length)
        self._last = None

    # -------------------------------------------------------------- what it says

    def next_log_probabilities(self) -> Tensor:
        """Log-probabilities [V] of the next token; what is never generated has -inf."""
        logits_V = self._read()[0].float().cpu()[: len(self._forbidden_V)]
        return (logits_V + self._forbidden_V).log_softmax(dim=-1)

    def search_probability(self) -> float:
        """The probability that a picture comes, not words: of ``[IMG]`` or what leads to it."""
        return self._first_log_probabilities()[self._start_id].exp().item()

    def _first_log_probabilities(self) -> Tensor:
        """[V] of an answer's first token; the search lead counts as ``[IMG]``."""
        log_p_V = self.next_log_probabilities()
        return merge(log_p_V, self._start_id, self._lead[0]) if self._lead else log_p_V

    def query_vector(self) -> Tensor:
        """The retrieval query at the end of the history: unit vector [D], float32 on the CPU.

        Where the history does not end in ``[IMG]``, as if it did: the history stays as it is.
        """
        if self.waits_for_picture:
            return self.model.project_queries(self._read()[1][None])[0].detach().cpu()
        length = len(self)
        self._history.ids.append(self._start_id)
        self._last = None
        query_D = self.query_vector()
        self.rewind(length)
        return query_D

    @torch.no_grad()
    def generate(
        self,
        max_new_tokens: int = 64,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
        on_text: Callable[[str], None] | None = None,
        allow_search: bool = True,
        search_threshold: float | None = None,
    ) -> Generated:
        """Go on with the answer until ``</s>``, ``[IMG]``, or no room is left.

        Where the model has a ``search_lead``, an answer with a picture says what is looked for
        before it shows the picture.

        Args:
            max_new_tokens: most tokens to write.
            temperature: 0 takes the likeliest token; otherwise tokens are drawn.
            top_p: draw among the likeliest tokens that together have this probability.
            seed: of the drawing.
            on_text: receives the words as they are made; joined, they are ``text``.
            allow_search: whether the model may answer with a picture.
            search_threshold: at the first position, answer with a picture if its probability is at
                least this, whatever the likeliest token is.
        """
        generator = torch.Generator().manual_seed(seed)
        stream = TextStream(self.processor, on_text)
        written: list[int] = []
        lead: list[int] = []  # what is still to be said of the search lead
        leads = False
        first_probability = float("nan")
        stopped: Literal["end", "image", "length"] = "length"
        query_D = None
        room = min(max_new_tokens, self.max_positions - len(self))
        while len(written) < room:
            last = len(written) + 1 == room
            if leads and last:
                token = self._start_id
            elif lead:
                token = lead.pop(0)
            else:
                log_p_V = self.next_log_probabilities()
                if not written:
                    log_p_V = self._first_log_probabilities()
                    first_probability = log_p_V[self._start_id].exp().item()
                    if search_threshold is not None and allow_search:
                        keep = first_probability >= search_threshold
                        log_p_V = decide(log_p_V, self._start_id, keep)
                if not allow_search:
                    log_p_V = decide(log_p_V, self._start_id, False)
                token = draw(log_p_V, temperature, top_p, generator)
                if token == self._start_id and not (written or last) and self._lead:
                    leads = True
                    token, *lead = self._lead
                elif leads and token == self._eos_id:
                    token = self._start_id  # what was looked for is looked for
            written.append(token)
            self._history.ids.append(token)
            self._last = None
            if token == self._eos_id:
                stopped = "end"
                break
            if token == self._start_id:
                stopped = "image"
                query_D = self.query_vector()
                break
            stream.put(token)
        return Generated(stream.close(), tuple(written), query_D, first_probability, stopped)

    # ---------------------------------------------------------------- the cache

    @torch.no_grad()
    def _read(self) -> tuple[Tensor, Tensor]:
        """Read what has not been read: logits [V] and hidden state [H] of the last position."""
        if self._last is not None:
            return self._last
        history = self._history
        if not history.ids:
            raise ValueError("nothing has been said; expected at least one token before an answer")
        if self._cached >= len(history.ids):
            self._crop(len(history.ids) - 1)
        start = self._cached
        device = self.model.device
        ids_1T = torch.tensor([history.ids[start:]], device=device)
        embeddings_1TH = self.model.get_input_embeddings()(ids_1T)
        for at, visual_LH in self._visuals(start).items():
            begin = at + 1 - start
            embeddings_1TH[0, begin : begin + len(visual_LH)] = visual_LH.to(embeddings_1TH.dtype)
        length = ids_1T.shape[1]
        output = language.run(
            self.model.llm,
            embeddings_1TH,
            torch.arange(start, start + length, device=device)[None],
            torch.tensor([length - 1], device=device),
            attention=self.model.config.attention,
            cache=self._cache,
        )
        self._cached = len(history.ids)
        self._last = (output.logits_nV[0], output.hidden_BTH[0, -1])
        return self._last

    def _visuals(self, start: int) -> dict[int, Tensor]:
        """``<CLS> q1 … qN`` of the pictures from ``start`` on; new ones are seen in one batch."""
        pictures = {at: p for at, p in self._history.pictures.items() if at + 1 >= start}
        new = [picture for picture in pictures.values() if picture.visual_LH is None]
        if new:
            pixels = self.processor.stack_pixels([picture.pixels for picture in new])
            visuals_ILH = self.model.embed_images(pixels.to(self.model.device))
            for picture, visual_LH in zip(new, visuals_ILH, strict=True):
                picture.visual_LH, picture.pixels = visual_LH, None
        return {at: p.visual_LH for at, p in pictures.items() if p.visual_LH is not None}

    def _crop(self, length: int) -> None:
        surplus = self._cached - length
        if surplus <= 0:
            return
        # a window has dropped what would come back into it, and other kinds cannot go back at all
        layers: list[Any] = self._cache.layers
        if all(getattr(layer, "is_sliding", True) is False for layer in layers):
            self._cache.crop(-surplus)
            self._cached = length
        else:
            self._forget_cache()
        self._last = None

    def _forget_cache(self) -> None:
        self._cache = DynamicCache(config=self.model.llm.config)
        self._cached = 0
        self._last = None

    # ------------------------------------------------------------------ helpers

    def _nothing(self) -> History:
        bos = self.processor.tokenizer.bos_token_id
        return History([] if bos is None else [bos])

    def _opening(self) -> bool:
        return len(self) <= len(self._nothing().ids) or self._history.ids[-1] == self._eos_id

    def _encode(self, segments: Sequence[Segment]) -> EncodedSample:
        return self.processor.encode_segments(segments, bos=False, eos=False)

    def _drop_waiting(self) -> None:
        if self.waits_for_picture:
            self.rewind(len(self) - 1)

    def _fit(self, history: History, reserve: int) -> bool:
        """Forget the oldest rounds until there is room; returns whether any was forgotten."""
        before = self.forgotten_rounds
        while len(history.ids) + reserve > self.max_positions:
            if len(history.rounds) < 2:
                raise ValueError(
                    f"the last round alone takes {len(history.ids)} positions, and {reserve} are "
                    f"reserved for the answer, of {self.max_positions}; shorten the message, show "
                    "fewer pictures, or use a language model with a longer context"
                )
            history.forget_oldest_round()
            self.forgotten_rounds += 1
        return self.forgotten_rounds > before
