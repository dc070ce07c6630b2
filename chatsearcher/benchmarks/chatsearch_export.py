"""An export of the ChatSearch construction pipeline, read as a set of dialogues.

::

    ROOT/data/t/test-*.parquet        id, kind, source, round, target, images, messages
    ROOT/data/pictures/all-*.parquet  id, image {bytes}, url, caption, galleries

A set's gallery is the pictures whose ``galleries`` names it (``test/t``), in the files' order.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chatsearcher.benchmarks.dialogue_sets import DialogueRecord, DialogueSet, dialogue_record
from chatsearcher.images import open_image

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage


def has_export(root: Path, part: str) -> bool:
    """Whether the folder is an export that holds this set."""
    return bool(_dialogue_files(root, part))


def read_export(root: Path, part: str) -> DialogueSet:
    """Read one set of an export.

    Raises:
        FileNotFoundError: no files of pictures.
        ValueError: a row of another shape, a target that is not in the set's gallery.
    """
    files = _dialogue_files(root, part)
    tables = sorted((root / "data/pictures").glob("all-*.parquet"))
    if not tables:
        raise FileNotFoundError(f"{root} lacks data/pictures/all-*.parquet; export it again")
    pictures = ExportedPictures(tables)
    gallery = tuple(pictures.gallery(f"test/{part}"))
    known = set(gallery)
    records: dict[str, DialogueRecord] = {}
    for where, row in _rows(files):
        messages = json.loads(json.dumps(row.get("messages")))
        for message in messages or []:
            for piece in message["content"]:
                for name in [name for name, found in piece.items() if found is None]:
                    del piece[name]
        record = dialogue_record({**row, "messages": messages}, where)
        if record.target not in known:
            raise ValueError(
                f"{where}: target {record.target!r} is not in gallery test/{part} of "
                "data/pictures; export the data again"
            )
        if record.id in records:
            raise ValueError(f"{where}: id {record.id!r} stands in {records[record.id].where} too")
        records[record.id] = record
    return DialogueSet(tuple(records.values()), gallery, pictures, (*files, *tables))


class ExportedPictures:
    """Pictures inside Parquet files; a group of rows is read when one of its pictures is wanted.

    Args:
        files: in order.
    """

    def __init__(self, files: list[Path]) -> None:
        self._files = files
        self._places: dict[str, tuple[int, int, int]] = {}
        self._galleries: dict[str, tuple[str, ...]] = {}
        self._held: tuple[tuple[int, int], list[Any]] | None = None
        for number, path in enumerate(files):
            file = _open(path)
            for group in range(file.num_row_groups):
                rows = file.read_row_group(group, columns=["id", "galleries"]).to_pylist()
                for place, row in enumerate(rows):
                    self._places[row["id"]] = (number, group, place)
                    self._galleries[row["id"]] = tuple(row["galleries"])

    def gallery(self, name: str) -> Iterator[str]:
        """The pictures of a gallery."""
        return (id for id, galleries in self._galleries.items() if name in galleries)

    def path(self, id: str) -> str | None:
        """Pictures are no files here."""
        return None

    def missing(self, ids: Collection[str]) -> dict[str, str]:
        """Those that the export does not have; pixels are looked for when they are read."""
        return {id: "no row in data/pictures" for id in ids if id not in self._places}

    def load(self, id: str) -> PILImage:
        """The decoded picture.

        Raises:
            FileNotFoundError: the export holds its id and address only.
        """
        number, group, place = self._places[id]
        if self._held is None or self._held[0] != (number, group):
            column = _open(self._files[number]).read_row_group(group, columns=["image"])["image"]
            self._held = ((number, group), column.to_pylist())
        image = self._held[1][place]
        data = None if image is None else image["bytes"]
        if data is None:
            raise FileNotFoundError(f"the export has no pixels of picture {id!r}, its address only")
        return open_image(data, name=id)


def _dialogue_files(root: Path, part: str) -> list[Path]:
    return sorted((root / "data" / part).glob("test-*.parquet"))


def _rows(files: list[Path]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path in files:
        number = 0
        for batch in _open(path).iter_batches(columns=["id", "target", "messages"]):
            for row in batch.to_pylist():
                yield f"{path}, row {number}", row
                number += 1


def _open(path: Path) -> Any:
    try:
        import pyarrow.parquet as pq
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{path} is a Parquet file: pip install 'chatsearcher[parquet]'"
        ) from error
    return pq.ParquetFile(path)
