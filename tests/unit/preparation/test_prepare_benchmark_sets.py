"""Fashion IQ, CIRR, Karpathy's lists, COCO folders and hub sets from their published layouts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chatsearcher.dialogue import Dialogue
from chatsearcher.preparation.converters.coco import read_list
from tests.fixtures.published import (
    cirr,
    fashion_iq,
    jpeg,
    karpathy,
    number_of,
    write_json,
    write_pictures,
)

Prepare = Callable[..., Any]
OFFICIAL = Path(__file__).resolve().parents[4] / "shared" / "data" / "benchmarks"
needs_official = pytest.mark.skipif(
    not OFFICIAL.is_dir(), reason="../shared/data/benchmarks (the official files) is not there"
)


def test_fashion_iq_pairs_and_an_honest_count(prepare: Prepare, tmp_path: Path) -> None:
    folder = fashion_iq(tmp_path / "f", products=8)
    there = [f"B00{n:07d}.jpg" for n in range(5)]  # dress, train: five of eight
    write_pictures(tmp_path / "pictures", there)
    done = prepare(
        "fashion-iq",
        folder,
        "--pictures",
        tmp_path / "pictures",
        "--attributes",
        folder / "attributes",
    )
    abouts = done.abouts()
    assert [(a["candidate"], a["target"]) for a in abouts] == [
        (f"B00{n:07d}", f"B00{n + 1:07d}") for n in range(4)
    ]
    for n, (about, record) in enumerate(zip(abouts, done.records(), strict=True)):
        user, assistant = Dialogue.from_messages(about["messages"]).turns
        assert user.images[0].id == f"fashion-iq/{about['candidate']}"
        assert assistant.images[0].id == f"fashion-iq/{about['target']}"
        assert ("is darker and has a longer hem" if n else "is darker") in user.text
        assert [number_of(record.picture(p)) for p in ("0.jpg", "1.jpg")] == [n, n + 1]
        words = {"type": ["dress"], "texture": ["floral"], "fabric": [], "shape": [], "style": []}
        assert about["attributes"][about["target"]] == {**words, "part": ["hem"]}
    counts = done.manifest["counts"]
    assert (counts["images dress train"], counts["missing images dress train"]) == (8, 3)
    assert (counts["images dress val"], counts["missing images dress val"]) == (8, 8)
    assert counts["empty captions"] == 9
    named = [r["detail"] for r in done.rejects if r["kind"] == "picture of an image list missing"]
    assert [asin for asin in named if asin.startswith("B00")] == [f"B00{n:07d}" for n in (5, 6, 7)]
    assert len(named) == 9 * 8 - 5
    assert "queries dress train: 7 (DIFFERS: published 5,985)" in done.printed


@pytest.mark.parametrize("place", ["", "images/"])
def test_fashion_iq_test_files_have_no_targets(
    prepare: Prepare, tmp_path: Path, place: str
) -> None:
    folder = fashion_iq(tmp_path / "f", products=3)
    ids = json.loads((folder / "image_splits" / "split.shirt.test.json").read_text())
    write_pictures(tmp_path / "f", [f"{place}{asin}.png" for asin in ids])
    done = prepare("fashion-iq", folder)
    for about in done.abouts("test"):
        assert about["target"] is None
        assert [message["role"] for message in about["messages"]] == ["user"]
    assert len(done.abouts("test")) == 2


def test_cirr_splits_and_counts(prepare: Prepare, tmp_path: Path) -> None:
    folder = cirr(tmp_path / "c")
    for part in ("train", "val", "test1"):
        names = json.loads((folder / "image_splits" / f"split.rc2.{part}.json").read_text())
        write_pictures(folder, list(names.values()))
    done = prepare("cirr", folder)
    assert done.manifest["records"] == {"test": 3, "train": 4, "val": 4}
    assert [r["kind"] for r in done.rejects] == ["no words"]
    for about, record in zip(done.abouts("val"), done.records("val"), strict=True):
        n = about["pairid"]
        user, assistant = Dialogue.from_messages(about["messages"]).turns
        assert user.images[0].id == f"cirr/dev-{n}-0-img0"
        assert assistant.images[0].id == f"cirr/dev-{n + 1}-0-img0"
        assert f"dd {n} dogs on the left" in user.text
        assert [number_of(record.picture(p)) for p in ("0.png", "1.png")] == [n, n + 1]
        assert about["caption_extend"] == {"0": "of dogs"}
        assert len(about["img_set"]["members"]) == 6
    counts = done.manifest["counts"]
    assert counts["val: hard target not among the soft ones"] == 1
    assert counts["test1: blank captions"] == 1
    assert counts["images train"] == 9


@needs_official
def test_official_files_of_cirr_and_fashion_iq_have_their_official_counts(
    prepare: Prepare,
) -> None:
    """No pictures are there, so no record; every count is as published all the same."""
    for name, folder in (("cirr", "cirr"), ("fashion-iq", "fashion_iq")):
        done = prepare(name, OFFICIAL / folder, "--strict", out=folder)
        counts, expected = done.manifest["counts"], done.manifest["expected"]
        assert {key: counts[key] for key in expected} == expected
        assert "DIFFERS" not in done.printed
    assert expected["empty captions"] == 16
    listed = sum(n for key, n in expected.items() if key.startswith("images "))
    assert listed == 77_683
    assert sum(n for key, n in counts.items() if key.startswith("missing")) == listed


@needs_official
def test_official_lists_of_karpathy(prepare: Prepare, tmp_path: Path) -> None:
    """The lists select their pictures from COCO's own annotation file, 5,000 each."""
    folder = OFFICIAL / "coco_karpathy"
    lists = {split: folder / f"karpathy_{split}_images.txt" for split in ("val", "test")}
    names = {split: read_list(path) for split, path in lists.items()}
    assert {split: len(set(each)) for split, each in names.items()} == {"val": 5000, "test": 5000}
    assert not set(names["val"]) & set(names["test"])
    chosen = [*names["val"][:3], *names["test"][:4], "COCO_val2014_999999999999.jpg"]
    numbers = [int(name[-16:-4]) for name in chosen]
    annotations = {
        "images": [{"id": n, "file_name": f} for n, f in zip(numbers, chosen, strict=True)],
        "annotations": [
            {"id": n, "image_id": n, "caption": f"c {k}"} for n in numbers for k in range(5)
        ],
    }
    write_json(tmp_path / "coco" / "annotations" / "captions_val2014.json", annotations)
    write_pictures(tmp_path / "coco" / "val2014", chosen)
    words = [word for split, path in lists.items() for word in ("--list", f"{split}={path}")]
    done = prepare("coco", tmp_path / "coco", *words, "--listed-only")
    assert done.manifest["records"] == {"val": 3, "test": 4}
    assert done.manifest["counts"]["listed test"] == 5000
    assert [about["cocoid"] for about in done.abouts("test")] == numbers[3:7]


@pytest.mark.parametrize(
    ("dataset", "restval", "packed"),
    [
        ("coco", True, ""),
        ("coco", False, ""),
        ("flickr30k", True, ""),
        ("flickr30k", True, "flickr30k-images/"),
    ],
)
def test_karpathy(
    prepare: Prepare, tmp_path: Path, dataset: str, restval: bool, packed: str
) -> None:
    entry = karpathy(dataset)
    write_json(tmp_path / "k" / f"dataset_{dataset}.json", entry)
    names = [
        "/".join(filter(None, (image.get("filepath"), image["filename"])))
        for image in entry["images"]
    ]
    write_pictures(tmp_path / "k", [f"{packed}{name}" for name in names[:4]])
    done = prepare("karpathy", tmp_path / "k", *([] if restval else ["--no-restval"]))
    assert done.manifest["records"] == {"train": 2 if restval else 1, "val": 1, "test": 1}
    assert [r["where"] for r in done.rejects] == [f"dataset_{dataset}.json[4]"]
    (test,) = done.records("test")
    assert test.text() == "Caption 0 of 3."
    assert test.metadata()["captions"] == [f"Caption {k} of 3." for k in range(5)]
    assert test.metadata()["id"] == (
        "coco/000000000003.jpg" if dataset == "coco" else "flickr30k/3.jpg"
    )
    assert number_of(test.picture("jpg")) == 3
    assert done.manifest["counts"]["captions test"] == 10


def test_coco_folder(prepare: Prepare, tmp_path: Path) -> None:
    for n, part in enumerate(("train2017", "val2017")):
        images = [{"id": i, "file_name": f"{i:012d}.jpg", "license": 1} for i in range(3)]
        captions = [{"image_id": i, "id": 9 - i, "caption": f"{part} {i} "} for i in (2, 1, 1)]
        write_json(
            tmp_path / "coco" / "annotations" / f"captions_{part}.json",
            {"info": {}, "images": images, "annotations": captions},
        )
        names = [f"{part}/{i:012d}.jpg" for i in range(3)]
        write_pictures(tmp_path / "coco", names, first=10 * n)
    done = prepare("coco", tmp_path / "coco")
    assert done.manifest["records"] == {"train": 2, "val": 2}
    assert [r["kind"] for r in done.rejects] == ["no words", "no words"]
    for n, split in enumerate(("train", "val")):
        one, two = done.records(split)
        assert one.metadata()["captions"] == [f"{split}2017 1"] * 2
        assert two.text() == f"{split}2017 2"
        assert [number_of(r.picture("jpg")) for r in (one, two)] == [10 * n + 1, 10 * n + 2]


def write_parquet(path: Path, count: int = 9) -> Path:
    parquet = pytest.importorskip("pyarrow.parquet")
    import pyarrow

    table = pyarrow.table(
        {
            "image": [{"bytes": jpeg(n) if n != 4 else b"?", "path": None} for n in range(count)],
            "text": [[f"first {n}", f"second {n}"] if n else [] for n in range(count)],
        }
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table, path, row_group_size=4)
    return path


def test_parquet_files(prepare: Prepare, tmp_path: Path) -> None:
    write_parquet(tmp_path / "p" / "train.parquet")
    done = prepare("hub", tmp_path / "p", "--split", "train")
    assert [record.text() for record in done.records()] == [
        f"first {n}" for n in (1, 2, 3, 5, 6, 7, 8)
    ]
    assert [(r["where"], r["kind"]) for r in done.rejects] == [
        ("train.parquet:0", "no words"),
        ("train.parquet:4", "picture broken"),
    ]
    assert number_of(done.records()[3].picture("jpg")) == 5
    wrong = prepare("hub", tmp_path / "p", "--text", "caption", out="wrong")
    assert wrong.code == 1
    assert "no column caption; it has image, text" in wrong.printed


def test_a_set_by_name_goes_through_datasets(
    prepare: Prepare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A local folder in a hub layout (metadata.jsonl and pictures) stands in for the hub."""
    pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    folder = write_pictures(tmp_path / "set" / "train", [f"{n}.jpg" for n in range(4)])
    lines = [json.dumps({"file_name": f"{n}.jpg", "text": f"words {n}"}) for n in range(4)]
    (folder / "metadata.jsonl").write_text("\n".join(lines))
    done = prepare("hub", tmp_path / "set", "--split", "train")
    assert sorted(record.text() for record in done.records()) == [f"words {n}" for n in range(4)]
    for record in done.records():
        assert number_of(record.picture("jpg")) == int(record.text()[-1])
    assert sorted(about["id"] for about in done.abouts()) == [f"set/train:{n}" for n in range(4)]
    wrong = prepare("hub", tmp_path / "set", "--text", "caption", out="wrong")
    assert "has no column caption" in wrong.printed
