"""A gallery made from the same pictures as the source: one picture has one name in both."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chatsearcher.cli import main
from chatsearcher.foundation.neighbours import Hit
from chatsearcher.gallery.reader import Gallery
from chatsearcher.index import open_index
from chatsearcher.indexing import build_gallery
from chatsearcher.preparation.chatsearch.finding import (
    Threshold,
    neighbours_work,
    other_split,
)
from chatsearcher.preparation.chatsearch.galleries import GallerySearch
from chatsearcher.preparation.chatsearch.names import Names
from chatsearcher.preparation.chatsearch.run import Run
from chatsearcher.preparation.chatsearch.shown import own_name, same_place
from chatsearcher.preparation.chatsearch.split import PAPER
from tests.fixtures.histogram import HistogramRetriever
from tests.fixtures.published import img2dataset, jpeg, karpathy, write_json, write_pictures


def test_neighbours_from_the_sources_own_shards_stay_in_their_split(
    prepare: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """COCO's records are named by their JSON, their shards' keys by number. 0 and 1 are trained on,
    2 to 4 are val's and test's, which are one split in the paper."""
    images = karpathy()
    write_json(tmp_path / "k" / "dataset_coco.json", images)
    names = [f"val2014/{image['filename']}" for image in images["images"]]
    write_pictures(tmp_path / "k", names)
    assert prepare("karpathy", tmp_path / "k", out="coco").code == 0
    retriever = HistogramRetriever()
    build_gallery(tmp_path / "coco", tmp_path / "gallery", retriever)
    monkeypatch.chdir(tmp_path)
    source = ["prepare", "chatsearch", "source", "--run", "run", "--source", "coco"]
    assert main([*source, "--texts", "captions"]) == 0
    entries = list(Run(Path("run")).stage("source").records())
    gallery = Gallery.open(tmp_path / "gallery")
    search = GallerySearch(gallery, retriever, open_index(gallery))
    with Names() as known:
        for entry in entries:
            known.add(entry["id"], entry["split"])
        everything = Threshold(-1.0, 1.0, 10)
        results = asyncio.run(
            neighbours_work(entries, search, everything, 0, other_split(known, PAPER))
        )
    asyncio.run(search.close())
    split_of = {entry["id"]: PAPER[entry["split"]] for entry in entries}
    assert sorted(split_of) == [f"coco/{n:012d}.jpg" for n in range(5)]
    for entry, result in zip(entries, results, strict=True):
        (record,) = result.records
        neighbour = record["neighbour"]["id"]
        assert neighbour != entry["id"]
        assert split_of[neighbour] == split_of[entry["id"]]


def test_equal_keys_of_two_downloads_are_two_pictures(tmp_path: Path) -> None:
    """img2dataset counts its keys from 0 in every folder."""
    for n, name in enumerate(("one", "two")):
        shard = tmp_path / name / "00000.tar"
        img2dataset(shard, [("000000000", jpeg(n), f"caption {n}", f"http://x/{n}.jpg")])
    run = Run(tmp_path / "run")
    folders = [word for name in ("one", "two") for word in ("--source", str(tmp_path / name))]
    assert main(["prepare", "chatsearch", "source", "--run", str(run.path), *folders]) == 0
    assert [record["id"] for record in run.stage("source").records()] == [
        "http://x/0.jpg",
        "http://x/1.jpg",
    ]


def test_names_and_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert own_name({"id": 7, "url": "http://x/1", "key": "k"}, "member") == "7"
    assert own_name({"url": "http://x/1", "key": "k"}, "member") == "http://x/1"
    assert own_name({"caption": "a cat"}, "member") == "member"
    hit = Hit("train-000000-00001", 1.0, source=f"{tmp_path}/data/train-000000.tar#k.jpg")
    assert hit.source is not None
    assert same_place(hit.source, "data/train-000000.tar#k.jpg")
    assert not same_place(hit.source, "data/train-000000.tar#j.jpg")
    assert not same_place(hit.source, "world:data/train-000000.tar")
