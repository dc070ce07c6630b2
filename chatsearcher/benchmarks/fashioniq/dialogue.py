"""Fashion IQ dialogues: five turns towards a product, from one that is drawn at random.

Rules (paper, section 5 and appendix C): every picture of the test list is a target once, so that
the test captions' hidden targets are no obstacle; the first picture is drawn, by a seed, alike for
all systems; the simulated user says what should be different; the first picture of the ranking is
shown next. Nothing is left out of the ranking. P is the ranking percentile, the mean of
``1 - b / N`` with b the 0-based rank, as the authors' code counts it: a system that is always right
has 100. Their code leaves the last partial batch of targets out; here all count.

The figures are of a pair, system and user: those with different users do not compare.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from chatsearcher.benchmarks import Context
from chatsearcher.benchmarks.annotations import checksum, data_root
from chatsearcher.benchmarks.card import PLAIN, Card
from chatsearcher.benchmarks.fashioniq.files import (
    CATEGORIES,
    SOURCE,
    SPACE,
    TEST_IMAGES,
    data_of,
    pictures,
    read_split,
    split_file,
)
from chatsearcher.benchmarks.fashioniq.simulators import Setting, load_simulator
from chatsearcher.benchmarks.fashioniq.turns import play
from chatsearcher.benchmarks.metrics import bootstrap_all
from chatsearcher.benchmarks.results import Result
from chatsearcher.benchmarks.task import Query, Task
from chatsearcher.benchmarks.vector_benchmark import examples, notes
from chatsearcher.benchmarks.vectors import Encoded
from chatsearcher.dialogue import Dialogue
from chatsearcher.retriever import Retriever
from chatsearcher.roles import UserSimulator

TURNS = 5
REPORTED = (1, 3, 5)
KS = (10, 50)
FIGURES = ("P", *(f"R@{k}" for k in KS))
METRICS = tuple(f"{name} turn {turn}" for turn in REPORTED for name in FIGURES)
PRIMARY = f"R@{KS[0]} turn {TURNS}"
SIMULATOR = "attributes"


class FashionIQDialogue:
    """One category.

    Args:
        category: dress, shirt or toptee.
        simulator: a user to talk with, instead of the one that the option names.
    """

    def __init__(self, category: str, simulator: UserSimulator | None = None) -> None:
        self.category = category
        self.simulator = simulator
        self.name = f"fashioniq-dialogue-{category}"
        count = TEST_IMAGES[category]
        self.card = Card(
            name=self.name,
            data=f"{data_of(category, 'test')}; for the user `attributes` also "
            f"asin2attr.{category}.test.json",
            sizes={"queries": count, "gallery": count, "turns": TURNS},
            metrics=METRICS,
            primary=PRIMARY,
            protocol="interactive: five turns from a first picture drawn by seed, the first of the "
            "ranking is shown next; every test picture is a target; nothing leaves the gallery; "
            "P is the mean of 1 - (rank - 1)/N; ties against the target",
            source=SOURCE,
            prompts={PLAIN: "{text}"},
            options={
                "simulator": f"who answers, NAME or NAME:ARGUMENT; {SIMULATOR} (attributes:0.1 "
                "errs in one word of ten)",
                "seed": "of the first pictures and of the user's errors; 0",
                "targets": "only so many targets, the first of the list; all",
            },
        )

    def read(self, root: Path | None, options: Mapping[str, str]) -> Task:
        """The targets, each with the picture that is shown first.

        Raises:
            FileNotFoundError, ValueError: with the file, the row and the remedy.
        """
        root = data_root(root, self.name, self.card.data)
        listed = split_file(root, self.category, "test")
        images = read_split(listed)
        if len(images) < 2:
            raise ValueError(f"{listed}: one picture; a dialogue needs a first one and a target")
        seed = whole_number(options, "seed", 0, least=0)
        count = whole_number(options, "targets", len(images), least=1)
        queries = tuple(
            Query(
                id=target,
                dialogue=Dialogue(id=target),
                targets=(target,),
                reference=images[first_row(row, len(images), seed, target)],
            )
            for row, target in enumerate(images[:count])
        )
        data = checksum(root, [listed])
        return Task(images, queries, pictures(root), data, space=SPACE)

    def run(self, system: Any, context: Context | None = None) -> Result:
        """Talk about every target.

        Raises:
            ValueError: a system that reads no dialogues.
        """
        context = context or Context()
        started = time.perf_counter()
        options = self.card.checked_options(context.options)
        prompt, template = self.card.prompt(context.prompt)
        if not isinstance(system, Retriever):
            raise ValueError(
                f"{self.name} needs a system with vectors of pictures and dialogues; "
                f"{type(system).__name__} has none"
            )
        task = self.read(context.data_root, options)
        spec, seed = options.get("simulator", SIMULATOR), whole_number(options, "seed", 0, least=0)
        users = self.simulator
        if users is None:
            root = data_root(context.data_root, self.name, self.card.data)
            setting = Setting(root, self.category, "test", task.images, task.pictures.load)
            users = load_simulator(spec, setting)
        played = play(system, task, users, TURNS, seed, context.vectors, context.progress)
        gallery = len(played.task.images)
        metrics, samples, curves = turn_figures(played.ranks, gallery)
        drawn = bootstrap_all(samples)
        encoded = Encoded(played.task, played.vectors, played.missing)
        said = notes(self.card, task, encoded)
        said.append(
            "figures are of system and simulated user together; users: "
            + ", ".join(f"{key} {value}" for key, value in users.identity.items())
        )
        return Result(
            benchmark=self.name,
            protocol=self.card.protocol,
            primary=PRIMARY,
            metrics=metrics,
            intervals={name: (each.low, each.high) for name, each in drawn.items()},
            counts={
                "queries": len(played.task.queries),
                "gallery": gallery,
                "missing images": len(played.missing),
                "queries left out": len(task.queries) - len(played.task.queries),
                "truncated texts": played.truncated,
                "turns": TURNS,
            },
            data=task.data,
            retriever={"spec": context.spec, "fingerprint": str(system.fingerprint)},
            settings={
                "prompt": prompt,
                "prompt text": template,
                "metric": system.metric,
                **users.identity,
                "seed": seed,
                **({"options": dict(options)} if options else {}),
            },
            seconds=time.perf_counter() - started,
            ranks=played.ranks[:, -1],
            missing=dict(sorted(played.missing.items())),
            shrunken=bool(played.missing),
            curves=curves,
            examples=examples(played.task, played.vectors, played.ranks[:, -1]),
            notes=said,
        )


def turn_figures(
    ranks: np.ndarray, gallery: int
) -> tuple[dict[str, float], dict[str, np.ndarray], dict[str, list[float]]]:
    """The figures at turns 1, 3 and 5, their samples, and curves over all turns; in percent.

    Args:
        ranks: [Q, 5] 1-based.
        gallery: how many pictures are ranked.
    """
    samples: dict[str, np.ndarray] = {}
    curves: dict[str, list[float]] = {}
    values: dict[str, Any] = {"P": 100.0 * (1.0 - (ranks - 1) / gallery)}
    for k in KS:
        values[f"R@{k}"] = 100.0 * (ranks <= k)
    for name in FIGURES:
        curves[name] = values[name].mean(axis=0).tolist()
    for turn in REPORTED:
        for name in FIGURES:
            samples[f"{name} turn {turn}"] = values[name][:, turn - 1]
    return {name: float(each.mean()) for name, each in samples.items()}, samples, curves


def first_row(row: int, count: int, seed: int, target: str) -> int:
    """The row of the picture shown first: any but the target's own, a function of seed and target
    (and of the list's length) alone."""
    digest = hashlib.sha256(f"{seed}/{target}".encode()).digest()
    drawn = int.from_bytes(digest[:8], "big") % (count - 1)
    return drawn + (drawn >= row)


def whole_number(options: Mapping[str, str], name: str, default: int, least: int) -> int:
    """An option that is a whole number.

    Raises:
        ValueError: no whole number, or too small.
    """
    text = options.get(name, str(default))
    if not text.isdigit() or int(text) < least:
        raise ValueError(f"{name}={text!r}; expected a whole number from {least}")
    return int(text)


DRESS, SHIRT, TOPTEE = (FashionIQDialogue(category) for category in CATEGORIES)
