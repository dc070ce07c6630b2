"""mmc4 (also -core, -ff): documents of sentences and pictures.

A line of ``docs_…_shard_N_v3.jsonl`` (plain, ``.gz``, or ``.zip`` as published) is

    {"text_list": [sentence…], "image_info": [{"image_name", "raw_url", "matched_text_index",
     "matched_sim"}…], "similarity_matrix": [[pictures x sentences]], "url": …}

The pictures are found by ``raw_url`` or ``image_name`` in image shards (img2dataset over the
``raw_url`` column) or by ``image_name`` in a folder. A record is a stretch of a document:

    {"id", "url", "texts": [sentence…],
     "images": [{"path": "0.jpg", "id", "text": 3, "similarity"}…]}

Stretches are bounded in bytes and pictures, so a document of thousands of sentences becomes several
records; nothing is cut but the few sentences that are longer than a stretch, at a space.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chatsearcher.preparation.command import SetCommand
from chatsearcher.preparation.lines import Line, find_files, read_lines
from chatsearcher.preparation.pictures import Pictures
from chatsearcher.preparation.records import (
    Cursor,
    Example,
    Outcome,
    Picture,
    Reject,
    Unusable,
    held_out,
    member,
)

# A byte is at most a token; 6,000 are three rows of 2,048 at the very worst.
MAX_BYTES = 6_000
MAX_PICTURES = 16


@dataclass(frozen=True)
class _Matched:
    """A picture of a document that was found, and its sentence."""

    picture: Picture
    id: str
    text: int
    similarity: float | None


class Mmc4:
    """Documents of all files, in the order of the files.

    Args:
        min_similarity: pictures less similar to their sentence are left out (CLIP ViT-L/14, from
            ``matched_sim``); 0 leaves the choice that the set's authors made.
        unique_urls: leave out documents that may be there twice (``could_have_url_duplicate``).
    """

    expected: dict[str, int]

    def __init__(
        self,
        files: Sequence[Path],
        min_similarity: float = 0.0,
        unique_urls: bool = False,
        val_every: int = 500,
    ) -> None:
        self.name = "mmc4"
        self.inputs = files
        self.shards: Sequence[Path] = ()
        self.min_similarity = min_similarity
        self.unique_urls = unique_urls
        self.val_every = val_every
        self.expected = {}

    def facts(self) -> dict[str, int]:
        return {"input files": len(self.inputs)}

    def outcomes(self, start: Cursor | None, pictures: Pictures) -> Iterator[Outcome]:
        for line in read_lines(self.inputs, start):
            try:
                yield self._outcome(line, pictures)
            except Unusable as error:
                yield Outcome(line.cursor, [], [Reject(line.where, error.kind, error.detail)])

    def _outcome(self, line: Line, pictures: Pictures) -> Outcome:
        document = _document(line.data)
        if self.unique_urls and document.get("could_have_url_duplicate"):
            raise Unusable("possible duplicate", str(document.get("url")))
        sentences, infos = document["text_list"], document["image_info"]
        found: list[_Matched] = []
        rejects: list[Reject] = []
        for place, info in enumerate(infos):
            try:
                found.append(self._matched(info, len(sentences), pictures))
            except Unusable as error:
                where = f"{line.where}.image_info[{place}]"
                rejects.append(Reject(where, error.kind, error.detail, part=True))
        counts = {"sentences": len(sentences), "pictures named": len(infos)}
        if not found:
            rejects.append(Reject(line.where, "no picture left", f"of {len(infos)}"))
            return Outcome(line.cursor, [], rejects, counts)
        name = str(document.get("url") or line.where)
        examples: list[Example] = []
        bare = 0
        for stretch in stretches(sentences, found):
            if not stretch.pictures:
                bare += 1
                continue
            about = stretch.about(f"mmc4/{line.where}+{len(examples)}", document.get("url"))
            files = tuple(stretch.files().values())
            examples.append(Example(held_out(name, self.val_every), about, files))
        if bare:
            counts["stretches without a picture, left out"] = bare
        return Outcome(line.cursor, examples, rejects, counts)

    def _matched(self, info: Any, sentences: int, pictures: Pictures) -> _Matched:
        if not isinstance(info, dict):
            raise Unusable("picture malformed", f"a {type(info).__name__}")
        index, similarity = info.get("matched_text_index"), info.get("matched_sim")
        if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < sentences:
            raise Unusable("matched_text_index out of range", f"{index!r} of {sentences} sentences")
        if not isinstance(similarity, (int, float)):
            similarity = None
        if self.min_similarity and (similarity is None or similarity < self.min_similarity):
            raise Unusable("picture unlike its sentence", f"{similarity}")
        names = [str(info[n]) for n in ("raw_url", "image_name") if info.get(n)]
        if not names:
            raise Unusable("picture malformed", "neither raw_url nor image_name")
        return _Matched(pictures.load(*names), names[0], index, similarity)


def _document(data: bytes | None) -> dict[str, Any]:
    """A line's document, once it is clear that its parts fit together."""
    if data is None:
        raise Unusable("line too long")
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Unusable("broken JSON", str(error)) from error
    if not isinstance(document, dict):
        raise Unusable("malformed", f"expected an object, got {type(document).__name__}")
    for name in ("text_list", "image_info"):
        if not isinstance(document.get(name), list):
            raise Unusable("malformed", f"{name} is no list")
    sentences, infos = document["text_list"], document["image_info"]
    if not all(isinstance(sentence, str) for sentence in sentences):
        raise Unusable("malformed", "a sentence that is no string")
    matrix = document.get("similarity_matrix")
    if matrix is not None:
        rows = len(matrix) if isinstance(matrix, list) else -1
        widths = (
            {len(row) if isinstance(row, list) else -1 for row in matrix} if rows > 0 else set()
        )
        if rows != len(infos) or widths - {len(sentences)}:
            raise Unusable(
                "similarity_matrix of the wrong shape",
                f"{rows} x {sorted(widths)}, expected {len(infos)} x {len(sentences)}",
            )
    return document


@dataclass
class Stretch:
    """Some sentences in a row, and the pictures that belong to them."""

    texts: list[str]
    pictures: list[_Matched]
    places: list[int]

    def files(self) -> dict[str, Picture]:
        """id -> picture, each once: a page may show the same one at several sentences."""
        return {each.id: each.picture for each in self.pictures}

    def about(self, id: str, url: Any) -> dict[str, Any]:
        paths = {id: member(n, picture) for n, (id, picture) in enumerate(self.files().items())}
        images = []
        for matched, place in zip(self.pictures, self.places, strict=True):
            image = {"path": paths[matched.id], "id": matched.id, "text": place}
            if matched.similarity is not None:
                image["similarity"] = matched.similarity
            images.append(image)
        return {"id": id, "url": url, "texts": self.texts, "images": images}


def stretches(
    sentences: Sequence[str],
    pictures: Sequence[_Matched],
    max_bytes: int = MAX_BYTES,
    max_pictures: int = MAX_PICTURES,
) -> Iterator[Stretch]:
    """A document in stretches, every sentence and picture in one of them, in their order."""
    of: dict[int, list[_Matched]] = {}
    for each in pictures:
        of.setdefault(each.text, []).append(each)
    stretch, used = Stretch([], [], []), 0
    for number, sentence in enumerate(sentences):
        waiting = of.get(number, [])
        pieces = _pieces(" ".join(sentence.split()), max_bytes) or ([""] if waiting else [])
        for piece in pieces:
            size = len(piece.encode("utf-8", errors="replace")) + 1
            crowded = len(stretch.pictures) + len(waiting) > max_pictures and stretch.pictures
            if stretch.texts and (used + size > max_bytes or crowded):
                yield stretch
                stretch, used = Stretch([], [], []), 0
            stretch.texts.append(piece)
            used += size
            while waiting:
                if len(stretch.pictures) == max_pictures:
                    yield stretch  # more pictures than a stretch holds, all of one sentence
                    stretch, used = Stretch([piece], [], []), size
                stretch.pictures.append(waiting[0])
                stretch.places.append(len(stretch.texts) - 1)
                waiting = waiting[1:]
    if stretch.texts:
        yield stretch


def _pieces(sentence: str, max_bytes: int) -> list[str]:
    """A sentence whole, or cut at spaces (in the middle of a word that is longer than that)."""
    pieces: list[str] = []
    limit = max_bytes // 4  # characters of at most four bytes
    if len(sentence.encode("utf-8", errors="replace")) <= max_bytes:
        return [sentence] if sentence else []
    while sentence:
        end = len(sentence) if len(sentence) <= limit else sentence.rfind(" ", 0, limit + 1)
        end = end if end > 0 else limit
        pieces.append(sentence[:end])
        sentence = sentence[end:].lstrip(" ")
    return pieces


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--min-similarity", type=float, default=0.0, metavar="S")
    parser.add_argument(
        "--unique-urls", action="store_true", help="leave out could_have_url_duplicate = 1"
    )
    parser.add_argument("--val-every", type=int, default=500, metavar="N")


def _build(arguments: argparse.Namespace) -> Mmc4:
    files = find_files(arguments.source, "*.jsonl", "*.jsonl.zip", "*.jsonl.gz")
    return Mmc4(files, arguments.min_similarity, arguments.unique_urls, arguments.val_every)


PREPARATION = SetCommand(
    "a folder of docs_…shard_….jsonl (also .zip, .gz), or one of them",
    _build,
    _configure,
    ("min_similarity", "unique_urls", "val_every"),
)
