"""Answers, captions and ranked lists made elsewhere: what every format of them shares."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from chatsearcher.benchmarks.card import Card
from chatsearcher.benchmarks.metrics import bootstrap_all
from chatsearcher.benchmarks.results import Result
from chatsearcher.benchmarks.vectors import file_fingerprint

HIDDEN = "well-formed and complete; the targets are not public, so upload the files to be scored"


def checked_list(
    names: Sequence[Any], allowed: set[Any], refused: frozenset[Any], wanted: int, where: str
) -> None:
    """Refuse a ranked list that the benchmark's own server would refuse.

    Args:
        allowed: what may stand in it.
        refused: what may not though it is a picture of the gallery (the query's reference).
        wanted: how many must stand in it.

    Raises:
        ValueError: an element twice, not allowed or refused; too few or too many of them.
    """
    seen: set[Any] = set()
    for place, name in enumerate(names):
        if name in refused:
            raise ValueError(f"{where}, place {place}: {name!r} is the reference; leave it out")
        if name not in allowed:
            hint = " (names have no .png)" if str(name).endswith(".png") else ""
            raise ValueError(f"{where}, place {place}: {name!r} is not in the gallery{hint}")
        if name in seen:
            raise ValueError(f"{where}, place {place}: {name!r} stands twice; keep the first")
        seen.add(name)
    if len(names) != wanted:
        raise ValueError(f"{where}: {len(names)} pictures, expected {wanted}")


def result_of(
    card: Card,
    paths: Sequence[Path],
    data: str,
    samples: Mapping[str, np.ndarray],
    counts: Mapping[str, int],
    metrics: Mapping[str, float] | None = None,
    settings: Mapping[str, Any] | None = None,
    started: float | None = None,
) -> Result:
    """A result of files of predictions.

    Args:
        data: the checksum of the benchmark's own files.
        samples: figure -> its value for each query, in percent; their means are the figures.
        metrics: figures that are no means over queries.
        started: ``time.perf_counter()`` at the beginning.

    Returns:
        Figures in the card's order; the primary one is the card's, or the first where that one
        cannot be computed from these files. No figures at all: the targets are not public.
    """
    found = {name: float(values.mean()) for name, values in samples.items()} | dict(metrics or {})
    figures = {name: found[name] for name in card.metrics if name in found}
    drawn = bootstrap_all(samples)
    together = hashlib.sha256("".join(file_fingerprint(path) for path in paths).encode())
    marks = [
        f"not the official data: {counts[what]:,} {what} where there are {card.sizes[what]:,}"
        for what in ("queries", "gallery")
        if what in counts and what in card.sizes and counts[what] != card.sizes[what]
    ]
    return Result(
        benchmark=card.name,
        protocol=card.protocol,
        primary=card.primary if card.primary in figures else next(iter(figures), ""),
        metrics=figures,
        intervals={name: (drawn[name].low, drawn[name].high) for name in figures if name in drawn},
        counts=counts,
        data=data,
        retriever={
            "spec": "predictions:" + ",".join(path.name for path in paths),
            "fingerprint": together.hexdigest(),
        },
        settings=dict(settings or {}),
        seconds=0.0 if started is None else time.perf_counter() - started,
        notes=[*marks, *([] if figures else [HIDDEN])],
    )
