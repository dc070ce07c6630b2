"""Flickr30K and COCO: both directions against a plain implementation, official lists, bad files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from chatsearcher.benchmarks.karpathy import (
    COCO,
    FLICKR30K,
    VSEPP_LIST,
    Captioned,
    only_listed,
    read_coco,
)
from chatsearcher.benchmarks.vectors import Vectors
from tests.fixtures.miniatures.karpathy import CAPTIONS, PICTURES, make_coco, make_flickr30k

SHARED = Path(__file__).resolve().parents[4] / "shared/data/benchmarks/coco_karpathy"


def random_vectors(task, seed: int = 0) -> Vectors:
    rng = np.random.default_rng(seed)
    images, queries = (rng.normal(size=(n, 6)) for n in (len(task.images), len(task.queries)))
    images /= np.linalg.norm(images, axis=1, keepdims=True)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    images[1] = images[0]  # a tie
    return Vectors(images, queries)


def plainly(task, vectors: Vectors, pictures: list[int]) -> dict[str, float]:
    """Both recalls by sorting one row after another, over some of the pictures."""
    own = {query.id: task.images.index(query.targets[0]) for query in task.queries}
    texts = [n for n, query in enumerate(task.queries) if own[query.id] in pictures]
    found: dict[str, list[bool]] = {}
    for n in texts:
        mine = own[task.queries[n].id]
        scores = {p: float(vectors.queries[n] @ vectors.images[p]) for p in pictures}
        ahead = sum(s >= scores[mine] - 1e-12 for p, s in scores.items() if p != mine)
        for k in (1, 5, 10):
            found.setdefault(f"t→i R@{k}", []).append(ahead < k)
    for p in pictures:
        ranked = sorted(
            texts,
            key=lambda n: (
                -float(vectors.queries[n] @ vectors.images[p]),
                own[task.queries[n].id] == p,
            ),
        )
        for k in (1, 5, 10):
            hit = any(own[task.queries[n].id] == p for n in ranked[:k])
            found.setdefault(f"i→t R@{k}", []).append(hit)
    return {name: 100 * sum(hits) / len(hits) for name, hits in found.items()}


@pytest.mark.parametrize("seed", range(4))
def test_both_directions_agree_with_plain_sorting(tmp_path: Path, seed: int) -> None:
    task = COCO.load(make_coco(tmp_path), {})
    vectors = random_vectors(task, seed)
    figures = COCO.score(task, vectors, {}).metrics
    assert figures == pytest.approx(plainly(task, vectors, list(range(PICTURES))), abs=1e-9)


def test_five_folds_are_the_mean_of_five_small_galleries(tmp_path: Path) -> None:
    task = COCO.load(make_coco(tmp_path), {})
    vectors = random_vectors(task)
    folded = COCO.score(task, vectors, {"folds": "5"})
    parts = [[p for p in range(PICTURES) if p * 5 // PICTURES == part] for part in range(5)]
    assert [p for part in parts for p in part] == list(range(PICTURES))
    each = [plainly(task, vectors, part) for part in parts]
    assert folded.metrics == pytest.approx(
        {name: float(np.mean([one[name] for one in each])) for name in each[0]}, abs=1e-9
    )
    assert folded.settings["folds"] == 5


def test_karpathys_file_gives_the_test_split_in_its_words(tmp_path: Path) -> None:
    task = FLICKR30K.load(make_flickr30k(tmp_path), {})
    assert len(task.images) == PICTURES
    assert len(task.queries) == PICTURES * CAPTIONS
    assert "1000.jpg" not in task.images
    assert "1005.jpg" not in task.images
    assert task.queries[0].dialogue.text == "Picture 1, told 0."
    assert task.queries[0].targets == ("1001.jpg",)
    assert not task.pictures.missing(task.images)


def test_coco_says_which_captions(tmp_path: Path) -> None:
    root = make_coco(tmp_path)
    assert len(COCO.load(root, {}).queries) == PICTURES * CAPTIONS + 1
    five = COCO.load(root, {"captions": "five"})
    listed = COCO.load(root, {"captions": "vsepp"})
    assert len(five.queries) == len(listed.queries) == PICTURES * CAPTIONS
    assert listed.data != five.data
    with pytest.raises(ValueError, match="captions='six'; expected one of all, five, vsepp"):
        COCO.load(root, {"captions": "six"})
    with pytest.raises(ValueError, match="folds='3'; expected 1"):
        COCO.load(root, {"folds": "3"})


def test_bad_files_name_the_row_and_the_remedy(tmp_path: Path) -> None:
    root = make_coco(tmp_path)
    listed = root / "karpathy_test_images.txt"
    good = listed.read_text()
    first = good.splitlines()[0]
    for text, message in (
        (good + first + "\n", rf"line {PICTURES + 1}: picture 100 is listed twice"),
        ("val2014/x.jpg\n", r"line 1: 'val2014/x.jpg'; expected a path and the picture's number"),
        ("val2014/x.jpg 5\n", r"line 1: .* has no caption of picture 5"),
        ("", "is empty"),
    ):
        listed.write_text(text)
        with pytest.raises(ValueError, match=message):
            COCO.load(root, {})
    listed.write_text(good)
    (root / VSEPP_LIST).write_text("0\n1\n999999\n")
    with pytest.raises(ValueError, match="line 3: no caption of the test split has id 999999"):
        COCO.load(root, {"captions": "vsepp"})
    (root / VSEPP_LIST).write_text("0\n0\n")
    with pytest.raises(ValueError, match="line 2: 0 stands twice"):
        COCO.load(root, {"captions": "vsepp"})
    (root / "annotations/captions_val2014.json").unlink()
    with pytest.raises(FileNotFoundError, match="annotations_trainval2014"):
        COCO.load(root, {})


def test_a_row_of_another_shape_is_named(tmp_path: Path) -> None:
    root = make_flickr30k(tmp_path)
    file = root / "dataset_flickr30k.json"
    content = json.loads(file.read_text())
    name = content["images"][4]["filename"]
    for key, there, message in (
        ("filename", content["images"][4], r"row 4: picture '.*' stands in .*json, row 3 too"),
        (
            "sentid",
            content["images"][4]["sentences"][1],
            "row 4, sentence 1: caption .*row 3, sent",
        ),
    ):
        own, other = there[key], content["images"][3]
        there[key] = (other if key == "filename" else other["sentences"][0])[key]
        file.write_text(json.dumps(content))
        with pytest.raises(ValueError, match=message):
            FLICKR30K.load(root, {})
        there[key] = own
    assert content["images"][4]["filename"] == name
    del content["images"][3]["sentences"][2]["raw"]
    file.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"row 3, sentence 2: no key 'raw'"):
        FLICKR30K.load(root, {})
    for row in content["images"]:
        row["split"] = "val"
    file.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="no picture of split 'test'"):
        FLICKR30K.load(root, {})


@pytest.mark.skipif(not SHARED.is_dir(), reason="no ../shared: the official lists lie there")
def test_the_official_lists_have_their_counts(tmp_path: Path) -> None:
    listed = SHARED / "karpathy_test_images.txt"
    ids = (SHARED / VSEPP_LIST).read_text().split()
    numbers = [line.split()[1] for line in listed.read_text().splitlines()]
    # The captions' words are not with the lists: five made-up ones a picture, under the real ids.
    rows = [
        {"image_id": int(number), "id": int(name), "caption": "words"}
        for number, name in zip([n for n in numbers for _ in range(5)], ids, strict=True)
    ]
    file = tmp_path / "captions.json"
    file.write_text(json.dumps({"annotations": rows}))
    entries = read_coco(listed, file)
    assert len(entries) == COCO.card.sizes["gallery"] == 5_000
    assert all(entry.id.startswith("val2014/COCO_val2014_") for entry in entries)
    kept = only_listed(entries, SHARED / VSEPP_LIST)
    assert sum(len(entry.captions) for entry in kept) == 25_000
    assert isinstance(kept[0], Captioned)
    assert FLICKR30K.card.sizes == {"queries": 5_000, "gallery": 1_000}
