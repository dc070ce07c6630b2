"""The world through the harness: who knows the graph finds everything, who guesses nothing."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from PIL import Image as PILImages

from chatsearcher.benchmarks.query_sets import Outcome, outcome_of, task_of
from chatsearcher.benchmarks.vectors import encode
from chatsearcher.world.reader import read_dialogue
from chatsearcher.world.sets import load_set

NAMES = ["world-t", "world-i", "world-m", "world-i-val"]


def tagged(name: str) -> PILImages.Image:
    """A stand-in for a picture that carries its id: no test here looks at pixels."""
    image = PILImages.new("RGB", (1, 1))
    image.info["id"] = name
    return image


class Oracle:
    """Knows every graph: pictures by their ids, dialogues by the exact reader."""

    embedding_dim = 32
    metric = "cosine"
    fingerprint = "oracle"

    def vector(self, key: str) -> np.ndarray:
        seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")
        vector = np.random.default_rng(seed).normal(size=self.embedding_dim)
        return (vector / np.linalg.norm(vector)).astype(np.float32)

    def encode_images(self, images):
        return np.stack([self.vector(image.info["id"].rpartition("#")[0]) for image in images])

    def encode_queries(self, dialogues):
        return np.stack([self.vector(read_dialogue(dialogue).key) for dialogue in dialogues])


class Constant(Oracle):
    fingerprint = "constant"

    def vector(self, key: str) -> np.ndarray:
        return np.full(self.embedding_dim, self.embedding_dim**-0.5, dtype=np.float32)


def ranked(system: Oracle, name: str) -> Outcome:
    encoded = encode(system, task_of(load_set(name), tagged))
    return outcome_of(encoded.task, encoded.vectors)


@pytest.mark.parametrize("name", NAMES)
def test_who_reads_the_graph_finds_everything(name: str) -> None:
    out = ranked(Oracle(), name)
    assert (out.ranks == 1).all()
    assert out.beats_neighbours.all()
    assert out.rivals.min() >= 12


@pytest.mark.parametrize("name", NAMES)
def test_who_cannot_tell_pictures_apart_finds_nothing(name: str) -> None:
    out = ranked(Constant(), name)
    assert (out.ranks == out.candidates).all()
    assert not out.beats_neighbours.any()
