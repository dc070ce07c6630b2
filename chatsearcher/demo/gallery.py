"""The demo's gallery: look-alikes that the conversation may end among, and strangers."""

from __future__ import annotations

import itertools
import random
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from chatsearcher.gallery import Gallery, GalleryWriter
from chatsearcher.images import thumbnail_bytes
from chatsearcher.retriever import Retriever
from chatsearcher.world.lexicon import NUMBERS, PLACE_WORDS, article, noun
from chatsearcher.world.pictures import load, parse, picture_id
from chatsearcher.world.scene import Scene, Thing, sample_scene
from chatsearcher.world.vocabulary import PATTERNS, TIMES

SIZE = 1000
BATCH = 64


def look_alikes() -> list[Scene]:
    """Every cat in the forest that the script may lead to, and those it must not: all of the test
    split, none ever trained on."""
    cats = itertools.product(("orange", "blue"), PATTERNS, (1, 2))
    others = [("car", "blue"), ("banana", "yellow")]
    return [
        Scene(
            "forest",
            time,
            (
                Thing("cat", colour, pattern, "big", count, "left"),
                Thing(kind, other_colour, other_pattern, "small", 1, "right"),
            ),
        )
        for colour, pattern, count in cats
        for kind, other_colour in others
        for other_pattern in ("plain", "striped")
        for time in TIMES
    ]


def demo_ids(size: int = SIZE) -> list[str]:
    """Ids of ``size`` different pictures of the test split, in an order that tells nothing."""
    rng = random.Random("demo")
    scenes = dict.fromkeys(look_alikes())
    while len(scenes) < size:
        scenes.setdefault(sample_scene(rng, "test"))
    ids = [picture_id(scene, rng.randrange(1_000_000)) for scene in scenes]
    rng.shuffle(ids)
    return ids


def open_demo_gallery(
    folder: Path,
    retriever: Retriever,
    name: str | None = None,
    size: int = SIZE,
    progress: Callable[[int, int], None] | None = None,
) -> Gallery:
    """The demo's gallery in ``folder``, taken from there or made.

    It is made beside its place and moved there when it is whole.
    """
    if folder.exists():
        gallery = Gallery.open(folder)
        if gallery.fingerprint == retriever.fingerprint and len(gallery) == size:
            return gallery
        gallery.close()
        shutil.rmtree(folder)
    ids = demo_ids(size)
    scratch = folder.with_name(folder.name + ".part")
    shutil.rmtree(scratch, ignore_errors=True)
    opened = GalleryWriter.open(
        scratch,
        fingerprint=retriever.fingerprint,
        metric=retriever.metric,
        dim=retriever.embedding_dim,
        retriever=name,
    )
    with opened as writer, ThreadPoolExecutor(2) as pool:
        drawn = pool.map(load, ids)  # while the model encodes
        for start in range(0, len(ids), BATCH):
            batch = ids[start : start + BATCH]
            pictures = list(itertools.islice(drawn, len(batch)))
            vectors = retriever.encode_images(pictures)
            for id, picture, vector in zip(batch, pictures, vectors, strict=True):
                writer.add(
                    id=id,
                    source=f"world:{id}",
                    sha256="",
                    vector=vector,
                    thumbnail=thumbnail_bytes(picture),
                    metadata={"caption": caption(id)},
                )
            if progress is not None:
                progress(min(start + BATCH, len(ids)), len(ids))
        writer.commit()
    scratch.rename(folder)
    return Gallery.open(folder)


def caption(id: str) -> str:
    """What is in the picture, for the reader of the page; no search sees it."""
    scene, _ = parse(id)
    return ", ".join([*map(_words, scene.things), scene.setting, scene.time])


def _words(thing: Thing) -> str:
    look = thing.colour if thing.pattern == "plain" else f"{thing.colour} {thing.pattern}"
    number = article(thing.size) if thing.count == 1 else NUMBERS[thing.count]
    name = noun(thing.kind, thing.count)
    return f"{number} {thing.size} {look} {name} {PLACE_WORDS[thing.place][0]}"
