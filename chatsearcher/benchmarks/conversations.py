"""The interactive protocol: a simulated user answers what the system showed or asked.

Round 0 is the user's first turn. At each round the system's query is ranked over the whole gallery;
then the system acts, the user reacts, and the next round begins. The system acts in one of three
ways: it shows the picture that it found first, it lets a questioner ask about the picture that is
wanted, or, being an assistant, it decides itself between words and a picture.

Rules: a picture that was shown and refused is no candidate any more for that user; a user to whom
the wanted picture is shown is content, and the dialogue keeps its rank; ties go against the target.
Any simulator of ``chatsearcher.roles`` fits, recorded users too, and any gallery.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from chatsearcher.benchmarks.ranking import target_ranks
from chatsearcher.benchmarks.single_query import (
    LoadImage,
    check_vectors,
    encode_dialogues,
    with_pixels,
)
from chatsearcher.dialogue import Dialogue, Image
from chatsearcher.retriever import Assistant, Retriever
from chatsearcher.roles import Questioner, User, UserSimulator

if TYPE_CHECKING:
    from chatsearcher.index.exact import ExactIndex

Act = Literal["show", "ask", "reply"]
ACTS: tuple[Act, ...] = ("show", "ask", "reply")
CANDIDATES = 10  # what a questioner sees of the search


@dataclass(frozen=True)
class Setting:
    """Where the conversations take place.

    Attributes:
        gallery: picture ids, each once.
        load: id -> pixels.
        simulator: makes the users.
        targets: what the users want, one each.
        rounds: how often the user reacts; there is one rank more than that.
        act: what the system does at each round.
        questioner: asks, where ``act`` is ``ask``.
        seed: of the users.
    """

    gallery: tuple[str, ...]
    load: LoadImage
    simulator: UserSimulator
    targets: tuple[str, ...]
    rounds: int = 5
    act: Act = "show"
    questioner: Questioner | None = None
    seed: int = 0


@dataclass
class _Talk:
    """One conversation as it goes on; ``target`` and ``refused`` are rows of the gallery."""

    user: User
    target: int
    dialogue: Dialogue
    refused: set[int]
    over: bool = False


def converse(
    system: Retriever,
    setting: Setting,
    vectors: np.ndarray,
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[np.ndarray, list[Dialogue]]:
    """Let all users talk to the system, round by round.

    Args:
        vectors: [N, D] of the gallery.

    Returns:
        ([dialogues, rounds + 1] 1-based ranks, the dialogues as they ended).

    Raises:
        ValueError: a system that cannot act as asked, a target that is not in the gallery, or
            vectors of a wrong shape.
    """
    if setting.act == "reply" and not isinstance(system, Assistant):
        raise ValueError(
            f"act=reply needs an assistant; {type(system).__name__} only searches: use act=show "
            "or act=ask"
        )
    if setting.act == "ask" and setting.questioner is None:
        raise ValueError("act=ask needs a questioner; see chatsearcher.roles.QUESTIONERS")
    talks = _begun(setting)
    from chatsearcher.index.exact import ExactIndex  # brings torch in

    index = ExactIndex(vectors, metric=system.metric)
    ranks = np.zeros((len(talks), setting.rounds + 1), np.int64)
    for number in range(setting.rounds + 1):
        live = [place for place, talk in enumerate(talks) if not talk.over]
        if number:
            ranks[:, number] = ranks[:, number - 1]
        if live:
            some = [talks[place] for place in live]
            queries = _encode(system, [talk.dialogue for talk in some], setting.load)
            ranks[live, number] = target_ranks(
                queries,
                vectors,
                [talk.target for talk in some],
                metric=system.metric,
                exclude=[talk.refused for talk in some],
            )
            if number < setting.rounds:
                _go_on(system, setting, index, some, queries)
        if progress is not None:
            progress("rounds", number + 1, setting.rounds + 1)
    return ranks, [talk.dialogue for talk in talks]


def _begun(setting: Setting) -> list[_Talk]:
    rows = {name: row for row, name in enumerate(setting.gallery)}
    talks = []
    for number, target in enumerate(setting.targets):
        if target not in rows:
            raise ValueError(f"target {target!r} is not in the gallery")
        user = setting.simulator.user(target, setting.seed)
        # An id that tells nothing of the target.
        dialogue = replace(user.begin(), id=f"{number:04d}")
        talks.append(_Talk(user, rows[target], dialogue, set()))
    return talks


def _go_on(
    system: Retriever,
    setting: Setting,
    index: ExactIndex,
    talks: Sequence[_Talk],
    queries: np.ndarray,
) -> None:
    """The system's turn and the user's, in every conversation."""
    found: list[list[int]] = [[] for _ in talks]
    if setting.act != "reply":
        k = min(CANDIDATES if setting.act == "ask" else 1, len(setting.gallery))
        _, rows = index.search(queries, k, exclude=[talk.refused for talk in talks])
        found = [[row for row in best if row >= 0] for best in rows.tolist()]
    for talk, best in zip(talks, found, strict=True):
        said = _acted(system, setting, index, talk, best)
        answered = talk.user.respond(said)
        talk.over = answered is None
        talk.dialogue = said if answered is None else replace(answered, id=said.id)


def _acted(
    system: Retriever, setting: Setting, index: ExactIndex, talk: _Talk, best: list[int]
) -> Dialogue:
    """The dialogue with the system's turn; what it shows is refused unless it is the target."""
    words = ""
    if setting.act == "ask" and setting.questioner is not None:
        candidates = [Image(setting.gallery[row]) for row in best]
        words, best = setting.questioner.ask(talk.dialogue, candidates), []
    elif setting.act == "reply" and isinstance(system, Assistant):
        reply = system.reply(with_pixels(talk.dialogue, setting.load))
        words = reply.text
        if reply.query is not None:
            query = np.asarray(reply.query, np.float32)[None]
            _, rows = index.search(query, 1, exclude=[talk.refused])
            best = [row for row in rows[0].tolist() if row >= 0]
    talk.refused.update(row for row in best if row != talk.target)
    shown = [Image(setting.gallery[row]) for row in best]
    return talk.dialogue.assistant(*([words] if words else []), *shown)


def _encode(system: Retriever, dialogues: list[Dialogue], load: LoadImage) -> np.ndarray:
    if getattr(system, "image_vectors_of", None) is None:
        return encode_dialogues(system, dialogues, load)
    found = np.asarray(system.encode_queries(dialogues))
    check_vectors(found, len(dialogues), system, "encode_queries")
    return found
