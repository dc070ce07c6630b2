"""Vectors from elsewhere into a gallery, and a gallery's vectors out, in clip-retrieval's layout.

::

    FOLDER/
      img_emb/img_emb_0.npy           [rows, dim] float16 or float32
      metadata/metadata_0.parquet     a row each: image_path, caption, … (here also .jsonl)
      gallery.json                    ours: fingerprint, metric, retriever
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from chatsearcher.gallery.layout import Failure, Metric, may_be_kept
from chatsearcher.gallery.reader import Gallery
from chatsearcher.gallery.writer import GalleryWriter

BLOCK = 16_384
INFO = "gallery.json"


@dataclass
class ImportReport:
    """What an import did: pictures taken, and the rows that could not be."""

    added: int = 0
    failures: list[Failure] = field(default_factory=list)


def import_gallery(
    vectors: str | Path,
    out: str | Path,
    *,
    ids: str | Path | None = None,
    fingerprint: str | None = None,
    metric: Metric | None = None,
    retriever: str | None = None,
) -> ImportReport:
    """Make a gallery of vectors made elsewhere, or add them to one of the same fingerprint.

    Rows that are not finite, or zero under cosine, are left out and reported. Under cosine the
    vectors are brought to unit length.

    Args:
        vectors: ``X.npy`` [N, D]; ``X.parquet`` with a column of lists and one of ids; or a folder
            in clip-retrieval's layout (also what ``export_gallery`` writes).
        out: the gallery's folder.
        ids: for ``.npy``: a text file with an id on each line, or JSONL objects with ``id`` and
            more; row numbers by default.
        fingerprint: of the model that made the vectors; an export of ours knows its own.
        metric: cosine by default.
        retriever: the name to load that model by.

    Raises:
        FileNotFoundError: a file that is not there.
        ValueError: shapes, counts or ids that do not fit; no fingerprint. The gallery is then as
            it was before.
        ImportError: Parquet without pyarrow.
    """
    path = Path(vectors)
    info: dict[str, Any] = {}
    if (path / INFO).exists():
        info = json.loads((path / INFO).read_text(encoding="utf-8"))
    fingerprint = fingerprint or info.get("fingerprint")
    metric = metric or info.get("metric", "cosine")
    if fingerprint is None:
        raise ValueError(
            f"{path} does not say which model made its vectors; give its --fingerprint, or "
            "the --retriever that made them"
        )
    if metric not in ("cosine", "l2"):
        raise ValueError(f"unknown metric {metric!r}; expected cosine or l2")
    report = ImportReport()
    blocks = _read_blocks(path, None if ids is None else Path(ids))
    first = next(blocks, None)
    if first is None:
        raise ValueError(f"{path} holds no vectors")
    dim = first[0].shape[1]
    with GalleryWriter.open(
        out,
        fingerprint=fingerprint,
        metric=metric,
        dim=dim,
        retriever=retriever or info.get("retriever"),
    ) as writer:
        row = 0
        for block in _chain(first, blocks):
            row = _add_block(writer, block, metric, row, report)
            writer.commit(publish=False)  # all of it, or nothing
        writer.compact()
    return report


def export_gallery(gallery: Gallery, out: str | Path, *, format: str = "parquet") -> int:
    """Write ids, vectors and metadata in clip-retrieval's layout; returns how many pictures.

    Neither pixels nor EXIF leave the gallery, nor the folders that pictures lie in.

    Args:
        format: of the metadata: ``parquet`` or ``jsonl``.

    Raises:
        ValueError: the folder is not empty; an unknown format.
        ImportError: Parquet without pyarrow.
    """
    out = Path(out)
    if format not in ("parquet", "jsonl"):
        raise ValueError(f"unknown format {format!r}; expected parquet or jsonl")
    pyarrow = _pyarrow() if format == "parquet" else None
    if out.exists() and any(out.iterdir()):
        raise ValueError(f"{out} is not empty; export into a new folder")
    (out / "img_emb").mkdir(parents=True)
    (out / "metadata").mkdir()
    np.save(out / "img_emb" / "img_emb_0.npy", np.asarray(gallery.vectors))
    rows = [
        {
            "image_path": id,
            "caption": str(gallery.metadata(id).get("caption", "")),
            "metadata": json.dumps(gallery.metadata(id), ensure_ascii=False),
        }
        for id in gallery.ids
    ]
    if pyarrow is not None:
        columns = {
            name: [row[name] for row in rows] for name in ("image_path", "caption", "metadata")
        }
        pyarrow.parquet.write_table(pyarrow.table(columns), out / "metadata" / "metadata_0.parquet")
    else:
        with open(out / "metadata" / "metadata_0.jsonl", "w", encoding="utf-8") as lines:
            lines.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    info = {
        "fingerprint": gallery.fingerprint,
        "metric": gallery.metric,
        "retriever": gallery.retriever,
    }
    (out / INFO).write_text(json.dumps(info, indent=1), encoding="utf-8")
    return len(rows)


Block = tuple[np.ndarray, list[dict[str, Any]]]
"""Vectors [n, D] and n records with ``id`` and perhaps ``source`` and metadata."""


def _chain(first: Block, rest: Iterator[Block]) -> Iterator[Block]:
    yield first
    yield from rest


def _add_block(
    writer: GalleryWriter, block: Block, metric: str, row: int, report: ImportReport
) -> int:
    vectors, records = block
    for vector, record in zip(vectors.astype(np.float32), records, strict=True):
        length = float(np.linalg.norm(vector.astype(np.float64)))
        problem = None
        if not np.isfinite(vector).all():
            problem = "its vector is not finite"
        elif metric == "cosine" and length == 0:
            problem = "its vector is zero, which has no direction to compare by cosine"
        if problem:
            report.failures.append(Failure(f"row {row} ({record['id']})", problem))
        else:
            if record["id"] in writer.known:
                raise ValueError(f"row {row}: the id {record['id']!r} is there already; ids differ")
            metadata = {
                key: value
                for key, value in record.items()
                if key not in ("id", "source") and may_be_kept(key, value)
            }
            writer.add(
                id=record["id"],
                source=str(record.get("source") or record["id"]),
                sha256="",
                vector=vector / np.float32(length) if metric == "cosine" else vector,
                metadata=metadata,
            )
            report.added += 1
        row += 1
    return row


def _read_blocks(path: Path, ids: Path | None) -> Iterator[Block]:
    if not path.exists():
        raise FileNotFoundError(f"no such file or folder: {path}")
    if path.is_dir():
        yield from _read_layout(path)
    elif path.suffix == ".npy":
        vectors = _load_npy(path)
        records = _read_ids(ids) if ids else [{"id": str(row)} for row in range(len(vectors))]
        yield from _blocks_of(path, vectors, records)
    elif path.suffix == ".parquet":
        yield from _read_parquet_vectors(path)
    else:
        raise ValueError(f"{path}: expected .npy, .parquet, or a folder in clip-retrieval's layout")


def _read_layout(folder: Path) -> Iterator[Block]:
    files = sorted((folder / "img_emb").glob("*.npy"), key=_number)
    if not files:
        raise ValueError(
            f"{folder} holds no img_emb/*.npy; expected clip-retrieval's layout: img_emb/*.npy "
            "and metadata/*.parquet"
        )
    for file in files:
        stem = file.stem.replace("img_emb", "metadata")
        parquet = folder / "metadata" / f"{stem}.parquet"
        jsonl = parquet.with_suffix(".jsonl")
        if parquet.exists():
            records = [_record(row) for row in _read_parquet(parquet)]
        elif jsonl.exists():
            records = _read_ids(jsonl)
        else:
            raise FileNotFoundError(f"{file} has no metadata: neither {parquet} nor .jsonl exists")
        yield from _blocks_of(file, _load_npy(file), records)


def _blocks_of(path: Path, vectors: np.ndarray, records: list[dict[str, Any]]) -> Iterator[Block]:
    if len(vectors) != len(records):
        raise ValueError(f"{path}: {len(vectors)} vectors, but {len(records)} ids")
    for start in range(0, len(records), BLOCK):
        stop = start + BLOCK
        yield np.asarray(vectors[start:stop]), records[start:stop]


def _load_npy(path: Path) -> np.ndarray:
    try:
        vectors: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        raise ValueError(f"{path}: not an array of numbers: {error}") from error
    if vectors.ndim != 2 or vectors.dtype.kind != "f":
        raise ValueError(
            f"{path}: an array of shape {vectors.shape} and type {vectors.dtype}; expected "
            "[rows, width] of floating point"
        )
    return vectors


def _read_ids(path: Path) -> list[dict[str, Any]]:
    records = []
    with open(path, encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            text = line.strip()
            if not text.startswith("{"):
                records.append({"id": text})
                continue
            try:
                records.append(_record(json.loads(text)))
            except ValueError as error:
                raise ValueError(f"{path}, line {number}: {error}") from error
    while records and not records[-1]["id"]:
        records.pop()
    for number, record in enumerate(records, start=1):
        if not record["id"]:
            raise ValueError(f"{path}, line {number}: an empty id")
    return records


def _record(row: dict[str, Any]) -> dict[str, Any]:
    """A row of metadata -> id, source, and the rest; our own export carries its metadata whole."""
    row = dict(row)
    own = row.pop("metadata", None)
    path = row.pop("image_path", None)
    id = row.pop("id", None) or row.get("key") or path
    if id is None:
        raise ValueError(f"no id: expected one of id, key, image_path among {sorted(row)}")
    if isinstance(own, str):
        row.update(json.loads(own))
    if not row.get("caption"):
        row.pop("caption", None)
    return {**row, "id": str(id), "source": str(path or id)}


def _read_parquet(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = _pyarrow().parquet.read_table(path).to_pylist()
    return rows


def _read_parquet_vectors(path: Path) -> Iterator[Block]:
    pyarrow = _pyarrow()
    file = pyarrow.parquet.ParquetFile(path)
    schema = file.schema_arrow
    lists = [
        column.name
        for column in schema
        if pyarrow.types.is_list(column.type) or pyarrow.types.is_fixed_size_list(column.type)
        if pyarrow.types.is_floating(column.type.value_type)
    ]
    if len(lists) != 1:
        raise ValueError(
            f"{path}: columns {schema.names}; expected exactly one that holds lists of floating "
            f"point numbers, found {lists or 'none'}"
        )
    for batch in file.iter_batches(BLOCK):
        rows = batch.drop_columns(lists).to_pylist()
        values = batch.column(lists[0])
        if values.null_count or len({len(value) for value in values}) != 1:
            raise ValueError(f"{path}: the vectors of column {lists[0]!r} differ in width")
        flat = np.asarray(values.flatten())
        yield flat.reshape(len(rows), -1), [_record(row) for row in rows]


def _number(path: Path) -> tuple[int, str]:
    """img_emb_10 comes after img_emb_9."""
    found = re.findall(r"\d+", path.stem)
    return (int(found[-1]) if found else -1, path.stem)


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError(
            "reading and writing Parquet needs pyarrow: pip install 'chatsearcher[parquet]' "
            "(or use .npy and .jsonl)"
        ) from error
    return pyarrow
