"""CC3M and mmc4 from their published layouts."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatsearcher.data.record_kinds import as_record
from chatsearcher.data.records import SourceConfig
from chatsearcher.dialogue import Image
from chatsearcher.preparation.converters.mmc4 import _Matched, stretches
from chatsearcher.preparation.records import Picture
from tests.fixtures import published
from tests.fixtures.published import img2dataset, jpeg, mmc4_document, number_of, write_lines

Prepare = Callable[..., Any]


def cc3m_shards(folder: Path) -> Path:
    for shard in range(2):
        records: list[tuple[str, bytes | None, str, str]] = [
            (
                f"{shard:05}{n:04}",
                jpeg(10 * shard + n),
                f"Caption {shard} {n}",
                f"http://x/{shard}/{n}",
            )
            for n in range(6)
        ]
        records[2] = (*records[2][:1], None, *records[2][2:])
        records[3] = (records[3][0], jpeg(3)[:200], *records[3][2:])
        records[4] = (*records[4][:2], "  ", records[4][3])
        img2dataset(folder / f"{shard:05}.tar", records)
    return folder


def test_cc3m_shards_give_pairs_and_reasons(prepare: Prepare, tmp_path: Path) -> None:
    done = prepare("cc3m", cc3m_shards(tmp_path / "cc3m"), "--val-every", "0")
    assert done.code == 0
    records = done.records()
    assert [record.text() for record in records] == [
        f"Caption {s} {n}" for s in (0, 1) for n in (0, 1, 5)
    ]
    for record in records:
        shard, n = map(int, record.text().split()[1:])
        assert number_of(record.picture("jpg")) == 10 * shard + n
        assert record.read("jpg") == jpeg(10 * shard + n)  # the file as it was
        assert record.metadata() == {
            "id": f"cc3m/http://x/{shard}/{n}",
            "url": f"http://x/{shard}/{n}",
            "width": 24,
            "height": 16,
        }
    assert [(r["where"], r["kind"]) for r in done.rejects] == [
        (f"{s:05}.tar:{s:05}{n:04}", kind)
        for s in (0, 1)
        for n, kind in ((2, "not downloaded"), (3, "picture broken"), (4, "no words"))
    ]
    assert done.manifest["entries"] == 12
    assert done.manifest["records"] == {"train": 6}
    assert "12 entries read" in done.printed
    assert "picture broken: 2" in done.printed


@pytest.mark.parametrize("name", ["cc3m-validation-00.tar", "validation/00000.tar"])
def test_published_validation_shards_are_the_validation_split(
    prepare: Prepare, tmp_path: Path, name: str
) -> None:
    for path, first in (("cc3m-train-00.tar", 0), (name, 5)):
        records = [(f"{n:05}", jpeg(n), f"c {n}", f"http://x/{n}") for n in range(first, first + 5)]
        img2dataset(tmp_path / "cc3m" / path, records)
    done = prepare("cc3m", tmp_path / "cc3m", "--val-every", "2")
    assert sorted(r.text() for r in done.records("train")) == [f"c {n}" for n in range(5)]
    assert sorted(r.text() for r in done.records("val")) == [f"c {n}" for n in range(5, 10)]


def test_a_cut_off_shard_gives_what_it_has_and_says_so(prepare: Prepare, tmp_path: Path) -> None:
    folder = cc3m_shards(tmp_path / "cc3m")
    data = (folder / "00001.tar").read_bytes()
    (folder / "00001.tar").write_bytes(data[: len(data) // 2])
    done = prepare("cc3m", folder, "--val-every", "0")
    assert 3 < done.manifest["records"]["train"] < 6
    damaged = [r for r in done.rejects if r["kind"] == "shard damaged"]
    assert [(r["where"], r["part"]) for r in damaged] == [("00001.tar", True)]


def test_held_out_records_are_about_one_in_n_and_always_the_same(
    prepare: Prepare, tmp_path: Path
) -> None:
    records = [(f"{n:09}", jpeg(n), f"c {n}", f"http://x/{n}") for n in range(60)]
    img2dataset(tmp_path / "s" / "00000.tar", records)
    img2dataset(tmp_path / "reversed" / "00000.tar", list(reversed(records)))
    one = prepare("pairs", tmp_path / "s", "--val-every", "4", out="a")
    two = prepare("pairs", tmp_path / "reversed", "--val-every", "4", out="b")
    assert 5 <= one.manifest["records"]["val"] <= 27
    assert sum(one.manifest["records"].values()) == 60
    texts = [sorted(r.text() for r in done.records("val")) for done in (one, two)]
    assert texts[0] == texts[1]
    keys = [r.key for split in ("train", "val") for r in one.records(split)]
    assert len(set(keys)) == 60


def test_cc3m_tsv_finds_its_pictures_by_address(prepare: Prepare, tmp_path: Path) -> None:
    cc3m_shards(tmp_path / "shards")
    (tmp_path / "tsv").mkdir()
    lines = ["A dog runs\thttp://x/0/0", "no picture\thttp://x/9/9", "three\tfields\there"]
    (tmp_path / "tsv" / "Train_GCC-training.tsv").write_text("\n".join(lines) + "\n")
    (tmp_path / "tsv" / "Validation_GCC-1.1.0-Validation.tsv").write_text("A  cat \thttp://x/1/5")
    done = prepare("cc3m", tmp_path / "tsv", "--pictures", tmp_path / "shards")
    assert [r.text() for r in done.records("train")] == ["A dog runs"]
    assert [r.text() for r in done.records("val")] == ["A cat"]
    assert number_of(done.records("val")[0].picture("jpg")) == 15
    assert [(r["where"], r["kind"]) for r in done.rejects] == [
        ("Train_GCC-training.tsv:2", "picture missing"),
        ("Train_GCC-training.tsv:3", "not caption and address"),
    ]
    assert [each["name"][:5] for each in done.manifest["inputs"]] == ["Train", "Valid"]


def mmc4(folder: Path, documents: list[Any], name: str = "docs_no_face_shard_0_v3.jsonl") -> Path:
    write_lines(folder / name, documents)
    pictures = [(n, i) for n in range(4) for i in range(8)]
    img2dataset(
        folder / "images" / "00000.tar",
        [
            (f"{k:09}", jpeg(k), "", f"http://pictures.example/{n}/{i}.jpg?size=large")
            for k, (n, i) in enumerate(pictures)
        ],
    )
    return folder


@pytest.mark.parametrize("ending", ["", ".gz", ".zip"])
def test_mmc4_documents_keep_pictures_at_their_sentences(
    prepare: Prepare, tmp_path: Path, ending: str
) -> None:
    name = f"docs_no_face_shard_0_v3.jsonl{ending}"
    mmc4(tmp_path / "m", [mmc4_document(n) for n in range(3)], name)
    done = prepare("mmc4", tmp_path / "m", "--val-every", "0")
    abouts = done.abouts()
    assert [about["url"] for about in abouts] == [
        f"http://pages.example/{n}.html" for n in range(3)
    ]
    for n, (about, record) in enumerate(zip(abouts, done.records(), strict=True)):
        assert about["texts"] == [f"Sentence {i} of document {n}." for i in range(4)]
        assert [(im["path"], im["text"], im["similarity"]) for im in about["images"]] == [
            ("0.jpg", 1, 0.26),
            ("1.jpg", 3, 0.28),
        ]
        assert [number_of(record.picture(p)) for p in ("0.jpg", "1.jpg")] == [8 * n + 1, 8 * n + 3]
    assert done.rejects == []
    assert done.manifest["counts"]["pictures named"] == 6


def test_mmc4_rejects_are_explained_and_good_parts_kept(prepare: Prepare, tmp_path: Path) -> None:
    bad_index = mmc4_document(1)
    bad_index["image_info"][0]["matched_text_index"] = 4
    documents = [
        bad_index,
        '{"text_list": [',
        mmc4_document(2, similarity_matrix=[[0.1] * 3, [0.2] * 4]),
        mmc4_document(3, text_list="a string"),
        mmc4_document(9),  # its pictures were never downloaded
        mmc4_document(0, images=()),
        [1, 2],
    ]
    done = prepare("mmc4", mmc4(tmp_path / "m", documents), "--val-every", "0")
    assert [about["images"][0]["text"] for about in done.abouts()] == [3]
    file = "docs_no_face_shard_0_v3.jsonl"
    assert [
        (r["where"].removeprefix(file), r["kind"], r.get("part", False)) for r in done.rejects
    ] == [
        (":1.image_info[0]", "matched_text_index out of range", True),
        (":2", "broken JSON", False),
        (":3", "similarity_matrix of the wrong shape", False),
        (":4", "malformed", False),
        (":5.image_info[0]", "picture missing", True),
        (":5.image_info[1]", "picture missing", True),
        (":5", "no picture left", False),
        (":6", "no picture left", False),
        (":7", "malformed", False),
    ]
    assert "expected 2 x 4" in done.rejects[2]["detail"]


def test_mmc4_similarity_and_duplicates_by_wish(prepare: Prepare, tmp_path: Path) -> None:
    folder = mmc4(tmp_path / "m", [mmc4_document(n) for n in range(2)])
    options = ("--val-every", "0", "--min-similarity", "0.27", "--unique-urls")
    done = prepare("mmc4", folder, *options)
    assert [[image["text"] for image in about["images"]] for about in done.abouts()] == [[3]]
    assert {r["kind"] for r in done.rejects} == {
        "picture unlike its sentence",
        "possible duplicate",
    }


def test_a_document_of_2000_sentences_becomes_bounded_records(
    prepare: Prepare, tmp_path: Path
) -> None:
    long = mmc4_document(0, sentences=2000, images=range(8))
    for place, info in enumerate(long["image_info"]):
        info["matched_text_index"] = place * 250
    done = prepare("mmc4", mmc4(tmp_path / "m", [long]), "--val-every", "0")
    records = done.abouts()
    assert len(records) == 8  # as many stretches have a picture
    for place, about in enumerate(records):
        size = sum(len(words) + 1 for words in about["texts"])
        assert size <= 6000
        (image,) = about["images"]
        assert about["texts"][image["text"]] == f"Sentence {place * 250} of document 0."
    assert done.manifest["counts"]["stretches without a picture, left out"] > 0


def test_a_picture_that_a_document_shows_twice_is_stored_once(
    prepare: Prepare, tmp_path: Path
) -> None:
    """Training takes two members of one id for a broken record, and would lose the document."""
    document = mmc4_document(0, images=(0, 1, 3))
    document["image_info"][2]["raw_url"] = document["image_info"][0]["raw_url"]
    done = prepare("mmc4", mmc4(tmp_path / "m", [document]), "--val-every", "0")
    (stored,) = done.records()
    images = stored.metadata()["images"]
    assert [(image["path"], image["text"]) for image in images] == [
        ("0.jpg", 0),
        ("1.jpg", 1),
        ("0.jpg", 3),
    ]
    assert stored.pictures == ["0.jpg", "1.jpg"]
    config = SourceConfig("shard-documents", path=str(done.folder))
    record = as_record(stored, config, "mmc4", stored.key, random.Random(0))
    shown = [part.id for part in record.content if isinstance(part, Image)]
    assert [number_of(record.load(id)) for id in shown] == [0, 1, 0]


def matched(text: int) -> _Matched:
    return _Matched(Picture(b"", "jpg", 1, 1), f"p{text}", text, None)


@given(
    sentences=st.lists(st.text(st.sampled_from("aé𝄞 "), max_size=40), min_size=1, max_size=30),
    data=st.data(),
)
def test_stretches_lose_nothing_and_keep_their_bounds(
    sentences: list[str], data: st.DataObject
) -> None:
    places = data.draw(st.lists(st.integers(0, len(sentences) - 1), max_size=12))
    pictures = [matched(place) for place in places]
    found = list(stretches(sentences, pictures, max_bytes=40, max_pictures=3))
    said = "".join(word for stretch in found for text in stretch.texts for word in text.split())
    wanted = [" ".join(sentence.split()) for sentence in sentences]
    crowded = max((places.count(place) for place in places), default=0) > 3
    if not crowded:  # a sentence with more pictures than fit is said again
        assert said == "".join("".join(sentence.split()) for sentence in wanted)
    assert sorted(p.text for stretch in found for p in stretch.pictures) == sorted(places)
    for stretch in found:
        assert sum(len(text.encode()) + 1 for text in stretch.texts) <= 41
        assert len(stretch.pictures) <= 3
        for picture, place in zip(stretch.pictures, stretch.places, strict=True):
            sentence = wanted[picture.text]
            assert sentence.startswith(stretch.texts[place])


def test_pictures_too_large_do_no_harm(prepare: Prepare, tmp_path: Path) -> None:
    """100 megapixels are taken as they are; a header that claims more is refused unread."""
    folder = mmc4(tmp_path / "m", [mmc4_document(0, images=(0, 1, 2))])
    (folder / "images" / "00000.tar").unlink()
    from PIL import Image as Pillow

    (folder / "images" / "0_0.jpg").write_bytes(jpeg(5))
    Pillow.new("L", (10_000, 10_000), 99).save(folder / "images" / "0_1.jpg", quality=5)
    claims = bytearray(published.jpeg(1, kind="PNG"))
    claims[16:24] = (200_000).to_bytes(4, "big") * 2
    crc = __import__("zlib").crc32(bytes(claims[12:29])).to_bytes(4, "big")
    claims[29:33] = crc
    (folder / "images" / "0_2.jpg").write_bytes(bytes(claims))
    done = prepare("mmc4", folder, "--pictures", folder / "images", "--val-every", "0")
    (about,) = done.abouts()
    assert [image["text"] for image in about["images"]] == [0, 1]
    assert [r["kind"] for r in done.rejects] == ["picture too large"]
    record = done.records()[0]
    assert max(record.picture("1.jpg").size) == 2048  # decoded at a fraction of its size
    smaller = prepare(
        "mmc4", folder, "--pictures", folder / "images", "--max-side", "64", out="small"
    )
    from io import BytesIO

    sizes = [
        Pillow.open(BytesIO(r.read(e))).size
        for split in ("train", "val")
        for r in smaller.records(split)
        for e in r.pictures
    ]
    assert sizes == [(24, 16), (64, 64)]


def test_json_of_a_record_is_utf8_even_with_half_a_surrogate_pair(
    prepare: Prepare, tmp_path: Path
) -> None:
    folder = mmc4(tmp_path / "m", [mmc4_document(0, text_list=["a \ud83d b", "ü", "c", "d"])])
    done = prepare("mmc4", folder, "--val-every", "0")
    assert done.abouts()[0]["texts"][:2] == ["a ? b", "ü"]
    json.dumps(done.manifest)
