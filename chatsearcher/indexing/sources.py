"""Where pictures come from: folders, WebDataset shards, the picture world. No pixel is read."""

from __future__ import annotations

import glob
import json
import os
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from chatsearcher.gallery.layout import Failure, may_be_kept
from chatsearcher.images import SUFFIXES
from chatsearcher.registry import Registry

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

MAX_BYTES = 1 << 30
"""A picture's file may be this large."""

PROCEDURAL = Registry("picture source", {"world": "chatsearcher.world.source:list_pictures"})
"""name -> function("SPLIT:COUNT[:SEED]") -> list of (id, function() -> RGB picture)."""


class Item(Protocol):
    """A picture that was found and not read yet."""

    @property
    def id(self) -> str: ...

    @property
    def source(self) -> str:
        """Where it lies, for people; unique."""
        ...

    @property
    def stamp(self) -> tuple[int, int]:
        """Bytes and modification time (ns) of the file it lies in: equal means unchanged."""
        ...

    def read(self) -> bytes | PILImage:
        """Its bytes, or the picture where there never were bytes."""
        ...

    def metadata(self) -> dict[str, Any]:
        """What was said beside it."""
        ...


@dataclass(slots=True)
class Listing:
    """What a source holds.

    Attributes:
        items: the pictures, in a fixed order.
        failures: what could not even be listed.
        others: files that by their names are no pictures.
        folders: absolute folders that were listed whole; a known picture under one of them
            whose file is gone has been deleted.
        shards: absolute paths of shards that were listed to their ends.
    """

    items: list[Item] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    others: int = 0
    folders: list[str] = field(default_factory=list)
    shards: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a file; a length of -1 is all of it."""

    path: str
    offset: int = 0
    length: int = -1

    def read(self) -> bytes:
        with open(self.path, "rb") as file:
            if self.length < 0:
                size = os.fstat(file.fileno()).st_size
                if size > MAX_BYTES:
                    raise ValueError(f"{self.path}: {size} bytes; at most {MAX_BYTES} are read")
                return file.read()
            file.seek(self.offset)
            content = file.read(self.length)
        if len(content) != self.length:
            raise ValueError(f"{self.path} ends in the middle of a picture")
        return content


@dataclass(frozen=True, slots=True)
class FileItem:
    """A picture in a file, or in a stretch of a shard, with the text and JSON beside it."""

    id: str
    source: str
    stamp: tuple[int, int]
    span: Span
    text: Span | None = None
    json: Span | None = None

    def read(self) -> bytes:
        return self.span.read()

    def metadata(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if self.json is not None:
            said = json.loads(self.json.read())
            if not isinstance(said, dict):
                raise ValueError(f"expected an object, got {type(said).__name__}")
            found = {key: value for key, value in said.items() if may_be_kept(key, value)}
            captions = said.get("captions")
            if "caption" not in found and isinstance(captions, list) and captions:
                found["caption"] = str(captions[0])
        if self.text is not None:
            found["caption"] = self.text.read().decode("utf-8", errors="replace").strip()
        return found


@dataclass(frozen=True, slots=True)
class DrawnItem:
    """A picture that a procedural source draws."""

    id: str
    source: str
    draw: Any
    stamp: tuple[int, int] = (0, 0)

    def read(self) -> PILImage:
        picture: PILImage = self.draw()
        return picture

    def metadata(self) -> dict[str, Any]:
        return {}


def list_sources(sources: list[str]) -> Listing:
    """The pictures of folders, files, ``.tar`` shards (patterns are expanded) and
    ``world:SPLIT:COUNT[:SEED]``.

    Raises:
        FileNotFoundError: a source that does not exist.
        ValueError: a source without pictures; the message names it.
    """
    listing = Listing()
    for source in sources:
        before = len(listing.items) + len(listing.failures)
        name, colon, arguments = source.partition(":")
        if colon and name in PROCEDURAL and not os.path.exists(source):
            for id, draw in PROCEDURAL[name](arguments):
                listing.items.append(DrawnItem(id, f"{name}:{id}", draw))
        else:
            _list_path(source, listing)
        if len(listing.items) + len(listing.failures) == before:
            raise ValueError(
                f"{source} holds no pictures: {listing.others} files, none of them named like a "
                f"picture ({', '.join(sorted(SUFFIXES))}) or a shard (.tar)"
            )
    return listing


def _list_path(source: str, listing: Listing) -> None:
    if os.path.isdir(source):
        _list_folder(os.path.abspath(source), listing)
        return
    files = [source] if os.path.exists(source) else sorted(glob.glob(source, recursive=True))
    if not files:
        raise FileNotFoundError(
            f"no such folder or shard: {source} (expected a folder, .tar files, world:SPLIT:COUNT)"
        )
    for path in map(os.path.abspath, files):
        if os.path.isdir(path):
            _list_folder(path, listing)
        else:
            _list_file(path, os.path.basename(path), set(), listing)


def _list_folder(folder: str, listing: Listing) -> None:
    def failed(error: OSError) -> None:
        listing.failures.append(Failure(str(error.filename), str(error.strerror)))

    found = len(listing.failures)
    for here, folders, names in os.walk(folder, onerror=failed):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        beside = set(names)
        for name in sorted(names):
            path = os.path.join(here, name)
            _list_file(path, os.path.relpath(path, folder), beside, listing)
    if len(listing.failures) == found:
        listing.folders.append(folder)


def _list_file(path: str, relative: str, beside: set[str], listing: Listing) -> None:
    name = os.path.basename(path)
    stem, suffix = os.path.splitext(name)
    if suffix.lower() == ".tar":
        _list_shard(path, listing)
        return
    if suffix.lower() not in SUFFIXES or name.startswith("."):
        # Compressed shards cannot be read from the middle: say so, rather than pass them over.
        if name.lower().endswith((".tar.gz", ".tgz", ".tar.zst", ".tar.xz", ".tar.bz2")):
            listing.failures.append(Failure(path, "a compressed shard; decompress it to .tar"))
        else:
            listing.others += 1
        return
    try:
        status = os.stat(path)
    except OSError as error:
        listing.failures.append(Failure(path, str(error.strerror)))
        return
    base = path[: -len(suffix)]
    listing.items.append(
        FileItem(
            id=relative.replace(os.sep, "/"),
            source=path,
            stamp=(status.st_size, status.st_mtime_ns),
            span=Span(path),
            text=Span(base + ".txt") if stem + ".txt" in beside else None,
            json=Span(base + ".json") if stem + ".json" in beside else None,
        )
    )


def _list_shard(path: str, listing: Listing) -> None:
    """The samples of a WebDataset shard: members alike up to the first dot belong together."""
    samples: dict[str, dict[str, tuple[str, Span]]] = {}
    problem = None
    try:
        status = os.stat(path)
        with tarfile.open(path, "r:") as shard:
            while (member := shard.next()) is not None:
                if not member.isfile():
                    continue
                end = member.offset_data + member.size
                if end > status.st_size:
                    problem = f"cut off in {member.name} (byte {status.st_size} of {end} or more)"
                    break
                folder, _, base = member.name.rpartition("/")
                stem, _, suffix = base.partition(".")
                key = f"{folder}/{stem}" if folder else stem
                span = Span(path, member.offset_data, member.size)
                samples.setdefault(key, {})[suffix.lower()] = (member.name, span)
            else:
                problem = _end_problem(path, shard.offset, status.st_size)
    except (OSError, tarfile.TarError) as error:
        problem = f"damaged or not a shard: {error}"
    for key, parts in samples.items():
        pictures = [part for suffix, part in parts.items() if f".{suffix}" in SUFFIXES]
        if not pictures:
            listing.others += 1
            continue
        name, span = pictures[0]
        listing.items.append(
            FileItem(
                id=key,
                source=f"{path}#{name}",
                stamp=(status.st_size, status.st_mtime_ns),
                span=span,
                text=parts["txt"][1] if "txt" in parts else None,
                json=parts["json"][1] if "json" in parts else None,
            )
        )
    if problem is None:
        listing.shards.add(path)
    else:
        listing.failures.append(Failure(path, f"{problem}; {len(samples)} samples before it taken"))


def _end_problem(path: str, offset: int, size: int) -> str | None:
    """tarfile takes a cut or spoilt header for the end; a real end is a block of zeros."""
    with open(path, "rb") as file:
        file.seek(offset)
        block = file.read(tarfile.BLOCKSIZE)
    if len(block) == tarfile.BLOCKSIZE and not any(block):
        return None
    if any(block) and len(block) == tarfile.BLOCKSIZE:
        return f"damaged at byte {offset} of {size}"
    return f"cut off at byte {size}: the end mark is missing"


def absolute_file(source: str) -> Path:
    """The file that a source lies in: ``shard.tar#member`` -> ``shard.tar``."""
    if os.path.exists(source):
        return Path(source)
    return Path(source.split(".tar#")[0] + ".tar" if ".tar#" in source else source)
