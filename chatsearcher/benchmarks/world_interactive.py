"""The interactive protocol in the picture world: everyone who wants a picture of world-t talks to
the system, which sees the gallery of world-t; no data are needed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from chatsearcher.benchmarks import Context
from chatsearcher.benchmarks.card import Card
from chatsearcher.benchmarks.conversations import ACTS, Setting, converse
from chatsearcher.benchmarks.metrics import bootstrap_all
from chatsearcher.benchmarks.results import Result
from chatsearcher.benchmarks.rounds import LOWER, MEANING, METRICS, dialogue_figures
from chatsearcher.benchmarks.single_query import GalleryVectors, check_vectors
from chatsearcher.benchmarks.world import WORLD, check_frozen, load_picture
from chatsearcher.dialogue import Dialogue
from chatsearcher.retriever import Retriever
from chatsearcher.roles import QUESTIONERS, SIMULATORS

ROUNDS = 5


class WorldInteractive:
    """One of the world's text sets, its targets wanted by simulated users.

    Args:
        name: the registered name.
        world_set: ``world-t`` or ``world-t-val``.
        dialogues, gallery: how many there are.
    """

    def __init__(self, name: str, world_set: str, dialogues: int, gallery: int) -> None:
        self.world_set = world_set
        self._card = Card(
            name=name,
            data="nothing: the pictures are drawn as they are needed",
            sizes={"dialogues": dialogues, "gallery": gallery},
            metrics=METRICS,
            primary=METRICS[0],
            protocol="interactive: rank, act, let the simulated user react, round by round; "
            "refused pictures are no candidates; whoever is shown the target is content; "
            f"{MEANING}",
            source="this project: chatsearcher/world, frozen by set_hashes.json",
            lower=LOWER,
            options={
                "act": "what the system does at each round: show the first candidate, ask (by the "
                "questioner), or reply (an assistant's own choice) (show)",
                "rounds": f"how often the user reacts ({ROUNDS})",
                "simulator": "the user (world)",
                "error-rate": "how often a value that the user says is wrong (0)",
                "questioner": "who asks (world)",
                "seed": "of the users (0)",
                "dialogues": "only the first N users (all)",
            },
        )

    @property
    def name(self) -> str:
        """The registered name."""
        return self.card.name

    @property
    def card(self) -> Card:
        return self._card

    def setting(self, options: Mapping[str, str]) -> tuple[Setting, str]:
        """The conversations that the options ask for, and the checksum of their data.

        Raises:
            ValueError: an option out of its range, or a set that is not the frozen one.
        """
        act = options.get("act", ACTS[0])
        chosen = next((each for each in ACTS if each == act), None)
        if chosen is None:
            raise ValueError(f"{self.name}: act={act!r}; expected one of {', '.join(ACTS)}")
        rate = _share(options, "error-rate", self.name)
        rounds = _whole(options, "rounds", ROUNDS, 1, self.name)
        seed = _whole(options, "seed", 0, 0, self.name)
        simulator = SIMULATORS[options.get("simulator", "world")]
        questioner = QUESTIONERS[options.get("questioner", "world")]
        queries = WORLD["sets"](self.world_set)
        data = check_frozen(queries)
        targets = tuple(dict.fromkeys(query.target for query in queries.queries))
        count = _whole(options, "dialogues", len(targets), 1, self.name)
        setting = Setting(
            gallery=tuple(queries.gallery),
            load=load_picture,
            simulator=simulator(rate),
            targets=targets[:count],
            rounds=rounds,
            act=chosen,
            questioner=questioner() if chosen == "ask" else None,
            seed=seed,
        )
        return setting, data

    def run(self, system: Retriever, context: Context | None = None) -> Result:
        """Let everyone talk to the system.

        Raises:
            ValueError: as ``setting`` and ``conversations.converse``.
        """
        context = context or Context()
        started = time.perf_counter()
        setting, data = self.setting(self.card.checked_options(context.options))
        vectors = _gallery_vectors(system, setting, context)
        ranks, dialogues = converse(system, setting, vectors, context.progress)
        figures = dialogue_figures(ranks)
        drawn = bootstrap_all(figures.samples)
        spoken = [sum(turn.role == "user" for turn in each.turns) for each in dialogues]
        official = self.card.sizes["dialogues"]
        few = f"not all of it: {len(ranks):,} dialogues where there are {official:,}"
        return Result(
            benchmark=self.name,
            protocol=self.card.protocol,
            primary=self.card.primary,
            metrics=figures.metrics,
            intervals={name: (value.low, value.high) for name, value in drawn.items()},
            counts={
                **figures.counts,
                "gallery": len(setting.gallery),
                "ended early": sum(turns <= setting.rounds for turns in spoken),
            },
            data=data,
            retriever={"spec": context.spec, "fingerprint": str(system.fingerprint)},
            settings=_settings(setting, system.metric),
            seconds=time.perf_counter() - started,
            curves=figures.curves,
            examples=_examples(setting, ranks, dialogues),
            notes=[] if len(ranks) == official else [few],
        )


def _gallery_vectors(system: Retriever, setting: Setting, context: Context) -> np.ndarray:
    by_id = getattr(system, "image_vectors_of", None)
    if by_id is None:
        cache = context.vectors or GalleryVectors()
        return cache.get(system, setting.gallery, setting.load, context.progress, space="world")
    vectors = np.asarray(by_id(setting.gallery))
    check_vectors(vectors, len(setting.gallery), system, "image_vectors_of")
    return vectors


def _settings(setting: Setting, metric: str) -> dict[str, Any]:
    asks = setting.questioner
    return {
        "metric": metric,
        "act": setting.act,
        "seed": setting.seed,
        "simulator": dict(setting.simulator.identity),
        **({} if asks is None else {"questioner": dict(asks.identity)}),
    }


def _examples(
    setting: Setting, ranks: np.ndarray, dialogues: Sequence[Dialogue], count: int = 6
) -> list[dict[str, Any]]:
    """Some conversations that ended best and some that ended worst."""
    order = np.argsort(ranks[:, -1], kind="stable").tolist()
    chosen = dict.fromkeys([*order[:count], *order[::-1][:count]])
    return [
        {
            "query": dialogues[row].id,
            "target": setting.targets[row],
            "rank": int(ranks[row, -1]),
            "found": [image.id for image in dialogues[row].images],
            "dialogue": dialogues[row].to_messages(),
        }
        for row in chosen
    ]


def _whole(options: Mapping[str, str], key: str, default: int, least: int, name: str) -> int:
    text = options.get(key, str(default))
    if not text.isdecimal() or int(text) < least:
        raise ValueError(f"{name}: {key}={text!r}; expected a whole number from {least}")
    return int(text)


def _share(options: Mapping[str, str], key: str, name: str) -> float:
    text = options.get(key, "0")
    try:
        found = float(text)
    except ValueError as error:
        raise ValueError(f"{name}: {key}={text!r}; expected a number in [0, 1]") from error
    if not 0.0 <= found <= 1.0:
        raise ValueError(f"{name}: {key}={text!r}; expected a number in [0, 1]")
    return found


TEST = WorldInteractive("world-interactive", "world-t", 500, 10_000)
VAL = WorldInteractive("world-interactive-val", "world-t-val", 150, 3_000)
