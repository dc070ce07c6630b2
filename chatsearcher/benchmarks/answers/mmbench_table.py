"""MMBench's tables: questions in TSV with their pictures inside, answers in XLSX or TSV."""

from __future__ import annotations

import base64
import binascii
import csv
import re
import string
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chatsearcher.images import open_image

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

TURNS = 1_000_000
"""The rotations of one question have the same index modulo this."""

LONGEST_NAME = 64
"""An image cell of at most so many characters names the row that has the picture."""

LONGEST_CELL = 1 << 28
NOTHING = frozenset({"", "nan"})  # what an empty cell looks like once pandas has written the file
OPENPYXL = "reading and writing XLSX needs openpyxl: pip install 'chatsearcher[eval]'"
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")  # what XLSX cannot hold


@dataclass(frozen=True)
class Row:
    """One rotation of one question.

    Attributes:
        index: unique; ``index % TURNS`` is the question's.
        options: letter -> text, from A on, without a gap.
        answer: the right letter; None where it is not public.
        image: the index of the row that has the picture.
    """

    index: int
    question: str
    hint: str
    options: Mapping[str, str]
    answer: str | None
    ability: str
    image: int

    @property
    def group(self) -> int:
        """The question that this is a rotation of."""
        return self.index % TURNS


class TablePictures:
    """Pictures that stand in the cells of a table, by the index of their row."""

    def __init__(self, path: Path, cells: Mapping[str, str]) -> None:
        self._path = path
        self._cells = cells

    def path(self, id: str) -> str | None:
        """None: they are no files."""
        return None

    def missing(self, ids: Collection[str]) -> dict[str, str]:
        """Those without a cell."""
        return {id: f"no picture in row {id}" for id in ids if id not in self._cells}

    def load(self, id: str) -> PILImage:
        """The decoded picture.

        Raises:
            ValueError: no base64, or no picture.
        """
        name = f"{self._path}, index {id}, image"
        try:
            content = base64.b64decode(self._cells[id], validate=True)
        except (binascii.Error, ValueError) as error:
            raise ValueError(f"{name}: no base64 ({error})") from error
        return open_image(content, name=name)


def read_questions(path: Path) -> tuple[list[Row], TablePictures]:
    """All rows of an MMBench TSV, and their pictures.

    Raises:
        ValueError: a column that is missing, a cell that cannot be read, an index twice, a rotation
            without its question, an image cell that names no row with a picture; with the row.
    """
    rows: list[Row] = []
    cells: dict[int, str] = {}
    images: dict[int, tuple[str, str]] = {}
    for where, entry in table(path, ("index", "question", "A", "B", "image")):
        row = _row(entry, where)
        if row.index in images:
            raise ValueError(f"{where}: index {row.index} stands twice; keep one")
        rows.append(row)
        images[row.index] = (where, entry["image"].strip())
    cells = {index: cell for index, (_, cell) in images.items() if len(cell) > LONGEST_NAME}
    known: dict[str, int] = {}
    found = []
    for row in rows:
        where, cell = images[row.index]
        if row.group not in images:
            raise ValueError(
                f"{where}: a rotation of question {row.group}, which the file lacks; was it "
                "downloaded to the end?"
            )
        owner = row.index
        if row.index not in cells:
            if not _whole(cell) or int(cell) not in cells:
                raise ValueError(
                    f"{where}: image cell {cell!r} is neither a picture in base64 nor the index of "
                    "a row that has one"
                )
            owner = int(cell)
        # some files hold the same picture again in every rotation
        found.append(_with_image(row, known.setdefault(cells[owner], owner)))
    used = {row.image for row in found}
    return found, TablePictures(path, {str(i): cell for i, cell in cells.items() if i in used})


def table(path: Path, needed: Sequence[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """(``"FILE, row N"``, column -> cell) of a table, ``.xlsx`` or else tab-separated.

    Rows are counted from 0 below the header; a cell without content is "".

    Raises:
        ImportError: XLSX without openpyxl.
        ValueError: no table, or a column that is missing.
    """
    lines = _excel(path) if path.suffix.lower() == ".xlsx" else _tabs(path)
    header = next(lines, None)
    if header is None:
        raise ValueError(f"{path} is empty; expected a header with {', '.join(needed)}")
    lost = [name for name in needed if name not in header]
    if lost:
        raise ValueError(
            f"{path} has no column {lost[0]!r}; it has {', '.join(header)[:200]}, expected "
            f"{', '.join(needed)}"
        )
    for number, line in enumerate(lines):
        if not any(line):
            continue
        if len(line) > len(header):
            raise ValueError(f"{path}, row {number}: {len(line)} cells under {len(header)} columns")
        cells = [*line, *[""] * (len(header) - len(line))]
        yield f"{path}, row {number}", dict(zip(header, cells, strict=True))


def index_of(entry: Mapping[str, str], where: str) -> int:
    """A row's index; some programs write 241.0 for 241.

    Raises:
        ValueError: no whole number.
    """
    text = entry["index"].strip().removesuffix(".0")
    if not _whole(text):
        raise ValueError(f"{where}: index {entry['index']!r}; expected a whole number")
    return int(text)


def write_answers(path: Path, rows: Sequence[Row], answers: Mapping[int, str]) -> None:
    """The XLSX that the evaluation server takes: index, question, options, prediction.

    Raises:
        ImportError: openpyxl is not installed.
    """
    openpyxl = excel()
    book = openpyxl.Workbook()
    sheet = book.active
    letters = sorted({letter for row in rows for letter in row.options})
    sheet.append(["index", "question", *letters, "answer", "prediction"])
    for number, row in enumerate(rows, start=2):
        options = [row.options.get(letter, "") for letter in letters]
        texts = [row.question, *options, row.answer or "", answers[row.index]]
        sheet.cell(number, 1, row.index)
        for column, text in enumerate(texts, start=2):
            if text:
                cell = sheet.cell(number, column)
                cell.value = _CONTROL.sub("", text)
                cell.data_type = "s"  # "=…" would be a formula
    book.save(path)


def _row(entry: Mapping[str, str], where: str) -> Row:
    options: dict[str, str] = {}
    for letter in string.ascii_uppercase:
        text = entry.get(letter, "").strip()
        if text.lower() in NOTHING:
            break
        options[letter] = text
    if len(options) < 2:
        raise ValueError(f"{where}: {len(options)} options in the columns A, B, …; expected two")
    answer: str | None = entry.get("answer", "").strip()
    if answer is not None and answer.lower() in NOTHING:
        answer = None
    if answer is not None and answer not in options:
        raise ValueError(f"{where}: answer {answer!r}; expected one of {', '.join(options)}")
    hint = entry.get("hint", "").strip()
    return Row(
        index=index_of(entry, where),
        question=entry["question"].strip(),
        hint="" if hint.lower() in NOTHING else hint,
        options=options,
        answer=answer,
        ability=entry.get("l2-category", "").strip(),
        image=-1,
    )


def _with_image(row: Row, image: int) -> Row:
    return Row(row.index, row.question, row.hint, row.options, row.answer, row.ability, image)


def _whole(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _tabs(path: Path) -> Iterator[list[str]]:
    before = csv.field_size_limit(LONGEST_CELL)  # pictures are longer than the usual limit
    try:
        with open(path, encoding="utf-8-sig", newline="") as lines:
            yield from csv.reader(lines, delimiter="\t", strict=True)
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: no tab-separated table in UTF-8 ({error})") from error
    finally:
        csv.field_size_limit(before)


def _excel(path: Path) -> Iterator[list[str]]:
    import zipfile

    openpyxl = excel()
    try:
        # formulas as they stand: an answer "=2" of another program has no value in store
        book = openpyxl.load_workbook(path, read_only=True, data_only=False)
    except (zipfile.BadZipFile, KeyError, ValueError, OSError) as error:
        raise ValueError(f"{path}: no XLSX file ({error})") from error
    try:
        for line in book.worksheets[0].iter_rows(values_only=True):
            yield ["" if cell is None else str(cell) for cell in line]
    finally:
        book.close()


def excel() -> Any:
    """openpyxl.

    Raises:
        ImportError: it is not installed.
    """
    try:
        import openpyxl
    except ImportError as error:
        raise ImportError(OPENPYXL) from error
    return openpyxl
