"""Batch number i of a mix of sources, as a function of i."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL.Image import new as new_picture

from chatsearcher.data import packing
from chatsearcher.data.collate import collate
from chatsearcher.data.feature_cache import FeatureCache, feature_key
from chatsearcher.data.mixing import Mix, rank_slice
from chatsearcher.data.records import BrokenRecord, DataConfig, Record, Remark
from chatsearcher.data.sources import Source, build
from chatsearcher.dialogue import Dialogue, Image, Part, Text
from chatsearcher.model.processing import EncodedSample, Segment

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage
    from torch import Tensor

    from chatsearcher.model.processing import ChatSearcherProcessor

_BLANK = new_picture("RGB", (1, 1))


@dataclass(frozen=True)
class Made:
    """A batch, and what did not go into it as it stood."""

    batch: Any
    remarks: tuple[Remark, ...] = ()


class MixedBatches:
    """``batches(step)`` is this rank's share of the global batch ``step``."""

    def __init__(
        self,
        config: DataConfig,
        processor: ChatSearcherProcessor,
        rank: int,
        world_size: int,
        seed: int,
        features: FeatureCache | None = None,
        sources: Mapping[str, Source] | None = None,
    ) -> None:
        self.config = config
        self.features = features
        self.processor = processor
        self.rank = rank
        self.world_size = world_size
        self.mix = Mix.of({name: source.count for name, source in config.sources.items()})
        self.batch = config.batch or len(self.mix.block)
        if self.batch < world_size:
            raise ValueError(
                f"a global batch of {self.batch} items cannot be shared by {world_size} ranks; "
                "raise the sources' counts or data.batch"
            )
        self.sources: Mapping[str, Source] = sources or {
            name: build(source, seed, config.image_size) for name, source in config.sources.items()
        }

    @property
    def remarks(self) -> list[Remark]:
        """What the sources could not read at all."""
        return [remark for source in self.sources.values() for remark in source.remarks]

    def __call__(self, step: int) -> Made:
        remarks: list[Remark] = []
        samples: list[EncodedSample] = []
        for position in rank_slice(step, self.batch, self.rank, self.world_size):
            name, index = self.mix[position]
            try:
                samples.append(self._sample(name, self.sources[name].item(index), remarks))
            except BrokenRecord as error:
                remarks.append(Remark(error.key, "skipped", error.reason))
        if not samples:
            # One row of special tokens without a loss: this rank still takes part in the step.
            samples = [self.processor.encode_segments([], key=f"step {step}: nothing readable")]
        cached = self.features is not None
        made = collate(samples, self.processor, self.config.length, self.config.pack, cached)
        return Made(made, tuple(remarks))

    def _sample(self, name: str, record: Record, remarks: list[Remark]) -> EncodedSample:
        if isinstance(record.content, Dialogue):
            sample = self._dialogue(name, record.key, record.content, remarks)
        else:
            sample = self._encode(interleaved(record.content), record.key)
        if self.features is not None:
            with_features(sample, self.features, self._namespace(name))
        return with_pixels(sample, record)

    def _namespace(self, name: str) -> str:
        """Where a source's pictures come from: their ids are unique there only."""
        source = self.config.sources[name]
        if source.path is None:
            return f"world at {self.config.image_size} px"
        return f"{Path(source.path).resolve()}\0{source.split}"  # splits may use a key twice

    def _dialogue(
        self, name: str, key: str, dialogue: Dialogue, remarks: list[Remark]
    ) -> EncodedSample:
        limit = self.config.sources[name].max_rounds
        fitting: list[EncodedSample] = []

        def fits(candidate: Dialogue) -> bool:
            if limit and len(packing.rounds(candidate)[1]) > limit:
                return False
            sample = self._encode(self.processor.dialogue_segments(candidate), key)
            fitting[:] = [sample]
            return len(sample.input_ids) <= self.config.length

        try:
            _, dropped = packing.shorten(dialogue, fits)
        except ValueError as error:
            raise BrokenRecord(key, str(error)) from error
        if dropped:
            remarks.append(Remark(key, "shortened", f"{dropped} rounds dropped from the front"))
        return fitting[0]

    def _encode(self, segments: Sequence[Segment], key: str) -> EncodedSample:
        """Encode before any picture is decoded: what does not fit is never decoded."""
        return self.processor.encode_segments([_undecoded(each) for each in segments], key)


def interleaved(parts: Sequence[Part]) -> list[Segment]:
    """Stage 1: everything is learned; texts carry the space before them, as in dialogues."""
    return [
        Segment(part if isinstance(part, Image) else Text(" " + part.text), True) for part in parts
    ]


def _undecoded(segment: Segment) -> Segment:
    if isinstance(segment.part, Text) or segment.part.pixels is not None:
        return segment
    return replace(segment, part=replace(segment.part, pixels=_BLANK))


def with_pixels(sample: EncodedSample, record: Record) -> EncodedSample:
    """Decode the pictures of a sample, each id once.

    Raises:
        BrokenRecord: a picture cannot be decoded.
    """
    decoded: dict[str, PILImage | Tensor] = {}
    for image in sample.images:
        if image.pixels is _BLANK and image.id not in decoded:
            try:
                decoded[image.id] = record.load(image.id)
            except BrokenRecord as error:
                raise BrokenRecord(record.key, error.reason) from error
        image.pixels = decoded.get(image.id, image.pixels)
    return sample


def with_features(sample: EncodedSample, features: FeatureCache, namespace: str) -> None:
    """Give pictures that are to be decoded their keys, and their features where they are known."""
    for image in sample.images:
        if image.pixels is _BLANK:
            image.key = feature_key(namespace, image.id)
            image.pixels = features.get(image.key) or image.pixels


def identity(config: Any, seed: int) -> str:
    """A short hash of what decides the batches: going on with another would be another run.

    The number of ranks, workers and batches kept ready do not count: the global batch is the same.
    """
    values = asdict(config)
    for name in ("workers", "prefetch"):
        values.pop(name)
    if values.get("reader") == "indexed":
        values.pop("reader")  # runs begun before there was another go on
    text = json.dumps([values, seed], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
