"""Words or a picture? Whether an assistant answers a round in the kind that the round asks for.

Rounds of the picture world's conversations, of a stream that training does not draw from. In about
a third the right answer is words, and the wording alone does not give the kind away.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from typing import Any, Protocol

import numpy as np

from chatsearcher.benchmarks import Context
from chatsearcher.benchmarks.card import Card
from chatsearcher.benchmarks.metrics import balanced_accuracy, best_threshold, bootstrap_means
from chatsearcher.benchmarks.results import Result
from chatsearcher.benchmarks.single_query import with_pixels
from chatsearcher.benchmarks.world import WORLD, load_picture
from chatsearcher.dialogue import Dialogue
from chatsearcher.retriever import Assistant, Reply

PROTOCOL = "the assistant's own decision on each round, the dialogue so far given"


class Round(Protocol):
    """A dialogue that ends in a user's turn, and how it is to be answered."""

    @property
    def dialogue(self) -> Dialogue: ...

    @property
    def kind(self) -> str: ...  # "words" or "picture"

    @property
    def answer(self) -> str: ...  # the words, or the picture's id


class DecisionBenchmark:
    """Rounds of one split.

    Args:
        name: the benchmark's registered name.
        split: "test" or "val".
        count: how many rounds.
    """

    def __init__(self, name: str, split: str, count: int) -> None:
        self.name = name
        self.split = split
        self.count = count
        self.card = Card(
            name=name,
            data="nothing: the rounds are drawn as they are needed",
            sizes={"rounds": count},
            metrics=(
                "balanced accuracy",
                "pictures answered with a picture",
                "words answered in words",
                "word answers",
                "with the best threshold",
                "threshold",
            ),
            primary="balanced accuracy",
            protocol=PROTOCOL,
            source="this project: chatsearcher/world",
            undirected=frozenset({"threshold"}),
        )

    def rounds(self) -> Sequence[Round]:
        """The rounds themselves."""
        rounds: Sequence[Round] = WORLD["decisions"](self.split, self.count)
        return rounds

    def run(self, system: Any, context: Context | None = None) -> Result:
        """Let the assistant answer every round.

        Raises:
            ValueError: a system that cannot answer in words.
        """
        if not isinstance(system, Assistant):
            raise ValueError(
                f"{self.name} needs an assistant, which answers by itself in words or with a "
                f"picture; {type(system).__name__} only searches"
            )
        context = context or Context()
        started = time.perf_counter()
        rounds = self.rounds()
        replies = []
        for each in rounds:
            replies.append(system.reply(with_pixels(each.dialogue, load_picture)))
            if context.progress is not None:
                context.progress("rounds", len(replies), len(rounds))
        return summarise(
            self.name,
            rounds,
            replies,
            {
                "spec": context.spec,
                "fingerprint": str(getattr(system, "fingerprint", "")),
            },
            f"{self.split}, {self.count} rounds, seed 0",
            time.perf_counter() - started,
            free=WORLD["acknowledgements"],
        )


def summarise(
    name: str,
    rounds: Sequence[Round],
    replies: Sequence[Reply],
    retriever: dict[str, str],
    data: str,
    seconds: float = 0.0,
    free: Collection[str] = (),
) -> Result:
    """The figures, in percent.

    ``word answers`` counts the user's questions (the turn ends in "?") with one right answer in
    words (no question back, none of the ``free`` acknowledgements, whose wording is chance): how
    many come out exactly so. A picture counts as wrong.
    ``threshold`` is the one on the probability of a picture that would have been best here, and the
    accuracy with it; the figure to compare is the first, with the assistant's own decision.
    """
    picture = np.array([each.kind == "picture" for each in rounds])
    shown = np.array([reply.query is not None for reply in replies])
    probability = np.array([reply.search_probability for reply in replies])
    right = picture == shown
    asked = [
        (each, reply)
        for each, reply in zip(rounds, replies, strict=True)
        if each.kind == "words"
        and not each.answer.endswith("?")
        and each.answer not in free
        and _asks(each.dialogue)
    ]
    exact = [
        reply.query is None and normalised(reply.text) == normalised(each.answer)
        for each, reply in asked
    ]
    metrics = {
        "balanced accuracy": 100 * balanced_accuracy(picture, shown),
        "pictures answered with a picture": 100 * float(shown[picture].mean()),
        "words answered in words": 100 * float((~shown[~picture]).mean()),
    }
    if exact:
        metrics["word answers"] = 100 * float(np.mean(exact))
    if np.isfinite(probability).all():
        threshold, accuracy = best_threshold(picture, probability)
        metrics["with the best threshold"] = 100 * accuracy
        metrics["threshold"] = threshold
    halves = [bootstrap_means(right[kind], seed=at) for at, kind in enumerate((picture, ~picture))]
    low, high = np.quantile(50 * (halves[0] + halves[1]), [0.025, 0.975])
    return Result(
        benchmark=name,
        protocol=PROTOCOL,
        primary="balanced accuracy",
        metrics=metrics,
        intervals={"balanced accuracy": (float(low), float(high))},
        counts={
            "rounds": len(rounds),
            "rounds answered with a picture": int(picture.sum()),
            "rounds answered in words": int((~picture).sum()),
            "questions with an answer in words": len(exact),
        },
        data=data,
        retriever=retriever,
        seconds=seconds,
    )


def normalised(text: str) -> str:
    """Lower case, single spaces, no full stop at the end."""
    return " ".join(text.lower().split()).rstrip(".")


def _asks(dialogue: Dialogue) -> bool:
    turn = dialogue.last("user")
    return turn is not None and turn.text.rstrip().endswith("?")


WORLD_DECISION = DecisionBenchmark("world-decision", "test", 1000)
WORLD_DECISION_VAL = DecisionBenchmark("world-decision-val", "val", 300)
