"""When to say that nothing in the gallery fits: a threshold on the best candidate's score.

Every query is asked twice: with its target in the gallery (*present*), and with the target and its
neighbours taken out (*absent*: what is left differs in two attributes or more). The threshold is
the one that tells the two apart best, among those that refuse few of the present ones.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from chatsearcher.benchmarks import Context
from chatsearcher.benchmarks.single_query import (
    GalleryVectors,
    LoadImage,
    QuerySet,
    encode_dialogues,
    set_checksum,
)
from chatsearcher.retriever import Retriever

FILE = "calibration.json"  # beside the checkpoint; the retriever reads it from there


@dataclass(frozen=True)
class Calibration:
    """A threshold and what it does on the queries it was chosen from.

    Attributes:
        no_match_threshold: a best score below it means that nothing fits.
        refused: share of the present targets that are (wrongly) refused.
        detected: share of the absent targets that are (rightly) refused.
        separation: the probability that a present query's best score is above an absent one's
            (the area under the ROC curve).
        sets: the query sets it was chosen on, by name, with their checksums.
    """

    no_match_threshold: float
    refused: float
    detected: float
    separation: float
    metric: str
    fingerprint: str
    sets: dict[str, str]

    def write(self, folder: str | Path) -> Path:
        """Write ``calibration.json`` into a checkpoint's folder; returns its path."""
        path = Path(folder) / FILE
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")
        os.replace(partial, path)
        return path


def calibrate(
    retriever: Retriever,
    sets: Sequence[QuerySet],
    load: LoadImage,
    context: Context | None = None,
    max_refused: float = 0.05,
) -> Calibration:
    """Choose the threshold on validation sets.

    Args:
        sets: query sets; each counts by its queries.
        load: a picture by its id.
        max_refused: the largest acceptable share of present targets that are refused.
    """
    context = context or Context()
    vectors = context.vectors or GalleryVectors()
    present, absent = [], []
    for queries in sets:
        gallery = vectors.get(retriever, queries.gallery, load, context.progress)
        asked = encode_dialogues(
            retriever, [query.dialogue for query in queries.queries], load, context.progress
        )
        rows = {name: row for row, name in enumerate(queries.gallery)}
        excluded = [{rows[n] for n in q.exclude if n in rows} for q in queries.queries]
        near = [{rows[n] for n in (q.target, *q.neighbours)} for q in queries.queries]
        present.append(best_scores(asked, gallery, excluded, retriever.metric))
        without = [left_out | close for left_out, close in zip(excluded, near, strict=True)]
        absent.append(best_scores(asked, gallery, without, retriever.metric))
    there, gone = np.concatenate(present), np.concatenate(absent)
    threshold = choose_threshold(there, gone, max_refused)
    return Calibration(
        no_match_threshold=threshold,
        refused=float((there < threshold).mean()),
        detected=float((gone < threshold).mean()),
        separation=separation(there, gone),
        metric=retriever.metric,
        fingerprint=retriever.fingerprint,
        sets={queries.name: set_checksum(queries) for queries in sets},
    )


def best_scores(
    queries: np.ndarray,
    gallery: np.ndarray,
    exclude: Sequence[Collection[int]],
    metric: str,
    block: int = 256,
) -> np.ndarray:
    """[Q] the score of each query's best candidate: cosine, or minus the squared distance."""
    best = np.empty(len(queries))
    norms = (gallery.astype(np.float64) ** 2).sum(axis=1)
    for start in range(0, len(queries), block):
        part = queries[start : start + block].astype(np.float64)
        scores = part @ gallery.T.astype(np.float64)
        if metric == "l2":
            scores = 2 * scores - norms - (part**2).sum(axis=1)[:, None]
        for row in range(len(part)):
            scores[row, list(exclude[start + row])] = -np.inf
        best[start : start + len(part)] = scores.max(axis=1)
    return best


def choose_threshold(present: np.ndarray, absent: np.ndarray, max_refused: float) -> float:
    """The threshold with the largest ``detected − refused`` among those that refuse few enough.

    Raises:
        ValueError: no scores, or a NaN among them.
    """
    if not len(present) or not len(absent):
        raise ValueError("a threshold needs present and absent targets")
    if not (np.isfinite(present).all() and np.isfinite(absent).all()):
        raise ValueError("a threshold cannot be chosen from NaN or infinite scores")
    values = np.unique(np.concatenate([present, absent]))
    edges = np.concatenate([values[:1], (values[:-1] + values[1:]) / 2])
    refused = np.searchsorted(np.sort(present), edges, side="left") / len(present)
    detected = np.searchsorted(np.sort(absent), edges, side="left") / len(absent)
    gain = np.where(refused <= max_refused, detected - refused, -np.inf)
    return float(edges[int(np.argmax(gain))])


def separation(present: np.ndarray, absent: np.ndarray) -> float:
    """The area under the ROC curve; equal scores count one half."""
    ordered = np.sort(absent)
    below = np.searchsorted(ordered, present, side="left")
    equal = np.searchsorted(ordered, present, side="right") - below
    return float((below + equal / 2).mean() / len(absent))
