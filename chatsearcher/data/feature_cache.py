"""A frozen tower's features on disk, so that later epochs neither decode pictures nor run it.

One file of equal slots, as long as its bound from the start but sparse: it takes disk only as it
fills. A picture's key says where to look: eight slots from there on. A slot carries its key and a
checksum; whoever reads while another writes sees a wrong checksum, which counts as not there. So
any number of processes of one machine share a cache without locks. Give each machine its own, on a
local disk.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from chatsearcher.model.batch import Features, image_id_hash

FORMAT = 1
PROBES = 8
_HEADER = struct.Struct("<QII")  # key + 1 (0: an empty slot), checksum, unused


class _Layout(NamedTuple):
    tokens: tuple[int, ...]
    tokens_dtype: torch.dtype
    pooled: tuple[int, ...]
    pooled_dtype: torch.dtype
    slots: int

    @property
    def tokens_bytes(self) -> int:
        return torch.Size(self.tokens).numel() * self.tokens_dtype.itemsize

    @property
    def slot_bytes(self) -> int:
        pooled = torch.Size(self.pooled).numel() * self.pooled_dtype.itemsize
        return _HEADER.size + self.tokens_bytes + pooled


def feature_key(namespace: str, image_id: str) -> int:
    """The key of a picture; ids are unique within a namespace only (a source's folder)."""
    return image_id_hash(f"{namespace}\0{image_id}")


class FeatureCache:
    """Tokens and pooled features of one tower by picture.

    The file is made when the first features come, for only then is their shape known.

    Args:
        folder: where it lies; made where it is missing.
        fingerprint: of the tower, its preprocessing and precision.
        limit_bytes: the most it takes on disk. A cache that is there already keeps its own bound.

    Raises:
        ValueError: the folder holds the features of another tower, or its disk has no room.
    """

    def __init__(self, folder: str | Path, fingerprint: str, limit_bytes: int) -> None:
        self.folder = Path(folder)
        self.fingerprint = fingerprint
        self.limit_bytes = limit_bytes
        self._layout: _Layout | None = None
        self._file: int | None = None
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self._opened():
            free = shutil.disk_usage(self.folder).free
            if limit_bytes > free:
                raise ValueError(
                    f"a feature cache of {limit_bytes / 1e9:.1f} GB does not fit on the disk of "
                    f"{self.folder}, which has {free / 1e9:.1f} GB free; lower "
                    "--engine.feature-cache-gb, or choose another folder"
                )

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_file": None, "_layout": None}  # a file belongs to its process

    def get(self, key: int) -> Features | None:
        """The features of a picture, or None where they are not there (yet)."""
        if not self._opened():
            return None
        for offset in self._places(key):
            entry = os.pread(self._descriptor(), _HEADER.size, offset)
            stored, checksum, _ = _HEADER.unpack(entry)
            if stored == 0:
                return None
            if stored == key + 1:
                return self._read(key, checksum, offset)
        return None

    def put(self, keys: Sequence[int], tokens_IPC: Tensor, pooled_IF: Tensor) -> int:
        """Keep the features of pictures; returns how many found a place.

        Raises:
            ValueError: their shape or precision is not that of the features that are there.
        """
        if not len(keys):
            return 0
        self._fit(tokens_IPC, pooled_IF)
        tokens_IPC, pooled_IF = tokens_IPC.detach().cpu(), pooled_IF.detach().cpu()
        return sum(
            self._write(key, _bytes(tokens) + _bytes(pooled))
            for key, tokens, pooled in zip(keys, tokens_IPC, pooled_IF, strict=True)
        )

    def _read(self, key: int, checksum: int, offset: int) -> Features | None:
        layout = self._layout
        assert layout is not None
        size = layout.slot_bytes - _HEADER.size
        content = os.pread(self._descriptor(), size, offset + _HEADER.size)
        if len(content) != size or _checksum(key, content) != checksum:
            return None
        raw = torch.frombuffer(bytearray(content), dtype=torch.uint8)
        split = layout.tokens_bytes
        return Features(
            raw[:split].view(layout.tokens_dtype).view(layout.tokens),
            # a copy: the tokens' bytes may end where the other numbers must not begin
            raw[split:].clone().view(layout.pooled_dtype).view(layout.pooled),
        )

    def _write(self, key: int, content: bytes) -> bool:
        for offset in self._places(key):
            header = os.pread(self._descriptor(), _HEADER.size, offset)
            stored, _, _ = _HEADER.unpack(header)
            if stored in (0, key + 1):
                header = _HEADER.pack(key + 1, _checksum(key, content), 0)
                os.pwrite(self._descriptor(), header + content, offset)
                return True
        return False

    def _places(self, key: int) -> list[int]:
        assert self._layout is not None
        slots = self._layout.slots
        first = key % slots
        tried = range(first, first + min(PROBES, slots))
        return [(slot % slots) * self._layout.slot_bytes for slot in tried]

    def _descriptor(self) -> int:
        if self._file is None:
            assert self._layout is not None
            self._file = os.open(self.folder / "entries.bin", os.O_RDWR | os.O_CREAT, 0o644)
            os.ftruncate(self._file, self._layout.slots * self._layout.slot_bytes)
        return self._file

    def _opened(self) -> bool:
        """Whether there is a cache here; reads its description the first time."""
        if self._layout is not None:
            return True
        path = self.folder / "about.json"
        if not path.is_file():
            return False
        about = json.loads(path.read_text(encoding="utf-8"))
        if about["format"] != FORMAT or about["fingerprint"] != self.fingerprint:
            raise ValueError(
                f"{self.folder} holds the features of another tower, preprocessing or precision "
                f"({about['fingerprint'][:12]}, this run's is {self.fingerprint[:12]}); expected "
                "an empty folder or this tower's; give --engine.feature-cache another folder, or "
                "remove this one"
            )
        self._layout = _Layout(
            tuple(about["tokens"]),
            getattr(torch, about["tokens_dtype"]),
            tuple(about["pooled"]),
            getattr(torch, about["pooled_dtype"]),
            about["slots"],
        )
        return True

    def _fit(self, tokens_IPC: Tensor, pooled_IF: Tensor) -> None:
        shapes = tuple(tokens_IPC.shape[1:]), tuple(pooled_IF.shape[1:])
        if not self._opened():
            one = _Layout(shapes[0], tokens_IPC.dtype, shapes[1], pooled_IF.dtype, 1)
            slots = self.limit_bytes // one.slot_bytes
            if slots < 1:
                raise ValueError(
                    f"a feature cache of {self.limit_bytes:,} bytes is too small for one picture "
                    f"({one.slot_bytes:,} bytes); raise --engine.feature-cache-gb"
                )
            self._create(one._replace(slots=slots))
            self._opened()
        layout = self._layout
        assert layout is not None
        given = (*shapes, tokens_IPC.dtype, pooled_IF.dtype)
        known = (layout.tokens, layout.pooled, layout.tokens_dtype, layout.pooled_dtype)
        if given != known:
            raise ValueError(
                f"{self.folder} holds features of {known}, these are {given}; the tower computes "
                "differently now; give --engine.feature-cache another folder"
            )

    def _create(self, layout: _Layout) -> None:
        about = {
            "format": FORMAT,
            "fingerprint": self.fingerprint,
            "tokens": list(layout.tokens),
            "tokens_dtype": str(layout.tokens_dtype).removeprefix("torch."),
            "pooled": list(layout.pooled),
            "pooled_dtype": str(layout.pooled_dtype).removeprefix("torch."),
            "slots": layout.slots,
        }
        draft = self.folder / f".about.{os.getpid()}.{id(self)}"
        draft.write_text(json.dumps(about, indent=2), encoding="utf-8")
        try:
            os.link(draft, self.folder / "about.json")  # whole, or not at all; the first one stays
        except FileExistsError:
            pass
        finally:
            draft.unlink()


def tower_fingerprint(tower: torch.nn.Module, settings: dict[str, Any]) -> str:
    """A name for a tower's weights and for what else decides its features."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    for name, tensor in sorted(tower.state_dict().items()):
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(_bytes(tensor.detach().cpu()))
    return digest.hexdigest()


def _bytes(tensor: Tensor) -> bytes:
    return tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes()


def _checksum(key: int, content: bytes) -> int:
    return zlib.crc32(content, zlib.crc32(key.to_bytes(8, "little")))
