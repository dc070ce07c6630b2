"""The moves of a conversation: say, pick, more, none of these, attach, undo."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from chatsearcher.conversation.pictures import as_image
from chatsearcher.conversation.state import Answer, Candidate, Round, State
from chatsearcher.dialogue import Dialogue, Image, Part, Text, Turn
from chatsearcher.retriever import Assistant, Reply, Retriever

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

NOTHING_FITS = "Nothing in the gallery fits that."
NOTHING_LEFT = "There are no more candidates."


class Pictures(Protocol):
    """What a conversation needs of a gallery."""

    @property
    def ids(self) -> Sequence[str]: ...

    def thumbnail(self, id: str) -> PILImage: ...

    def thumbnail_jpeg(self, id: str) -> bytes: ...

    def source(self, id: str) -> str: ...

    def metadata(self, id: str) -> Mapping[str, Any]: ...


class Search(Protocol):
    """What a conversation needs of an index; rows count the gallery's ids."""

    def search(
        self, queries: np.ndarray, k: int, exclude: Sequence[Collection[int]] | None = None
    ) -> tuple[np.ndarray, np.ndarray]: ...


@runtime_checkable
class GoesOn(Protocol):
    """An assistant whose answer may go on in words after the picture that was picked."""

    def go_on(self, dialogue: Dialogue, on_text: Callable[[str], None] | None = None) -> str:
        """The words after the picture that ends the assistant's open answer; mostly none."""
        ...


class Conversation:
    """One person's conversation over one gallery. Conversations share nothing that changes.

    Args:
        system: an ``Assistant`` (words or pictures, as it decides), or a plain ``Retriever``, for
            which every message is a search.
        gallery: the pictures.
        index: searches the gallery's vectors; its rows are positions in ``gallery.ids``.
        k: candidates per page.
        threshold: the score below which nothing fits; None says that everything does.
        decode: id -> the picture as the model reads it in the history; the thumbnail by default.
    """

    def __init__(
        self,
        system: Assistant | Retriever,
        gallery: Pictures,
        index: Search,
        *,
        k: int = 5,
        threshold: float | None = None,
        decode: Callable[[str], PILImage] | None = None,
    ) -> None:
        if k < 1:
            raise ValueError(f"k is {k}; a page needs at least one candidate")
        self.gallery = gallery
        self.index = index
        self.k = k
        self.threshold = threshold
        self._decode = decode or gallery.thumbnail
        self._system = system
        self._row = {id: row for row, id in enumerate(gallery.ids)}
        self._states: list[State] = [State()]
        self._pixels: dict[str, PILImage] = {}

    # ------------------------------------------------------------------ what stands

    @property
    def state(self) -> State:
        return self._states[-1]

    @property
    def rounds(self) -> tuple[Round, ...]:
        return self.state.rounds

    @property
    def dialogue(self) -> Dialogue:
        """The history as the model reads it, with the last answer as it stands now."""
        return Dialogue(tuple(turn for one in self.rounds for turn in self._turns(one)))

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """The candidates that can be picked now."""
        return self.rounds[-1].shown if self.rounds else ()

    def row_of(self, id: str) -> int | None:
        """The gallery's row of a picture, or None."""
        return self._row.get(id)

    # ------------------------------------------------------------------ moves

    def attach(self, image: str | PILImage | Image) -> Image:
        """Put a picture (a file's path, or pixels) in front of the next message.

        Raises:
            FileNotFoundError, ValueError: no such file, or one that is not a picture.
        """
        picture = self._as_image(image)
        self._move(replace(self.state, attached=(*self.state.attached, picture)))
        return picture

    def say(
        self,
        text: str,
        images: Iterable[str | PILImage | Image] = (),
        on_text: Callable[[str], None] | None = None,
    ) -> Answer:
        """The person's message; attached pictures come before its words.

        Args:
            on_text: receives the assistant's words as they are made.

        Raises:
            ValueError: neither words nor a picture.
        """
        pictures = (*self.state.attached, *(self._as_image(image) for image in images))
        words = text.strip()
        if not words and not pictures:
            raise ValueError("the message is empty; write what you look for, or attach a picture")
        content: tuple[Part, ...] = (*pictures, *((Text(words),) if words else ()))
        user = Turn("user", content)
        dialogue = Dialogue((*self.dialogue.turns, user))
        reply = self._reply(dialogue, on_text)
        one = Round(
            user,
            text=reply.text,
            query=reply.query,
            search_probability=reply.search_probability,
        )
        state = replace(self.state, rounds=(*self.rounds, one), attached=())
        if reply.query is None:
            self._move(state)
            return Answer(reply.text, search_probability=reply.search_probability)
        page = self._search(one, self._left_out(state))
        fits = bool(page) and (self.threshold is None or page[0].score >= self.threshold)
        one = replace(one, shown=page if fits else (), fits=fits)
        self._move(replace(state, rounds=(*self.rounds, one)))
        words = one.text if fits else " ".join(part for part in (one.text, NOTHING_FITS) if part)
        return Answer(words, one.shown, fits, reply.search_probability)

    def pick(self, number: int, on_text: Callable[[str], None] | None = None) -> Answer:
        """Take a candidate as the assistant's answer; another pick of the same round replaces it.

        Args:
            on_text: receives the words with which the answer goes on, if there are any.

        Raises:
            ValueError: no candidate of that number is on offer.
        """
        one = self._searched()
        if not 1 <= number <= len(one.shown):
            offer = f"1 to {len(one.shown)} are" if one.shown else "none is"
            raise ValueError(f"there is no candidate {number}: {offer} shown; `more` shows others")
        one = replace(one, picked=number, continuation="")
        if isinstance(self._system, GoesOn):
            turns = [turn for each in (*self.rounds[:-1], one) for turn in self._turns(each)]
            words = self._system.go_on(Dialogue(tuple(turns)), on_text)
            one = replace(one, continuation=words)
        self._replace_last(one)
        return Answer(one.continuation)

    def more(self) -> Answer:
        """The next candidates of the same search; their numbers go on."""
        one = self._searched()
        left_out = self._left_out(self.state) | {candidate.id for candidate in one.shown}
        page = self._search(one, left_out, first=len(one.shown) + 1)
        if not page:
            return Answer(NOTHING_LEFT)
        self._replace_last(replace(one, shown=(*one.shown, *page)))
        return Answer("", page, one.fits, one.search_probability)

    def none_of_these(self) -> Answer:
        """Turn down every shown candidate, for good, and see the next ones, numbered from 1.

        Raises:
            ValueError: nothing is on offer.
        """
        one = self._searched()
        if not one.shown:
            raise ValueError("no candidates are shown; `more` shows them")
        rejected = (*one.rejected, *(candidate.id for candidate in one.shown))
        one = replace(one, shown=(), picked=None, continuation="", rejected=rejected)
        state = replace(self.state, rounds=(*self.rounds[:-1], one))
        one = replace(one, shown=self._search(one, self._left_out(state)))
        self._replace_last(one)
        return Answer("" if one.shown else NOTHING_LEFT, one.shown, one.fits)

    def undo(self) -> None:
        """Take back the last move (a message, a pick, `more`, `none of these`, an attachment).

        Raises:
            ValueError: there is nothing to take back.
        """
        if len(self._states) == 1:
            raise ValueError("there is nothing to undo")
        self._states.pop()

    def reset(self, state: State | None = None) -> None:
        """Start anew, from nothing or from a given state; there is nothing to undo then."""
        self._states = [state or State()]

    # ------------------------------------------------------------------ inside

    def _move(self, state: State) -> None:
        self._states.append(state)

    def _replace_last(self, one: Round) -> None:
        self._move(replace(self.state, rounds=(*self.rounds[:-1], one)))

    def _searched(self) -> Round:
        if not self.rounds or self.rounds[-1].query is None:
            raise ValueError("no pictures are on offer; say what you look for first")
        return self.rounds[-1]

    def _reply(self, dialogue: Dialogue, on_text: Callable[[str], None] | None) -> Reply:
        if isinstance(self._system, Assistant):
            return self._system.reply(dialogue, on_text)
        return Reply("", np.asarray(self._system.encode_queries([dialogue]))[0])

    def _left_out(self, state: State) -> frozenset[str]:
        """Rejected pictures and those that stand in the conversation before the open answer."""
        turns = [turn for one in state.rounds[:-1] for turn in self._turns(one, pixels=False)]
        turns.extend(one.user for one in state.rounds[-1:])
        return state.rejected | {image.id for turn in turns for image in turn.images}

    def _search(
        self, one: Round, left_out: Collection[str], first: int = 1
    ) -> tuple[Candidate, ...]:
        assert one.query is not None
        rows_out = [self._row[id] for id in left_out if id in self._row]
        query = np.asarray(one.query, dtype=np.float32)[None]
        scores, rows = self.index.search(query, self.k, exclude=[rows_out])
        found = [(int(row), float(score)) for row, score in zip(rows[0], scores[0], strict=True)]
        return tuple(
            self._candidate(number, row, score)
            for number, (row, score) in enumerate((pair for pair in found if pair[0] >= 0), first)
        )

    def _candidate(self, number: int, row: int, score: float) -> Candidate:
        id = self.gallery.ids[row]
        caption = self.gallery.metadata(id).get("caption")
        return Candidate(number, id, score, str(caption) if caption else None)

    def _turns(self, one: Round, pixels: bool = True) -> tuple[Turn, ...]:
        """The user's turn and the assistant's: words, a picture, or words and a picture."""
        content: list[Part] = [Text(one.text)] if one.text else []
        if one.answer is not None:
            content.append(self.picture(one.answer.id, pixels))
        elif one.query is not None:
            content.append(Text(NOTHING_FITS))
        if one.continuation:
            content.append(Text(one.continuation))
        return (one.user, Turn("assistant", tuple(content)))

    def picture(self, id: str, pixels: bool = True) -> Image:
        """A picture of the gallery as a part of a turn, decoded, with the place it was found."""
        if not pixels:
            return Image(id)
        if id not in self._pixels:
            self._pixels[id] = self._decode(id)
        return Image(id, self.gallery.source(id), self._pixels[id])

    def _as_image(self, image: str | PILImage | Image) -> Image:
        if isinstance(image, Image) and image.pixels is None and image.id in self._row:
            return self.picture(image.id)
        return as_image(image)

    # ------------------------------------------------------------------ files

    def save(self, path: str | Path) -> None:
        """Write the conversation as one line of the dialogue format; see ``records.save``."""
        from chatsearcher.conversation import records

        records.save(self, path)

    @classmethod
    def load(
        cls,
        path: str | Path,
        system: Assistant | Retriever,
        gallery: Pictures,
        index: Search,
        **options: Any,
    ) -> Conversation:
        """The conversation of a file, ready to go on; see ``records.load``."""
        from chatsearcher.conversation import records

        conversation = cls(system, gallery, index, **options)
        records.load(conversation, path)
        return conversation
