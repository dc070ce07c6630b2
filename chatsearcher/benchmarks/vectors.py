"""Image and query vectors of a task: from a file that other code wrote, or made by a system."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from chatsearcher.benchmarks.single_query import (
    CHUNK,
    GalleryVectors,
    Progress,
    check_vectors,
    with_pixels,
)
from chatsearcher.benchmarks.task import Task
from chatsearcher.retriever import Metric, Retriever

if TYPE_CHECKING:
    from chatsearcher.dialogue import Dialogue

LONG_TEXTS = ("truncated_texts", "divided_texts")  # counters that a system may have
LENGTH_TOLERANCE = 1e-2  # a vector that was normalised in bfloat16 is off by up to 4e-3


@dataclass(frozen=True)
class Vectors:
    """The vectors of one task.

    Attributes:
        images: [N, D] float32 or float64, row n belongs to ``task.images[n]``.
        queries: [Q, D], row n belongs to ``task.queries[n]``.
        metric: how they are compared; unit vectors where it is cosine.
    """

    images: np.ndarray
    queries: np.ndarray
    metric: Metric = "cosine"


@dataclass(frozen=True)
class Encoded:
    """What is left of a task after encoding.

    Attributes:
        task: without what is missing.
        vectors: of that task.
        missing: picture id -> why it could not be used.
        truncated: how many texts the system cut; None where it does not count them.
        divided: how many texts were too long for the system and encoded in pieces; None likewise.
    """

    task: Task
    vectors: Vectors
    missing: dict[str, str]
    truncated: int | None = None
    divided: int | None = None


def encode(
    retriever: Retriever,
    task: Task,
    cache: GalleryVectors | None = None,
    progress: Progress | None = None,
) -> Encoded:
    """Let a retriever make the vectors.

    Pictures that are not there or cannot be decoded are left out and named. A system that knows
    vectors by id (``image_vectors_of``) is asked for those, and no pixels are read. A system that
    cuts long texts counts them in ``truncated_texts``, one that divides them in ``divided_texts``.

    Raises:
        FileNotFoundError: not one picture of the gallery is there.
        ValueError: vectors of a wrong shape, NaN, or of another length than one under cosine.
    """
    by_id = getattr(retriever, "image_vectors_of", None)
    missing: dict[str, str] = {}
    if by_id is None:
        wanted = dict.fromkeys(task.images)
        wanted.update(dict.fromkeys(name for query in task.queries for name in query.shown))
        missing = task.pictures.missing(list(wanted))
        there = [name for name in task.images if name not in missing]
        if not there:
            raise FileNotFoundError(_nothing_there(task, missing))
        cache = cache or GalleryVectors()
        images = cache.get(
            retriever, there, task.pictures.load, progress, broken=missing, space=task.space
        )
    else:
        images = np.asarray(by_id(task.images))
        check_vectors(images, len(task.images), retriever, "image_vectors_of")
    left = task.without(missing)
    before = {name: getattr(retriever, name, None) for name in LONG_TEXTS}
    queries, late = _encode_queries(retriever, left, by_id is not None, progress)
    if late:  # pictures that only dialogues show
        rows = left.rows
        asked = {query.id: row for row, query in enumerate(left.queries)}
        missing.update(late)
        left = left.without(missing)
        images = images[[rows[name] for name in left.images]]
        queries = queries[[asked[query.id] for query in left.queries]]
    truncated, divided = (
        None if count is None else int(getattr(retriever, name)) - int(count)
        for name, count in before.items()
    )
    name = type(retriever).__name__
    for what, vectors in (("pictures", images), ("queries", queries)):
        _check_lengths(vectors, retriever.metric, f"{name}: the vectors of the {what}")
    return Encoded(left, Vectors(images, queries, retriever.metric), missing, truncated, divided)


def _encode_queries(
    retriever: Retriever, task: Task, by_id: bool, progress: Progress | None
) -> tuple[np.ndarray, dict[str, str]]:
    """[Q, D] with NaN where a picture could not be decoded, and those pictures."""
    found = np.full((len(task.queries), retriever.embedding_dim), np.nan, np.float32)
    broken: dict[str, str] = {}
    for start in range(0, len(task.queries), CHUNK):
        rows: list[int] = []
        dialogues: list[Dialogue] = []
        for row in range(start, min(start + CHUNK, len(task.queries))):
            dialogue = task.queries[row].dialogue
            if not by_id:
                lost = _undecodable(dialogue, task, broken)
                if lost is None:
                    continue
                dialogue = lost
            rows.append(row)
            dialogues.append(dialogue)
        if rows:
            vectors = retriever.encode_queries(dialogues)
            check_vectors(vectors, len(rows), retriever, "encode_queries")
            found[rows] = vectors
        if progress is not None:
            progress("queries", min(start + CHUNK, len(task.queries)), len(task.queries))
    return found, broken


def _undecodable(dialogue: Dialogue, task: Task, broken: dict[str, str]) -> Dialogue | None:
    """The dialogue with pixels; None, and a note in ``broken``, where one cannot be decoded."""
    for image in dialogue.images:
        if image.id in broken:
            return None
    current = ""

    def load(name: str) -> object:
        nonlocal current
        current = name
        return task.pictures.load(name)

    try:
        return with_pixels(dialogue, load)  # type: ignore[arg-type]
    except (FileNotFoundError, ValueError) as error:
        broken[current] = str(error)
        return None


def _nothing_there(task: Task, missing: dict[str, str]) -> str:
    first = task.images[0] if task.images else ""
    return (
        f"none of the {len(task.images):,} pictures of the gallery is there (the first: "
        f"{missing.get(first, 'the gallery is empty')}); get the pictures, or give vectors made "
        "elsewhere with --features"
    )


def read_features(path: Path, task: Task, metric: Metric | None = None) -> Encoded:
    """Vectors made by any other code.

    The file: safetensors with ``images`` [N, D] and ``queries`` [Q, D] in the order of ``--list``;
    optionally ``missing`` [N] (bool or numbers, non-zero where a picture could not be had; its row
    is not looked at), and the metadata ``metric``: cosine (the default; rows of any length) or l2.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no safetensors, a missing or unknown tensor, wrong shapes, NaN or zero vectors;
            the message names the file, the row and what stands there.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no such file of vectors: {path}")
    tensors, stated = _read_safetensors(path)
    metric = metric or _metric(stated, path)
    for name in ("images", "queries"):
        if name not in tensors:
            raise ValueError(
                f"{path} lacks {name!r}; it holds {', '.join(sorted(tensors)) or 'nothing'}: "
                "write `images` [N, D] and `queries` [Q, D]"
            )
    strange = set(tensors) - {"images", "queries", "missing"}
    if strange:
        raise ValueError(
            f"{path} holds {sorted(strange)[0]!r} besides; expected images, queries and perhaps "
            "missing"
        )
    images, queries = tensors["images"], tensors["queries"]
    for what, vectors, ids in (
        ("images", images, task.images),
        ("queries", queries, tuple(query.id for query in task.queries)),
    ):
        _check_shape(path, what, vectors, ids)
    if images.shape[1] != queries.shape[1]:
        raise ValueError(
            f"{path}: images have {images.shape[1]} dimensions, queries {queries.shape[1]}; both "
            "must come from one model"
        )
    missing, left = {}, task
    if "missing" in tensors:
        marks = tensors["missing"]
        if marks.shape != (len(task.images),):
            raise ValueError(f"{path}: missing has shape {marks.shape}, expected [{len(images)}]")
        lost = [task.images[int(row)] for row in np.flatnonzero(marks)]
        missing = dict.fromkeys(lost, f"marked as missing in {path.name}")
        left = task.without(missing)
        if not left.images or not left.queries:
            raise ValueError(f"{path}: {len(lost)} of {len(images)} pictures are marked as missing")
        rows = task.rows
        asked = {query.id: row for row, query in enumerate(task.queries)}
        images = images[[rows[name] for name in left.images]]
        queries = queries[[asked[query.id] for query in left.queries]]
    images = _usable(path, "images", images, left.images, metric)
    names = tuple(query.id for query in left.queries)
    queries = _usable(path, "queries", queries, names, metric)
    return Encoded(left, Vectors(images, queries, metric), missing)


def file_fingerprint(path: Path) -> str:
    """A sha256 (hex) of the file."""
    digest = hashlib.sha256()
    with open(path, "rb") as content:
        while block := content.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _read_safetensors(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    import torch
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            found = {}
            for name in file.keys():  # noqa: SIM118 - not a mapping
                tensor = file.get_tensor(name)
                if tensor.is_floating_point() and tensor.dtype != torch.float64:
                    tensor = tensor.float()
                found[name] = tensor.numpy()
            return found, dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"{path} is no safetensors file ({error}); write it with "
            "safetensors.numpy.save_file({'images': …, 'queries': …}, FILE)"
        ) from error


def _metric(stated: dict[str, str], path: Path) -> Metric:
    name = stated.get("metric", "cosine")
    if name not in ("cosine", "l2"):
        raise ValueError(f"{path}: its metadata say metric {name!r}; expected cosine or l2")
    return "l2" if name == "l2" else "cosine"


def _check_shape(path: Path, what: str, vectors: np.ndarray, ids: tuple[str, ...]) -> None:
    if vectors.ndim != 2 or not np.issubdtype(vectors.dtype, np.floating):
        raise ValueError(
            f"{path}: {what} has shape {list(vectors.shape)} and type {vectors.dtype}; expected "
            f"[{len(ids)}, D] floats"
        )
    if len(vectors) == len(ids):
        return
    remedy = f"one row a line of `--list {what}`, in its order"
    if len(vectors) < len(ids):
        raise ValueError(
            f"{path}: {what} has {len(vectors)} rows, expected {len(ids)}: row {len(vectors)} "
            f"({ids[len(vectors)]!r}) and what follows are not there; {remedy}"
        )
    raise ValueError(
        f"{path}: {what} has {len(vectors)} rows, expected {len(ids)}: row {len(ids)} belongs to "
        f"nothing; {remedy}"
    )


def _usable(
    path: Path, what: str, vectors: np.ndarray, ids: tuple[str, ...], metric: Metric
) -> np.ndarray:
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(bad):
        raise ValueError(
            f"{path}: {what} row {bad[0]} ({ids[bad[0]]!r}) holds NaN or infinity, as do "
            f"{len(bad)} of {len(vectors)} rows; encode them again, or mark pictures that cannot "
            "be had in a tensor `missing` [N]"
        )
    if metric == "l2":
        return vectors
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    zero = np.flatnonzero(lengths[:, 0] == 0)
    if len(zero):
        raise ValueError(
            f"{path}: {what} row {zero[0]} ({ids[zero[0]]!r}) is zero, which has no direction to "
            "compare by cosine; encode it again"
        )
    scaled: np.ndarray = (vectors / lengths).astype(vectors.dtype)
    return scaled


def _check_lengths(vectors: np.ndarray, metric: Metric, what: str) -> None:
    if metric != "cosine" or not len(vectors):
        return
    lengths = np.sqrt(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64))
    worst = int(np.argmax(np.abs(lengths - 1)))
    if math.isfinite(lengths[worst]) and abs(lengths[worst] - 1) > LENGTH_TOLERANCE:
        raise ValueError(
            f"{what} must be of unit length under cosine, row {worst} has length "
            f"{lengths[worst]:.4g}; normalise them in the retriever"
        )
